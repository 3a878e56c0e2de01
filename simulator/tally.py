"""Moments of a run counted: those alike once, with how often they ran and how long they took."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from simulator.demand import Demand
    from simulator.machine import Job
    from simulator.memory import Traffic
    from simulator.trace import Trace
    from workloads.moment import Moment


@dataclass(slots=True)
class Tally:
    """`count` runs of one moment in the segments of that name, in passes of one phase.

    `index`: number of the first. All of them asked for the same and held `core_count` cores for
    `held` cycles. `elapsed`: cycles from the retirement before to that of each, added up.
    """

    phase: str
    segment: str
    moment: Moment
    traffic: Traffic
    demand: Demand
    index: int
    core_count: int
    held: int
    count: int = 0
    elapsed: int = 0


_Row = tuple[int, str, "Moment", "Traffic", "Demand", int, int, int, int, int]
"""Number of the pass, name of the segment, moment, traffic, demand; index, cores, cycles held,
count, cycles elapsed."""


def tallies(job: Job, trace: Trace) -> list[Tally]:
    """All moments of a run, in the order in which each kind of them first ran."""
    phases = [step.phase for step in job.program.passes]
    found: dict[tuple[object, ...], Tally] = {}
    for row in _stretches(trace) if trace.stretches else _moments(job, trace):
        step, segment, moment, traffic, demand, index, cores, held, count, elapsed = row
        phase = phases[step]
        key = (phase, segment, id(moment), id(demand), cores, held)
        tally = found.get(key)
        if tally is None:
            tally = Tally(phase, segment, moment, traffic, demand, index, cores, held)
            found[key] = tally
        tally.count += count
        tally.elapsed += elapsed
    return list(found.values())


def _stretches(trace: Trace) -> Iterator[_Row]:
    for stretch in trace.stretches:
        block, count = stretch.block, stretch.count
        step, segment = block.pass_index, block.segment
        columns = zip(
            segment.moments, block.traffic, block.demands, stretch.cores, stretch.held,
            stretch.elapsed, strict=True,
        )  # fmt: skip
        for index, (moment, traffic, demand, cores, held, elapsed) in enumerate(
            columns, stretch.first
        ):
            yield (step, segment.name, moment, traffic, demand, index, len(cores), held, count,
                   elapsed)  # fmt: skip


def _moments(job: Job, trace: Trace) -> Iterator[_Row]:
    elapsed, issued, retired = trace.elapsed(), trace.issued, trace.retired
    for instance in job.flat.instances:
        step, segment = instance.pass_index, instance.segment.name
        for index, moment in enumerate(instance.segment.moments, instance.first):
            held = retired[index] - issued[index]
            yield (step, segment, moment, job.traffic[index], job.demands[index], index,
                   len(trace.cores[index]), held, 1, elapsed[index])  # fmt: skip
