"""Figures that are whole numbers: each is the one of a few that fits the timings best."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from typing import Any

from simulator.calibrate_host.parameters import Subject

_VECTORS: tuple[Mapping[str, Any], ...] = tuple(
    {"gemv_rows": rows, "single_thread_rows": single}
    for rows in (0, 1, 2, 3, 4) for single in (0, 4, 8)
)  # fmt: skip
"""Up to how many rows products are matrix-vector products, and up to how many on one thread."""
_LOOPS: tuple[Mapping[str, Any], ...] = tuple({"parallel_elements": 2**n} for n in range(12, 18))
_SHARES = (1.0, 0.75, 0.5, 0.375, 0.25, 0.125)
_BETTER = 0.98
"""A figure moves only where all residuals together shrink at least to this part."""


def library_choices(base: Subject) -> tuple[tuple[Subject, ...], ...]:
    """The base with other whole numbers of its library, for each group that belongs together."""
    library = base.section.library
    if library is None:
        return ()

    def changed(update: Mapping[str, Any]) -> Subject:
        section = base.section.model_copy(update={"library": library.model_copy(update=update)})
        return Subject(base.profile, section)

    groups = (_VECTORS, _LOOPS) if base.profile.cores.count > 1 else (_VECTORS,)
    return tuple(tuple(changed(dict(update)) for update in group) for group in groups)


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


def best_of(
    base: Subject, choices: Sequence[Subject], cost: Callable[[Subject], float]
) -> Subject:
    """The subject of least cost; the base, where none is better by more than noise."""
    costs = [cost(one) for one in choices]
    if not costs or min(costs) >= _BETTER * cost(base):
        return base
    return choices[costs.index(min(costs))]
