"""One object for moments that are equal, so that readers may go by identity."""

from __future__ import annotations

from workloads.growing import Varies
from workloads.moment import Moment, Program, Segment
from workloads.transforms.rewrite import rewrite


def share_moments(program: Program) -> Program:
    """The program with moments of earlier segments where later ones of that name have equal ones.

    Steps of a generation differ in what they do with the cache alone; all else is then the same
    object in every step. Moments are compared with those at the same place.
    """
    before: dict[str, Segment] = {}

    def shared(segment: Segment) -> Segment:
        other = before.get(segment.name)
        if other is not None and len(other.moments) == len(segment.moments):
            pairs = list(zip(other.moments, segment.moments, strict=True))
            moments = tuple([old if _equal(old, new) else new for old, new in pairs])
            segment = Segment(segment.name, moments, segment.edges)
        before[segment.name] = segment
        return segment

    return rewrite(program, shared)


def _equal(old: Moment, new: Moment) -> bool:
    """Whether two moments are equal, in all steps if they stand for many."""
    try:
        return old == new
    except Varies:
        return False
