"""Devices and links side by side: every ready moment at once, as far as each place allows."""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heappop, heappush
from typing import Any

from simpy import Environment
from simpy.events import Event, Timeout

from simulator.demand.types import Demand
from simulator.engine.columns import Columns
from simulator.engine.host import Host
from simulator.engine.plan import FlatGraph, Plan
from simulator.sharing import Pool
from simulator.trace import Place


class Places:
    """All places of a run, one for a single device, and what is due when."""

    def __init__(
        self, graph: FlatGraph, demands: Sequence[Demand], plan: Plan, columns: Columns
    ) -> None:
        self.environment = Environment()
        self.demands = demands
        self.columns = columns
        self._successors = graph.successors
        self._missing = [len(p) for p in graph.predecessors]
        single = Place("device", 0, "device", plan.core_count, plan.memory_rate)
        places = plan.places or (single,)
        self._home = plan.home or [0] * len(demands)
        self.by_rank = _ordered(plan.priority)
        orders: list[list[int]] = [[] for _ in places]
        for index, home in enumerate(self._home):
            orders[home].append(index)
        self._devices = [_Device(plan, columns, o) for o in self._dispatch_orders(places)]
        self._places = [
            _AtPlace(self, place, orders[i], self._devices[place.device])
            for i, place in enumerate(places)
        ]

    def _dispatch_orders(self, places: Sequence[Place]) -> list[list[int]]:
        """For each device what its host dispatches: its own moments and those on its links."""
        orders: list[list[int]] = [[] for _ in range(1 + max(p.device for p in places))]
        for index, home in enumerate(self._home):
            orders[places[home].device].append(index)
        return orders

    def start(self) -> None:
        for index, missing in enumerate(self._missing):
            if not missing:
                self._now_ready(index, 0)
        self.settle(0)

    def at(self, delay: int, callback: Any, value: object) -> None:
        """Have `callback` called so many cycles from now."""
        Timeout(self.environment, delay, value).callbacks.append(callback)

    def settle(self, now: int) -> None:
        """Once no other event of this cycle is left: issue, then share the memories anew."""
        if self.environment.peek() > now or now == 0:
            for place in self._places:
                if place.ready or place.memory_changed:
                    place.issue(now)

    def retire(self, event: Event) -> None:
        now: Any = self.environment.now
        index: Any = event.value
        self.retire_now(index, now)
        self.settle(now)

    def retire_now(self, index: int, now: int) -> None:
        """Free what the moment held and tell those that waited for it."""
        columns = self.columns
        columns.retired[index] = now
        columns.left -= 1
        place = self._places[self._home[index]]
        place.free.extend(columns.cores[index])
        place.device.retired_count += 1
        place.device.last_retired = now
        missing = self._missing
        for successor in self._successors[index]:
            missing[successor] -= 1
            if missing[successor] == 0:
                self._now_ready(successor, now)

    def _now_ready(self, index: int, now: int) -> None:
        self.columns.ready[index] = now
        place = self._places[self._home[index]]
        heappush(place.ready, place.ranks[index] if place.ranks else index)

    def wake(self, event: Event) -> None:
        now: Any = self.environment.now
        self.settle(now)


def _ordered(keys: Sequence[int]) -> list[int]:
    """Positions by ascending key, ties as they are; of a permutation: its inverse."""
    return sorted(range(len(keys)), key=keys.__getitem__)


class _Device:
    """What the places of one device have in common: the host that dispatches for them."""

    def __init__(self, plan: Plan, columns: Columns, order: list[int]) -> None:
        self.host = Host(plan, columns, order) if plan.host != "none" else None
        self.retired_count = 0
        self.last_retired = 0
        # a moment's place in the order of dispatch; as they are, where one device has them all
        whole = len(order) == len(columns.retired)
        self._rank = None if whole else {index: i for i, index in enumerate(order)}

    def dispatch_ahead(self, demands: Sequence[Demand]) -> None:
        """Let the host go as far as it can before it has to wait for the device."""
        host = self.host
        while host is not None and host.done < len(host.order):
            if not host.may_go_on(self.retired_count):
                return
            host.dispatch(demands[host.order[host.done]].dispatch_cycles, self.last_retired)

    def has_dispatched(self, index: int) -> bool:
        done = self.host.done if self.host is not None else 0
        return (index if self._rank is None else self._rank[index]) < done


