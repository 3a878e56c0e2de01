"""Tables and JSON of why: sensitivities with the critical path, and a difference by its parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from simulator.look import request_text, seconds_text, share_text

if TYPE_CHECKING:
    from simulator.explain.critical_path import CriticalPath
    from simulator.explain.difference import Difference
    from simulator.explain.elasticity import Sensitivity
    from simulator.explain.policies import PolicyRun
    from simulator.explain.roofline import Roofline
    from simulator.run import Run

_MATTERS = 0.0005
"""Elasticities and swings below it are one line together."""

_WAITS = {
    "dependency": "a moment before them",
    "dispatch": "their dispatch",
    "cores": "cores, a link or their turn",
    "start": "nothing: the start",
}


def sensitivity_table(run: Run, found: Sequence[Sensitivity], path: CriticalPath) -> RenderableType:
    """What each parameter is to the latency, then the critical path by stage and kind."""
    title = Text(f"{run.program.workload}  ", style="bold")
    title.append(f"{request_text(run.program)}, runtime {run.runtime.name}\n", style="default")
    title.append(f"{run.profile.title}: {seconds_text(run.latency_s)}")
    base = run.latency_s
    shown = [s for s in found if _matters(s, base)]
    idle = [s.parameter.name for s in found if not _matters(s, base)]
    lines: list[RenderableType] = [title, "", _sensitivities(shown, base)]
    if idle:
        lines.append(Text(f"without effect: {', '.join(idle)}", style="dim"))
    return Group(*lines, "", *_path_lines(run, path))


def _matters(one: Sensitivity, base: float) -> bool:
    return max(abs(one.elasticity), one.swing_s / base, abs(one.limit_s / base - 1)) >= _MATTERS


def _sensitivities(found: Sequence[Sensitivity], base: float) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="cyan")
    table.add_column("parameter")
    for heading in ("% per %", "half of it", "twice of it", "break-even", "without end"):
        table.add_column(heading, justify="right")
    table.add_column("what is left then")
    for one in found:
        table.add_row(
            one.parameter.name,
            f"{one.elasticity:+.3f}",
            _change(one.halved_s, base, one.halved_factor, 0.5),
            _change(one.doubled_s, base, one.doubled_factor, 2.0),
            "-" if one.break_even is None else f"x{one.break_even:.3g}",
            seconds_text(one.limit_s),
            f"{one.limit_cause} {one.limit_share:.0%}",
        )
    return table


def _change(latency: float, base: float, factor: float, meant: float) -> str:
    at = "" if factor == meant else f" (x{factor:g})"
    return f"{latency / base - 1:+.1%}{at}"


def _path_lines(run: Run, path: CriticalPath) -> list[RenderableType]:
    count = f"{path.moment_count} of {len(run.trace)} moments are on it"
    heading = Text("critical path", style="bold cyan")
    heading.append(f"  {count}", style="default")
    waits = {_WAITS[name]: cycles for name, cycles in path.by_wait.items()}
    return [
        heading,
        f"by stage: {_shares(path.by_stage, run.cycles)}",
        f"by kind: {_shares(dict(list(path.by_kind.items())[:8]), run.cycles)}",
        f"its steps waited for: {_shares(waits, run.cycles)}",
    ]


def _shares(cycles: Mapping[str, int], total: int) -> str:
    return ", ".join(
        f"{name.replace('_', ' ')} {share_text(n / total)}" for name, n in cycles.items() if n
    )


def policy_table(found: Sequence[PolicyRun]) -> RenderableType:
    """A row for each policy, with the bounds of its moments beside."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="cyan")
    table.add_column("policy")
    for heading in ("latency", "against", "never below", "at once", "list schedules at most"):
        table.add_column(heading, justify="right")
    base = found[0].run.latency_s
    for one in found:
        bounds, seconds = one.bounds, one.run.trace.seconds
        graham = "-"
        if bounds.of_list:
            graham = seconds_text(seconds(bounds.graham_cycles)) + ("" if bounds.holds else " (*)")
        table.add_row(
            one.name or "as the runtime does",
            seconds_text(one.run.latency_s),
            f"{one.run.latency_s / base - 1:+.1%}",
            seconds_text(seconds(bounds.lower_cycles)),
            str(bounds.at_once),
            graham,
        )
    lines: list[RenderableType] = [Text("policies", style="bold cyan"), table]
    if any(one.bounds.of_list and not one.bounds.holds for one in found):
        lines.append(
            Text(
                "(*) Graham's bound, work / m + (1 - 1/m) critical path; no guarantee "
                "here, where moments share the memory or wait for a host",
                style="dim",
            )
        )
    return Group(*lines)


