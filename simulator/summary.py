"""A run on one screen: key figures, where each cycle went, stages, kinds, the longest moments."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from simulator.figures import MomentGroup, as_json, frame, groups
from simulator.look import (
    CAUSE_COLOURS,
    STAGE_COLOURS,
    amount_text,
    interval_text,
    request_text,
    seconds_text,
    share_text,
)
from workloads.moment import STAGES

if TYPE_CHECKING:
    from simulator.run import Run

__all__ = ["as_json", "frame", "summary"]

_BAR = 16
_TOP = 10
_PLAIN = "#999999"


def summary(run: Run) -> RenderableType:
    """The run for a terminal of 100 columns, in at most 50 lines."""
    total = run.cycles
    stages: dict[str, int] = {s: run.by_stage_cycles[s] for s in STAGES if s in run.by_stage_cycles}
    stage_colours: dict[str, str] = {stage: STAGE_COLOURS[stage] for stage in STAGES}
    kinds = dict(sorted(run.by_kind_cycles.items(), key=lambda item: -item[1])[:8])
    causes = dict(sorted(run.attribution.items(), key=lambda item: -item[1]))
    return Group(
        _title(run),
        "",
        _side_by_side(
            _section("result", _figures(run)),
            _section("where each cycle went", _bars(run, causes, CAUSE_COLOURS, total)),
        ),
        "",
        _side_by_side(
            _section("by stage", _bars(run, stages, stage_colours, total)),
            _section("by kind of moment", _bars(run, kinds, {}, total)),
        ),
        "",
        _side_by_side(
            _section("never faster than", _bounds(run)), _section("memory", _memory(run))
        ),
        "",
        _moments(run),
    )


def _title(run: Run) -> Text:
    text = Text()
    text.append(run.program.workload, style="bold")
    text.append(f"  {request_text(run.program)}  ({len(run.trace)} moments)\n")
    text.append(run.profile.title, style="bold")
    text.append(_devices(run))
    text.append(f"  {run.profile.cores.count} cores, {amount_text(run.trace.clock_hz, 'Hz')}, ")
    text.append(f"runtime {run.runtime.name}\n")
    text.append(f"latency {seconds_text(run.latency_s)} ", style="bold")
    text.append(f"(80 %: {interval_text(run.interval.low_s, run.interval.high_s)})")
    if run.interval.widened:
        text.append(f"  wider: {run.interval.reason}", style="dim")
    return text


def _devices(run: Run) -> str:
    """ " x 16 (tensor 8, pipeline 2)", nothing for one device."""
    layout = run.program.layout
    if layout.devices == 1:
        return ""
    ways = ("tensor", "pipeline", "data", "expert")
    used = [f"{way} {getattr(layout, way)}" for way in ways if getattr(layout, way) > 1]
    if layout.micro_batches > 1:
        used.append(f"{layout.micro_batches} micro-batches")
    return f" x {layout.devices} ({', '.join(used)})"


def _side_by_side(left: RenderableType, right: RenderableType) -> Table:
    grid = Table.grid(padding=(0, 3, 0, 0))
    grid.add_column(width=48)
    grid.add_row(left, right)
    return grid


def _section(title: str, body: RenderableType) -> Group:
    return Group(Text(title, style="bold cyan"), body)


def _pairs(rows: Iterable[tuple[str, str, str]]) -> Table:
    """Rows of a name, a figure and a remark."""
    grid = Table.grid(padding=(0, 1, 0, 0))
    grid.add_column()
    grid.add_column(justify="right", style="bold")
    grid.add_column(style="dim")
    for row in rows:
        grid.add_row(*row)
    return grid


def _figures(run: Run) -> Table:
    used = run.utilization
    rows = [("latency", seconds_text(run.latency_s), f"{run.cycles:,} cycles")]
    if run.ttft_s is not None:
        rows.append(("first token (TTFT)", seconds_text(run.ttft_s), ""))
    if run.tpot_s is not None:
        rows.append(("per next token (TPOT)", seconds_text(run.tpot_s), ""))
    rows.append(_rate(run))
    flops = run.program.matrix_flops / run.latency_s if run.latency_s else 0.0
    rows.append(("model FLOPs (MFU)", share_text(used["mfu"]), amount_text(flops, "FLOP/s")))
    level = run.profile.memory["dram"]
    moved = used["memory_bandwidth"] * level.bandwidth_bytes_per_s
    rows.append(
        ("memory bandwidth", share_text(used["memory_bandwidth"]), amount_text(moved, "B/s"))
    )
    rows.append(("cores busy", share_text(used["cores_busy"]), ""))
    if run.job.plan.host != "none":
        rows.append(("host busy", share_text(used["host"]), ""))
    rows.extend(_power(run))
    if run.trace.places:
        rows.append(("link busy", share_text(used["link"]), ""))
    return _pairs(rows)


def _power(run: Run) -> Iterable[tuple[str, str, str]]:
    """Energy, average power, and the clock where a limit of power lowered it."""
    report = run.power
    if report is None or not report.total_joules:
        return
    total, per_token = report.total_joules, report.total_joules / run.token_count
    remark = f"{report.average_watts:.0f} W, {per_token:.2g} J a token"
    yield ("energy (estimate)", f"{total:.3g} J", remark)
    most = max(report.joules, key=lambda cause: report.joules[cause])
    yield (f"most: {most}", share_text(report.joules[most] / total), "")
    if report.clock_share < 1:
        share = share_text(report.clock_share)
        yield ("limited clock", share, amount_text(run.trace.clock_hz, "Hz"))


def _rate(run: Run) -> tuple[str, str, str]:
    if run.tokens_per_s is not None:
        return ("tokens/s generated", f"{run.tokens_per_s:,.0f}", "")
    rate = run.token_count / run.latency_s if run.latency_s else 0.0
    return ("tokens/s read", f"{rate:,.0f}", "")


def _bars(
    run: Run, cycles: Mapping[str, int], colours: Mapping[str, str], total: int
) -> RenderableType:
    grid = Table.grid(padding=(0, 1, 0, 0))
    grid.add_column()
    grid.add_column(width=_BAR)
    grid.add_column(justify="right")
    grid.add_column(justify="right", style="dim")
    for name, count in cycles.items():
        colour = colours.get(name, _PLAIN)
        bar = ProgressBar(
            total=max(1, total),
            completed=count,
            width=_BAR,
            complete_style=colour,
            finished_style=colour,
        )
        share = share_text(count / total if total else 0.0)
        grid.add_row(name.replace("_", " "), bar, share, seconds_text(run.trace.seconds(count)))
    return grid


def _bounds(run: Run) -> Table:
    """Each lower bound, the highest first, and how far above it the result is."""
    found = sorted(run.bounds_s.items(), key=lambda item: -item[1])
    return _pairs(
        (
            name.replace("_", " "),
            seconds_text(bound),
            f"result is {run.latency_s / bound:.2f} x" if i == 0 else "",
        )
        for i, (name, bound) in enumerate(found)
        if bound
    )


def _memory(run: Run) -> Table:
    sizes = run.memory_bytes
    capacity = sizes["capacity"]
    rows = [
        (name.replace("_", " "), amount_text(sizes[name], "B"), "")
        for name in ("weights", "kv_cache", "activations")
        if sizes[name]
    ]
    part = f"{share_text(sizes['total'] / capacity)} of {amount_text(capacity, 'B')}"
    return _pairs([*rows, ("in all", amount_text(sizes["total"], "B"), part)])


def _moments(run: Run) -> Table:
    """The moments that took longest, layers and steps of a phase together."""
    found = groups(run)
    phases = {group.phase for group in found}
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="cyan")
    table.add_column("[bold]longest moments", no_wrap=True)
    table.add_column("stage")
    table.add_column("times", justify="right")
    table.add_column("each", justify="right")
    table.add_column("in all" if run.trace.in_order else "machine time", justify="right")
    table.add_column("of latency", justify="right")
    table.add_column("bound by")
    for group in found[:_TOP]:
        table.add_row(*_moment_row(run, group, with_phase=len(phases) > 1))
    if len(found) > _TOP:
        rest = found[_TOP:]
        count = f"{sum(group.count for group in rest):,}"
        total = sum(group.machine_cycles for group in rest)
        row = [f"{len(rest)} others", "", count, "", *_time_and_share(run, total), ""]
        table.add_row(*row, style="dim")
    return table


def _moment_row(run: Run, group: MomentGroup, *, with_phase: bool) -> list[RenderableType]:
    name = f"{group.phase} {group.name}" if with_phase else group.name
    colour = STAGE_COLOURS[group.stage]
    return [
        name,
        Text(group.stage.replace("_", " "), style=colour),
        f"{group.count:,}",
        seconds_text(group.each_cycles / run.trace.clock_hz),
        *_time_and_share(run, group.machine_cycles),
        group.bound.replace("_", " "),
    ]


def _time_and_share(run: Run, cycles: float) -> tuple[str, str]:
    share = share_text(cycles / run.cycles) if run.cycles else ""
    return seconds_text(cycles / run.trace.clock_hz), share
