"""Which memory level each tensor is found in: reuse distance, static, independent of timing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from workloads.op_counts.collective import COLLECTIVES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hardware_profiles.schema import Profile
    from workloads.moment import Instance, Moment, Tensor

_COLD: Mapping[str, int] = MappingProxyType({})

_WRITE_BACK_SHARE = 0.8
"""Part of a cache that holds what is reused; the rest is lost to conflicts and other traffic."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """Bytes that one moment moves: `by_level`, nearest cache first, the last entry is DRAM."""

    by_level: tuple[int, ...]

    @property
    def dram_bytes(self) -> int:
        return self.by_level[-1]


@dataclass(frozen=True)
class Hierarchy:
    """Capacities of the shared or summed cache levels that hold tensors, nearest first."""

    names: tuple[str, ...]
    capacities: tuple[int, ...]

    def level(self, distance_bytes: int) -> int:
        """Index of the nearest level that still holds what was touched that many bytes ago."""
        for index, capacity in enumerate(self.capacities):
            if distance_bytes <= capacity:
                return index
        return len(self.capacities)


def hierarchy(profile: Profile) -> Hierarchy:
    """The levels beyond L1: a tensor is spread over all parts of a level (all cores' L2, ...)."""
    caches = {n: lv for n, lv in profile.memory.items() if n not in ("l1", "dram")}
    return Hierarchy(
        (*caches, "dram"),
        tuple(int(lv.total_bytes * _WRITE_BACK_SHARE) for lv in caches.values()),
    )


class ReuseTracker:
    """Follows a run's moments in graph order and tells where each one's bytes are found.

    Reuse distance of a tensor: bytes touched since it was last touched. What was never touched is
    in DRAM, or, where `warm` names its role, at the distance of so many times the bytes of the
    moment: 1 where the same work was just done before, 4 where a benchmark takes turns among four
    sets of weights so as not to find them in a cache.
    """

    def __init__(self, levels: Hierarchy, warm: Mapping[str, int] = _COLD) -> None:
        self._levels = levels
        self._touched = 0
        self._last: dict[str, int] = {}
        self._warm = warm

    def moment(self, prefix: str, moment: Moment, part: str = "") -> Traffic:
        """Where `moment`'s bytes are found.

        Weights are private to `prefix`, caches to `prefix` and `part`, all else to `part`.
        """
        reads, writes = moment.reads, moment.writes
        written = 0
        for tensor in writes:
            written += tensor.bytes
        own_bytes = written
        for tensor in reads:
            own_bytes += tensor.bytes
        by_level = [0] * (len(self._levels.capacities) + 1)
        keys = [_key(prefix, part, tensor) for tensor in reads]
        for key, tensor in zip(keys, reads, strict=True):
            by_level[self._level_of(key, tensor, own_bytes)] += tensor.bytes
        by_level[self._levels.level(own_bytes)] += written
        touched = self._touched = self._touched + own_bytes
        for key in keys:
            self._last[key] = touched
        for tensor in writes:
            self._last[_key(prefix, part, tensor)] = touched
        return Traffic(tuple(by_level))

    def _level_of(self, key: str, tensor: Tensor, own_bytes: int) -> int:
        last = self._last.get(key)
        if last is not None:
            return self._levels.level(self._touched - last + tensor.bytes)
        if tensor.role in self._warm:
            return self._levels.level(own_bytes * self._warm[tensor.role])
        return len(self._levels.capacities)


def _key(prefix: str, part: str, tensor: Tensor) -> str:
    """Name of the storage: weights and caches of a layer persist, activations share buffers."""
    if tensor.role == "weight":
        return prefix + tensor.name
    if tensor.role == "kv_cache":
        return part + prefix + tensor.name
    return part + tensor.name


def run_traffic(
    instances: Iterator[Instance], levels: Hierarchy, warm: Mapping[str, int] = _COLD
) -> Sequence[Traffic]:
    """Traffic of every moment of a program, in graph order; every device has caches of its own.

    A layer's weights are the same storage in every pass. What goes over a link is not looked for
    in a cache.
    """
    trackers: dict[int, ReuseTracker] = {}
    found: list[Traffic] = []
    nothing = Traffic((0,) * (len(levels.capacities) + 1))
    for instance in instances:
        tracker = trackers.get(instance.device)
        if tracker is None:
            tracker = trackers[instance.device] = ReuseTracker(levels, warm)
        storage, part = instance.storage, instance.part
        for moment in instance.segment.moments:
            on_link = moment.kind in COLLECTIVES
            found.append(nothing if on_link else tracker.moment(storage, moment, part))
    return found
