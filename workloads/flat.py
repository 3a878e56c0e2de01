"""A program written out: one number per moment, and the edges between the numbers."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from workloads.moment import Instance, Moment, Program, Segment


@dataclass(frozen=True, eq=False)
class FlatProgram:
    """The moments of a program in graph order, as plain lists; a number is a position in them.

    An edge always goes from a smaller to a greater number, and no edge is given twice. `moments`
    holds the same object for each repetition of a segment. The lists are for reading only. They
    are written when they are first asked for: a long generation has millions of moments.
    """

    program: Program

    def __len__(self) -> int:
        return self.program.moment_count

    @cached_property
    def instances(self) -> list[Instance]:
        """Every instance of every segment, in graph order."""
        return list(self.program.instances())

    @cached_property
    def moments(self) -> list[Moment]:
        """Every moment."""
        return [m for p in self.program.passes for r in p.repeats
                for m in r.segment.moments * r.count]  # fmt: skip

    @property
    def predecessor_count(self) -> list[int]:
        """How many moments each one waits for."""
        return self._edges[0]

    @property
    def successors(self) -> list[tuple[int, ...]]:
        """The numbers of those that wait for each moment."""
        return self._edges[1]

    @cached_property
    def _edges(self) -> tuple[list[int], list[tuple[int, ...]]]:
        return _edges(self.instances)

    @cached_property
    def predecessors(self) -> list[tuple[int, ...]]:
        """The numbers that each moment waits for, ascending."""
        found: list[list[int]] = [[] for _ in self.successors]
        for number, following in enumerate(self.successors):
            for consumer in following:
                found[consumer].append(number)
        return [tuple(producers) for producers in found]

    @cached_property
    def _starts(self) -> list[int]:
        return [instance.first for instance in self.instances]

    def instance(self, number: int) -> Instance:
        """The instance of a segment that moment `number` belongs to."""
        return self.instances[bisect_right(self._starts, number) - 1]

    def name(self, number: int) -> str:
        """The full name of moment `number`, such as "prefill/layer.3/query"."""
        return self.instance(number).prefix + self.moments[number].name

    def pass_index(self, number: int) -> int:
        """Which pass of the program moment `number` belongs to."""
        return self.instance(number).pass_index


@dataclass(frozen=True, slots=True)
class _Template:
    """What every instance of a segment has in common, with positions inside the segment."""

    predecessor_count: list[int]
    successors: list[tuple[int, ...]]
    imports: tuple[tuple[str, int], ...]
    exports: tuple[tuple[str, int], ...]


def _template(segment: Segment, wanted: set[str]) -> _Template:
    counts = [0] * len(segment.moments)
    following: list[list[int]] = [[] for _ in segment.moments]
    for producer, consumer in dict.fromkeys(segment.edges):
        counts[consumer] += 1
        following[producer].append(consumer)
    exports = tuple((name, at) for name, at in segment.exports.items() if name in wanted)
    return _Template(counts, [tuple(f) for f in following], segment.imports, exports)


def _templates(segments: Iterable[Segment]) -> dict[int, _Template]:
    distinct = {id(segment): segment for segment in segments}
    wanted = {name for segment in distinct.values() for name, _ in segment.imports}
    return {key: _template(segment, wanted) for key, segment in distinct.items()}


def flatten(program: Program) -> FlatProgram:
    """A program written out.

    Inside an instance the edges are those of its segment. Between instances a moment that
    reads an activation or input from outside follows the latest moment before its instance that
    wrote that name; one that nobody wrote comes from outside the program and is waited for by
    nothing.
    """
    return FlatProgram(program)


def _edges(instances: list[Instance]) -> tuple[list[int], list[tuple[int, ...]]]:
    templates = _templates(instance.segment for instance in instances)
    counts: list[int] = []
    successors: list[tuple[int, ...]] = []
    writer: dict[tuple[str, str], int] = {}
    for instance in instances:
        first = instance.first
        template = templates[id(instance.segment)]
        counts += template.predecessor_count
        successors += [
            tuple([first + consumer for consumer in following]) for following in template.successors
        ]
        part = instance.part
        edges = {
            (writer[part, name], first + position): None
            for name, position in template.imports
            if (part, name) in writer
        }
        for producer, consumer in edges:
            successors[producer] = (*successors[producer], consumer)
            counts[consumer] += 1
        for name, position in template.exports:
            writer[part, name] = first + position
    return counts, successors
