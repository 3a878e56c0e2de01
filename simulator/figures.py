"""The figures of a finished run as plain data: a table of moments, JSON, and groups of moments."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import exp
from typing import TYPE_CHECKING, Any

from simulator.attribution import CAUSES, moment_core_cycles
from simulator.footing import class_of
from simulator.intervals import moment_spread
from workloads.moment import STAGES, AttentionShape, CollectiveShape, ElementShape, MatmulShape

if TYPE_CHECKING:
    import pandas as pd

    from simulator.demand import Cause
    from simulator.run import Run
    from simulator.trace import Trace
    from workloads.moment import Kind, Moment, Shape, Stage


@dataclass(frozen=True, slots=True)
class MomentGroup:
    """The same moment of all layers and all passes of a phase.

    `each_cycles`: from issue to retirement, on average. `machine_cycles`: of all of them together,
    in dataflow order weighed by the part of the cores that they held. `bound`: the cause of most of
    their core-cycles.
    """

    phase: str
    name: str
    kind: Kind
    stage: Stage
    count: int
    each_cycles: float
    machine_cycles: float
    bound: Cause


class Causes:
    """Core-cycles of moments by cause, computed once for moments that ran alike."""

    def __init__(self, trace: Trace) -> None:
        self._trace = trace
        self._known: dict[tuple[int, int, int], list[tuple[Cause, int]]] = {}

    def split(self, index: int) -> list[tuple[Cause, int]]:
        """As simulator.attribution.moment_core_cycles, each cause once, zeros left out."""
        trace = self._trace
        held = trace.retired[index] - trace.issued[index]
        key = (id(trace.demands[index]), len(trace.cores[index]), held)
        found = self._known.get(key)
        if found is None:
            total: dict[Cause, int] = {}
            for cause, cycles in moment_core_cycles(trace, index):
                if cycles:
                    total[cause] = total.get(cause, 0) + cycles
            found = self._known[key] = list(total.items())
        return found

    def bound(self, index: int) -> Cause:
        """The cause of most of a moment's core-cycles."""
        return largest(self.split(index))


def largest(split: Sequence[tuple[Cause, int]]) -> Cause:
    """The cause with most cycles; among equals the first in the order of CAUSES."""
    return max(split, key=lambda entry: (entry[1], -CAUSES.index(entry[0])))[0]


def shape_text(shape: Shape) -> str:
    """A shape for people: "12 x (8 x 64)(64 x 8)"."""
    if isinstance(shape, MatmulShape):
        times = f"{shape.batch} x " if shape.batch > 1 else ""
        return f"{times}({shape.m} x {shape.k})({shape.k} x {shape.n})"
    if isinstance(shape, AttentionShape):
        keys = f"/{shape.kv_heads}" if shape.kv_heads != shape.heads else ""
        kind = ", causal" if shape.causal else ""
        heads = f"{shape.batch} x {shape.heads}{keys} heads of {shape.head_dim}"
        return f"{heads}, {shape.q_len} on {shape.kv_len}{kind}"
    if isinstance(shape, ElementShape):
        return str(shape.elements)
    if isinstance(shape, CollectiveShape):
        nodes = f" on {shape.nodes} nodes" if shape.nodes > 1 else ""
        return f"{shape.bytes} bytes, {shape.ranks} ranks{nodes}"
    return f"{shape.rows} x {shape.columns}"


def frame(run: Run) -> pd.DataFrame:
    """One row a moment, in graph order.

    `ready`, `dispatched`, `issued`, `retired` are device cycles; `start_s` and `duration_s` the
    time from issue to retirement, with its interval (simulator.intervals); `dispatch_s` what the
    host spent on it; `dram_bytes` what passes the memory after the caches; `cores` how many it
    held; `bound` the cause of most of its time.
    """
    import pandas as pd

    return pd.DataFrame.from_records(list(_rows(run)), columns=list(_COLUMNS))


_COLUMNS = (
    *("name", "pass", "segment", "kind", "stage", "dtype", "shape"),
    *("macs", "vector_ops", "special_ops", "read_bytes", "write_bytes", "dram_bytes"),
    *("ready", "dispatched", "issued", "retired", "start_s", "duration_s"),
    *("duration_low_s", "duration_high_s", "dispatch_s"),
    *("cores", "bound"),
)


