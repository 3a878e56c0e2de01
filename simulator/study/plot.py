"""Pictures of a study's results: heatmaps, lines with their break points, and Pareto fronts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from simulator.look import CAUSE_COLOURS, check_picture
from simulator.output import check_target, whole_file
from simulator.study.columns import drawn_column, numbers_of
from simulator.study.pareto import pareto_front
from workloads.errors import InputError

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Kind = Literal["heatmap", "lines", "pareto"]
KINDS: tuple[Kind, ...] = get_args(Kind)

_MOST_LINES = 12
_MOST_TICKS = 12
_MOST_CELLS = 200
_LOG_FROM = 8.0
"""Values that span this factor and more are drawn on a log scale."""

_PALETTE = (
    "#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9", "#8c564b", "#999999",
    "#000000", "#7570b3", "#b8a800", "#1b4f72",
)  # fmt: skip


def plot_results(
    table: pd.DataFrame,
    path: str | Path,
    kind: Kind,
    x: str,
    y: str,
    *,
    by: str | None = None,
    title: str = "",
) -> Path:
    """Draw results (see read_results) to a .png, .svg or .pdf file.

    "heatmap": `by` (latency_s unless given) over x and y, the mean of the points of a cell;
    "lines": y over x, one line for each value of `by`, broken where the cause that binds changes;
    "pareto": all points and those that none beats in both x and y, coloured by `by`. Points that
    failed are left out. InputError: no such column, nothing to draw.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    check_picture(check_target(path))
    ran = table[table["error"].isna()]
    if ran.empty:
        raise InputError(f"{path}: none of the {len(table)} points ran; there is nothing to draw")
    canvas = Figure(figsize=(8.4, 5.0), dpi=140, facecolor="white", layout="constrained")
    FigureCanvasAgg(canvas)
    axes = canvas.add_subplot()
    if kind == "heatmap":
        _heatmap(ran, canvas, axes, x, y, by or "latency_s")
    elif kind == "lines":
        _lines(ran, axes, x, y, by)
    else:
        _pareto(ran, axes, x, y, by)
    axes.set_title(title, fontsize=10, fontweight="bold", loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    with whole_file(path) as temporary:
        canvas.savefig(temporary, format=Path(path).suffix.lower().removeprefix("."))
    return Path(path)


def _heatmap(ran: pd.DataFrame, canvas: Figure, axes: Axes, x: str, y: str, by: str) -> None:
    import pandas as pd
    from matplotlib.colors import LogNorm

    (xs, x_label), (ys, y_label) = drawn_column(ran, x, "-x"), drawn_column(ran, y, "-y")
    colour, label = drawn_column(ran, by, "--by")
    if numbers_of(colour) is None:
        raise InputError(f"--by {by}: a heatmap needs numbers to colour")
    cells = pd.DataFrame({"x": xs, "y": ys, "c": colour})
    grid = cells.pivot_table(index="y", columns="x", values="c", aggfunc="mean")
    if max(grid.shape) > _MOST_CELLS:
        raise InputError(
            f"a heatmap of {grid.shape[1]} x {grid.shape[0]} values; expected at most "
            f"{_MOST_CELLS}: draw a random design as lines or pareto"
        )
    grid = grid.reindex(index=_sorted(grid.index), columns=_sorted(grid.columns))
    least, most = float(grid.min().min()), float(grid.max().max())
    norm = LogNorm(least, most) if least > 0 and most / least >= _LOG_FROM else None
    image = axes.imshow(grid, aspect="auto", origin="lower", cmap="viridis_r", norm=norm)
    axes.set_xticks(range(grid.shape[1]), [_tick(v) for v in grid.columns], rotation=30, ha="right")
    axes.set_yticks(range(grid.shape[0]), [_tick(v) for v in grid.index])
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    if grid.size <= 120:
        _write_cells(axes, grid, image)
    canvas.colorbar(image, ax=axes, label=label + _mean_note(cells.groupby(["x", "y"]).size()))


def _write_cells(axes: Axes, grid: pd.DataFrame, image: Any) -> None:
    cells: Any = grid.to_numpy(dtype=float)
    for row in range(grid.shape[0]):
        for column in range(grid.shape[1]):
            value = float(cells[row][column])
            if value == value:  # a cell without a point is not a number
                dark = float(image.norm(value)) > 0.5
                ink = "white" if dark else "black"
                axes.text(column, row, f"{value:.3g}", ha="center", va="center", color=ink,
                          fontsize=7)  # fmt: skip


def _lines(ran: pd.DataFrame, axes: Axes, x: str, y: str, by: str | None) -> None:
    (xs, x_label), (ys, y_label) = drawn_column(ran, x, "-x"), drawn_column(ran, y, "-y")
    places = numbers_of(xs)
    names = _sorted(xs.unique())
    table = ran[["bound"]].assign(x=places or [names.index(v) for v in xs], y=ys)
    groups = [("", table)]
    if by is not None:
        keys, _ = drawn_column(ran, by, "--by")
        if keys.nunique() > _MOST_LINES:
            raise InputError(
                f"--by {by}: {keys.nunique()} values; expected at most {_MOST_LINES} lines"
            )
        groups = [(_tick(value), table[keys == value]) for value in _sorted(keys.unique())]
    seen: dict[str, None] = {}
    note = ""
    for colour, (label, group) in zip(_PALETTE, groups, strict=False):
        line = group.groupby("x").agg(y=("y", "mean"), bound=("bound", "first"))
        axes.plot(line.index, line["y"], color=colour, linewidth=1.6, marker=".", label=label)
        note = note or _mean_note(group.groupby("x").size())
        if not note:  # a mean of several runs has no one cause
            seen |= _mark_breaks(axes, line)
    if places is None:
        axes.set_xticks(range(len(names)), [_tick(v) for v in names], rotation=30, ha="right")
    else:
        _scale(axes, "x", places)
        if len(names) <= _MOST_TICKS:
            axes.set_xticks(sorted(set(places)), [_tick(v) for v in names])
            axes.set_xticks([], minor=True)
    _scale(axes, "y", list(table["y"].dropna()))
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label + note)
    axes.grid(visible=True, which="major", color="#e5e5e5", linewidth=0.6)
    for cause in seen:
        axes.plot([], [], "D", color=CAUSE_COLOURS.get(cause, "black"), markeredgecolor="black",
                  label=f"from here: {cause.replace('_', ' ')}")  # fmt: skip
    if by is not None or seen:
        axes.legend(fontsize=7, frameon=False, title=by, title_fontsize=8)


