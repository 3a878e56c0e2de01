"""The longest chain of dependent moments of a folded program, a bound apart from the engine."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from operator import mul
from typing import TYPE_CHECKING

from simulator.blocks import StepBlocks
from simulator.bounds import alone_cycles

if TYPE_CHECKING:
    from collections.abc import Sequence

    from simulator.blocks import AnyBlock, Block
    from simulator.demand.types import Demand
    from simulator.engine import Plan
    from workloads.moment import Segment


@dataclass(frozen=True, slots=True)
class _Edges:
    """Of each moment the producers in its segment and the tensors that it takes over.

    `moves`: whether what it waits for comes, directly or not, from the instance before, where that
    is one of the same segment.
    """

    producers: tuple[tuple[int, ...], ...]
    imports: tuple[tuple[str, ...], ...]
    moves: tuple[bool, ...]


def _edges_of(segment: Segment) -> _Edges:
    producers: list[list[int]] = [[] for _ in segment.moments]
    imports: list[list[str]] = [[] for _ in segment.moments]
    for producer, consumer in segment.edges:
        producers[consumer].append(producer)
    for name, position in segment.imports:
        imports[position].append(name)
    moves: list[bool] = []
    for before, names in zip(producers, imports, strict=True):
        fed = any(name in segment.exports for name in names)
        moves.append(fed or any(moves[producer] for producer in before))
    return _Edges(tuple(map(tuple, producers)), tuple(map(tuple, imports)), tuple(moves))


def folded_path_cycles(blocks: Sequence[AnyBlock], plan: Plan) -> int:
    """As simulator.bounds.critical_path_cycles for the program written out."""
    paths = _Paths(plan)
    for block in blocks:
        if isinstance(block, StepBlocks):
            paths.follow_steps(block)
        else:
            paths.follow(block, paths.alone(block.demands))
    return paths.longest


@dataclass(frozen=True, slots=True)
class _Growth:
    """By how much a pass makes the longest chain longer: cycles, and how often those that change.

    `ends`: of the longest chain in the pass; `writes`: of that to the tensor that the next reads.
    """

    ends: _Chain
    writes: _Chain


@dataclass(frozen=True, slots=True)
class _Chain:
    """`cycles` when each of some changing moments takes its least, and how many of each are in it.

    A chain for other cycles of them, in the order of `counts`, is as much longer.
    """

    cycles: int
    counts: tuple[int, ...]

    def over(self, more: Sequence[Sequence[int]]) -> list[int]:
        """The length in one pass after another, from the cycles above the least of each moment."""
        if len(self.counts) == 1:
            count = self.counts[0]
            return [self.cycles + count * above for (above,) in more]
        return [self.cycles + sum(map(mul, self.counts, above)) for above in more]


_BITS = 32
_COUNT = (1 << _BITS) - 1
_FAR = 1 << 200
"""Longer than all chains: what begins with it depends on what has it."""
_MOST_CHANGING = 3


class _Paths:
    """The longest chains to the tensors written so far, and of all."""

    def __init__(self, plan: Plan) -> None:
        self.longest = 0
        self.written: dict[str, int] = {}
        self._plan = plan
        self._known: dict[int, int] = {}
        self._edges: dict[int, _Edges] = {}

    def alone(self, demands: Sequence[Demand]) -> list[int]:
        """Cycles of each by itself."""
        found = []
        for demand in demands:
            cycles = self._known.get(id(demand))
            if cycles is None:
                plan = self._plan
                cycles = alone_cycles(demand, plan.core_count, plan.memory_rate)
                self._known[id(demand)] = cycles
            found.append(cycles)
        return found

    def follow(self, block: Block, cycles: Sequence[int]) -> None:
        """Go through a block.

        Instances are followed one by one until the chains to all moments that depend on the
        instance before grow by the same number of cycles, more than none; then no other chain can
        be the longest to any of them, and all further instances add as much again.
        """
        segment = block.segment
        if id(segment) not in self._edges:
            self._edges[id(segment)] = _edges_of(segment)
        found = self._edges[id(segment)]
        before: list[int] | None = None
        for instance in range(block.count):
            done = _instance(found, cycles, self.written)
            growth = None if before is None else _growth(found, before, done)
            if growth is not None:
                more = growth * (block.count - 1 - instance)
                done = [d + more if m else d for d, m in zip(done, found.moves, strict=True)]
            self.written.update({name: done[at] for name, at in segment.exports.items()})
            if growth is not None:
                break
            before = done
        self.longest = max(self.longest, *done)

    def follow_steps(self, steps: StepBlocks) -> None:
        """Go through passes that differ in the cycles of some moments alone."""
        work = [
            [self.alone(own) if isinstance(own, tuple) else self.alone((own,))[0] for own in asked]
            for asked in steps.asked
        ]
        number = 0
        carried = self._carried(steps)
        changing = {id(own): own for asked in work for own in asked if isinstance(own, list)}
        growth = None
        if carried is not None and len(changing) <= _MOST_CHANGING:
            growth = self._evenly(steps, work, list(changing.values()), carried)
        if carried is not None and growth is not None:
            number = steps.count - 1
            more = _above_least(list(changing.values()), number)
            at = self.written.get(carried, 0)
            for ends, writes in zip(growth.ends.over(more), growth.writes.over(more), strict=True):
                self.longest = max(self.longest, at + ends)
                at += writes
            self.written[carried] = at
        for last in range(number, steps.count):
            self._pass(steps, [[_of(own, last) for own in asked] for asked in work])

    def _pass(self, steps: StepBlocks, work: Sequence[Sequence[int]]) -> None:
        for block, cycles in zip(steps.blocks, work, strict=True):
            self.follow(block, cycles)

    def _carried(self, steps: StepBlocks) -> str | None:
        """The one tensor that a pass takes over from the pass before; None for others besides."""
        inside: set[str] = set()
        outside: set[str] = set()
        for block in steps.blocks:
            outside |= {name for name, _ in block.segment.imports if name not in inside}
            inside |= block.segment.exports.keys()
        carried = outside & inside
        earlier = any(self.written.get(name) for name in outside - inside)
        return carried.pop() if len(carried) == 1 and not earlier else None

    def _evenly(
        self,
        steps: StepBlocks,
        work: Sequence[Sequence[int | list[int]]],
        changing: Sequence[list[int]],
        carried: str,
    ) -> _Growth | None:
        """What each pass adds; None where another chain may become the longest in some of them.

        The chain is one of a pass in which all that changes takes its least. The longest of all
        chains is a convex function of the cycles that change: where it is no longer than this one
        at each corner of what they may be, it is nowhere.
        """
        place = {id(own): i for i, own in enumerate(changing)}
        shift = _BITS * len(changing)

        def counted(own: int | list[int]) -> int:
            if not isinstance(own, list):
                return own << shift
            return (min(own) << shift) + (1 << _BITS * place[id(own)])

        first = self._apart({carried: _FAR << shift})
        first._pass(steps, [[counted(own) for own in asked] for asked in work])
        found = []
        for length in (first.longest, first.written[carried]):
            length -= _FAR << shift
            if length < 0:
                return None
            counts = [length >> _BITS * i & _COUNT for i in range(len(changing))]
            found.append(_Chain(length >> shift, tuple(counts)))
        growth = _Growth(*found)
        for corner in product(*[sorted({min(own), max(own)}) for own in changing]):
            there = self._apart({})
            there._pass(
                steps,
                [
                    [corner[place[id(own)]] if isinstance(own, list) else own for own in asked]
                    for asked in work
                ],
            )
            more = [cycles - min(own) for cycles, own in zip(corner, changing, strict=True)]
            lengths = [chain.over([more])[0] for chain in (growth.ends, growth.writes)]
            if [there.longest, there.written[carried]] != lengths:
                return None
        return growth

    def _apart(self, written: dict[str, int]) -> _Paths:
        """Chains of a pass by itself, which begin with what was `written`."""
        paths = _Paths(self._plan)
        paths.written, paths._edges = written, self._edges
        return paths


def _above_least(changing: Sequence[list[int]], count: int) -> list[tuple[int, ...]]:
    """By how many cycles each moment exceeds its least, in each of the first passes."""
    if not changing:
        return [()] * count
    above = [[cycles - low for cycles in own[:count]] for own in changing for low in (min(own),)]
    return list(zip(*above, strict=True))


def _of(own: int | list[int], number: int) -> int:
    return own[number] if isinstance(own, list) else own


def _instance(edges: _Edges, cycles: Sequence[int], written: dict[str, int]) -> list[int]:
    """The longest chain that ends with each moment of the next instance."""
    done: list[int] = []
    for own, before, names in zip(cycles, edges.producers, edges.imports, strict=True):
        start = 0
        for producer in before:
            start = max(start, done[producer])
        for name in names:
            start = max(start, written.get(name, 0))
        done.append(start + own)
    return done


def _growth(edges: _Edges, before: Sequence[int], done: Sequence[int]) -> int | None:
    """By how much all chains that move grew; None where they did not grow alike, or not at all."""
    grown = {b - a for a, b, moves in zip(before, done, edges.moves, strict=True) if moves}
    if not grown:
        return 0
    return grown.pop() if len(grown) == 1 and min(grown) > 0 else None
