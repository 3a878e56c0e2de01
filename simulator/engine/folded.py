"""One device in order, many instances of a segment at a time: the recurrence that Stream follows.

In order a moment is issued when the one before it has retired or when its dispatch arrives,
whichever is later. An instance is followed moment by moment; the next ones are replayed where it is
sure that each of their moments waits for the same of the two:

- Nothing waits for the host. Device and host then both advance evenly, so the slack of a dispatch
  grows or shrinks evenly, and it is enough that the last instance has some.
- Some moments wait for the host, which waits for nothing. A moment that does is issued when its
  dispatch arrives, and those behind it follow without a gap. The time between two dispatches is the
  same in every instance up to the rounding to device cycles, which is at most one; where that one
  cycle could matter nothing is replayed.
- The host waits for the device after each moment (synchronous), and an instance takes whole cycles
  of both clocks.

Everything else (a full queue, the first instances of a repeat, a token waited for) is followed
moment by moment.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate

from simulator.demand.types import Demand
from simulator.engine.lazy import lazy_trace
from simulator.engine.plan import Plan
from simulator.fold import Block
from simulator.sharing import RATE_ONE
from simulator.trace import Stretch, Trace
from workloads.moment import Segment


def run_folded(blocks: Sequence[Block], plan: Plan) -> Trace | None:
    """The trace that simulator.engine.run gives for the same program, in the same cycles.

    None where the plan is not that of one device in order, or a moment can never retire.
    """
    if plan.policy != "stream" or plan.places or not blocks:
        return None
    line = _Line(plan, blocks)
    for block in blocks:
        if not line.follow(block):
            return None
    return lazy_trace(plan, line.stretches, line.now)


@dataclass(frozen=True, slots=True)
class _Edges:
    """What the moments of a segment wait for; see Stretch.sources. `imports` of those with -1."""

    sources: tuple[int, ...]
    imports: tuple[tuple[int, tuple[str, ...]], ...]
    exports: tuple[tuple[str, int], ...]


def _edges_of(segment: Segment, wanted: set[str]) -> _Edges:
    sources = [-1] * len(segment.moments)
    for producer, consumer in segment.edges:  # in order the latest one is the last to retire
        sources[consumer] = max(sources[consumer], producer)
    imports: dict[int, list[str]] = {}
    for name, position in segment.imports:
        if sources[position] < 0:
            imports.setdefault(position, []).append(name)
            writer = segment.exports.get(name)
            if writer is not None:
                sources[position] = min(sources[position], -2 - writer)
    exports = tuple((name, at) for name, at in segment.exports.items() if name in wanted)
    return _Edges(tuple(sources), tuple((at, tuple(n)) for at, n in imports.items()), exports)


@dataclass(slots=True)
class _Followed:
    """One instance followed moment by moment, in cycles of the device and of the host."""

    started: list[int]
    dispatched: list[int]
    retired: list[int]
    waits: list[bool]
    """Whether each moment was issued when its dispatch arrived, after the device was free."""


@dataclass(frozen=True, slots=True)
class _Work:
    """A block, with what the engine knows of its moments by position."""

    block: Block
    edges: _Edges
    held: list[int]
    cores: list[tuple[int, ...]]
    spent: list[int]


class _Line:
    """Device and host while blocks are followed."""

    def __init__(self, plan: Plan, blocks: Sequence[Block]) -> None:
        self.now = 0
        self.stretches: list[Stretch] = []
        self._host_now = 0
        self._plan = plan
        self._hosted, self._synchronous = plan.host != "none", plan.host == "synchronous"
        self._launch = 0 if self._synchronous else plan.launch_cycles
        self._waits = sorted(plan.waits_before)
        self._waited_at = 0  # number of the last moment before which the host waited for all
        self._firsts: list[int] = []
        self._written: dict[str, int] = {}
        self._wanted = {name for b in blocks for name, _ in b.segment.imports}
        self._edges: dict[int, _Edges] = {}
        self._known: dict[int, tuple[int, tuple[int, ...]]] = {}

    def follow(self, block: Block) -> bool:
        """Run the instances of a block; False where one of its moments can never retire."""
        edges = self._edges.get(id(block.segment))
        if edges is None:
            edges = self._edges[id(block.segment)] = _edges_of(block.segment, self._wanted)
        held, cores = self._alone(block.demands)
        if -1 in held:
            return False
        work = _Work(block, edges, held, cores, [d.dispatch_cycles for d in block.demands])
        done, before = 0, None
        while done < block.count:
            first, left = block.first + done * block.width, block.count - done
            count = self._replay_busy(work, first, left)
            if not count and before is not None:
                count = self._replay_waiting(work, first, left, before)
            if not count:
                begun = self.now
                before = self._instance(first, work)
                count = left if self._repeats(begun) else 1
                self._keep_followed(work, first, count, begun, before)
            done += count
        return True

    def _alone(self, demands: Sequence[Demand]) -> tuple[list[int], list[tuple[int, ...]]]:
        held, cores = [], []
        for demand in demands:
            known = self._known.get(id(demand))
            if known is None:
                known = self._known[id(demand)] = alone(demand, self._plan)
            held.append(known[0])
            cores.append(known[1])
        return held, cores

    def _instance(self, first: int, work: _Work) -> _Followed:
        """Follow one instance, moment by moment."""
        plan = self._plan
        device_hz, host_hz, launch = plan.clock_hz, plan.host_clock_hz, self._launch
        now, host_now = self.now, self._host_now
        found = _Followed([], [], [], [])
        for index, (cycles, dispatch) in enumerate(zip(work.held, work.spent, strict=True), first):
            not_before = 0
            if self._synchronous:
                not_before = now
            elif index in plan.waits_before:
                not_before = now
                self._waited_at = index
            elif index - plan.queue_depth >= self._waited_at:
                not_before = self._retired(index - plan.queue_depth, first, found)
            host_now = max(host_now, -(-not_before * host_hz // device_hz))
            found.started.append(host_now)
            host_now += dispatch
            found.dispatched.append(host_now)
            arrived = -(-host_now * device_hz // host_hz) + launch
            found.waits.append(arrived > now)
            now = max(now, arrived) + cycles
            found.retired.append(now)
        self.now, self._host_now = now, host_now
        return found

    def _retired(self, index: int, first: int, found: _Followed) -> int:
        """When an earlier moment retired, of this instance or of an earlier stretch."""
        if index >= first:
            return found.retired[index - first]
        stretch = self.stretches[bisect_right(self._firsts, index) - 1]
        k, j = divmod(index - stretch.first, stretch.width)
        late = self._converted(stretch.anchor[j] + k * stretch.host_period)
        return stretch.retired[j] + k * stretch.period + late

    def _repeats(self, begun: int) -> bool:
        """Whether after an instance that began then a synchronous host sees the same again."""
        plan = self._plan
        return self._synchronous and (self.now - begun) * plan.host_clock_hz % plan.clock_hz == 0

    def _keep_followed(
        self, work: _Work, first: int, count: int, begun: int, found: _Followed
    ) -> None:
        period = self.now - begun
        host_period = period * self._plan.host_clock_hz // self._plan.clock_hz if count > 1 else 0
        spent = [self._converted(n) for n in found.dispatched]
        spent = [n - self._converted(m) for n, m in zip(spent, found.started, strict=True)]
        before = [begun, *found.retired]
        self._keep(
            work, first, count,
            retired=found.retired, period=period,
            started=found.started, dispatched=found.dispatched, dispatch_period=host_period,
            elapsed=[count * (b - a) for a, b in zip(before, found.retired, strict=False)],
            host_cycles=count * sum(spent),
        )  # fmt: skip
        self.now += (count - 1) * period
        self._host_now += (count - 1) * host_period

    def _free(self, first: int, width: int, left: int) -> int:
        """How many instances from moment `first` on an asynchronous host need not wait in."""
        free = self._waited_at + self._plan.queue_depth - first
        at = bisect_left(self._waits, first)
        if at < len(self._waits):
            free = min(free, self._waits[at] - first)
        return max(0, min(left, free // width))

    def _replay_busy(self, work: _Work, first: int, left: int) -> int:
        """Instances in which nothing waits for the host; how many, perhaps 0."""
        retired = list(accumulate(work.held, initial=self.now))
        period = retired[-1] - self.now
        if not self._hosted:
            count, dispatched = left, [0] * len(retired)
        elif self._synchronous:
            return 0
        else:
            count = self._free(first, len(work.held), left)
            if not count:
                return 0
            dispatched = list(accumulate(work.spent, initial=self._host_now))
            device_hz, host_hz = self._plan.clock_hz, self._plan.host_clock_hz
            loss = (dispatched[-1] - self._host_now) * device_hz - period * host_hz
            for free, arrived in zip(retired, dispatched[1:], strict=False):
                slack = (free - self._launch) * host_hz - arrived * device_hz
                if slack < 0:
                    return 0
                if loss > 0:
                    count = min(count, slack // loss + 1)
        self._keep(
            work, first, count,
            retired=retired[1:], period=period,
            started=dispatched[:-1], dispatched=dispatched[1:],
            dispatch_period=dispatched[-1] - dispatched[0],
            elapsed=[count * cycles for cycles in work.held],
            host_cycles=self._dispatching(count * (dispatched[-1] - dispatched[0])),
        )  # fmt: skip
        self.now += count * period
        self._host_now += count * (dispatched[-1] - dispatched[0])
        return count

    def _replay_waiting(self, work: _Work, first: int, left: int, before: _Followed) -> int:
        """Instances in which the same moments wait for the host as in the one before; how many."""
        width = len(work.held)
        count = 0 if self._synchronous else self._free(first, width, left)
        waiting = [j for j, waits in enumerate(before.waits) if waits]
        if not count or not waiting:
            return 0
        dispatched = list(accumulate(work.spent, initial=self._host_now))
        period = dispatched[-1] - self._host_now
        anchor = dispatched[1 + waiting[-1]] - period
        if before.dispatched[waiting[-1]] != anchor:
            return 0
        behind = sum(work.held[waiting[-1] :])
        device_hz, host_hz = self._plan.clock_hz, self._plan.host_clock_hz
        anchors, retired, elapsed = [], [], []
        for j, cycles in enumerate(work.held):
            apart = (dispatched[1 + j] - anchor) * device_hz
            if before.waits[j]:
                if apart // host_hz < behind:
                    return 0
                late = self._ceilings(dispatched[1 + j], period, count)
                late -= self._ceilings(anchor, period, count)
                elapsed.append(count * (cycles - behind) + late)
                anchor, behind = dispatched[1 + j], 0
            elif -(-apart // host_hz) > behind:
                return 0
            else:
                elapsed.append(count * cycles)
            behind += cycles
            anchors.append(anchor)
            retired.append(self._launch + behind)
        last = (count - 1) * period
        self._keep(
            work, first, count,
            retired=retired, period=0, anchor=anchors, host_period=period,
            started=dispatched[:-1], dispatched=dispatched[1:], dispatch_period=period,
            elapsed=elapsed, host_cycles=self._dispatching(count * period),
        )  # fmt: skip
        self.now = retired[-1] + self._converted(anchors[-1] + last)
        self._host_now += count * period
        return count

    def _keep(
        self,
        work: _Work,
        first: int,
        count: int,
        *,
        retired: Sequence[int],
        period: int,
        started: Sequence[int],
        dispatched: Sequence[int],
        dispatch_period: int,
        elapsed: Sequence[int],
        host_cycles: int,
        anchor: Sequence[int] = (),
        host_period: int = 0,
    ) -> None:
        width, edges = len(work.held), work.edges
        anchor = anchor or [0] * width
        ready = [0] * width
        for position, names in edges.imports:
            ready[position] = max([self._written.get(name, 0) for name in names])
        self.stretches.append(
            Stretch(
                work.block,
                first,
                count,
                work.block.demands,
                work.cores,
                work.held,
                retired,
                period,
                anchor,
                host_period,
                started,
                dispatched,
                dispatch_period,
                ready,
                edges.sources,
                elapsed,
                host_cycles,
            )
        )
        self._firsts.append(first)
        last = (count - 1) * period
        late = (count - 1) * host_period
        for name, at in edges.exports:
            self._written[name] = retired[at] + last + self._converted(anchor[at] + late)

    def _converted(self, host_cycles: int) -> int:
        """The first device cycle at or after a cycle of the host."""
        return -(-host_cycles * self._plan.clock_hz // self._plan.host_clock_hz)

    def _dispatching(self, host_cycles: int) -> int:
        """Device cycles that the host dispatches from now on without a pause."""
        if not self._hosted:
            return 0
        end = self._converted(self._host_now + host_cycles)
        return end - self._converted(self._host_now)

    def _ceilings(self, start: int, step: int, count: int) -> int:
        """The sum of `_converted` over start, start + step, ..., `count` numbers."""
        device_hz, host_hz = self._plan.clock_hz, self._plan.host_clock_hz
        return floor_sum(count, host_hz, step * device_hz, start * device_hz + host_hz - 1)


def floor_sum(count: int, divisor: int, step: int, start: int) -> int:
    """The sum of (start + k x step) // divisor over k < count, as in Euclid's algorithm."""
    total = 0
    while count > 0:
        total += (step // divisor) * (count * (count - 1) // 2) + (start // divisor) * count
        step, start = step % divisor, start % divisor
        last = step * count + start
        if last < divisor:
            break
        count, start, divisor, step = last // divisor, last % divisor, step, divisor
    return total


def alone(demand: Demand, plan: Plan) -> tuple[int, tuple[int, ...]]:
    """Cycles from issue to retirement when alone, and the cores used (-1: for ever)."""
    count = min(demand.cores, demand.units, plan.core_count)
    cycles = demand.arithmetic_cycles(count)
    moved = demand.memory_bytes
    if moved:
        rate, cap = plan.memory_rate, demand.memory_cap
        if cap and cap < rate:
            rate = cap
        if not rate:
            return -1, first_cores(count)
        flow = -(-moved * RATE_ONE // rate)
        if flow > cycles:
            cycles = flow
    return cycles + demand.serial_cycles or 1, first_cores(count)


@cache
def first_cores(count: int) -> tuple[int, ...]:
    """One tuple for all moments on so many cores."""
    return tuple(range(count))
