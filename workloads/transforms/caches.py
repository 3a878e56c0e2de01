"""Caches that grow by copying: an append that writes the whole cache anew."""

from __future__ import annotations

from dataclasses import replace

from workloads.moment import Moment, Program, Segment, Tensor
from workloads.passes import on_steps
from workloads.transforms.rewrite import rewrite


@on_steps
def copy_caches(program: Program) -> Program:
    """Every cache append reads the old cache and writes a new, longer one.

    So does a runtime that concatenates (Hugging Face's DynamicCache). The length is that which the
    attention of the same segment reads. Operation counts do not change, only bytes moved.
    """
    return rewrite(program, _copy_in_segment)


def _copy_in_segment(segment: Segment) -> Segment:
    if not any(m.kind == "cache_append" for m in segment.moments):
        return segment
    whole: dict[str, Tensor] = {}
    for moment in segment.moments:
        for tensor in moment.reads:
            if tensor.role == "kv_cache":
                known = whole.setdefault(tensor.name, tensor)
                whole[tensor.name] = max(known, tensor, key=lambda t: t.bytes)
    moments = tuple(_copied(m, whole) for m in segment.moments)
    return Segment(segment.name, moments, segment.edges)


def _copied(moment: Moment, whole: dict[str, Tensor]) -> Moment:
    if moment.kind != "cache_append":
        return moment
    reads, writes = list(moment.reads), []
    for tensor in moment.writes:
        full = whole.get(tensor.name, tensor)
        if full.bytes > tensor.bytes:
            old = max(0, full.elements - tensor.elements)
            reads.append(Tensor(tensor.name, full.bytes - tensor.bytes, "kv_cache", old))
        writes.append(full)
    return replace(moment, reads=tuple(reads), writes=tuple(writes))
