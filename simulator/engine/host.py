"""The dispatching processor of one device: a clock domain of its own, one dispatch at a time."""

from __future__ import annotations

from collections.abc import Sequence

from simulator.engine.columns import Columns
from simulator.engine.plan import Plan


class Host:
    """Dispatches the moments of `order`, one after another, in that order."""

    def __init__(self, plan: Plan, columns: Columns, order: Sequence[int]) -> None:
        self.order = order
        self.done = 0
        """How many of them have been dispatched."""
        self.synchronous = plan.host == "synchronous"
        self._now = 0  # host cycles
        self._host_hz = plan.host_clock_hz
        self._device_hz = plan.clock_hz
        self._depth = plan.queue_depth
        self._launch = 0 if self.synchronous else plan.launch_cycles
        self._waits = plan.waits_before
        self._columns = columns

    def dispatch(self, host_cycles: int, last_retired: int) -> None:
        """Dispatch the next moment: when it arrives at the device, and what the host spent on it.

        `last_retired`: cycle in which the last of the earlier moments retired, if that is known.
        """
        index, start = self.order[self.done], self._now
        not_before = -1
        if self.synchronous or index in self._waits:
            not_before = last_retired
        elif self.done >= self._depth:
            not_before = self._columns.retired[self.order[self.done - self._depth]]
        if not_before > 0:
            start = max(start, -(-not_before * self._host_hz // self._device_hz))
        self._now = start + host_cycles
        done = -(-self._now * self._device_hz // self._host_hz)
        self._columns.dispatched[index] = done + self._launch
        self._columns.dispatch_cycles[index] = done - -(-start * self._device_hz // self._host_hz)
        self.done += 1

    def may_go_on(self, retired_count: int) -> bool:
        """Whether the next dispatch may be made, so many of its moments having retired."""
        if self.synchronous or self.order[self.done] in self._waits:
            return retired_count == self.done
        oldest = self.done - self._depth
        return oldest < 0 or self._columns.retired[self.order[oldest]] >= 0
