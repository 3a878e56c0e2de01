"""The columns of a folded trace: cycles of single moments, computed when asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from simulator.engine.plan import Plan
from simulator.blocks import Column
from simulator.trace import StepStretch, Stretch, Trace

T = TypeVar("T")


def lazy_trace(plan: Plan, stretches: Sequence[Stretch | StepStretch], cycles: int) -> Trace:
    """The trace of stretches that ran on one device in order; see simulator.trace.Stretch."""
    launch = plan.launch_cycles if plan.host == "asynchronous" else 0
    hosted = plan.host != "none"
    device_hz, host_hz = plan.clock_hz, plan.host_clock_hz
    firsts = [stretch.first for stretch in stretches]
    count = stretches[-1].first + stretches[-1].count * stretches[-1].width

    def converted(host_cycles: int) -> int:
        return -(-host_cycles * device_hz // host_hz)

    def retired(s: Stretch, k: int, j: int) -> int:
        return s.retired[j] + k * s.period + converted(s.anchor[j] + k * s.host_period)

    def ready(s: Stretch, k: int, j: int) -> int:
        source = s.sources[j]
        if source >= 0:
            return retired(s, k, source)
        if source == -1 or k == 0:
            return s.ready_first[j]
        return retired(s, k - 1, -2 - source)

    def arrived(s: Stretch, k: int, j: int) -> int:
        return converted(s.dispatched[j] + k * s.dispatch_period) + launch if hosted else 0

    def spent(s: Stretch, k: int, j: int) -> int:
        if not hosted:
            return 0
        begin = s.started[j] + k * s.dispatch_period
        return converted(s.dispatched[j] + k * s.dispatch_period) - converted(begin)

    def of(value: Callable[[Stretch, int, int], T]) -> Column[T, Stretch | StepStretch]:
        def at(s: Stretch | StepStretch, k: int, j: int) -> T:
            return value(*s.find(k, j)) if isinstance(s, StepStretch) else value(s, k, j)

        return Column(stretches, firsts, count, lambda s: s.width, at)

    def retired_at(s: Stretch | StepStretch, k: int, j: int) -> int:
        if not isinstance(s, StepStretch):
            return retired(s, k, j)
        return s.ends[k] if j == s.width - 1 else retired(*s.find(k, j))

    return Trace(
        clock_hz=device_hz,
        core_count=plan.core_count,
        cycles=cycles,
        in_order=True,
        demands=of(lambda s, k, j: s.demands[j]),
        ready=of(ready),
        dispatched=of(arrived),
        issued=of(lambda s, k, j: retired(s, k, j) - s.held[j]),
        retired=Column(stretches, firsts, count, lambda s: s.width, retired_at),
        cores=of(lambda s, k, j: s.cores[j]),
        dispatch_cycles=of(spent),
        launch_cycles=launch,
        stretches=stretches,
    )
