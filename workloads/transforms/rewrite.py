"""What all transforms use: rewriting each segment once, and contracting moments into one."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from workloads.moment import (
    Footprint,
    Kind,
    Moment,
    OperationCounts,
    Pass,
    Program,
    Segment,
    Shape,
    Tensor,
)
from workloads.passes import counted, ends_of, with_passes


def distinct_segments(program: Program) -> list[Segment]:
    """Each segment object of a program once, in graph order; of Steps those of the template."""
    passes = [step for step, _ in counted(program.passes)]
    return list({id(r.segment): r.segment for p in passes for r in p.repeats}.values())


def extreme_segments(program: Program) -> list[Segment]:
    """Segments of which one has the largest of anything that is counted in them."""
    passes = ends_of(program.passes)
    return list({id(r.segment): r.segment for p in passes for r in p.repeats}.values())


def imported_names(program: Program) -> frozenset[str]:
    """The tensors that some segment of a program takes over from an earlier one."""
    return frozenset(name for s in distinct_segments(program) for name, _ in s.imports)


def rewrite(program: Program, change: Callable[[Segment], Segment]) -> Program:
    """A program with every segment changed; a segment that occurs often is changed once.

    Segments shared before are shared afterwards, so that a reader may still go by identity. Of
    workloads.passes.Steps the template is changed; Varies where `change` cannot do that.
    """
    changed = {id(segment): change(segment) for segment in distinct_segments(program)}

    def in_pass(step: Pass) -> Pass:
        repeats = tuple([replace(r, segment=changed[id(r.segment)]) for r in step.repeats])
        return replace(step, repeats=repeats)

    return with_passes(program, in_pass)


@dataclass(frozen=True, slots=True)
class Merge:
    """Positions of moments that become one, and what the one is called and looks like.

    `primary` is the member that gives stage, dtype and group.
    """

    members: tuple[int, ...]
    primary: int
    name: str
    kind: Kind
    shape: Shape


def contract(segment: Segment, merges: Sequence[Merge], keep: frozenset[str]) -> Segment:
    """A segment in which each of `merges` (disjoint) is one moment.

    The merged moment has the sum of the counts, reads what its members read from outside (each
    name once) and writes what somebody outside reads; `keep` names what other segments read.
    Edges are those between members and the rest. What would close a cycle, as where a third moment
    follows one member and is followed by another, is not merged: of several the earlier ones are.
    """
    if not merges:
        return segment
    made = list(merges)
    home, edges = _homes(segment, made)
    order = _order(sorted(set(home)), edges)
    if order is None:
        made = _acyclic(segment, merges)
        home, edges = _homes(segment, made)
        order = _order(sorted(set(home)), edges)
    if not made or order is None:
        return segment
    readers = _readers(segment)
    result = {max(merge.members): _merged(segment, merge, home, readers, keep) for merge in made}
    place = {position: i for i, position in enumerate(order)}
    return Segment(
        segment.name,
        tuple(result.get(position, segment.moments[position]) for position in order),
        tuple(sorted((place[a], place[b]) for a, b in edges)),
    )


def _homes(segment: Segment, merges: Sequence[Merge]) -> tuple[list[int], set[tuple[int, int]]]:
    """For each moment the place of the one that it becomes part of, and the edges between these."""
    home = list(range(len(segment.moments)))
    for merge in merges:
        for member in merge.members:
            home[member] = max(merge.members)
    return home, {(home[a], home[b]) for a, b in segment.edges if home[a] != home[b]}


def _acyclic(segment: Segment, merges: Sequence[Merge]) -> list[Merge]:
    """One after another those that close no cycle together with the ones before."""
    made: list[Merge] = []
    for merge in merges:
        home, edges = _homes(segment, [*made, merge])
        if _order(sorted(set(home)), edges) is not None:
            made.append(merge)
    return made


def _readers(segment: Segment) -> dict[str, list[int]]:
    readers: dict[str, list[int]] = {}
    for position, moment in enumerate(segment.moments):
        for tensor in moment.reads:
            readers.setdefault(tensor.name, []).append(position)
    return readers


def _merged(
    segment: Segment,
    merge: Merge,
    home: Sequence[int],
    readers: dict[str, list[int]],
    keep: frozenset[str],
) -> Moment:
    here = max(merge.members)
    members = [segment.moments[position] for position in sorted(merge.members)]
    counts = OperationCounts()
    reads: dict[str, Tensor] = {}
    writes: dict[str, Tensor] = {}
    for moment in members:
        counts += moment.counts
        for tensor in moment.reads:
            if tensor.name not in writes:
                known = reads.get(tensor.name)
                if known is None or tensor.bytes > known.bytes:
                    reads[tensor.name] = tensor
        writes.update({tensor.name: tensor for tensor in moment.writes})
    seen_outside = tuple(
        tensor
        for name, tensor in writes.items()
        if tensor.role == "kv_cache"
        or name in keep
        or name not in readers
        or any(home[position] != here for position in readers[name])
    )
    return replace(
        segment.moments[merge.primary],
        name=merge.name,
        kind=merge.kind,
        shape=merge.shape,
        counts=counts,
        reads=tuple(reads.values()),
        writes=seen_outside,
        fused=tuple(kind for m in members for kind in (m.fused or (m.kind,))),
    )


def _order(positions: Iterable[int], edges: set[tuple[int, int]]) -> list[int] | None:
    """A topological order that stays as near to the old one as it can; None: there is a cycle."""
    if all(a < b for a, b in edges):
        return sorted(positions)
    waiting = dict.fromkeys(positions, 0)
    following: dict[int, list[int]] = {}
    for a, b in edges:
        waiting[b] += 1
        following.setdefault(a, []).append(b)
    ready = [position for position, count in waiting.items() if not count]
    heapq.heapify(ready)
    order: list[int] = []
    while ready:
        position = heapq.heappop(ready)
        order.append(position)
        for consumer in following.get(position, ()):
            waiting[consumer] -= 1
            if not waiting[consumer]:
                heapq.heappush(ready, consumer)
    return order if len(order) == len(waiting) else None


def with_activation_bytes(program: Program, activation_bytes: int) -> Program:
    """The program with another estimate of its live activations."""
    needs = program.footprint
    return replace(
        program,
        footprint=Footprint(needs.weight_bytes, needs.kv_cache_bytes, activation_bytes),
    )
