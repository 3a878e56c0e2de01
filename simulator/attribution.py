"""Why each cycle was spent: every core in every cycle has one cause, and they add up exactly."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from simulator.demand.types import Cause
from simulator.idle import idle_on_devices

if TYPE_CHECKING:
    from collections.abc import Mapping

    from simulator.demand.types import Demand
    from simulator.trace import Trace

CAUSES: tuple[Cause, ...] = (
    "compute",
    "memory",
    "overlap",
    "latency",
    "packing",
    "page_faults",
    "load",
    "fork_join",
    "uneven",
    "link",
    "dispatch",
    "dependency",
)
"""compute: arithmetic at the sustained rate. memory: waiting for bytes, where these take longer
than the arithmetic. overlap: arithmetic and memory that do not overlap perfectly. latency: fixed
time of a kernel. packing: the library rearranges weights. page_faults: fresh memory from the
system. load: weights come in. fork_join: threads start and meet. uneven: cores without a work unit
while a moment runs. link: idle, the next moment waits for what goes over a link. dispatch: idle,
the next moment is not yet dispatched. dependency: idle, nothing is ready (a bubble, where there are
several devices)."""


@dataclass(frozen=True)
class CoreCycles:
    """Core-cycles (one core during one cycle) by cause; they add up to cores x cycles.

    `core_count`: of all devices together.
    """

    by_cause: Mapping[Cause, int]
    core_count: int
    cycles: int

    def latency_cycles(self) -> dict[Cause, int]:
        """The run's cycles divided among causes in proportion, in whole cycles that add up exactly.

        Whole cycles are given out first; those left over go to the largest remainders.
        """
        shares = {cause: divmod(n, self.core_count) for cause, n in self.by_cause.items()}
        result = {cause: whole for cause, (whole, _) in shares.items()}
        left = self.cycles - sum(result.values())
        order = sorted(shares, key=lambda cause: -shares[cause][1])  # stable: ties as in CAUSES
        for cause in order[:left]:
            result[cause] += 1
        return result


def attribute(trace: Trace) -> CoreCycles:
    """Core-cycles of the whole run by cause."""
    total: dict[Cause, int] = dict.fromkeys(CAUSES, 0)
    alike: dict[tuple[int, int, int], tuple[Demand, list[int]]] = {}  # and how many
    for index, count, demand, core_count, held in trace.spans():
        if trace.places and trace.on_link(index):
            continue
        alike.setdefault((id(demand), core_count, held), (demand, [0]))[1][0] += count
    for (_, core_count, held), (demand, (count,)) in alike.items():
        for cause, core_cycles in span_core_cycles(demand, core_count, held):
            total[cause] += core_cycles * count
    idle = idle_on_devices(trace) if trace.places else _idle(trace)
    for cause, core_cycles in idle:
        total[cause] += core_cycles
    return CoreCycles(total, trace.core_count * trace.device_count, trace.cycles)


def moment_core_cycles(trace: Trace, index: int) -> list[tuple[Cause, int]]:
    """Core-cycles that one moment held, by cause; they add up to its cores x its duration.

    On a link: its cycles, all of them in the name of the link.
    """
    held = trace.retired[index] - trace.issued[index]
    if trace.on_link(index):
        return [("link", held)]
    return span_core_cycles(trace.demands[index], len(trace.cores[index]), held)


def span_core_cycles(demand: Demand, cores: int, held: int) -> list[tuple[Cause, int]]:
    """As moment_core_cycles, of a moment that held so many cores for so many cycles."""
    found: list[tuple[Cause, int]] = [(cause, cores * n) for cause, n in demand.serial]
    body = held - demand.serial_cycles
    arithmetic = demand.arithmetic_cycles(cores)
    if body > arithmetic:
        found.append(("memory" if demand.memory_bytes else "latency", cores * body))
    else:
        useful = demand.units * demand.unit_cycles
        found.append(("compute", useful))
        found.append(("uneven", cores * body - useful))
    return found


def _idle(trace: Trace) -> list[tuple[Cause, int]]:
    """Core-cycles in which a core held no moment, by cause.

    In order, a core that is idle beside a running moment is one that the moment cannot use
    (`uneven`), and with nothing running the device waits for the host (`dispatch`). In dataflow
    order a core is idle because ready moments are not dispatched, or because nothing is ready.
    """
    if trace.in_order:
        return _idle_in_order(trace)
    found: list[tuple[Cause, int]] = []
    busy = waiting = 0
    for (now, busy_by, waiting_by), (then, *_) in pairwise(_changes(trace)):
        busy, waiting = busy + busy_by, waiting + waiting_by
        idle = (trace.core_count - busy) * (then - now)
        if idle:
            found.append(("dispatch" if waiting else "dependency", idle))
    return found


def _idle_in_order(trace: Trace) -> list[tuple[Cause, int]]:
    uneven, waited = 0, trace.cycles
    for span in trace.spans():
        uneven += (trace.core_count - span.core_count) * span.held * span.times
        waited -= span.held * span.times
    return [("uneven", uneven), ("dispatch", trace.core_count * waited)]


def _changes(trace: Trace) -> list[tuple[int, int, int]]:
    """(cycle, change of busy cores, change of moments that wait for the host), in order."""
    events: dict[int, list[int]] = {0: [0, 0], trace.cycles: [0, 0]}
    for i in range(len(trace)):
        cores = len(trace.cores[i])
        events.setdefault(trace.issued[i], [0, 0])[0] += cores
        events.setdefault(trace.retired[i], [0, 0])[0] -= cores
        if trace.dispatched[i] > trace.ready[i]:
            events.setdefault(trace.ready[i], [0, 0])[1] += 1
            events.setdefault(trace.dispatched[i], [0, 0])[1] -= 1
    return [(cycle, busy, waiting) for cycle, (busy, waiting) in sorted(events.items())]


@dataclass(frozen=True)
class CoreAccount:
    """Core-cycles of a run: computing, held without computing, holding no moment."""

    busy: int
    stalled: int
    idle: int


def core_account(trace: Trace) -> CoreAccount:
    """How the cores spent their time; the three add up to cores x cycles."""
    held = busy = 0
    for index, count, demand, core_count, cycles in trace.spans():
        if trace.on_link(index):
            continue
        held += core_count * cycles * count
        busy += demand.units * demand.unit_cycles * count
    total = trace.core_count * trace.device_count * trace.cycles
    return CoreAccount(busy, held - busy, total - held)
