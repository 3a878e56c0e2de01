"""The discrete-event engine: runs demands on simulated clock cycles and returns a trace.

Order inside a cycle: first every moment that is due retires (and every memory flow that is done
leaves), then the moments that waited only for these become ready, then ready moments are issued in
graph order. Retirements within one cycle commute, so the order in which SimPy delivers them makes
no difference; the issue phase runs once, after the last of them.
"""

from __future__ import annotations

from collections.abc import Sequence

from simulator.demand.types import Demand
from simulator.engine.columns import Columns
from simulator.engine.dataflow import Dataflow
from simulator.engine.folded import run_folded
from simulator.engine.places import Places
from simulator.engine.plan import FlatGraph, Plan
from simulator.engine.stream import Stream
from simulator.trace import Trace

__all__ = ["BlockedError", "FlatGraph", "Plan", "run", "run_folded"]


class BlockedError(RuntimeError):
    """The run cannot progress; the message names the moments that wait and for what."""


def run(graph: FlatGraph, demands: Sequence[Demand], plan: Plan) -> Trace:
    """Simulate; demands[i] belongs to moment i of the graph.

    Raises BlockedError when some moment can never be issued or retired. Not modelled: preemption,
    work that moves between cores after issue, write-after-read hazards.
    """
    columns = Columns(len(demands))
    if demands:
        _kind(plan)(graph, demands, plan, columns).run()
        if columns.left:
            raise BlockedError(_blocked_message(graph, columns))
    return Trace(
        clock_hz=plan.clock_hz,
        core_count=plan.core_count,
        cycles=max(columns.retired, default=0),
        in_order=plan.policy == "stream" and not plan.places,
        demands=demands,
        ready=columns.ready,
        dispatched=columns.dispatched,
        issued=columns.issued,
        retired=columns.retired,
        cores=columns.cores,
        dispatch_cycles=columns.dispatch_cycles,
        launch_cycles=plan.launch_cycles if plan.host == "asynchronous" else 0,
        places=plan.places,
        home=plan.home,
        readers=_readers(graph, plan),
    )


def _kind(plan: Plan) -> type[Stream | Dataflow | Places]:
    """The machine for a plan; Places takes all of them, the others are faster where they can."""
    if plan.places:
        return Places
    if plan.policy == "stream":
        return Stream
    return Places if plan.priority else Dataflow


def _readers(graph: FlatGraph, plan: Plan) -> dict[int, tuple[int, ...]]:
    """Which devices take in what each moment on a link brings."""
    found = {}
    for index, home in enumerate(plan.home):
        if plan.places[home].kind == "link":
            devices = {plan.places[plan.home[s]].device for s in graph.successors[index]}
            found[index] = tuple(sorted(devices))
    return found


def _blocked_message(graph: FlatGraph, columns: Columns) -> str:
    waiting = [i for i, cycle in enumerate(columns.retired) if cycle < 0]
    lines = []
    for i in waiting[:5]:
        if columns.issued[i] >= 0:
            reason = "its memory traffic never ends (no bandwidth left for it)"
        else:
            missing = [p for p in graph.predecessors[i] if columns.retired[p] < 0]
            reason = "waits for " + ", ".join(graph.name(p) for p in missing[:3])
            if not missing:
                reason = "no core ever became free"
        lines.append(f"{graph.name(i)}: {reason}")
    more = f"; and {len(waiting) - 5} more" if len(waiting) > 5 else ""
    return f"{len(waiting)} moments can never run: {'; '.join(lines)}{more}"
