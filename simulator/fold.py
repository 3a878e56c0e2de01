"""A program folded: instances of a segment that find their bytes alike are one block."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from operator import eq
from typing import TYPE_CHECKING, Generic, TypeVar, overload

from simulator.memory import Hierarchy, Traffic
from simulator.reuse import Accesses, Unfoldable, accesses_of
from workloads.moment import CollectiveShape

if TYPE_CHECKING:
    from simulator.demand.types import Demand
    from workloads.moment import Moment, Program, Repeat, Segment

T = TypeVar("T")
B = TypeVar("B")


@dataclass(frozen=True, slots=True)
class Block:
    """`count` instances of a segment one after another whose moments ask for the same.

    `first`: number of the first moment. `traffic` and `demands` by position in the segment.
    """

    segment: Segment
    pass_index: int
    first: int
    count: int
    traffic: tuple[Traffic, ...]
    demands: tuple[Demand, ...] = ()

    @property
    def width(self) -> int:
        """Moments of one instance."""
        return len(self.segment.moments)


class Column(Sequence[T], Generic[T, B]):
    """A value for each moment of a run, computed when asked for from the block that holds it.

    `firsts`: number of the first moment of each block; `value` takes a block, the number of an
    instance in it, and a position in the segment.
    """

    def __init__(
        self,
        blocks: Sequence[B],
        firsts: Sequence[int],
        count: int,
        width: Callable[[B], int],
        value: Callable[[B, int, int], T],
    ) -> None:
        self._blocks, self._firsts, self._count = blocks, firsts, count
        self._width, self._value = width, value

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> T: ...

    @overload
    def __getitem__(self, index: slice) -> list[T]: ...

    def __getitem__(self, index: int | slice) -> T | list[T]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(self._count))]
        if index < 0:
            index += self._count
        if not 0 <= index < self._count:
            raise IndexError(index)
        at = bisect_right(self._firsts, index) - 1
        block = self._blocks[at]
        return self._value(block, *divmod(index - self._firsts[at], self._width(block)))

    def __eq__(self, other: object) -> bool:
        """Whether `other` is a sequence of the same values, in any form."""
        if not isinstance(other, Sequence):
            return NotImplemented
        return len(self) == len(other) and all(map(eq, self, other))

    __hash__ = None  # type: ignore[assignment] # as lists, of which it takes the place

    def __iter__(self) -> Iterator[T]:
        value = self._value
        ends = [*self._firsts[1:], self._count]
        for block, first, end in zip(self._blocks, self._firsts, ends, strict=True):
            width = self._width(block)
            for instance in range((end - first) // width):
                for position in range(width):
                    yield value(block, instance, position)


def column(blocks: Sequence[Block], value: Callable[[Block, int, int], T]) -> Column[T, Block]:
    """What `value` gives for every moment of some blocks."""
    count = blocks[-1].first + blocks[-1].count * blocks[-1].width
    return Column(blocks, [b.first for b in blocks], count, lambda b: b.width, value)


def fold(
    program: Program, levels: Hierarchy, warm: Mapping[str, int] | None = None
) -> list[Block] | None:
    """The blocks of a program, whose traffic is that of simulator.memory.run_traffic.

    None for programs of several devices, parts or links, and for names that cannot be told apart.
    """
    try:
        return list(_Folder(levels, warm or {}, program).blocks(program))
    except Unfoldable:
        return None


@dataclass(slots=True)
class _Touch:
    """When a tensor of the instances lo to hi was last touched: `bytes` + `slope` an instance."""

    lo: int
    hi: int
    bytes: int
    slope: int

    def at(self, number: int) -> int:
        return self.bytes + (number - self.lo) * self.slope


class _Folder:
    """Follows a program as simulator.memory.ReuseTracker does, many instances at a time.

    Instances of one repeat touch equally many bytes, so the reuse distance of a weight or cache
    grows or shrinks evenly from one to the next, and so its level changes in one direction only.
    An activation is at the same distance in all of them but the first.
    """

    def __init__(self, levels: Hierarchy, warm: Mapping[str, int], program: Program) -> None:
        self._levels, self._warm = levels, warm
        self._names = {r.segment.name for p in program.passes for r in p.repeats}
        self._touched = 0
        self._shared: dict[str, int] = {}  # activations and inputs: touched when last used
        self._stored: dict[tuple[str, str], list[_Touch]] = {}  # weights and caches
        self._accesses: dict[int, Accesses] = {}
        self._known: dict[tuple[int, ...], Traffic] = {}

    def blocks(self, program: Program) -> Iterator[Block]:
        first = 0
        for pass_index, step in enumerate(program.passes):
            for repeat in step.repeats:
                if repeat.device or repeat.part or "/" in repeat.segment.name:
                    raise Unfoldable
                if not repeat.segment.moments:
                    continue
                for count, traffic in self._repeat(repeat):
                    yield Block(repeat.segment, pass_index, first, count, traffic)
                    first += count * len(repeat.segment.moments)

    def _repeat(self, repeat: Repeat) -> Iterator[tuple[int, tuple[Traffic, ...]]]:
        segment = repeat.segment
        accesses = self._accesses.get(id(segment))
        if accesses is None:
            if any(isinstance(m.shape, CollectiveShape) for m in segment.moments):
                raise Unfoldable
            accesses = accesses_of(segment, self._levels, self._warm, self._names)
            self._accesses[id(segment)] = accesses
        base, start = _place(repeat)
        end = start + repeat.count
        keys = [(base, name) for name in accesses.stored_names]
        begun = self._touched
        bounds = {start, min(start + 1, end), end}
        for key in keys:
            for touch in self._stored.get(key, ()):
                bounds |= {n for n in (touch.lo, touch.hi) if start < n < end}
        cuts = sorted(bounds)
        for low, high in pairwise(cuts):
            touches = [self._touch(key, low) for key in keys]
            while low < high:
                found = self._stored_levels(accesses, touches, low, begun, start)
                until = high
                if self._stored_levels(accesses, touches, high - 1, begun, start) != found:
                    until = self._last_alike(accesses, touches, (low, high), begun, start, found)
                yield until - low, self._traffic(accesses, found, is_first=low == start)
                low = until
        for key, offset in zip(keys, accesses.stored_last, strict=True):
            self._store(key, _Touch(start, end, begun + offset, accesses.own_bytes))
        self._touched = begun + repeat.count * accesses.own_bytes
        last = self._touched - accesses.own_bytes
        for name, offset in accesses.shared_last.items():
            self._shared[name] = last + offset

    def _touch(self, key: tuple[str, str], number: int) -> _Touch | None:
        for touch in self._stored.get(key, ()):
            if touch.lo <= number < touch.hi:
                return touch
        return None

    def _store(self, key: tuple[str, str], new: _Touch) -> None:
        kept: list[_Touch] = []
        for old in self._stored.get(key, ()):
            if old.lo < new.lo:
                kept.append(_Touch(old.lo, min(old.hi, new.lo), old.bytes, old.slope))
            if old.hi > new.hi:
                low = max(old.lo, new.hi)
                kept.append(_Touch(low, old.hi, old.at(low), old.slope))
        self._stored[key] = [*kept, new]

    def _stored_levels(
        self,
        accesses: Accesses,
        touches: Sequence[_Touch | None],
        number: int,
        begun: int,
        start: int,
    ) -> tuple[int, ...]:
        """The level at which each first access to a weight or cache finds it, in one instance."""
        level = self._levels.level
        now = begun + (number - start) * accesses.own_bytes
        found = []
        for access in accesses.stored_first:
            touch = touches[access.key]
            if touch is None:
                found.append(access.untouched_level)
            else:
                found.append(level(now + access.offset - touch.at(number)))
        return tuple(found)

    def _last_alike(
        self,
        accesses: Accesses,
        touches: Sequence[_Touch | None],
        among: tuple[int, int],
        begun: int,
        start: int,
        found: tuple[int, ...],
    ) -> int:
        """After the last instance with the levels of the first of them; levels move one way."""
        low, high = among[0], among[1] - 1  # alike, not alike
        while high - low > 1:
            middle = (low + high) // 2
            if self._stored_levels(accesses, touches, middle, begun, start) == found:
                low = middle
            else:
                high = middle
        return high

    def _traffic(
        self, accesses: Accesses, found: tuple[int, ...], *, is_first: bool
    ) -> tuple[Traffic, ...]:
        by_moment = [list(row) for row in (accesses.fixed if is_first else accesses.steady)]
        for access, level in zip(accesses.stored_first, found, strict=True):
            by_moment[access.position][level] += access.bytes
        if is_first:
            for access in accesses.shared_first:
                last = self._shared.get(access.name)
                level = access.untouched_level
                if last is not None:
                    level = self._levels.level(self._touched + access.offset - last)
                by_moment[access.position][level] += access.bytes
        return tuple([self._shared_traffic(tuple(row)) for row in by_moment])

    def _shared_traffic(self, by_level: tuple[int, ...]) -> Traffic:
        traffic = self._known.get(by_level)
        if traffic is None:
            traffic = self._known[by_level] = Traffic(by_level)
        return traffic


def _place(repeat: Repeat) -> tuple[str, int]:
    """The name of the storage of a repeat's instances, and the number of the first.

    A single segment "layer.3" has the storage of instance 3 of the segment "layer".
    """
    name = repeat.segment.name
    if repeat.count > 1 or repeat.first is not None:
        return name, repeat.first or 0
    base, dot, number = name.rpartition(".")
    if dot and number.isdecimal() and number.isascii() and str(int(number)) == number:
        return base, int(number)
    return name, -1


def with_demands(
    blocks: Sequence[Block],
    demand_of: Callable[[Moment, Traffic], Demand],
    first_of: Callable[[Block, Demand], Demand],
) -> list[Block]:
    """Blocks with what their moments ask for, and `first_of` that for the first of each pass."""
    found: list[Block] = []
    pass_index = -1
    for block in blocks:
        pairs = zip(block.segment.moments, block.traffic, strict=True)
        demands = tuple([demand_of(moment, moved) for moment, moved in pairs])
        if block.pass_index == pass_index:
            found.append(replace(block, demands=demands))
            continue
        pass_index = block.pass_index
        changed = (first_of(block, demands[0]), *demands[1:])
        if changed[0] is demands[0] or block.count == 1:
            found.append(replace(block, demands=changed))
            continue
        following = block.first + block.width
        found.append(replace(block, demands=changed, count=1))
        found.append(replace(block, demands=demands, first=following, count=block.count - 1))
    return found
