"""Predicted against measured as a picture: the cloud, and the error by size and by machine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from simulator.compare import statistics
from simulator.look import check_picture, time_unit
from simulator.output import whole_file
from workloads.errors import InputError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from simulator.compare import Comparison, Predicted

_COLOURS = (
    "#0072b2", "#d55e00", "#009e73", "#e69f00", "#cc79a7", "#56b4e9", "#8c564b", "#999933",
    "#882255", "#44aa99", "#f0e442", "#332288", "#117733", "#aa4499", "#666666", "#000000",
)  # fmt: skip
"""Okabe and Ito's palette, then Paul Tol's muted one."""

_BANDS = ((0.25, "#eeeeee"), (0.10, "#d5d5d5"))
_MACHINES = 24
_LEAST = 5
"""Cases that a bin or a machine must have to be shown beside the cloud."""


def draw_comparison(comparison: Comparison, path: str | Path) -> Path:
    """Draw the tested cases to a .png, .svg or .pdf file.

    InputError: another suffix, no case to draw, or the file cannot be written.
    """
    import matplotlib as mpl

    check_picture(path)
    kind = Path(path).suffix.lower().removeprefix(".")
    dates: dict[str, dict[str, Any]] = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}
    with mpl.rc_context({"svg.hashsalt": "moments"}):
        drawn = comparison_figure(comparison)
        with whole_file(path) as temporary:
            drawn.savefig(temporary, format=kind, metadata=dates.get(kind, {}))
    return Path(path)


def comparison_figure(comparison: Comparison) -> Figure:
    """Left all cases, log-log, with bands of 10 and 25 %; right the errors by time and machine."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    tested = comparison.tested
    if not tested:
        raise InputError("nothing to draw: no case was predicted that nothing was fitted to")
    made = Figure(figsize=(14, 8), dpi=150, facecolor="white")
    FigureCanvasAgg(made)
    grid = made.add_gridspec(
        2, 2, width_ratios=(1.15, 1), height_ratios=(1, 1.5), left=0.075, right=0.985, top=0.91,
        bottom=0.08, wspace=0.42, hspace=0.32,
    )  # fmt: skip
    _cloud(made.add_subplot(grid[:, 0]), tested)
    _by_size(made.add_subplot(grid[0, 1]), tested)
    _by_machine(made.add_subplot(grid[1, 1]), tested)
    all_of = comparison.statistics
    inside = "" if all_of.inside is None else f", {100 * all_of.inside:.0f} % in 80 % intervals"
    made.suptitle(
        f"Predicted against measured, {comparison.mode}: {all_of.n:,} cases, "
        f"mean {100 * all_of.mape:.1f} %, median {100 * all_of.median_ape:.1f} %, "
        f"bias {100 * all_of.bias:+.1f} %{inside}",
        x=0.075, ha="left", fontsize=11, weight="bold",
    )  # fmt: skip
    return made


def _cloud(axes: Axes, tested: Sequence[Predicted]) -> None:
    times = [t for p in tested for t in (p.case.measured_us, p.predicted_us) if t > 0]
    low, high = min(times) * 1e-6 / 1.5, max(times) * 1e-6 * 1.5
    for width, colour in _BANDS:
        below, above = ([edge * (1 + s * width) for edge in (low, high)] for s in (-1, 1))
        axes.fill_between(
            [low, high], below, above, color=colour, label=f"within {width:.0%}", zorder=0
        )
    axes.plot([low, high], [low, high], color="#444444", linewidth=0.7, zorder=1)
    groups: dict[str, list[Predicted]] = {}
    for predicted in tested:
        groups.setdefault(predicted.case.what, []).append(predicted)
    order = sorted(groups.items(), key=lambda item: -len(item[1]))
    size = 14 if len(tested) < 500 else 3
    for i, (what, members) in enumerate(order):
        axes.scatter(
            [p.case.measured_us * 1e-6 for p in members], [p.predicted_us * 1e-6 for p in members],
            s=size, linewidths=0, alpha=0.7 if len(tested) < 500 else 0.45,
            color=_COLOURS[i % len(_COLOURS)], zorder=2,
            label=f"{what.replace('_', ' ')} ({len(members):,})", rasterized=True,
        )  # fmt: skip
    axes.set(xscale="log", yscale="log", xlim=(low, high), ylim=(low, high))
    _seconds(axes, "x")
    _seconds(axes, "y")
    axes.set_xlabel("measured")
    axes.set_ylabel("predicted")
    axes.set_aspect("equal")
    legend = axes.legend(fontsize=8, loc="upper left", frameon=False)
    for handle in legend.legend_handles[len(_BANDS) :]:
        if handle is not None:
            handle.set_alpha(1)
            handle.set(sizes=[20])


def _by_size(axes: Axes, tested: Sequence[Predicted]) -> None:
    """Median and 90th percentile in half decades of the measured time, and the bias."""
    from math import floor, log10

    bins: dict[int, list[float]] = {}
    for predicted in tested:
        bins.setdefault(floor(2 * log10(predicted.case.measured_us)), []).append(predicted.error)
    rows = [(b, statistics(e)) for b, e in sorted(bins.items()) if len(e) >= _LEAST]
    at = [10 ** (b / 2 + 0.25) * 1e-6 for b, _ in rows]
    for name, values, style in (
        ("90th percentile", [s.p90_ape for _, s in rows], "--"),
        ("median", [s.median_ape for _, s in rows], "-"),
    ):
        axes.plot(at, [100 * v for v in values], style, marker="o", markersize=3, label=name)
    bias = [100 * s.bias for _, s in rows]
    axes.plot(at, bias, ":", marker="s", markersize=3, label="bias (signed mean)")
    axes.axhline(0, color="#444444", linewidth=0.7)
    if at:
        axes.set_xscale("log")
        _seconds(axes, "x")
    axes.set_ylabel("error %")
    axes.set_xlabel("measured time")
    axes.set_title("by size", loc="left", fontsize=10)
    axes.legend(fontsize=8, frameon=False)


def _by_machine(axes: Axes, tested: Sequence[Predicted]) -> None:
    """Median error of the machines with most cases, the largest error on top."""
    machines: dict[str, list[float]] = {}
    for predicted in tested:
        machines.setdefault(predicted.case.hardware, []).append(predicted.error)
    enough = [item for item in machines.items() if len(item[1]) >= _LEAST] or machines.items()
    most = sorted(enough, key=lambda item: -len(item[1]))[:_MACHINES]
    rows = sorted(((name, statistics(e)) for name, e in most), key=lambda r: r[1].median_ape)
    names = [f"{name} ({s.n:,})" for name, s in rows]
    colours = ["#d55e00" if s.bias < 0 else "#0072b2" for _, s in rows]
    axes.barh(names, [100 * s.median_ape for _, s in rows], color=colours, height=0.7)
    axes.tick_params(axis="y", labelsize=6.5)
    axes.set_xlabel("median error % (orange: too fast on average, blue: too slow)")
    left_out = len(machines) - len(most)
    more = f"; {left_out} with fewer cases not shown" if left_out else ""
    axes.set_title(f"by machine (cases){more}", loc="left", fontsize=10)


def _seconds(axes: Axes, which: str) -> None:
    from matplotlib.ticker import FuncFormatter, NullFormatter

    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_formatter(FuncFormatter(lambda value, _: _tick(value)))
    axis.set_minor_formatter(NullFormatter())
    axis.set_tick_params(labelsize=8)


def _tick(seconds: float) -> str:
    size, name = time_unit(seconds)
    return f"{seconds / size:.3g} {name}"
