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
from itertools import accumulate

from simulator.blocks import Block
from simulator.demand.types import Demand
from simulator.engine.alone import (
    START,
    Edges,
    Followed,
    State,
    Work,
    alone,
    edges_of,
    floor_sum,
)
from simulator.engine.plan import Plan
from simulator.trace import StepStretch, Stretch


class Line:
    """Device and host while blocks are followed, from a state between two moments.

    `wanted`: the tensors whose writers count.
    """

    def __init__(self, plan: Plan, wanted: frozenset[str], state: State = START) -> None:
        self.now, self.host_now, self.waited_at = state.now, state.host_now, state.waited_at
        self.written = dict(state.written)
        self.wanted, self.plan = wanted, plan
        self.stretches: list[Stretch | StepStretch] = []
        self._hosted, self._synchronous = plan.host != "none", plan.host == "synchronous"
        self._launch = 0 if self._synchronous else plan.launch_cycles
        self._waits = sorted(plan.waits_before)
        self._firsts: list[int] = []
        self._edges: dict[int, Edges] = {}
        self._known: dict[int, tuple[int, tuple[int, ...]]] = {}

    def follow(self, block: Block) -> bool:
        """Run the instances of a block; False where one of its moments can never retire."""
        edges = self._edges.get(id(block.segment))
        if edges is None:
            edges = self._edges[id(block.segment)] = edges_of(block.segment, self.wanted)
        held, cores = self.alone(block.demands)
        if -1 in held:
            return False
        work = Work(block, edges, held, cores, [d.dispatch_cycles for d in block.demands])
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

    def alone(self, demands: Sequence[Demand]) -> tuple[list[int], list[tuple[int, ...]]]:
        """For each demand the cycles from issue to retirement (-1: for ever) and the cores."""
        held, cores = [], []
        for demand in demands:
            known = self._known.get(id(demand))
            if known is None:
                known = self._known[id(demand)] = alone(demand, self.plan)
            held.append(known[0])
            cores.append(known[1])
        return held, cores

    def _instance(self, first: int, work: Work) -> Followed:
        """Follow one instance, moment by moment."""
        plan = self.plan
        device_hz, host_hz, launch = plan.clock_hz, plan.host_clock_hz, self._launch
        now, host_now = self.now, self.host_now
        found = Followed([], [], [], [])
        for index, (cycles, dispatch) in enumerate(zip(work.held, work.spent, strict=True), first):
            not_before = 0
            if self._synchronous:
                not_before = now
            elif index in plan.waits_before:
                not_before = now
                self.waited_at = index
            elif index - plan.queue_depth >= self.waited_at:
                not_before = self._retired(index - plan.queue_depth, first, found)
            host_now = max(host_now, -(-not_before * host_hz // device_hz))
            found.started.append(host_now)
            host_now += dispatch
            found.dispatched.append(host_now)
            arrived = -(-host_now * device_hz // host_hz) + launch
            found.waits.append(arrived > now)
            now = max(now, arrived) + cycles
            found.retired.append(now)
        self.now, self.host_now = now, host_now
        return found

    def _retired(self, index: int, first: int, found: Followed) -> int:
        """When an earlier moment retired, of this instance or of an earlier stretch."""
        if index >= first:
            return found.retired[index - first]
        stretch = self.stretches[bisect_right(self._firsts, index) - 1]
        k, j = divmod(index - stretch.first, stretch.width)
        if isinstance(stretch, StepStretch):
            stretch, k, j = stretch.find(k, j)
        late = self.converted(stretch.anchor[j] + k * stretch.host_period)
        return stretch.retired[j] + k * stretch.period + late

    def _repeats(self, begun: int) -> bool:
        """Whether after an instance that began then a synchronous host sees the same again."""
        plan = self.plan
        return self._synchronous and (self.now - begun) * plan.host_clock_hz % plan.clock_hz == 0

    def _keep_followed(
        self, work: Work, first: int, count: int, begun: int, found: Followed
    ) -> None:
        period = self.now - begun
        host_period = period * self.plan.host_clock_hz // self.plan.clock_hz if count > 1 else 0
        spent = [self.converted(n) for n in found.dispatched]
        spent = [n - self.converted(m) for n, m in zip(spent, found.started, strict=True)]
        before = [begun, *found.retired]
        self._keep(
            work, first, count,
            retired=found.retired, period=period,
            started=found.started, dispatched=found.dispatched, dispatch_period=host_period,
            elapsed=[count * (b - a) for a, b in zip(before, found.retired, strict=False)],
            host_cycles=count * sum(spent),
        )  # fmt: skip
        self.now += (count - 1) * period
        self.host_now += (count - 1) * host_period

    def _free(self, first: int, width: int, left: int) -> int:
        """How many instances from moment `first` on an asynchronous host need not wait in."""
        free = self.waited_at + self.plan.queue_depth - first
        at = bisect_left(self._waits, first)
        if at < len(self._waits):
            free = min(free, self._waits[at] - first)
        return max(0, min(left, free // width))

    def _replay_busy(self, work: Work, first: int, left: int) -> int:
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
            dispatched = list(accumulate(work.spent, initial=self.host_now))
            device_hz, host_hz = self.plan.clock_hz, self.plan.host_clock_hz
            loss = (dispatched[-1] - self.host_now) * device_hz - period * host_hz
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
        self.host_now += count * (dispatched[-1] - dispatched[0])
        return count

    def _replay_waiting(self, work: Work, first: int, left: int, before: Followed) -> int:
        """Instances in which the same moments wait for the host as in the one before; how many."""
        width = len(work.held)
        count = 0 if self._synchronous else self._free(first, width, left)
        waiting = [j for j, waits in enumerate(before.waits) if waits]
        if not count or not waiting:
            return 0
        dispatched = list(accumulate(work.spent, initial=self.host_now))
        period = dispatched[-1] - self.host_now
        anchor = dispatched[1 + waiting[-1]] - period
        if before.dispatched[waiting[-1]] != anchor:
            return 0
        behind = sum(work.held[waiting[-1] :])
        device_hz, host_hz = self.plan.clock_hz, self.plan.host_clock_hz
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
        self.now = retired[-1] + self.converted(anchors[-1] + last)
        self.host_now += count * period
        return count

    def _keep(
        self,
        work: Work,
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
            ready[position] = max([self.written.get(name, 0) for name in names])
        self.keep(
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
        last = (count - 1) * period
        late = (count - 1) * host_period
        for name, at in edges.exports:
            self.written[name] = retired[at] + last + self.converted(anchor[at] + late)

    def keep(self, stretch: Stretch | StepStretch) -> None:
        self.stretches.append(stretch)
        self._firsts.append(stretch.first)

    def converted(self, host_cycles: int) -> int:
        """The first device cycle at or after a cycle of the host."""
        return -(-host_cycles * self.plan.clock_hz // self.plan.host_clock_hz)

    def _dispatching(self, host_cycles: int) -> int:
        """Device cycles that the host dispatches from now on without a pause."""
        if not self._hosted:
            return 0
        end = self.converted(self.host_now + host_cycles)
        return end - self.converted(self.host_now)

    def _ceilings(self, start: int, step: int, count: int) -> int:
        """The sum of `_converted` over start, start + step, ..., `count` numbers."""
        device_hz, host_hz = self.plan.clock_hz, self.plan.host_clock_hz
        return floor_sum(count, host_hz, step * device_hz, start * device_hz + host_hz - 1)
