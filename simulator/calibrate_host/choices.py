"""Figures that are whole numbers: seen in the timings, or the one of a few that fits them best."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import takewhile
from statistics import median
from typing import TYPE_CHECKING

from simulator.calibrate_host.parameters import Subject
from simulator.runtime import LibraryTable

if TYPE_CHECKING:
    from simulator.calibrate_host.predicted import Observation

_GEMV_ROWS = (0, 1, 2, 3, 4)
_FASTER = 1.15
"""All threads are at work where one alone takes so much longer; less may be a faster clock."""
_PARALLEL_FROM = tuple(2**power for power in range(12, 18))
_SHARES = (1.0, 0.75, 0.5, 0.375, 0.25, 0.125)
_BETTER = 0.98
"""A figure moves only where all residuals together shrink at least to this part."""


def with_threads_seen(base: Subject, observed: Sequence[Observation]) -> Subject:
    """The base with products on one thread up to as many rows as several do not shorten.

    What was not measured, or not on one thread and on all, stays.
    """
    cores, library = base.profile.cores.count, base.section.library
    if library is None or cores == 1:
        return base
    update: dict[str, int] = {}
    rows = _speed_ups(observed, cores)
    if rows:
        alone = list(takewhile(lambda m: rows[m] < _FASTER, sorted(rows)))
        update["single_thread_rows"] = max(alone, default=0)
        update["gemv_threads"] = 1 if alone else 0
    return _with_library(base, update)


def _speed_ups(observed: Sequence[Observation], cores: int) -> dict[int, float]:
    """By the rows of products: time on one thread over time on all, the median of all shapes."""
    seconds = {(one.operator.label, one.threads): one.seconds for one in observed}
    found: dict[int, list[float]] = {}
    for one in observed:
        alone = seconds.get((one.operator.label, 1))
        if one.operator.name == "product" and one.threads == cores and alone is not None:
            found.setdefault(one.operator.sizes["m"], []).append(alone / one.seconds)
    return {value: median(ratios) for value, ratios in found.items()}


def _with_library(base: Subject, update: Mapping[str, int]) -> Subject:
    library = (base.section.library or LibraryTable(source="none")).model_copy(update=dict(update))
    return Subject(base.profile, base.section.model_copy(update={"library": library}))


def gemv_choices(base: Subject) -> tuple[Subject, ...]:
    """The base with products as matrix-vector products up to other numbers of rows."""
    return tuple(_with_library(base, {"gemv_rows": rows}) for rows in _GEMV_ROWS)


def loop_choices(base: Subject) -> tuple[Subject, ...]:
    """The base with loops on several threads from other numbers of elements on."""
    if base.profile.cores.count == 1:
        return ()
    return tuple(_with_library(base, {"parallel_elements": size}) for size in _PARALLEL_FROM)


def cache_choices(base: Subject) -> tuple[Subject, ...]:
    """The last cache whole and in parts: others on the same chip fill theirs of it.

    A part is no smaller than twice the caches inside; without three levels it is not shared.
    """
    caches = [name for name in base.profile.memory if name != "dram"]
    if len(caches) < 3:
        return ()
    last, inside = base.profile.memory[caches[-1]], base.profile.memory[caches[-2]]
    parts = [int(last.capacity_bytes * share) for share in _SHARES]
    found = []
    for part in parts:
        if part * last.instances >= 2 * inside.total_bytes or part == last.capacity_bytes:
            level = last.model_copy(update={"capacity_bytes": part})
            memory = {**base.profile.memory, caches[-1]: level}
            profile = base.profile.model_copy(update={"memory": memory})
            found.append(Subject(profile, base.section))
    return tuple(found)


def best_of(base: Subject, choices: Sequence[Subject], cost: Callable[[Subject], float]) -> Subject:
    """The subject of least cost; the base, where none is better by more than noise."""
    costs = [cost(one) for one in choices]
    if not costs or min(costs) >= _BETTER * cost(base):
        return base
    return choices[costs.index(min(costs))]
