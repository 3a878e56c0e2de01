"""One device that runs one moment at a time, in graph order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from simpy import Environment
from simpy.events import Event, Timeout

from simulator.demand.types import Demand
from simulator.engine.columns import Columns
from simulator.engine.host import Host
from simulator.engine.plan import FlatGraph, Plan
from simulator.sharing import RATE_ONE


class Stream:
    """One moment at a time in graph order.

    With nothing else in flight, a moment's retirement is known when the one before it retires, so
    one event a moment is exact.
    """

    def __init__(
        self, graph: FlatGraph, demands: Sequence[Demand], plan: Plan, columns: Columns
    ) -> None:
        self.environment = Environment()
        self._predecessors = graph.predecessors
        self._demands = demands
        self._plan = plan
        self._columns = columns
        self._host = Host(plan, columns, range(len(demands))) if plan.host != "none" else None
        self._durations: dict[int, tuple[int, tuple[int, ...]]] = {}
        self._current = -1

    def start(self) -> None:
        self._issue_next(0)

    def _duration(self, demand: Demand) -> tuple[int, tuple[int, ...]]:
        """Cycles from issue to retirement when alone, and the cores used (-1: for ever)."""
        plan = self._plan
        count = min(demand.cores, demand.units, plan.core_count)
        cycles = demand.arithmetic_cycles(count)
        if demand.memory_bytes:
            rate = min(plan.memory_rate, demand.memory_cap or plan.memory_rate)
            if rate == 0:
                return -1, tuple(range(count))
            cycles = max(cycles, -(-demand.memory_bytes * RATE_ONE // rate))
        return max(1, cycles + demand.serial_cycles), tuple(range(count))

    def _issue_next(self, now: int) -> None:
        index = self._current = self._current + 1
        columns = self._columns
        demand = self._demands[index]
        known = self._durations.get(id(demand))
        if known is None:
            known = self._durations[id(demand)] = self._duration(demand)
        duration, columns.cores[index] = known
        retired = columns.retired
        ready = 0
        for predecessor in self._predecessors[index]:
            cycle = retired[predecessor]
            if cycle < 0:
                return  # an edge from a later moment: in order, it can never be met
            if cycle > ready:
                ready = cycle
        columns.ready[index] = ready
        issued = now
        if self._host is not None:
            self._host.dispatch(demand.dispatch_cycles, now)
            issued = max(issued, columns.dispatched[index])
        columns.issued[index] = issued
        if duration > 0:
            due = Timeout(self.environment, issued + duration - now)
            due.callbacks.append(self._retire)

    def _retire(self, event: Event) -> None:
        now: Any = self.environment.now
        columns = self._columns
        columns.retired[self._current] = now
        columns.left -= 1
        if columns.left:
            self._issue_next(now)