class _AtPlace:
    """Cores with their memory, or a link, and the moments that run there."""

    def __init__(self, machine: Places, place: Place, order: list[int], device: _Device) -> None:
        self.ready: list[int] = []
        self.free = list(range(place.core_count))
        self.memory_changed = False
        self.device = device
        self._machine = machine
        self._demands = machine.demands
        self._columns = machine.columns
        self._memory = Pool(place.rate)
        self._memory_due = -1
        self._order = order if place.in_order else None
        # with priorities the heap holds ranks: by rank the moment, and by moment its rank
        self._by_rank = [] if place.in_order else machine.by_rank
        self.ranks = _ordered(self._by_rank)
        self._next = 0
        self._core_count = place.core_count
        self._arithmetic_done: dict[int, int] = {}
        self._wake_at = -1

    def issue(self, now: int) -> None:
        """Begin every moment that is ready and has what it needs."""
        if self.device.host is not None:
            self.device.dispatch_ahead(self._demands)
        if self.ready:
            self.free.sort()
        by_rank, aside = self._by_rank, []
        while self.ready and self._has_room():
            index = by_rank[self.ready[0]] if by_rank else self.ready[0]
            if self._order is not None and index != self._order[self._next]:
                break
            if self.device.host is not None and not self._is_dispatched(index, now):
                if not by_rank:
                    break  # dispatch is in graph order: no later moment is dispatched either
                aside.append(heappop(self.ready))
                continue
            heappop(self.ready)
            self._begin(index, now)
        for rank in aside:
            heappush(self.ready, rank)
        if self.memory_changed:
            self.memory_changed = False
            self._await_memory(now)

    def _has_room(self) -> bool:
        """In order a place is taken by one moment as a whole."""
        return bool(self.free) and (self._order is None or len(self.free) == self._core_count)

    def _is_dispatched(self, index: int, now: int) -> bool:
        """Whether it is by now; if it will be at a known cycle, the machine wakes up then."""
        if not self.device.has_dispatched(index):
            return False
        dispatched = self._columns.dispatched[index]
        if dispatched > now and self._wake_at != dispatched:
            self._wake_at = dispatched
            self._machine.at(dispatched - now, self._machine.wake, None)
        return dispatched <= now

    def _begin(self, index: int, now: int) -> None:
        demand = self._demands[index]
        count = min(demand.cores, demand.units, len(self.free))
        self._columns.cores[index] = tuple(self.free[:count])
        del self.free[:count]
        self._columns.issued[index] = now
        self._next += 1
        cycles = demand.arithmetic_cycles(count)
        if demand.memory_bytes:
            self._arithmetic_done[index] = now + cycles
            self._memory.add(index, demand.memory_bytes, demand.memory_cap, now)
            self.memory_changed = True
        else:
            self._machine.at(max(1, cycles + demand.serial_cycles), self._machine.retire, index)

    def _await_memory(self, now: int) -> None:
        """Have an event when the next flow may be done; one that is early enough is kept."""
        wait = self._memory.settle()
        if wait is not None and not now < self._memory_due <= now + wait:
            self._memory_due = now + wait
            self._machine.at(wait, self._memory_done, None)

    def _memory_done(self, event: Event) -> None:
        """Flows may be done: their moments retire now, or when their arithmetic and tail are."""
        machine = self._machine
        now: Any = machine.environment.now
        if now == self._memory_due:
            self._memory_due = -1
            for index in self._memory.take_done(now):
                rest = max(0, self._arithmetic_done.pop(index) - now)
                rest += self._demands[index].serial_cycles
                if rest:
                    machine.at(rest, machine.retire, index)
                else:
                    machine.retire_now(index, now)
            self.memory_changed = True
        machine.settle(now)