def _rows(run: Run) -> Iterator[tuple[Any, ...]]:
    trace, traffic = run.trace, run.job.traffic
    causes = Causes(trace)
    spread = moment_spread(run)
    facts: dict[int, tuple[Any, ...]] = {}
    for instance in run.job.flat.instances:
        where = instance.prefix.rstrip("/").split("/", 1)
        for index, moment in enumerate(instance.segment.moments, instance.first):
            fixed = facts.get(id(moment))
            if fixed is None:
                fixed = facts[id(moment)] = _facts(moment)
            issued, retired = trace.issued[index], trace.retired[index]
            far = exp(spread[class_of(moment, run.profile)])
            duration_s = trace.seconds(retired - issued)
            yield (
                *(instance.prefix + moment.name, *where, *fixed, traffic[index].dram_bytes),
                *(trace.ready[index], trace.dispatched[index], issued, retired),
                *(trace.seconds(issued), duration_s, duration_s / far, duration_s * far),
                trace.seconds(trace.dispatch_cycles[index]),
                *(len(trace.cores[index]), causes.bound(index)),
            )


def _facts(moment: Moment) -> tuple[Any, ...]:
    counts = moment.counts
    return (
        *(moment.kind, moment.stage, moment.dtype, shape_text(moment.shape)),
        *(counts.macs, counts.vector_ops, counts.special_ops),
        *(moment.read_bytes, moment.write_bytes),
    )


def as_json(run: Run, notes: Sequence[str] = ()) -> dict[str, Any]:
    """The run's figures as plain JSON types, seconds in keys that end in _s.

    `attribution_s`, `by_stage_s` and `by_kind_s` each add up to `latency_s`. `latency_low_s` to
    `latency_high_s` is the interval of simulator.intervals, and `interval_widened` why it is wider
    than usual. `ttft_s`, `tpot_s` and `tokens_per_s` are null where no token is generated; `power`
    is null where nothing is known of the machine's. `notes`: assumptions to tell a reader,
    followed by the profile's own.
    """
    first = run.program.passes[0]
    own = [run.profile.notes] if run.profile.notes else []
    return {
        "workload": run.program.workload,
        "hardware": run.profile.name,
        "runtime": run.runtime.name,
        "dtype": run.program.dtype,
        "batch": run.program.batch,
        "tokens": first.tokens,
        "context": first.context,
        "passes": len(run.program.passes),
        "devices": run.program.layout.devices,
        "parallel": dataclasses.asdict(run.program.layout),
        "latency_s": run.latency_s,
        "latency_low_s": run.interval.low_s,
        "latency_high_s": run.interval.high_s,
        "interval_widened": list(run.interval.widened),
        "ttft_s": run.ttft_s,
        "tpot_s": run.tpot_s,
        "tokens_per_s": run.tokens_per_s,
        "cycles": run.cycles,
        "clock_hz": run.trace.clock_hz,
        "moments": len(run.trace),
        "matrix_flops": run.program.matrix_flops,
        "utilization": dict(run.utilization),
        "attribution_s": _seconds(run, dict.fromkeys(CAUSES, 0) | run.attribution),
        "by_stage_s": _seconds(run, dict.fromkeys(STAGES, 0) | run.by_stage_cycles),
        "by_kind_s": _seconds(run, run.by_kind_cycles),
        "bounds_s": dict(run.bounds_s),
        "memory_bytes": dict(run.memory_bytes),
        "power": _power(run),
        "notes": [*notes, *own],
    }


def _power(run: Run) -> dict[str, Any] | None:
    """Energy by cause, of the run and of a token (read where none is generated), average power."""
    report = run.power
    if report is None:
        return None
    return {
        "joules": dict(report.joules),
        "total_joules": report.total_joules,
        "joules_per_token": report.total_joules / run.token_count,
        "average_watts": report.average_watts,
        "clock_share": report.clock_share,
        "source": report.source,
    }


def _seconds(run: Run, cycles: dict[Any, int]) -> dict[str, float]:
    return {name: run.trace.seconds(count) for name, count in cycles.items()}


def groups(run: Run) -> list[MomentGroup]:
    """All moments by phase, segment and name, the group that took longest first."""
    trace = run.trace
    found: dict[tuple[str, str, str], tuple[Moment, list[int], dict[Cause, int]]] = {}
    for tally in run.tallies:
        moment, asked = tally.moment, tally.asked
        key = (tally.phase, tally.segment, moment.name)
        _, totals, by_cause = found.setdefault(key, (moment, [0, 0, 0], {}))
        totals[0] += tally.count
        totals[1] += asked.held
        totals[2] += asked.held if trace.in_order else asked.held_core_cycles
        for cause, cycles in tally.by_cause().items():
            by_cause[cause] = by_cause.get(cause, 0) + cycles
    width = 1 if trace.in_order else trace.core_count
    result = [
        MomentGroup(
            *(phase, f"{segment}/{name}", moment.kind, moment.stage),
            *(count, held / count, machine / width, largest(list(by_cause.items()))),
        )
        for (phase, segment, name), (moment, (count, held, machine), by_cause) in found.items()
    ]
    return sorted(result, key=lambda group: -group.machine_cycles)
