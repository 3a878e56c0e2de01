"""Moments of a run counted: those alike once, with what they did and how long they took in all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from simulator.attribution import span_core_cycles
from simulator.trace import StepStretch
from workloads.growing import compiled, total
from workloads.moment import CollectiveShape, OperationCounts
from workloads.passes import counted

if TYPE_CHECKING:
    from simulator.demand import Cause, Demand
    from simulator.machine import Job
    from simulator.trace import SpanRow, Stretch, Trace
    from workloads.moment import Moment


@dataclass(slots=True)
class Asked:
    """What moments asked for and held, added up; see Demand.

    `core_cycles`: of arithmetic and of what follows it serially. `held`: cycles from issue to
    retirement, `held_core_cycles`: times the cores of each.
    """

    core_cycles: int = 0
    memory_bytes: int = 0
    dispatch_cycles: int = 0
    held: int = 0
    held_core_cycles: int = 0

    def add(self, times: int, demand: Demand, cores: int, held: int) -> None:
        self.core_cycles += times * (demand.units * demand.unit_cycles + demand.serial_cycles)
        self.memory_bytes += times * demand.memory_bytes
        self.dispatch_cycles += times * demand.dispatch_cycles
        self.held += times * held
        self.held_core_cycles += times * cores * held

    def add_all(self, times: int, other: Asked) -> None:
        self.core_cycles += times * other.core_cycles
        self.memory_bytes += times * other.memory_bytes
        self.dispatch_cycles += times * other.dispatch_cycles
        self.held += times * other.held
        self.held_core_cycles += times * other.held_core_cycles


_Span = tuple[int, "Demand", int, int]
"""How often, what it asked for, how many cores it held, for how many cycles."""


@dataclass(slots=True)
class Tally:
    """All runs of a moment of that name in the segments of one name, in passes of one phase.

    `moment`: the first of them; all have its kind, stage and types. `counts` and `bytes_by_level`
    (nearest cache first, then DRAM) and `asked` are those of all together. `elapsed`: cycles from
    the retirement before to that of each, added up.
    """

    phase: str
    segment: str
    moment: Moment
    bytes_by_level: list[int]
    count: int = 0
    asked: Asked = field(default_factory=Asked)
    elapsed: int = 0
    _counts: list[int] = field(default_factory=lambda: [0, 0, 0])
    _timed: dict[float, int] = field(default_factory=dict)
    _spans: list[_Span | tuple[int, SpanRow]] = field(default_factory=list)

    @property
    def dtype(self) -> str:
        return self.moment.dtype

    @property
    def counts(self) -> OperationCounts:
        return OperationCounts(*self._counts)

    @property
    def dram_bytes(self) -> int:
        return self.bytes_by_level[-1]

    @property
    def timed_macs(self) -> float:
        """Multiply-accumulates that take time, see simulator.demand.Context.timed_macs."""
        return sum(macs * times for macs, times in self._timed.items())

    def by_cause(self) -> dict[Cause, int]:
        """Core-cycles held by cause, in the order in which causes were met, no zeros."""
        found: dict[Cause, int] = {}
        if isinstance(self.moment.shape, CollectiveShape):
            return {"link": self.asked.held}  # it held no core
        for times, demand, cores, held in self._every_span():
            for cause, core_cycles in span_core_cycles(demand, cores, held):
                if core_cycles:
                    found[cause] = found.get(cause, 0) + times * core_cycles
        return found

    def _every_span(self) -> Iterator[_Span]:
        for span in self._spans:
            if len(span) == 4:
                yield span
                continue
            times, row = span
            for demand, cores, held in changing(row):
                yield times, demand, len(cores), held

    def add(
        self, row: _Row, timed: Callable[[Moment], float], asked: Callable[[SpanRow], Asked]
    ) -> None:
        """One more row: moments that were alike, or one that changed from pass to pass.

        `asked`: in all passes together, by one instance of such a moment.
        """
        moment, by_level, span, steps, elapsed = row
        if len(span) == 4:
            times = span[0]
            self.asked.add(*span)
        else:
            times = span[0] * len(steps)
            self.asked.add_all(span[0], asked(span[1]))
        each = times // len(steps)
        self._spans.append(span)
        self.count += times
        self.elapsed += elapsed
        own = moment.counts
        macs = each * total(own.macs, steps)
        self._counts[0] += macs
        self._counts[1] += each * total(own.vector_ops, steps)
        self._counts[2] += each * total(own.special_ops, steps)
        for level, moved in enumerate(by_level):
            self.bytes_by_level[level] += each * total(moved, steps)
        if moment.sparsity is None:
            self._timed[1] = self._timed.get(1, 0) + macs
            return
        at = compiled(moment)
        made = [moment] * len(steps) if at is None else map(at, steps)
        for value in map(timed, made):
            self._timed[value] = self._timed.get(value, 0) + each


def changing(row: SpanRow) -> Iterator[tuple[Demand, tuple[int, ...], int]]:
    """Demand, cores and cycles held in one pass after another."""
    columns: Any = (row.demand, row.cores, row.held)
    return zip(*columns, strict=True)


_ONCE = range(1)
_Row = tuple["Moment", tuple[int, ...], "_Span | tuple[int, SpanRow]", range, int]
"""A moment and its bytes by level, both perhaps with numbers that grow from step to step; how often
it ran how; in which steps (of a pass by itself: one); cycles elapsed, in all."""


def tallies(job: Job, trace: Trace, timed: Callable[[Moment], float]) -> list[Tally]:
    """All moments of a run, in the order in which each kind of them first ran.

    `timed`: multiply-accumulates of a moment that take time, where some weights are zero.
    """
    phases = [step.phase for step, count in counted(job.program.passes) for _ in range(count)]
    known: dict[int, Asked] = {}

    def asked(row: SpanRow) -> Asked:
        totals = known.get(id(row.demand))
        if totals is None:
            totals = known[id(row.demand)] = Asked()
            for demand, cores, held in changing(row):
                totals.add(1, demand, len(cores), held)
        return totals

    found: dict[tuple[object, ...], Tally] = {}
    for pass_index, segment, row in _rows(trace) if trace.stretches else _moments(job, trace):
        moment, phase = row[0], phases[pass_index]
        key = (phase, segment, moment.name, moment.kind, moment.stage, moment.dtype)
        tally = found.get(key)
        if tally is None:
            tally = found[key] = Tally(phase, segment, moment, [0] * len(row[1]))
        tally.add(row, timed, asked)
    return list(found.values())


def _rows(trace: Trace) -> Iterator[tuple[int, str, _Row]]:
    for stretch in trace.stretches:
        if isinstance(stretch, StepStretch):
            yield from _rows_of_steps(stretch)
        else:
            yield from _rows_of_stretch(stretch)


def _rows_of_stretch(stretch: Stretch) -> Iterator[tuple[int, str, _Row]]:
    block, count = stretch.block, stretch.count
    step, segment = block.pass_index, block.segment
    columns = zip(
        segment.moments, block.traffic, block.demands, stretch.cores, stretch.held,
        stretch.elapsed, strict=True,
    )  # fmt: skip
    for moment, traffic, demand, cores, held, elapsed in columns:
        span = (count, demand, len(cores), held)
        yield step, segment.name, (moment, traffic.by_level, span, _ONCE, elapsed)


def _rows_of_steps(stretch: StepStretch) -> Iterator[tuple[int, str, _Row]]:
    steps = range(stretch.block.low, stretch.block.low + stretch.count)
    for row in stretch.rows:
        block, at = row.block, row.position
        moment, by_level = block.segment.moments[at], block.traffic[at].by_level
        span: Any = (block.count, row)
        if not isinstance(row.held, list):
            span = (len(steps) * block.count, row.demand, len(row.cores), row.held)
        pass_index = stretch.block.pass_index
        yield pass_index, block.segment.name, (moment, by_level, span, steps, row.elapsed)


def _moments(job: Job, trace: Trace) -> Iterator[tuple[int, str, _Row]]:
    """As of stretches, those moments together that are the same and ran alike."""
    elapsed, issued, retired = trace.elapsed(), trace.issued, trace.retired
    phases = [step.phase for step, count in counted(job.program.passes) for _ in range(count)]
    alike: dict[tuple[object, ...], list[Any]] = {}
    for instance in job.flat.instances:
        step, segment = instance.pass_index, instance.segment.name
        for index, moment in enumerate(instance.segment.moments, instance.first):
            held, cores, demand = (
                retired[index] - issued[index],
                trace.cores[index],
                job.demands[index],
            )
            key = (phases[step], segment, id(moment), id(demand), len(cores), held)
            known = alike.get(key)
            if known is None:
                traffic = job.traffic[index]
                known = alike[key] = [
                    step,
                    segment,
                    moment,
                    traffic,
                    demand,
                    len(cores),
                    held,
                    0,
                    0,
                ]
            known[7] += 1
            known[8] += elapsed[index]
    for step, segment, moment, traffic, demand, cores, held, count, took in alike.values():
        yield step, segment, (moment, traffic.by_level, (count, demand, cores, held), _ONCE, took)
