"""The longest chain of dependent moments of a folded program, a bound apart from the engine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from simulator.bounds import alone_cycles

if TYPE_CHECKING:
    from collections.abc import Sequence

    from simulator.engine import Plan
    from simulator.fold import Block
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


def folded_path_cycles(blocks: Sequence[Block], plan: Plan) -> int:
    """As simulator.bounds.critical_path_cycles for the program written out.

    Instances are followed one by one until the chains to all moments that depend on the instance
    before grow by the same number of cycles, more than none; then no other chain can be the longest
    to any of them, and all further instances of the block add as much again.
    """
    known: dict[int, int] = {}
    edges: dict[int, _Edges] = {}
    written: dict[str, int] = {}
    longest = 0
    for block in blocks:
        segment = block.segment
        if id(segment) not in edges:
            edges[id(segment)] = _edges_of(segment)
        found = edges[id(segment)]
        cycles = []
        for demand in block.demands:
            if id(demand) not in known:
                known[id(demand)] = alone_cycles(demand, plan.core_count, plan.memory_rate)
            cycles.append(known[id(demand)])
        before: list[int] | None = None
        for instance in range(block.count):
            done = _instance(found, cycles, written)
            growth = None if before is None else _growth(found, before, done)
            if growth is not None:
                more = growth * (block.count - 1 - instance)
                done = [d + more if m else d for d, m in zip(done, found.moves, strict=True)]
            written.update({name: done[at] for name, at in segment.exports.items()})
            if growth is not None:
                break
            before = done
        longest = max(longest, *done)
    return longest


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
