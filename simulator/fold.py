"""A program folded: instances of a segment that find their bytes alike are one block."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING

from simulator.blocks import AnyBlock, Block, StepBlocks
from simulator.memory import Hierarchy, Traffic
from simulator.reuse import Accesses, Unfoldable, accesses_of
from workloads.growing import Varies, at_step, over, total
from workloads.moment import CollectiveShape
from workloads.passes import Steps, counted, parts_of, segment_over

if TYPE_CHECKING:
    from workloads.moment import Pass, Program, Repeat, Segment


def fold(
    program: Program, levels: Hierarchy, warm: Mapping[str, int] | None = None
) -> list[AnyBlock] | None:
    """The blocks of a program, whose traffic is that of simulator.memory.run_traffic.

    None for programs of several devices, parts or links, and for names that cannot be told apart.
    """
    names = {r.segment.name for p, _ in counted(program.passes) for r in p.repeats}
    try:
        return list(_Folder(levels, warm or {}, names).blocks(program))
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

    def __init__(self, levels: Hierarchy, warm: Mapping[str, int], names: set[str]) -> None:
        self._levels, self._warm, self._names = levels, warm, names
        self._touched = 0
        self._shared: dict[str, int] = {}  # activations and inputs: touched when last used
        self._stored: dict[tuple[str, str], list[_Touch]] = {}  # weights and caches
        self._accesses: dict[int, Accesses] = {}
        self._known: dict[tuple[int, ...], Traffic] = {}

    def blocks(self, program: Program) -> Iterator[AnyBlock]:
        number = first = 0
        for part in parts_of(program.passes):
            if isinstance(part, Steps):
                _check(part.template)
                yield from self._steps(program, part, number, first)
                first += part.count * part.template.moment_count
                number += part.count
                continue
            _check(part)
            yield from self._pass(part, number, first)
            first += part.moment_count
            number += 1

    def _pass(self, step: Pass, pass_index: int, first: int) -> Iterator[Block]:
        for repeat in step.repeats:
            if not repeat.segment.moments:
                continue
            for count, traffic in self._repeat(repeat, self._accesses_of(repeat.segment)):
                yield Block(repeat.segment, pass_index, first, count, traffic)
                first += count * len(repeat.segment.moments)

    def _steps(
        self, program: Program, steps: Steps, pass_index: int, first: int
    ) -> Iterator[AnyBlock]:
        """Passes that grow evenly, as many at a time as find their bytes at the same levels.

        The first of them follows another pass, so it is followed by itself.
        """
        width, low = steps.template.moment_count, 0
        while low < steps.count:
            high = steps.count if low else 1
            found: tuple[Block, ...] = ()
            while high - low > 1 and not found:
                try:
                    found = self._alike(steps, low, high)
                except Varies as varies:
                    high = varies.at or low + 1
            number, begin = pass_index + low, first + low * width
            if found:
                yield StepBlocks(found, low, high - low, number, begin)
            else:
                yield from self._pass(program.passes[number], number, begin)
            low = high

    def _alike(self, steps: Steps, low: int, high: int) -> tuple[Block, ...]:
        """The blocks of each of some steps, or Varies.

        All that a step touches was touched in the step before it, so where it is found depends on
        these two, both of which grow evenly.
        """
        other = _Folder(self._levels, self._warm, self._names)
        repeats = [r for r in steps.template.repeats if r.segment.moments]
        now: dict[int, Accesses] = {}
        before: dict[int, Accesses] = {}
        kept: list[Segment] = []  # for other._accesses, which goes by identity
        for segment in {id(r.segment): r.segment for r in repeats}.values():
            own = segment_over(segment, low, high)
            kept.append(own)
            accesses = (self if own is segment else other)._accesses_of(own)
            now[id(segment)] = before[id(segment)] = accesses
            if own is not segment:
                before[id(segment)] = _a_step_before(accesses, low, high)
        for repeat in repeats:
            other._leave(repeat, before[id(repeat.segment)])
        begun, first = other._touched, 0
        found: list[Block] = []
        for repeat in repeats:
            for count, traffic in other._repeat(repeat, now[id(repeat.segment)]):
                found.append(Block(repeat.segment, 0, first, count, traffic))
                first += count * len(repeat.segment.moments)
        self._take_over(other, other._touched - begun, low, high)
        return tuple(found)

    def _take_over(self, other: _Folder, own_bytes: int, low: int, high: int) -> None:
        """Go on after the last step of some that `other` followed, each of so many bytes."""
        self._touched += total(own_bytes, range(low, high))
        last = high - 1
        for name, touched in other._shared.items():
            self._shared[name] = self._touched - at_step(other._touched - touched, last)
        for key, touches in other._stored.items():
            for touch in touches:
                since = at_step(other._touched - touch.bytes, last)
                slope = at_step(touch.slope, last)
                self._store(key, _Touch(touch.lo, touch.hi, self._touched - since, slope))

    def _accesses_of(self, segment: Segment) -> Accesses:
        accesses = self._accesses.get(id(segment))
        if accesses is None:
            if any(isinstance(m.shape, CollectiveShape) for m in segment.moments):
                raise Unfoldable
            accesses = accesses_of(segment, self._levels, self._warm, self._names)
            self._accesses[id(segment)] = accesses
        return accesses

    def _repeat(
        self, repeat: Repeat, accesses: Accesses
    ) -> Iterator[tuple[int, tuple[Traffic, ...]]]:
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
        self._leave(repeat, accesses)

    def _leave(self, repeat: Repeat, accesses: Accesses) -> None:
        """Touch what all instances of a repeat touch."""
        base, start = _place(repeat)
        end, begun = start + repeat.count, self._touched
        for name, offset in zip(accesses.stored_names, accesses.stored_last, strict=True):
            self._store((base, name), _Touch(start, end, begun + offset, accesses.own_bytes))
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


def _a_step_before(accesses: Accesses, low: int, high: int) -> Accesses:
    """What the pass before each of some steps touched, and when it did so last."""
    return replace(
        accesses,
        own_bytes=over(accesses.own_bytes, low, high, -1),
        stored_last=over(accesses.stored_last, low, high, -1),
        shared_last=over(accesses.shared_last, low, high, -1),
    )


def _check(step: Pass) -> None:
    for repeat in step.repeats:
        if repeat.device or repeat.part or "/" in repeat.segment.name:
            raise Unfoldable


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
