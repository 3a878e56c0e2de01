"""What shared resources did over time, as steps: memory bytes per cycle and busy cores."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from simulator.sharing import RATE_ONE, Pool

if TYPE_CHECKING:
    from simulator.trace import Trace

Steps = list[tuple[int, float]]
"""(cycle, value): the value holds from that cycle to the next entry's. The last value is 0."""


def memory_steps(trace: Trace, memory_rate: int) -> Steps:
    """DRAM bytes per cycle over the run; `memory_rate` is that of the engine's plan.

    In order, each moment's bytes are spread evenly over the time that it runs, as a profiler's
    counter shows a kernel; so it is with several devices, all of them together. In dataflow order
    the rates are those that the flows had side by side.
    """
    if trace.in_order or trace.places:
        return step_sum(_spread(trace))
    return _tidy(_shared(trace, memory_rate))


def busy_core_steps(trace: Trace) -> Steps:
    """Cores that hold a moment, over the run."""
    cores, issued, retired = trace.cores, trace.issued, trace.retired
    return step_sum(
        (issued[i], retired[i], len(cores[i])) for i in range(len(trace)) if not trace.on_link(i)
    )


def step_sum(spans: Iterable[tuple[int, int, float]]) -> Steps:
    """The sum of values that each hold from a first cycle to a last one, not included."""
    changes: dict[int, list[float]] = {0: []}
    for start, end, value in spans:
        if end > start and value:
            changes.setdefault(start, []).append(value)
            changes.setdefault(end, []).append(-value)
    steps: Steps = []
    running: dict[float, int] = {}
    for cycle in sorted(changes):
        for value in changes[cycle]:
            running[abs(value)] = running.get(abs(value), 0) + (1 if value > 0 else -1)
        running = {value: count for value, count in running.items() if count}
        steps.append((cycle, sum(value * count for value, count in running.items())))
    return _tidy(steps)


def _tidy(steps: Iterable[tuple[int, float]]) -> Steps:
    """One entry a cycle, the last one given, and none that changes nothing."""
    found: Steps = []
    for cycle, value in dict(steps).items():
        if not found or value != found[-1][1]:
            found.append((cycle, value))
    return found


def _spread(trace: Trace) -> Iterator[tuple[int, int, float]]:
    for i, demand in enumerate(trace.demands):
        start, end = trace.issued[i], trace.retired[i]
        if demand.memory_bytes and not trace.on_link(i):
            yield start, end, demand.memory_bytes / (end - start)


def _shared(trace: Trace, memory_rate: int) -> Iterator[tuple[int, float]]:
    """The engine's flows once more, from the cycles in which they began."""
    demands = trace.demands
    starts = sorted((trace.issued[i], i) for i in range(len(trace)) if demands[i].memory_bytes)
    starts.reverse()
    pool = Pool(memory_rate)
    done_at: int | None = None
    yield 0, 0.0
    while starts or done_at is not None:
        due = [starts[-1][0]] if starts else []
        now = min(due if done_at is None else [*due, done_at])
        pool.take_done(now)
        while starts and starts[-1][0] == now:
            _, index = starts.pop()
            pool.add(index, demands[index].memory_bytes, demands[index].memory_cap, now)
        wait = pool.settle()
        done_at = None if wait is None else now + wait
        yield now, pool.rate / RATE_ONE


def step_spans(steps: Steps, start: int, end: int, top: float) -> Iterator[tuple[int, int, float]]:
    """The steps inside a window as (start, end, part of `top`), without a gap."""
    first = max(0, bisect_right(steps, start, key=lambda step: step[0]) - 1)
    after = bisect_left(steps, end, key=lambda step: step[0])
    for i in range(first, after):
        following = steps[i + 1][0] if i + 1 < after else end
        yield max(steps[i][0], start), following, steps[i][1] / top


def bin_means(spans: Iterable[tuple[int, int, float]], edges: Sequence[float]) -> tuple[float, ...]:
    """The mean between each two edges of the sum of the values that hold in (start, end, value)."""
    sums = [0.0] * (len(edges) - 1)
    for span_start, span_end, value in spans:
        low, high = max(span_start, edges[0]), min(span_end, edges[-1])
        if high <= low:
            continue
        i = bisect_right(edges, low) - 1
        while low < high:
            right = min(high, edges[i + 1])
            sums[i] += (right - low) * value
            low = right
            i += 1
    return tuple(total / (b - a) for total, (a, b) in zip(sums, pairwise(edges), strict=True))
