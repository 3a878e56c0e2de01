"""The host: one thread that dispatches moments in graph order, one dispatch at a time."""

from __future__ import annotations

from collections.abc import Sequence

from simulator.demand.types import Demand
from simulator.engine.columns import Columns
from simulator.engine.plan import Plan


class Host:
    """Dispatches the moments of `order`, one after another, in that order."""

    def __init__(
        self, plan: Plan, columns: Columns, order: Sequence[int], demands: Sequence[Demand]
    ) -> None:
        self.done = 0
        """How many of them have been dispatched."""
        self._now = 0  # host cycles
        self._ended = 0  # the same in device cycles
        self._order, self._demands, self._columns = order, demands, columns
        self._synchronous = plan.host == "synchronous"
        launch = 0 if self._synchronous else plan.launch_cycles
        self._times = (plan.clock_hz, plan.host_clock_hz, launch)
        self._depth, self._waits = plan.queue_depth, plan.waits_before

    def dispatch_ahead(self, retired_count: int, last_retired: int) -> None:
        """Dispatch until the host has to wait for the device, and write down when each arrives.

        So many of its moments have retired, the last of them in cycle `last_retired`.
        """
        order, demands, columns = self._order, self._demands, self._columns
        depth, waits, retired = self._depth, self._waits, columns.retired
        device_hz, host_hz, launch = self._times
        now, ended = self._now, self._ended
        for position in range(self.done, len(order)):
            index, not_before = order[position], 0
            if self._synchronous or index in waits:
                if retired_count != position:
                    break
                not_before = last_retired
            elif position >= depth:
                not_before = retired[order[position - depth]]
                if not_before < 0:
                    break
            if not_before and not_before >= ended:  # else it is no later in the host's cycles
                now = max(now, -(-not_before * host_hz // device_hz))
                ended = -(-now * device_hz // host_hz)
            now += demands[index].dispatch_cycles
            begun, ended = ended, -(-now * device_hz // host_hz)
            columns.dispatched[index] = ended + launch
            columns.dispatch_cycles[index] = ended - begun
            self.done = position + 1
        self._now, self._ended = now, ended
