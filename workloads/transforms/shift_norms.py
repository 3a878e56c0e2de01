"""Move a norm that opens a segment to the end of the segment before it, next to its sum."""

from __future__ import annotations

from dataclasses import replace
from itertools import groupby

from workloads.moment import Moment, Pass, Program, Repeat, Segment
from workloads.passes import with_passes


def shift_norms(program: Program) -> Program:
    """The same moments, with segment borders behind the opening norms instead of before them.

    A pre-norm layer opens with the norm of what the segment before it closes with, a residual sum;
    a runtime that fuses the two works across the border. The norm moves to the end of the segment
    before it as "next_NAME". Since the last layer is then followed by another norm than the
    others, n layers become n - 1 and one "last_layer"; where nothing comes before the first, it
    keeps its norm and is the "first_layer". Counts are conserved.
    """
    # what is keyed by id stays alive in `program`
    known: dict[tuple[str, int, bool, int], Segment] = {}
    equal: dict[Moment, Moment] = {}
    return with_passes(program, lambda step: _shift_pass(step, known, equal))


def _shift_pass(
    step: Pass,
    known: dict[tuple[str, int, bool, int], Segment],
    equal: dict[Moment, Moment],
) -> Pass:
    """One pass; `known` and `equal` let passes share what they have in common."""
    norms = [opening_norm(repeat.segment) for repeat in step.repeats]
    norms = [norm and equal.setdefault(norm, norm) for norm in norms]
    shifted: list[Repeat] = []  # the copies, with the number of the first
    gave = False  # whether the segment before has taken this one's opening norm
    following = [*step.repeats[1:], None]
    for i, (repeat, own, then) in enumerate(zip(step.repeats, norms, following, strict=True)):
        segment = repeat.segment
        # a norm stays on its device, with its part of the batch
        together = then is not None and (then.device, then.part) == (repeat.device, repeat.part)
        after = norms[i + 1] if together else None
        inside = own if own is not None and _provides(segment, own) else None
        behind = after if after is not None and _provides(segment, after) else None
        for copy, alike in _copies(repeat.count):
            last = copy == repeat.count - 1
            taken = behind if last else inside
            usual = taken is inside and gave == (inside is not None)
            name = _name(segment.name, repeat.count, last, usual)
            key = (name, id(segment), gave, id(taken))
            if key not in known:
                known[key] = _shifted(segment, name, gave, taken)
            number = None if repeat.first is None else repeat.first + copy
            shifted.append(replace(repeat, segment=known[key], count=alike, first=number))
            gave = taken is not None
    runs = [
        list(run)
        for _, run in groupby(shifted, key=lambda copy: (id(copy.segment), copy.device, copy.part))
    ]
    repeats = tuple(replace(run[0], count=sum(r.count for r in run)) for run in runs)
    return replace(step, repeats=repeats)


def _copies(count: int) -> list[tuple[int, int]]:
    """Copies of a segment in order, as (number of the first, how many): those between the first and
    the last have one like themselves before and behind."""
    if count < 3:
        return [(copy, 1) for copy in range(count)]
    return [(0, 1), (1, count - 2), (count - 1, 1)]


def _name(name: str, count: int, last: bool, usual: bool) -> str:
    """The name of one copy of a segment: the first and the last say so where they differ."""
    if count == 1 or usual:
        return name
    return f"last_{name}" if last else f"first_{name}"


def opening_norm(segment: Segment) -> Moment | None:
    """The norm that a segment begins with and that may be moved out of it, if it has one."""
    if len(segment.moments) < 2:
        return None
    first = segment.moments[0]
    movable = first.group == "residual_norm" and first.kind in ("layer_norm", "rms_norm")
    return first if movable else None


def _provides(segment: Segment, norm: Moment) -> bool:
    """Whether a segment writes all that `norm` reads, weights apart."""
    return all(t.role == "weight" or t.name in segment.exports for t in norm.reads)


def _shifted(segment: Segment, name: str, gave: bool, taken: Moment | None) -> Segment:
    """A segment without its opening norm (if it `gave` it) and with the next one's (`taken`)."""
    start = 1 if gave else 0
    moments = list(segment.moments[start:])
    edges = [(a - start, b - start) for a, b in segment.edges if a >= start]
    if taken is not None:
        sources = {segment.exports[t.name] for t in taken.reads if t.role != "weight"}
        edges += [(source - start, len(moments)) for source in sorted(sources)]
        moments.append(replace(taken, name=f"next_{taken.name}"))
    return Segment(name, tuple(moments), tuple(edges))
