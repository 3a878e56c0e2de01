"""Shows how a run grows: a table of exponents, JSON, and a log-log plot."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from simulator.look import STAGE_COLOURS, amount_text, check_picture, seconds_text
from simulator.output import whole_file
from workloads.moment import STAGES

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from simulator.complexity import Growth, Region

_SERIES = {
    "latency_s": "latency",
    "flops": "matrix FLOPs",
    "bytes": "memory traffic",
    "kv_cache_bytes": "KV cache",
}
_CORE, _ALL = "#d55e00", "#222222"


def growth_table(growth: Growth) -> RenderableType:
    """The runs, then by which power each series grows, by stage."""
    runs = Table(box=None, padding=(0, 2, 0, 0), header_style="cyan")
    over = "parameters" if growth.over == "workload" else growth.over
    runs.add_column(over, justify="right")
    if growth.over == "workload":
        runs.add_column("workload")
    for heading in _SERIES.values():
        runs.add_column(heading, justify="right")
    runs.add_column("core of attention", justify="right")
    for point in growth.points:
        row = [f"{point.value:,}"] + ([point.label] if growth.over == "workload" else [])
        for series in _SERIES:
            parts = point.amounts.get(series)
            row.append("-" if parts is None else _amount(series, parts["all"]))
        timed = point.amounts.get("latency_s") or point.amounts["flops"]
        row.append(f"{timed.get('core', 0.0) / timed['all']:.0%}" if timed.get("all") else "-")
        runs.add_row(*row)
    return Group(Text(_title(growth), style="bold"), "", runs, "", _exponents(growth), "",
                 *_crossings(growth))  # fmt: skip


def _title(growth: Growth) -> str:
    first, last = growth.points[0], growth.points[-1]
    what = "" if growth.over == "workload" else f"{growth.scenario.workload}, "
    return f"{what}{growth.over} {first.label} to {last.label} on {growth.scenario.hardware}"


def _amount(series: str, amount: float) -> str:
    if series == "latency_s":
        return seconds_text(amount)
    return amount_text(amount, "FLOP" if series == "flops" else "B")


def _exponents(growth: Growth) -> Table:
    over = "parameters" if growth.over == "workload" else growth.over
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="cyan")
    table.add_column(f"grows as {over} to the power of")
    for heading in _SERIES.values():
        table.add_column(heading)
    for part in ("all", "core", *STAGES):
        cells = [_powers(growth.regions.get((series, part), ())) for series in _SERIES]
        if any(cells):
            name = {"all": "in all", "core": "core of attention"}.get(part, part.replace("_", " "))
            table.add_row(name, *cells)
    return table


def _powers(regions: tuple[Region, ...]) -> str:
    """ "0.1 to 512, then 1.02 to 8192, then 1.9"."""
    texts = [f"{region.exponent:.2f} to {region.last:,}" for region in regions[:-1]]
    return ", then ".join([*texts, *(f"{region.exponent:.2f}" for region in regions[-1:])])


def _crossings(growth: Growth) -> list[str]:
    lines = []
    for series, value in growth.crossovers.items():
        what = f"the core of attention is more than all the rest of the {_SERIES[series]}"
        if value is None:
            lines.append(f"{what} nowhere in this range")
        elif value == growth.points[0].value:
            lines.append(f"{what} in the whole range")
        else:
            lines.append(f"{what} from {growth.over} = {value:,} on")
    return lines


def growth_json(growth: Growth) -> dict[str, Any]:
    """All of it as plain data."""
    return {
        "over": growth.over,
        "workload": growth.scenario.workload,
        "hardware": growth.scenario.hardware,
        "points": [
            {"value": p.value, "label": p.label, "amounts": p.amounts, "refused": p.refused or None}
            for p in growth.points
        ],
        "regions": [
            {
                "series": series,
                "part": part,
                "first": region.first,
                "last": region.last,
                "exponent": region.exponent,
            }
            for (series, part), regions in growth.regions.items()
            for region in regions
        ],
        "crossovers": dict(growth.crossovers),
        "notes": list(growth.notes),
    }


def draw_growth(growth: Growth, path: str | Path) -> Path:
    """A log-log plot for each series, by stage; InputError for another suffix than a picture's."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    check_picture(path)
    shown = [s for s in _SERIES if sum(s in p.amounts for p in growth.points) > 1]
    figure = Figure(figsize=(4.6 * len(shown), 4.6), dpi=140, facecolor="white")
    FigureCanvasAgg(figure)
    for i, series in enumerate(shown):
        axes = figure.add_subplot(1, len(shown), i + 1)
        _draw_series(growth, series, axes)
    figure.suptitle(_title(growth), fontsize=11, fontweight="bold", x=0.01, ha="left")
    figure.tight_layout(rect=(0, 0, 1, 0.96))
    with whole_file(path) as temporary:
        figure.savefig(temporary, format=Path(path).suffix.lower().removeprefix("."))
    return Path(path)


def _draw_series(growth: Growth, series: str, axes: Axes) -> None:
    points = [p for p in growth.points if series in p.amounts]
    colours = {str(stage): colour for stage, colour in STAGE_COLOURS.items()}
    colours |= {"core": _CORE, "all": _ALL}
    for part in (*STAGES, "core", "all"):
        drawn = [(p.value, p.amounts[series][part]) for p in points if part in p.amounts[series]]
        if len(drawn) < 2 or (part == "decode" and series == "flops"):
            continue
        label = {"all": "in all", "core": "core of attention"}.get(part, part.replace("_", " "))
        axes.plot(
            *zip(*drawn, strict=True),
            color=colours[part],
            linewidth=2.2 if part == "all" else 1.3,
            linestyle="--" if part == "core" else "-",
            marker="o",
            markersize=3,
            label=label,
        )
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xlabel("parameters" if growth.over == "workload" else growth.over)
    axes.set_title(_SERIES[series] + (" (s)" if series == "latency_s" else ""), fontsize=10)
    axes.grid(visible=True, which="major", color="#e5e5e5", linewidth=0.6)
    for region in growth.regions.get((series, "all"), ())[1:]:
        axes.axvline(region.first, color="#bbbbbb", linewidth=0.8, linestyle=":")
    crossing = growth.crossovers.get(series)
    if crossing is not None and crossing != points[0].value:
        axes.axvline(crossing, color=_CORE, linewidth=1.0)
        axes.annotate(f"core > rest\nfrom {crossing:,}", (crossing, 0.02), fontsize=7,
                      color=_CORE, xycoords=("data", "axes fraction"), xytext=(3, 0),
                      textcoords="offset points")  # fmt: skip
    axes.legend(fontsize=7, frameon=False)