def _mark_breaks(axes: Axes, line: pd.DataFrame) -> dict[str, None]:
    """A diamond where the cause of most of the latency changes; the causes that come in."""
    found: dict[str, None] = {}
    causes = list(line["bound"])
    places: Any = [line.index.to_list(), line["y"].to_list()]
    for at in range(1, len(causes)):
        if causes[at] != causes[at - 1]:
            found[causes[at]] = None
            axes.plot(places[0][at], places[1][at], "D", markersize=7, zorder=3,
                      color=CAUSE_COLOURS.get(causes[at], "black"),
                      markeredgecolor="black")  # fmt: skip
    return found


def _pareto(ran: pd.DataFrame, axes: Axes, x: str, y: str, by: str | None) -> None:
    (xs, x_label), (ys, y_label) = drawn_column(ran, x, "-x"), drawn_column(ran, y, "-y")
    for option, values in (("-x", xs), ("-y", ys)):
        if numbers_of(values.dropna()) is None:
            raise InputError(f"{option} {values.name}: a Pareto front needs numbers")
    table = ran.assign(x=numbers_of(xs.dropna()) and xs.map(_number), y=ys.map(_number))
    table = table.dropna(subset=["x", "y"])
    if table.empty:
        raise InputError(f"no point has both {x} and {y}; there is nothing to draw")
    keys = None if by is None else drawn_column(table, by, "--by")[0]
    if keys is None:
        axes.plot(table["x"], table["y"], "o", color="#bbbbbb", markersize=4, zorder=1)
    elif keys.nunique() > _MOST_LINES:
        raise InputError(f"--by {by}: {keys.nunique()} values; expected at most {_MOST_LINES}")
    else:
        for colour, value in zip(_PALETTE, _sorted(keys.unique()), strict=False):
            part = table[keys == value]
            axes.plot(part["x"], part["y"], "o", color=colour, markersize=4, label=_tick(value))
    larger = [name for name in ("x", "y") if {"x": x, "y": y}[name] in _MORE_IS_BETTER]
    front = pareto_front(table, [n for n in ("x", "y") if n not in larger], larger).sort_values("x")
    where: Any = "pre" if "y" in larger else "post"
    axes.step(front["x"], front["y"], where=where, color="black", linewidth=1.2, marker="o",
              markerfacecolor="none", markersize=7, label="no other is better in both")  # fmt: skip
    _scale(axes, "x", list(table["x"]))
    _scale(axes, "y", list(table["y"]))
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    axes.grid(visible=True, which="major", color="#e5e5e5", linewidth=0.6)
    axes.legend(fontsize=7, frameon=False, title=by, title_fontsize=8)


_MORE_IS_BETTER = ("tokens_per_s", "throughput", "mfu", "memory_bandwidth")


def _number(value: object) -> float | None:
    found = numbers_of([value]) if value == value else None
    return found[0] if found else None


def _scale(axes: Axes, which: Literal["x", "y"], values: list[float]) -> None:
    """Log where values span much; ticks are plain numbers all the same."""
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    if values and min(values) > 0 and max(values) / min(values) >= _LOG_FROM:
        (axes.set_xscale if which == "x" else axes.set_yscale)("log")
        axis = axes.xaxis if which == "x" else axes.yaxis
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axis.set_minor_formatter(NullFormatter())


def _mean_note(counts: pd.Series[int]) -> str:
    """What to add to a label where a value is the mean of several points."""
    return f", mean of up to {counts.max()} points" if counts.max() > 1 else ""


def _sorted(values: Any) -> list[Any]:
    """By size where all are numbers or quantities, else in the order given."""
    listed = list(values)
    numbers = numbers_of(listed)
    if numbers is None:
        return listed
    return [value for _, value in sorted(zip(numbers, listed, strict=True), key=lambda p: p[0])]


def _tick(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
