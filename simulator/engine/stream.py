"""One device that runs one moment at a time, in graph order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from simpy import Environment
from simpy.events import Event, Timeout

from simulator.demand.types import Demand
from simulator.engine.columns import Columns
from simulator.engine.folded import alone
from simulator.engine.host import Host
from simulator.engine.plan import FlatGraph, Plan


class Stream:
    """One moment at a time in graph order.

    With nothing else in flight, a moment's retirement is known when the one before it retires, so
    one event a moment is exact. It is one and the same event, scheduled anew.
    """

    def __init__(
        self, graph: FlatGraph, demands: Sequence[Demand], plan: Plan, columns: Columns
    ) -> None:
        self.environment = Environment()
        self._columns = columns
        self._host: Host | None = None
        if plan.host != "none":
            self._host = Host(plan, columns, range(len(demands)), demands)
        # in order the latest of those that a moment waits for is the last to retire
        self._last = [max(before) if before else -1 for before in graph.predecessors]
        known: dict[int, tuple[int, tuple[int, ...]]] = {}
        for demand in demands:
            if id(demand) not in known:
                known[id(demand)] = alone(demand, plan)
        self._cycles = [known[id(demand)][0] for demand in demands]
        self._cores = [known[id(demand)][1] for demand in demands]
        self._current = -1
        self._due = 0
        self._callbacks: list[Callable[[Any], None]] = [self._retire]

    def run(self) -> None:
        """Until the last moment retires, or one that never can is next."""
        self.start()
        self.environment.run()
        if not self._columns.left:
            self._write()

    def start(self) -> None:
        self._due = self._issue_next(0)
        if self._due > 0:
            Timeout(self.environment, self._due).callbacks.append(self._retire)

    def _issue_next(self, now: int) -> int:
        """The cycle in which the next moment retires; 0 if it never can."""
        index = self._current = self._current + 1
        if self._last[index] >= index:
            return 0  # an edge from a later moment: in order, it can never be met
        issued, host = now, self._host
        if host is not None:
            if host.done <= index:
                host.dispatch_ahead(index, now)
            arrived = self._columns.dispatched[index]
            if arrived > now:
                issued = arrived
        cycles = self._cycles[index]
        if cycles < 0:
            self._columns.issued[index] = issued
            return 0
        return issued + cycles

    def _retire(self, event: Event) -> None:
        columns, now = self._columns, self._due
        columns.retired[self._current] = now
        columns.left -= 1
        if columns.left:
            self._due = due = self._issue_next(now)
            if due:
                event.callbacks = self._callbacks
                self.environment.schedule(event, delay=due - now)

    def _write(self) -> None:
        """What follows from the cycles in which all moments retired."""
        columns, retired = self._columns, self._columns.retired
        columns.ready = [retired[last] if last >= 0 else 0 for last in self._last]
        columns.issued = [end - cycles for end, cycles in zip(retired, self._cycles, strict=True)]
        columns.cores = self._cores
