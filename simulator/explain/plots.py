"""Pictures of why: a tornado of sensitivities, a roofline, a waterfall between two machines."""

from __future__ import annotations

from math import log10
from pathlib import Path
from typing import TYPE_CHECKING

from simulator.look import STAGE_COLOURS, amount_text, check_picture, seconds_text, time_unit
from simulator.output import whole_file
from workloads.moment import STAGES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from simulator.explain.difference import Difference
    from simulator.explain.elasticity import Sensitivity
    from simulator.explain.roofline import Roofline, RooflinePoint
    from simulator.run import Run

_BETTER, _WORSE, _PLAIN = "#0072b2", "#d55e00", "#555555"
_ROOF_COLOURS = ("#222222", "#777777", "#aaaaaa")
_NAMED_POINTS = 7
_NEAR_DECADES = 0.2
"""Numbers of points that are nearer to one another would overlap."""

_SMALLEST_SHARE = 0.002
"""A bar must move the latency by at least this share to be drawn."""


def draw_tornado(run: Run, found: Sequence[Sensitivity], path: str | Path) -> Path:
    """A bar for every parameter from the latency with half of it to that with twice of it."""
    base = run.latency_s
    shown = [s for s in found if s.swing_s >= _SMALLEST_SHARE * base]
    size, unit = time_unit(base)
    figure, axes = _figure(8.5, 1.5 + 0.42 * max(1, len(shown)))
    for row, one in enumerate(reversed(shown)):
        ends = ((one.halved_s, one.halved_factor), (one.doubled_s, one.doubled_factor))
        for latency, factor in ends:
            colour = _BETTER if latency < base else _WORSE
            axes.barh(row, (latency - base) / size, left=base / size, color=colour, height=0.62)
            if abs(latency - base) > _SMALLEST_SHARE * base:
                left = latency < base
                axes.annotate(
                    f"x{factor:g}",
                    (latency / size, row),
                    fontsize=7,
                    va="center",
                    ha="right" if left else "left",
                    color=_PLAIN,
                    xytext=(-3 if left else 3, 0),
                    textcoords="offset points",
                )
    names = [f"{s.parameter.name} ({s.elasticity:+.2f})" for s in reversed(shown)]
    axes.set_yticks(range(len(shown)), names, fontsize=8)
    axes.axvline(base / size, color="#222222", linewidth=1)
    axes.margins(x=0.09)
    axes.set_xlabel(f"latency ({unit}); {seconds_text(base)} as it is; elasticity in brackets")
    if not shown:
        axes.text(0.5, 0.5, "no parameter matters", transform=axes.transAxes, ha="center")
    _finish(figure, axes, f"{run.program.workload} on {run.profile.title}: half and twice of it")
    return _saved(figure, path)


def draw_waterfall(found: Difference, path: str | Path) -> Path:
    """From the latency of A to that of B, a bar for each group of tables that matters.

    What adds time comes first, so that no bar begins or ends below zero.
    """
    before, after = float(found.before_s), float(found.after_s)
    size, unit = time_unit(max(before, after))
    parts = sorted((p for p in found.parts if p.value_s), key=lambda part: part.value_s < 0)
    figure, axes = _figure(1.6 + 1.05 * (len(parts) + 2), 4.8)
    axes.bar(0, before / size, color=_PLAIN, width=0.66)
    level = before
    for column, part in enumerate(parts, 1):
        value = float(part.value_s)
        colour = _BETTER if value < 0 else _WORSE
        axes.bar(column, value / size, bottom=level / size, color=colour, width=0.66)
        axes.plot(
            (column - 1.33, column + 0.33), (level / size,) * 2, color="#999999", linewidth=0.7
        )
        top = max(level, level + value) / size
        _above(axes, column, top, f"{'+' if value >= 0 else '-'}{seconds_text(abs(value))}")
        level += value
    last = len(parts) + 1
    axes.plot((last - 1.33, last + 0.33), (after / size,) * 2, color="#999999", linewidth=0.7)
    axes.bar(last, after / size, color=_PLAIN, width=0.66)
    _above(axes, 0, before / size, seconds_text(before))
    _above(axes, last, after / size, seconds_text(after))
    names = [found.sides[0], *(part.name for part in parts), found.sides[1]]
    axes.set_xticks(range(last + 1), [_broken(name) for name in names], fontsize=7.5)
    axes.set_ylabel(f"latency ({unit})")
    axes.margins(y=0.1)
    _finish(figure, axes, f"{found.workload}: from {found.sides[0]} to {found.sides[1]}")
    return _saved(figure, path)


def _above(axes: Axes, x: float, y: float, text: str) -> None:
    axes.annotate(text, (x, y), ha="center", va="bottom", fontsize=7.5, xytext=(0, 2),
                  textcoords="offset points")  # fmt: skip


def _broken(name: str) -> str:
    """A long name on several lines, at spaces and hyphens."""
    lines = [""]
    for word in name.replace("-", "- ").split():
        joined = lines[-1] + ("" if lines[-1].endswith("-") or not lines[-1] else " ") + word
        if len(joined) > 12 and lines[-1]:
            lines.append(word)
        else:
            lines[-1] = joined
    return "\n".join(lines)


