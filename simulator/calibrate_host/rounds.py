"""Interleaved timing: every job once a round, so that a busy minute harms all of them alike."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

_QUIET = 0.2
"""Part of the undisturbed repetitions, the fastest, whose mean is the time of a quiet machine."""
LEAST_CALM = 3
"""Undisturbed repetitions that a time is worth believing from."""

_THREAD_CLOCK = time.get_clock_info("thread_time").resolution < 1e-6


@dataclass(frozen=True)
class Job:
    """Something to time: `run` makes `calls` calls on `threads` threads.

    With `before`, which is not timed, `run` makes one call and is timed `calls` times in a row,
    each after `before`; the median counts.
    """

    name: str
    threads: int
    run: Callable[[], object]
    calls: int = 1
    before: Callable[[], object] | None = None


@dataclass(frozen=True)
class Timing:
    """Seconds of one call on a quiet machine, and how the repetitions scattered.

    `spread`: third quartile over the quiet time, less 1. `disturbed`: repetitions during which the
    system took a core away.
    """

    seconds: float
    spread: float
    repetitions: int
    disturbed: int


def timed_rounds(
    jobs: Sequence[Job],
    budget_s: float,
    *,
    set_threads: Callable[[int], object],
    progress: Callable[[int, int], None] = lambda done, total: None,
    least: int = 3,
) -> list[Timing]:
    """A timing of each job: rounds of all jobs until `budget_s` is spent, at least `least`.

    Jobs of equal threads follow one another, the first of them once more before it is timed, since
    a change of threads slows the next call. The first round warms up and does not count.
    `progress` is told seconds spent and in all.
    """
    order = sorted(range(len(jobs)), key=lambda i: jobs[i].threads)
    samples: list[list[tuple[float, bool]]] = [[] for _ in jobs]
    start = time.perf_counter()
    rounds = 0
    while rounds <= least or time.perf_counter() - start < budget_s:
        threads = 0
        for index in order:
            if jobs[index].threads != threads:
                threads = jobs[index].threads
                set_threads(threads)
                jobs[index].run()
            taken = _once(jobs[index])
            if rounds:
                samples[index].append(taken)
        rounds += 1
        progress(min(int(time.perf_counter() - start), int(budget_s)), int(budget_s))
    return [summarised(found) for found in samples]


def summarised(samples: Sequence[tuple[float, bool]]) -> Timing:
    """The timing of repetitions, each as seconds and whether it was disturbed."""
    calm = sorted(seconds for seconds, disturbed in samples if not disturbed)
    kept = calm if len(calm) >= LEAST_CALM else sorted(seconds for seconds, _ in samples)
    fastest = kept[: max(1, round(_QUIET * len(kept)))]
    quiet = sum(fastest) / len(fastest)
    late = kept[min(len(kept) - 1, 3 * len(kept) // 4)]
    return Timing(quiet, late / quiet - 1, len(samples), len(samples) - len(calm))


def _once(job: Job) -> tuple[float, bool]:
    """Seconds of a call, and whether it was disturbed.

    One thread is timed by its own clock, which stands still while another program has the core.
    """
    switches = _switches()
    own = job.threads == 1 and _THREAD_CLOCK
    clock = time.thread_time if own else time.perf_counter
    if job.before is None:
        start = clock()
        job.run()
        seconds = (clock() - start) / job.calls
    else:
        times = []
        for _ in range(job.calls + 1):  # the first one is colder than any in a row
            job.before()
            start = clock()
            job.run()
            times.append(clock() - start)
        seconds = statistics.median(times[1:])
    return seconds, not own and _switches() != switches


def _switches() -> int:
    """How often the system took a core from this process; 0 where it does not say."""
    try:
        import resource
    except ImportError:  # Windows
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw


def load() -> float | None:
    """Programs that want a core, on average over the last minute; None where it is not known."""
    try:
        return os.getloadavg()[0]
    except (OSError, AttributeError):  # Windows
        return None
