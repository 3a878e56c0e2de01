"""Constants: what depends on weights alone is computed once, when a model is loaded."""

from __future__ import annotations

from dataclasses import replace

from workloads.moment import Program, Segment
from workloads.passes import on_steps
from workloads.transforms.rewrite import imported_names, rewrite


@on_steps
def fold_constants(program: Program) -> Program:
    """The program without moments that read nothing but weights and what such moments write.

    Their results are weights of the moments that read them: biases of positions in windows, the
    small networks that compute them. What another segment reads is left as it is. The footprint
    does not count the results beside the weights that they replace.
    """
    keep = imported_names(program)
    return rewrite(program, lambda segment: _folded(segment, keep))


def _folded(segment: Segment, keep: frozenset[str]) -> Segment:
    known: set[str] = set()
    gone: set[int] = set()
    for position, moment in enumerate(segment.moments):
        written = {tensor.name for tensor in moment.writes}
        constant = all(t.role == "weight" or t.name in known for t in moment.reads)
        if moment.reads and constant and not written & keep:
            known |= written
            gone.add(position)
        else:
            known -= written
    if not gone:
        return segment
    place = {p: i for i, p in enumerate(p for p in range(len(segment.moments)) if p not in gone)}
    computed = {t.name for p in gone for t in segment.moments[p].writes}
    moments = tuple(
        replace(
            segment.moments[p],
            reads=tuple(
                replace(t, role="weight") if t.name in computed else t
                for t in segment.moments[p].reads
            ),
        )
        for p in place
    )
    edges = tuple((place[a], place[b]) for a, b in segment.edges if a in place and b in place)
    return Segment(segment.name, moments, edges)
