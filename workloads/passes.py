"""The passes of a program, of which many that differ by what grows evenly are held as one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, wraps
from typing import Concatenate, ParamSpec, TypeAlias, overload

from workloads.growing import Varies, at_step, compiled, over, total
from workloads.moment import OperationCounts, Pass, Program, Segment


@dataclass(frozen=True)
class Steps:
    """`count` passes, of which number t, from 0, is `template` in step t.

    Numbers of the template may be workloads.growing.Growing, in the place of int. Passes are named
    as the template, with a number behind it, `number` in the first.
    """

    template: Pass
    count: int
    number: int

    def at(self, step: int) -> Pass:
        """One of the passes. Moments that do not change are the same objects in all of them."""
        template = self.template
        made: dict[int, Segment] = {}
        for key, at in self._segments.items():
            made[key] = at(step)
        return replace(
            template,
            name=f"{template.name}{self.number + step}",
            context=at_step(template.context, step),
            repeats=tuple([replace(r, segment=made[id(r.segment)]) for r in template.repeats]),
        )

    def __reduce__(self) -> tuple[object, ...]:
        return Steps, (self.template, self.count, self.number)  # what is cached cannot be pickled

    @cached_property
    def _segments(self) -> dict[int, Callable[[int], Segment]]:
        segments = {id(r.segment): r.segment for r in self.template.repeats}
        return {key: segment_at(segment) for key, segment in segments.items()}


def segment_at(segment: Segment) -> Callable[[int], Segment]:
    """From a step to a segment of a template in it: itself, where it is the same in all."""
    if not segment.changing:
        return lambda _: segment
    made = [(position, compiled(segment.moments[position])) for position in segment.changing]

    def at(step: int) -> Segment:
        moments = list(segment.moments)
        for position, moment_at in made:
            if moment_at is not None:
                moments[position] = moment_at(step)
        return Segment(segment.name, tuple(moments), segment.edges)

    return at


def segment_over(segment: Segment, low: int, high: int) -> Segment:
    """A segment of a template for the steps from `low` to `high` - 1; see growing.over."""
    if not segment.changing:
        return segment
    moments = list(segment.moments)
    for position in segment.changing:
        moments[position] = over(moments[position], low, high)
    return Segment(segment.name, tuple(moments), segment.edges)


Part: TypeAlias = Pass | Steps


P = ParamSpec("P")


class Passes(Sequence[Pass]):
    """Passes of which some are held as `Steps`, and made when they are asked for."""

    def __init__(self, parts: Iterable[Part]) -> None:
        self.parts = tuple(parts)
        self._made: dict[int, Pass] = {}

    @cached_property
    def _firsts(self) -> list[tuple[int, Part]]:
        found, first = [], 0
        for part in self.parts:
            found.append((first, part))
            first += part.count if isinstance(part, Steps) else 1
        return found

    def __len__(self) -> int:
        return sum(part.count if isinstance(part, Steps) else 1 for part in self.parts)

    @overload
    def __getitem__(self, index: int) -> Pass: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[Pass, ...]: ...

    def __getitem__(self, index: int | slice) -> Pass | tuple[Pass, ...]:
        if isinstance(index, slice):
            return tuple([self[i] for i in range(*index.indices(len(self)))])
        number = index + len(self) if index < 0 else index
        if not 0 <= number < len(self):
            raise IndexError(index)
        first, part = next(entry for entry in reversed(self._firsts) if entry[0] <= number)
        if not isinstance(part, Steps):
            return part
        if number not in self._made:
            self._made[number] = part.at(number - first)
        return self._made[number]

    def __iter__(self) -> Iterator[Pass]:
        return (self[i] for i in range(len(self)))

    def __eq__(self, other: object) -> bool:
        """Whether `other` is a sequence of the same passes, in any form."""
        if not isinstance(other, Sequence):
            return NotImplemented
        return tuple(self) == tuple(other)

    __hash__ = None  # type: ignore[assignment] # as lists


def parts_of(passes: Sequence[Pass]) -> Sequence[Part]:
    """Passes, those held as Steps as such."""
    return passes.parts if isinstance(passes, Passes) else passes


def counted(passes: Sequence[Pass]) -> list[tuple[Pass, int]]:
    """Passes and templates of passes, with how many there are of each."""
    return [(p.template, p.count) if isinstance(p, Steps) else (p, 1) for p in parts_of(passes)]


def ends_of(passes: Sequence[Pass]) -> list[Pass]:
    """The passes, of Steps the first and the last.

    What grows evenly has its largest value in one of these, and so has the largest of several such.
    """
    found: list[Pass] = []
    number = 0
    for _, count in counted(passes):
        found += [passes[i] for i in sorted({number, number + count - 1})]
        number += count
    return found


def counts_of(passes: Sequence[Pass]) -> OperationCounts:
    """The operations of all passes together."""
    found = OperationCounts()
    for step, count in counted(passes):
        one, steps = step.counts, range(count)
        found += OperationCounts(
            total(one.macs, steps), total(one.vector_ops, steps), total(one.special_ops, steps)
        )  # fmt: skip
    return found


def with_passes(program: Program, change: Callable[[Pass], Pass]) -> Program:
    """The program with every pass changed, the template of Steps in the place of all of them."""
    parts = [
        replace(part, template=change(part.template)) if isinstance(part, Steps) else change(part)
        for part in parts_of(program.passes)
    ]
    return replace(program, passes=passes_of(parts))


def passes_of(parts: Iterable[Part]) -> Sequence[Pass]:
    """As a tuple, where there are no Steps among them."""
    listed = tuple(parts)
    plain = tuple([part for part in listed if isinstance(part, Pass)])
    return plain if len(plain) == len(listed) else Passes(listed)


def on_steps(
    transform: Callable[Concatenate[Program, P], Program],
) -> Callable[Concatenate[Program, P], Program]:
    """A transform that works on Steps as one, and where it cannot on each pass by itself."""

    @wraps(transform)
    def transformed(program: Program, /, *args: P.args, **kwargs: P.kwargs) -> Program:
        try:
            return transform(program, *args, **kwargs)
        except Varies:
            return transform(written_out(program), *args, **kwargs)

    return transformed


def written_out(program: Program) -> Program:
    """The program with each pass by itself."""
    return replace(program, passes=tuple(program.passes))