def policy_json(found: Sequence[PolicyRun]) -> list[dict[str, Any]]:
    """All of it as plain data."""
    return [
        {
            "policy": one.name,
            "latency_s": one.run.latency_s,
            "cycles": one.run.cycles,
            "lower_cycles": one.bounds.lower_cycles,
            "graham_cycles": one.bounds.graham_cycles,
            "graham_holds": one.bounds.holds,
            "list_schedule": one.bounds.of_list,
            "at_once": one.bounds.at_once,
        }
        for one in found
    ]


def sensitivity_json(
    run: Run, found: Sequence[Sensitivity], path: CriticalPath, points: Roofline, notes: list[str]
) -> dict[str, Any]:
    """All of it as plain data; `critical_path` in cycles that add up to `cycles`."""
    return {
        "workload": run.program.workload,
        "hardware": run.profile.name,
        "runtime": run.runtime.name,
        "latency_s": run.latency_s,
        "cycles": run.cycles,
        "clock_hz": run.trace.clock_hz,
        "parameters": [
            {
                "name": s.parameter.name,
                "key": s.parameter.key,
                "elasticity": s.elasticity,
                "halved_factor": s.halved_factor,
                "halved_s": s.halved_s,
                "doubled_factor": s.doubled_factor,
                "doubled_s": s.doubled_s,
                "break_even_factor": s.break_even,
                "limit_factor": s.limit_factor,
                "limit_s": s.limit_s,
                "limit_cause": s.limit_cause,
                "limit_share": s.limit_share,
            }
            for s in found
        ],
        "critical_path": {
            "moments": path.moment_count,
            "by_stage_cycles": path.by_stage,
            "by_kind_cycles": path.by_kind,
            "by_wait_cycles": path.by_wait,
        },
        "roofline": {
            "flops_per_s": points.roofs.flops_per_s,
            "bytes_per_s": points.roofs.bytes_per_s,
            "points": [
                {
                    "name": p.name,
                    "kind": p.kind,
                    "stage": p.stage,
                    "count": p.count,
                    "intensity": p.intensity,
                    "flops_per_s": p.flops_per_s,
                    "time_share": p.time_share,
                }
                for p in points.points
            ],
        },
        "notes": notes,
    }


def difference_table(found: Difference) -> RenderableType:
    """A row for each group of tables, from A's latency to B's; the picoseconds add up."""
    first, second = found.sides
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="cyan")
    table.add_column("what is taken over")
    for heading in ("contributes", "ps", "of the change", "alone", "as the last"):
        table.add_column(heading, justify="right")
    table.add_row(first, seconds_text(float(found.before_s)), f"{found.before_ps:,}", "", "", "")
    total = found.after_s - found.before_s
    for part in found.parts:
        share = f"{float(part.value_s / total):.1%}" if total else "-"
        table.add_row(part.name, _signed(float(part.value_s)), f"{part.shown_ps:+,}", share,
                      _signed(float(part.alone_s)), _signed(float(part.last_s)))  # fmt: skip
    table.add_row(second, seconds_text(float(found.after_s)), f"{found.after_ps:,}", "", "", "")
    quotient = float(found.before_s / found.after_s)
    speed = (
        f"{quotient:.3g} times as fast" if quotient >= 1 else f"{1 / quotient:.3g} times as slow"
    )
    title = Text(f"{found.workload}: {second} is {speed} as {first}", style="bold")
    foot = f"Shapley values of {found.simulations} simulated hybrids; they add up exactly"
    return Group(title, "", table, "", Text(foot, style="dim"))


def _signed(seconds: float) -> str:
    if not seconds:
        return "0 s"
    return f"{'-' if seconds < 0 else '+'}{seconds_text(abs(seconds))}"


def difference_json(found: Difference) -> dict[str, Any]:
    """All of it as plain data; `_ps` are whole picoseconds that add up."""
    return {
        "workload": found.workload,
        "hardware": list(found.names),
        "runtimes": list(found.runtimes),
        "before_s": float(found.before_s),
        "after_s": float(found.after_s),
        "before_ps": found.before_ps,
        "after_ps": found.after_ps,
        "parts": [
            {
                "name": part.name,
                "value_s": float(part.value_s),
                "value_ps": part.shown_ps,
                "alone_s": float(part.alone_s),
                "last_s": float(part.last_s),
            }
            for part in found.parts
        ],
        "simulations": found.simulations,
        "notes": list(found.notes),
    }
