"""The columns of a folded trace: cycles of single moments, computed when asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from simulator.blocks import Column
from simulator.engine.plan import Plan
from simulator.trace import StepStretch, Stretch, Trace

T = TypeVar("T")


def lazy_trace(plan: Plan, stretches: Sequence[Stretch | StepStretch], cycles: int) -> Trace:
    """The trace of stretches that ran on one device in order; see simulator.trace.Stretch."""
    launch = plan.launch_cycles if plan.host == "asynchronous" else 0
    firsts = [stretch.first for stretch in stretches]
    count = stretches[-1].first + stretches[-1].count * stretches[-1].width
    values = _Values(plan.clock_hz, plan.host_clock_hz, launch, plan.host != "none")

    def of(value: Callable[[Stretch, int, int], T]) -> Column[T, Stretch | StepStretch]:
        def at(s: Stretch | StepStretch, k: int, j: int) -> T:
            return value(*s.find(k, j)) if isinstance(s, StepStretch) else value(s, k, j)

        return Column(stretches, firsts, count, lambda s: s.width, at)

    return Trace(
        clock_hz=plan.clock_hz,
        core_count=plan.core_count,
        cycles=cycles,
        in_order=True,
        demands=of(lambda s, k, j: s.demands[j]),
        ready=of(values.ready),
        dispatched=of(values.arrived),
        issued=of(lambda s, k, j: values.retired(s, k, j) - s.held[j]),
        retired=Column(stretches, firsts, count, lambda s: s.width, values.retired_anywhere),
        cores=of(lambda s, k, j: s.cores[j]),
        dispatch_cycles=of(values.spent),
        launch_cycles=launch,
        stretches=stretches,
    )


@dataclass(frozen=True, slots=True)
class _Values:
    """Cycles of moment j of instance k of a stretch."""

    device_hz: int
    host_hz: int
    launch: int
    hosted: bool

    def converted(self, host_cycles: int) -> int:
        return -(-host_cycles * self.device_hz // self.host_hz)

    def retired(self, s: Stretch, k: int, j: int) -> int:
        return s.retired[j] + k * s.period + self.converted(s.anchor[j] + k * s.host_period)

    def retired_anywhere(self, s: Stretch | StepStretch, k: int, j: int) -> int:
        """As `retired`; the ends of passes are known without following them."""
        if not isinstance(s, StepStretch):
            return self.retired(s, k, j)
        return s.ends[k] if j == s.width - 1 else self.retired(*s.find(k, j))

    def ready(self, s: Stretch, k: int, j: int) -> int:
        source = s.sources[j]
        if source >= 0:
            return self.retired(s, k, source)
        if source == -1 or k == 0:
            return s.ready_first[j]
        return self.retired(s, k - 1, -2 - source)

    def arrived(self, s: Stretch, k: int, j: int) -> int:
        if not self.hosted:
            return 0
        return self.converted(s.dispatched[j] + k * s.dispatch_period) + self.launch

    def spent(self, s: Stretch, k: int, j: int) -> int:
        if not self.hosted:
            return 0
        begin, end = s.started[j] + k * s.dispatch_period, s.dispatched[j] + k * s.dispatch_period
        return self.converted(end) - self.converted(begin)
