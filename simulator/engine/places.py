"""Devices and links side by side: every ready moment at once, as far as each place allows.

Every cycle in which some moment retires or may be issued is one event. Between two such cycles no
flow begins, so that the ends of those under way follow from one another without any event.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from operator import attrgetter
from typing import Any

from simpy import Environment
from simpy.events import Event, Timeout

from simulator.demand.types import Demand
from simulator.engine.columns import NEVER, Columns
from simulator.engine.host import Host
from simulator.engine.plan import FlatGraph, Plan
from simulator.sharing import Pool
from simulator.trace import Place

_FLOW_END, _WAKE_AT = attrgetter("flow_end"), attrgetter("wake_at")


class Places:
    """All places of a run, one for a single device, and what is due when."""

    def __init__(
        self, graph: FlatGraph, demands: Sequence[Demand], plan: Plan, columns: Columns
    ) -> None:
        self.environment = Environment()
        self.due: list[tuple[int, int]] = []
        """A heap of cycles, and the moment that retires in each; none (-1): some may be issued."""
        self._now = 0
        self._columns = columns
        self._successors = graph.successors
        self._missing = [len(p) for p in graph.predecessors]
        single = Place("device", 0, "device", plan.core_count, plan.memory_rate)
        places = plan.places or (single,)
        home = plan.home or [0] * len(demands)
        orders: list[list[int]] = [[] for _ in places]
        dispatched: list[list[int]] = [[] for _ in range(1 + max(p.device for p in places))]
        for index, at in enumerate(home):
            orders[at].append(index)
            dispatched[places[at].device].append(index)
        devices = [_Device(plan, columns, order, demands) for order in dispatched]
        by_rank = _ordered(plan.priority)
        self._places = [
            _AtPlace(self, place, orders[i], devices[place.device], (demands, columns, by_rank))
            for i, place in enumerate(places)
        ]
        self._home = [self._places[at] for at in home]
        self._callbacks: list[Callable[[Any], None]] = [self._cycle]

    def run(self) -> None:
        """Until nothing is due any more."""
        self.start()
        self.environment.run()
        self._columns.left = self._columns.retired.count(-1)

    def start(self) -> None:
        for index, missing in enumerate(self._missing):
            if not missing:
                self._now_ready(index)
        if self._follow(0):
            Timeout(self.environment, self._now).callbacks.append(self._cycle)

    def _cycle(self, event: Event) -> None:
        """Retire what is due, and come back when something is due again."""
        now, due = self._now, self.due
        while due and due[0][0] == now:
            self._retire(heappop(due)[1])
        if self._follow(now):
            event.callbacks = self._callbacks
            self.environment.schedule(event, delay=self._now - now)

    def _follow(self, now: int) -> bool:
        """Issue what may be, until a moment is due to retire; whether one ever is."""
        due = self.due
        for place in self._places:
            place.issue(now)
        while True:
            ending = min(self._places, key=_FLOW_END)
            waking = min(self._places, key=_WAKE_AT)
            retires = due[0][0] if due else NEVER
            if waking.wake_at < min(ending.flow_end, retires):
                waking.issue(waking.wake_at)
            elif ending.flow_end <= retires and ending.flow_end != NEVER:
                ending.end_flows()
            else:
                break
        self._now = retires
        return bool(due)

    def _retire(self, index: int) -> None:
        """Free what the moment held and tell those that waited for it."""
        columns, missing = self._columns, self._missing
        columns.retired[index] = self._now
        place = self._home[index]
        place.free += columns.cores[index]
        place.device.retired_count += 1
        place.device.last_retired = self._now
        for successor in self._successors[index]:
            left = missing[successor] = missing[successor] - 1
            if not left:
                self._now_ready(successor)

    def _now_ready(self, index: int) -> None:
        self._columns.ready[index] = self._now
        place = self._home[index]
        heappush(place.ready, place.ranks[index] if place.ranks else index)


def _ordered(keys: Sequence[int]) -> list[int]:
    """Positions by ascending key, ties as they are; of a permutation: its inverse."""
    return sorted(range(len(keys)), key=keys.__getitem__)


class _Device:
    """What the places of one device have in common: the host that dispatches for them."""

    def __init__(
        self, plan: Plan, columns: Columns, order: list[int], demands: Sequence[Demand]
    ) -> None:
        self.host = Host(plan, columns, order, demands) if plan.host != "none" else None
        self.retired_count = 0
        self.last_retired = 0
        # a moment's place in the order of dispatch; as they are, where one device has them all
        whole = len(order) == len(columns.retired)
        self._rank = None if whole else {index: i for i, index in enumerate(order)}

    def has_dispatched(self, index: int, host: Host) -> bool:
        return (index if self._rank is None else self._rank[index]) < host.done


class _AtPlace:
    """Cores with their memory, or a link, and the moments that run there."""

    def __init__(
        self,
        machine: Places,
        place: Place,
        order: list[int],
        device: _Device,
        shared: tuple[Sequence[Demand], Columns, list[int]],
    ) -> None:
        self._demands, columns, by_rank = shared
        self.ready: list[int] = []
        self.free = list(range(place.core_count))
        self.device = device
        self._due = machine.due
        self._memory = Pool(place.rate)
        self._in_order, self._order = place.in_order, order
        # with priorities the heap holds ranks: by rank the moment, and by moment its rank
        self._by_rank = [] if place.in_order else by_rank
        self.ranks = _ordered(self._by_rank)
        self._next = 0
        self._core_count = place.core_count
        self._tails: dict[int, tuple[int, int]] = {}  # of flows: end of the arithmetic, serial
        self._cores, self._issued = columns.cores, columns.issued
        self._dispatched = columns.dispatched
        self.flow_end = NEVER
        self.wake_at = NEVER

    def issue(self, now: int) -> None:
        """Begin every moment that is ready and has what it needs."""
        if not self.ready:
            return
        ready, free, by_rank = self.ready, self.free, self._by_rank
        host = self.device.host
        self.wake_at = NEVER
        free.sort()
        aside, flows = [], False
        while ready and free:
            index = by_rank[ready[0]] if by_rank else ready[0]
            if self._in_order and not self._is_next(index):
                break
            if host is not None and not self._is_dispatched(index, now, host):
                if not by_rank:
                    break  # dispatch is in graph order: no later moment is dispatched either
                aside.append(heappop(ready))
                continue
            heappop(ready)
            demand = self._demands[index]
            count = min(demand.cores, demand.units, len(free))
            self._cores[index] = tuple(free[:count])
            del free[:count]
            self._issued[index] = now
            self._next += 1
            done, tail = now + demand.arithmetic_cycles(count), demand.serial_cycles
            if demand.memory_bytes:
                self._tails[index] = (done, tail)
                self._memory.add(index, demand.memory_bytes, demand.memory_cap, now)
                flows = True
            else:
                heappush(self._due, (max(now + 1, done + tail), index))
        for rank in aside:
            heappush(ready, rank)
        if flows:
            self._await_flows(now)

    def _is_next(self, index: int) -> bool:
        """In order a place is taken by one moment as a whole."""
        return len(self.free) == self._core_count and index == self._order[self._next]

    def _is_dispatched(self, index: int, now: int, host: Host) -> bool:
        """Whether it is by now; if it will be at a known cycle, the place wakes up then."""
        if not self.device.has_dispatched(index, host):
            host.dispatch_ahead(self.device.retired_count, self.device.last_retired)
            if not self.device.has_dispatched(index, host):
                return False
        at = self._dispatched[index]
        if at <= now:
            return True
        self.wake_at = min(self.wake_at, at)
        return False

    def end_flows(self) -> None:
        """End the flows that are due: their moments retire when their arithmetic and tail are."""
        now = self.flow_end
        for index in self._memory.take_done(now):
            done, tail = self._tails.pop(index)
            heappush(self._due, ((done if done > now else now) + tail, index))
        self._await_flows(now)

    def _await_flows(self, now: int) -> None:
        """Share the memory anew, and see when the next flow ends."""
        wait = self._memory.settle()
        self.flow_end = NEVER if wait is None else now + wait
