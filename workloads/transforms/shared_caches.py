"""Beam search without copies: attention finds each beam's keys and values through a table."""

from __future__ import annotations

from dataclasses import replace

from workloads.beams import REORDER
from workloads.moment import Moment, Program, Segment, Tensor
from workloads.passes import on_steps
from workloads.transforms.rewrite import rewrite

ENTRY_BYTES = 4
"""A table's entry, the beam that a position's keys come from, is an int32 (FasterTransformer)."""


@on_steps
def share_caches(program: Program) -> Program:
    """No cache is gathered; scores and context read an entry for each beam and position instead.

    So do runtimes with an indirection of their caches, or blocks that beams share. Operation
    counts do not change. The one small kernel a step that brings the table up to date is not
    counted, nor that a prefix which beams share is found in a nearer cache.
    """
    return rewrite(program, _without_gathers)


def _without_gathers(segment: Segment) -> Segment:
    if not any(m.group == REORDER for m in segment.moments):
        return segment
    moments = [_looking_up(m) for m in segment.moments if m.group != REORDER]
    return Segment.from_moments(segment.name, moments)


def _looking_up(moment: Moment) -> Moment:
    call = moment.attention
    cached = any(t.role == "kv_cache" and not t.name.startswith("cross_") for t in moment.reads)
    if moment.group != "core" or call is None or not cached:
        return moment
    table = Tensor("beam_indices", ENTRY_BYTES * call.batch * call.kv_len, "activation")
    return replace(moment, reads=(*moment.reads, table))
