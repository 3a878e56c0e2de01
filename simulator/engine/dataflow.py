"""One device that runs every ready moment in graph order, as far as its cores allow.

As simulator.engine.places for a single place without priorities, in fewer steps a moment.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from typing import Any

from simpy import Environment
from simpy.events import Event, Timeout

from simulator.demand.types import Demand
from simulator.engine.columns import NEVER, Columns
from simulator.engine.host import Host
from simulator.engine.plan import FlatGraph, Plan
from simulator.sharing import Pool


class Dataflow:
    """Every cycle in which moments retire is one event, the same one scheduled anew.

    In between, flows end and dispatched moments are issued one after another: what is next is known
    in each cycle, and nothing else can come before it.
    """

    def __init__(
        self, graph: FlatGraph, demands: Sequence[Demand], plan: Plan, columns: Columns
    ) -> None:
        self.environment = Environment()
        self._demands, self._columns, self._successors = demands, columns, graph.successors
        self._missing = [len(before) for before in graph.predecessors]
        self._ready = [index for index, missing in enumerate(self._missing) if not missing]
        for index in self._ready:
            columns.ready[index] = 0
        self._free = list(range(plan.core_count))
        self._memory = Pool(plan.memory_rate)
        self._tails: dict[int, tuple[int, int]] = {}  # of flows: end of the arithmetic, serial
        self._host: Host | None = None
        if plan.host != "none":
            self._host = Host(plan, columns, range(len(demands)), demands)
        self._due: list[tuple[int, int]] = []
        """A heap of the cycles in which moments retire, with the moments."""
        self._flow_end = NEVER
        self._now = 0
        self._retired_count = 0
        self._callbacks: list[Callable[[Any], None]] = [self._cycle]

    def run(self) -> None:
        """Until nothing is due any more."""
        self.start()
        self.environment.run()
        self._columns.left = self._columns.retired.count(-1)

    def start(self) -> None:
        self._follow(0)
        if self._due:
            self._now = self._due[0][0]
            Timeout(self.environment, self._now).callbacks.append(self._cycle)

    def _cycle(self, event: Event) -> None:
        """Retire what is due, and come back when something is due again."""
        now, due, ready, missing = self._now, self._due, self._ready, self._missing
        columns, free = self._columns, self._free
        while due and due[0][0] == now:
            index = heappop(due)[1]
            columns.retired[index] = now
            free += columns.cores[index]
            self._retired_count += 1
            for successor in self._successors[index]:
                missing[successor] -= 1
                if not missing[successor]:
                    columns.ready[successor] = now
                    heappush(ready, successor)
        self._follow(now)
        if due:
            self._now = following = due[0][0]
            event.callbacks = self._callbacks
            self.environment.schedule(event, delay=following - now)

    def _follow(self, now: int) -> None:
        """Issue what may be, and end the flows that end before a moment is due to retire."""
        due, memory, tails = self._due, self._memory, self._tails
        wake_at = self._issue(now) if self._ready and self._free else NEVER
        while True:
            cycle = self._flow_end
            retires = due[0][0] if due else NEVER
            if wake_at < cycle and wake_at < retires:
                wake_at = self._issue(wake_at)
                continue
            if cycle > retires or cycle == NEVER:
                return
            for index in memory.take_done(cycle):
                done, serial = tails.pop(index)
                heappush(due, ((done if done > cycle else cycle) + serial, index))
            wait = memory.settle()
            self._flow_end = NEVER if wait is None else cycle + wait

    def _issue(self, now: int) -> int:
        """Begin ready moments while there are cores; when the next of them will be dispatched."""
        ready, free, columns, host = self._ready, self._free, self._columns, self._host
        cores, issued = columns.cores, columns.issued
        free.sort()
        wake_at, flows = NEVER, False
        while ready and free:
            index = ready[0]
            if host is not None:
                if index >= host.done:
                    host.dispatch_ahead(self._retired_count, self._now)
                    if index >= host.done:
                        break  # dispatch is in graph order: no later one is dispatched either
                if columns.dispatched[index] > now:
                    wake_at = columns.dispatched[index]
                    break
            heappop(ready)
            demand = self._demands[index]
            count = min(demand.cores, demand.units, len(free))
            cores[index] = tuple(free[:count])
            del free[:count]
            issued[index] = now
            done, moved = now + demand.arithmetic_cycles(count), demand.memory_bytes
            if moved:
                self._tails[index] = (done, demand.serial_cycles)
                self._memory.add(index, moved, demand.memory_cap, now)
                flows = True
            else:
                heappush(self._due, (max(now + 1, done + demand.serial_cycles), index))
        if flows:
            wait = self._memory.settle()
            self._flow_end = NEVER if wait is None else now + wait
        return wake_at
