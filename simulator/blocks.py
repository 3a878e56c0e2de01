"""A program in blocks: instances of a segment that are alike, and passes that grow evenly."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from operator import eq
from typing import TYPE_CHECKING, Generic, Protocol, TypeAlias, TypeVar, overload

from workloads.growing import compiled
from workloads.passes import segment_at

if TYPE_CHECKING:
    from simulator.demand.types import Demand
    from simulator.memory import Traffic
    from workloads.moment import Moment, Segment

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


Asked: TypeAlias = "Demand | tuple[Demand, ...]"
"""What a moment asks for in a pass of StepBlocks: the same in all, or in one after another."""


@dataclass(frozen=True)
class StepBlocks:
    """`count` passes one after another, each of the same blocks, in which some numbers grow evenly.

    `blocks` are those of a pass, with the first moments counted from its own and
    workloads.growing.Growing in the place of numbers; the passes are the steps from `low` on of
    these. `pass_index` and `first`: of the first pass. `asked`: by block and position.
    """

    blocks: tuple[Block, ...]
    low: int
    count: int
    pass_index: int
    first: int
    asked: tuple[tuple[Asked, ...], ...] = ()

    @cached_property
    def width(self) -> int:
        """Moments of one pass."""
        return self.blocks[-1].first + self.blocks[-1].count * self.blocks[-1].width

    def at(self, number: int) -> list[Block]:
        """The blocks of one of the passes, from 0."""
        if number not in self._made:
            self._made.clear()  # readers go from pass to pass
            self._made[number] = self._pass(number)
        return self._made[number]

    @cached_property
    def _made(self) -> dict[int, list[Block]]:
        return {}

    def _pass(self, number: int) -> list[Block]:
        step, first = self.low + number, self.first + number * self.width
        segments = {key: at(step) for key, at in self._segments.items()}
        found = []
        every = self.asked or [()] * len(self.blocks)
        for block, at, asked in zip(self.blocks, self._traffic, every, strict=True):
            demands = tuple([d[number] if isinstance(d, tuple) else d for d in asked])
            found.append(
                Block(
                    segments[id(block.segment)],
                    self.pass_index + number,
                    first + block.first,
                    block.count,
                    block.traffic if at is None else at(step),
                    demands,
                )
            )
        return found

    @cached_property
    def _segments(self) -> dict[int, Callable[[int], Segment]]:
        return {id(b.segment): segment_at(b.segment) for b in self.blocks}

    @cached_property
    def _traffic(self) -> list[Callable[[int], tuple[Traffic, ...]] | None]:
        return [compiled(block.traffic) for block in self.blocks]


AnyBlock: TypeAlias = Block | StepBlocks


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


def column(blocks: Sequence[AnyBlock], value: Callable[[Block, int, int], T]) -> Sequence[T]:
    """What `value` gives for every moment of some blocks."""

    def of(block: AnyBlock, number: int, position: int) -> T:
        if isinstance(block, Block):
            return value(block, number, position)
        inner = block.at(number)
        at = block.first + number * block.width + position
        found = inner[bisect_right(inner, at, key=lambda b: b.first) - 1]
        return value(found, *divmod(at - found.first, found.width))

    count = blocks[-1].first + blocks[-1].count * blocks[-1].width
    return Column(blocks, [b.first for b in blocks], count, lambda b: b.width, of)


class Asking(Protocol):
    """What moments ask for on a machine."""

    def of(self, moment: Moment, moved: Traffic) -> Demand:
        """A moment of the program, which may be asked about again."""

    def anew(self, moment: Moment, moved: Traffic) -> Demand:
        """A moment that is made for the question."""

    def first(self, pass_index: int, demand: Demand) -> Demand:
        """The first moment of a pass, which would ask for `demand` elsewhere."""


def with_demands(blocks: Sequence[AnyBlock], asking: Asking) -> list[AnyBlock]:
    """Blocks with what their moments ask for."""
    found: list[AnyBlock] = []
    pass_index = -1
    for block in blocks:
        if isinstance(block, StepBlocks):
            found.append(_steps_with_demands(block, asking))
            continue
        pairs = zip(block.segment.moments, block.traffic, strict=True)
        demands = tuple([asking.of(moment, moved) for moment, moved in pairs])
        if block.pass_index == pass_index:
            found.append(replace(block, demands=demands))
            continue
        pass_index = block.pass_index
        changed = (asking.first(pass_index, demands[0]), *demands[1:])
        if changed[0] is demands[0] or block.count == 1:
            found.append(replace(block, demands=changed))
            continue
        following = block.first + block.width
        found.append(replace(block, demands=changed, count=1))
        found.append(replace(block, demands=demands, first=following, count=block.count - 1))
    return found


def _steps_with_demands(steps: StepBlocks, asking: Asking) -> StepBlocks:
    """As with_demands; what changes from pass to pass is asked for in each of them."""
    known: dict[tuple[Moment, Traffic], Asked] = {}  # equal moments of two segments: once
    made: dict[int, Callable[[int], Moment] | None] = {}
    asked: list[tuple[Asked, ...]] = []
    for block in steps.blocks:
        own: list[Asked] = []
        changing = block.segment.changing
        for at, (moment, moved) in enumerate(
            zip(block.segment.moments, block.traffic, strict=True)
        ):
            if at in changing and id(moment) not in made:
                made[id(moment)] = compiled(moment)
            moment_at, moved_at = made.get(id(moment)), compiled(moved)
            if moment_at is None and moved_at is None:
                own.append(asking.of(moment, moved))
                continue
            key = (moment, moved)
            if key not in known:
                known[key] = tuple(
                    [
                        asking.anew(
                            moment_at(step) if moment_at else moment,
                            moved_at(step) if moved_at else moved,
                        )
                        for step in range(steps.low, steps.low + steps.count)
                    ]
                )
            own.append(known[key])
        asked.append(tuple(own))
    return _with_firsts(steps, asked, asking)


def _with_firsts(steps: StepBlocks, asked: list[tuple[Asked, ...]], asking: Asking) -> StepBlocks:
    blocks = list(steps.blocks)
    first = asked[0][0]
    numbers = range(steps.pass_index, steps.pass_index + steps.count)
    begins: Asked
    if isinstance(first, tuple):
        begins = tuple([asking.first(i, demand) for i, demand in zip(numbers, first, strict=True)])
    else:
        begins = asking.first(steps.pass_index, first)
    if blocks[0].count > 1 and begins != first:
        rest = replace(blocks[0], first=blocks[0].width, count=blocks[0].count - 1)
        blocks[:1] = [replace(blocks[0], count=1), rest]
        asked.insert(0, asked[0])
    asked[0] = (begins, *asked[0][1:])
    return replace(steps, blocks=tuple(blocks), asked=tuple(asked))