def draw_roofline(run: Run, found: Roofline, path: str | Path) -> Path:
    """Every group of moments by FLOPs a byte and FLOP/s, below the roofs of units and memories."""
    figure, axes = _figure(9.5, 6)
    left = min((p.intensity for p in found.points), default=1.0) / 3
    right = max((p.intensity for p in found.points), default=1.0) * 3
    highest = max(found.roofs.flops_per_s.values(), default=1.0)
    slopes = found.roofs.bytes_per_s.values()
    right = max(right, 4 * highest / min(slopes))
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(left, right)
    lowest = min((p.flops_per_s for p in found.points), default=highest / 100)
    axes.set_ylim(lowest / 4, highest * 20)
    _draw_roofs(axes, found, left, right)
    drawn = []
    for stage in STAGES:
        points = [p for p in found.points if p.stage == stage]
        if points:
            sizes = [12 + 900 * p.time_share for p in points]
            axes.scatter([p.intensity for p in points], [p.flops_per_s for p in points], s=sizes,
                         color=STAGE_COLOURS[stage], alpha=0.7, edgecolor="white", linewidth=0.6,
                         zorder=3)  # fmt: skip
            drawn.append(stage)
    for stage in drawn:
        axes.scatter([], [], s=40, color=STAGE_COLOURS[stage], label=stage.replace("_", " "))
    _name_points(axes, found)
    axes.set_xlabel("FLOP per byte moved (from any level beyond L1)")
    axes.set_ylabel("FLOP/s from issue to retirement")
    axes.legend(fontsize=7.5, frameon=False, loc="lower right",
                title=f"area: share of the time; {found.moving_share:.0%} only moves bytes",
                title_fontsize=7)  # fmt: skip
    _finish(figure, axes, f"{run.program.workload} on {run.profile.title}", grid="both")
    return _saved(figure, path)


def _name_points(axes: Axes, found: Roofline) -> None:
    """The points with most of the time get numbers, and the numbers names in the empty corner.

    Points that lie on one another share the place of their numbers.
    """
    places: list[list[int]] = []
    lines = []
    for number, point in enumerate(found.points[:_NAMED_POINTS], 1):
        lines.append(f"{number}  {point.name} {point.time_share:.0%}")
        near = [p for p in places if _decades(found.points[p[0] - 1], point) < _NEAR_DECADES]
        if near:
            near[0].append(number)
        else:
            places.append([number])
    for numbers in places:
        point = found.points[numbers[0] - 1]
        axes.annotate(
            ",".join(map(str, numbers)),
            (point.intensity, point.flops_per_s),
            fontsize=8,
            fontweight="bold",
            xytext=(0, -15),
            ha="center",
            textcoords="offset points",
        )
    axes.text(0.015, 0.985, "\n".join(lines), transform=axes.transAxes, fontsize=7, va="top")


def _decades(a: RooflinePoint, b: RooflinePoint) -> float:
    """How far two points are apart along the farther axis."""
    quotients = (a.intensity / b.intensity, a.flops_per_s / b.flops_per_s)
    return max(abs(log10(quotient)) for quotient in quotients)


def _draw_roofs(axes: Axes, found: Roofline, left: float, right: float) -> None:
    highest = max(found.roofs.flops_per_s.values(), default=1.0)
    levels = sorted(found.roofs.bytes_per_s.items(), key=lambda item: item[1])
    for i, (name, rate) in enumerate(levels):
        axes.plot(
            (left, highest / rate),
            (rate * left, highest),
            linewidth=1.3,
            zorder=1,
            color=_ROOF_COLOURS[min(i, 2)],
            label=f"{name} {amount_text(rate, 'B/s')}",
        )
    fastest = max(found.roofs.bytes_per_s.values())
    for name, rate in found.roofs.flops_per_s.items():
        style = "-" if name.endswith("matrix") else "--"
        axes.plot((rate / fastest, right), (rate, rate), color="#222222", linewidth=1.1,
                  linestyle=style, zorder=1)  # fmt: skip
        axes.annotate(
            f"{name} {amount_text(rate, 'FLOP/s')}",
            (rate / fastest, rate),
            fontsize=7,
            ha="right",
            va="center",
            xytext=(-6, 0),
            textcoords="offset points",
        )


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=140, facecolor="white")
    FigureCanvasAgg(figure)
    return figure, figure.add_subplot(1, 1, 1)


def _finish(figure: Figure, axes: Axes, title: str, grid: str = "none") -> None:
    axes.spines[["top", "right"]].set_visible(False)
    if grid == "both":
        axes.grid(visible=True, which="major", color="#eeeeee", linewidth=0.6, zorder=0)
    figure.suptitle(title, fontsize=10, fontweight="bold", x=0.01, ha="left")
    figure.tight_layout(rect=(0, 0, 1, 0.97))


def _saved(figure: Figure, path: str | Path) -> Path:
    check_picture(path)
    with whole_file(path) as temporary:
        figure.savefig(temporary, format=Path(path).suffix.lower().removeprefix("."))
    return Path(path)
