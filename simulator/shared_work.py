"""What many runs of one program on variants of a machine have in common, found once."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from math import inf
from typing import TYPE_CHECKING, Generic, TypeVar

from simulator.fold import fold
from simulator.memory import Hierarchy, Traffic, run_traffic
from workloads.flat import FlatProgram, flatten
from workloads.transforms import copy_caches, fuse, share_caches, share_moments

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from simulator.fold import Block
    from simulator.runtime import OnDevice
    from workloads.moment import Program
    from workloads.transforms import Fusion

T = TypeVar("T")

_KEPT = 64
"""Programs that a Reuse keeps, and findings of each; beyond them it starts anew."""


@dataclass
class Reuse:
    """What runs of the same program on variants of a machine have in common, found once.

    That is the fused and flat program, and where its bytes are, by the capacities of the caches.
    Give one object to runs one after another. Programs are told apart by identity.
    """

    _known: dict[tuple[int, bool, str, Fusion], Common] = field(default_factory=dict)

    def common(self, program: Program, section: OnDevice, fusion: Fusion) -> Common:
        """The program as a runtime fuses it."""
        key = (id(program), section.copies_caches, section.beams, fusion)
        found = self._known.get(key)
        if found is None:
            if len(self._known) >= _KEPT:
                self._known.clear()
            found = self._known[key] = Common.of(program, section, fusion)
        return found


@dataclass
class Common:
    """A program (kept, so that its identity is no other's), fused, flat, and where its bytes are.

    Both forms of the latter are found once for all capacities that they are the same for.
    """

    program: Program
    fused: Program
    flat: FlatProgram
    _traffic: list[_Found[Sequence[Traffic]]] = field(default_factory=list)
    _blocks: list[_Found[list[Block] | None]] = field(default_factory=list)

    @classmethod
    def of(cls, program: Program, section: OnDevice, fusion: Fusion) -> Common:
        """Caches copied or shared, and fused, as the runtime does."""
        cached = copy_caches(program) if section.copies_caches else program
        cached = share_caches(cached) if section.beams == "indirect" else cached
        fused = share_moments(fuse(cached, fusion))
        return cls(program, fused, flatten(fused))

    def traffic(self, levels: Hierarchy, warm: Mapping[str, int] | None) -> Sequence[Traffic]:
        """As simulator.memory.run_traffic."""
        if warm:
            return run_traffic(self.fused.instances(), levels, warm)
        return _once(
            self._traffic, levels, lambda asked: run_traffic(self.fused.instances(), asked)
        )

    def blocks(self, levels: Hierarchy, warm: Mapping[str, int] | None) -> list[Block] | None:
        """As simulator.fold.fold."""
        if warm:
            return fold(self.fused, levels, warm)
        return _once(self._blocks, levels, lambda asked: fold(self.fused, asked))


@dataclass(frozen=True)
class _Found(Generic[T]):
    """What was found for some capacities, and from which to below which each may be otherwise.

    In that range every question about a distance has the same answer, and so the next question is
    the same too: nothing can come out otherwise.
    """

    ranges: tuple[tuple[int, float], ...]
    value: T

    def holds_for(self, levels: Hierarchy) -> bool:
        pairs = zip(self.ranges, levels.capacities, strict=True)
        return all(low <= capacity < above for (low, above), capacity in pairs)


def _once(known: list[_Found[T]], levels: Hierarchy, find: Callable[[Hierarchy], T]) -> T:
    """What `find` gives, which asks nothing of the capacities but `level`."""
    for found in known:
        if len(found.ranges) == len(levels.capacities) and found.holds_for(levels):
            return found.value
    if len(known) >= _KEPT:
        known.clear()
    recording = _Recording(levels.names, levels.capacities)
    value = find(recording)
    distances = [-1, *sorted(recording.distances), inf]
    places = [bisect_right(distances, capacity) for capacity in levels.capacities]
    known.append(_Found(tuple((int(distances[i - 1]), distances[i]) for i in places), value))
    return value


@dataclass(frozen=True)
class _Recording(Hierarchy):
    """Levels that remember which distances they were asked about."""

    distances: set[int] = field(default_factory=set)

    def level(self, distance_bytes: int) -> int:
        self.distances.add(distance_bytes)
        return super().level(distance_bytes)
