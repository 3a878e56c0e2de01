"""Put new moments into a segment before those that wait for them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from workloads.moment import Moment, Segment


@dataclass(frozen=True, slots=True)
class Insertion:
    """A new moment directly before the position `before`: what it follows, who waits for it."""

    moment: Moment
    before: int
    producers: tuple[int, ...]
    consumers: tuple[int, ...]


def insert(
    segment: Segment,
    moments: Sequence[Moment],
    edges: Iterable[tuple[int, int]],
    insertions: Sequence[Insertion],
) -> Segment:
    """The segment with `moments` in place of its own (as many), `edges` among them, and more.

    All positions are those of the old segment; insertions before one position keep their order.
    """
    order: list[Moment] = []
    place: list[int] = []
    new_place: dict[int, int] = {}
    before: dict[int, list[int]] = {}
    for i, insertion in enumerate(insertions):
        before.setdefault(insertion.before, []).append(i)
    for position, moment in enumerate(moments):
        for i in before.get(position, ()):
            new_place[i] = len(order)
            order.append(insertions[i].moment)
        place.append(len(order))
        order.append(moment)
    found = {(place[a], place[b]) for a, b in edges}
    for i, insertion in enumerate(insertions):
        found |= {(place[p], new_place[i]) for p in insertion.producers}
        found |= {(new_place[i], place[c]) for c in insertion.consumers}
    return Segment(segment.name, tuple(order), tuple(sorted(found)))
