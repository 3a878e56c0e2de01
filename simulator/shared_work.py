"""What many runs of one program on variants of a machine have in common, found once."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from simulator.memory import Hierarchy, Traffic, run_traffic
from workloads.flat import FlatProgram, flatten
from workloads.transforms import copy_caches, fold_constants, fuse, share_caches, share_moments

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from simulator.runtime import OnDevice
    from workloads.moment import Program
    from workloads.transforms import Fusion

_KEPT = 64
"""Programs that a Reuse keeps; beyond them it starts anew."""


@dataclass
class Reuse:
    """What runs of the same program on variants of a machine have in common, found once.

    That is the fused and flat program, and where its bytes are, by the capacities of the caches.
    Give one object to runs one after another. Programs are told apart by identity.
    """

    _known: dict[tuple[int, bool, bool, str, Fusion], Common] = field(default_factory=dict)

    def common(self, program: Program, section: OnDevice, fusion: Fusion) -> Common:
        """The program as a runtime fuses it."""
        key = (id(program), section.copies_caches, section.folds_constants, section.beams, fusion)
        found = self._known.get(key)
        if found is None:
            if len(self._known) >= _KEPT:
                self._known.clear()
            found = self._known[key] = Common.of(program, section, fusion)
        return found


@dataclass
class Common:
    """A program (kept, so that its identity is no other's), fused, flat, and its traffic."""

    program: Program
    fused: Program
    flat: FlatProgram
    _traffic: dict[tuple[int, ...], Sequence[Traffic]] = field(default_factory=dict)
    _distances: list[int] = field(default_factory=list)

    @classmethod
    def of(cls, program: Program, section: OnDevice, fusion: Fusion) -> Common:
        """Caches copied or shared, constants folded, and fused, as the runtime does."""
        cached = copy_caches(program) if section.copies_caches else program
        cached = share_caches(cached) if section.beams == "indirect" else cached
        cached = fold_constants(cached) if section.folds_constants else cached
        fused = share_moments(fuse(cached, fusion))
        return cls(program, fused, flatten(fused))

    def traffic(self, levels: Hierarchy, warm: Mapping[str, int] | None) -> Sequence[Traffic]:
        """As run_traffic; capacities between the same reuse distances find everything alike."""
        if warm:
            return run_traffic(self.fused.instances(), levels, warm)
        found = self._traffic.get(self._rank(levels))
        if found is None:
            if len(self._traffic) >= _KEPT:
                self._traffic.clear()
            recording = _Recording(levels.names, levels.capacities)
            found = run_traffic(self.fused.instances(), recording)
            self._distances = sorted(recording.distances)
            self._traffic[self._rank(levels)] = found
        return found

    def _rank(self, levels: Hierarchy) -> tuple[int, ...]:
        """How many distances each level holds; distances do not depend on capacities."""
        return tuple(bisect_right(self._distances, capacity) for capacity in levels.capacities)


@dataclass(frozen=True)
class _Recording(Hierarchy):
    """Levels that remember which distances they were asked about."""

    distances: set[int] = field(default_factory=set)

    def level(self, distance_bytes: int) -> int:
        self.distances.add(distance_bytes)
        return super().level(distance_bytes)
