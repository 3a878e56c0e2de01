"""A cache of keys and values (and of latent rows, or a memory) in fewer bits."""

from __future__ import annotations

from dataclasses import replace

from workloads.beams import REORDER
from workloads.errors import InputError
from workloads.moment import (
    DTYPE_BITS,
    Moment,
    OperationCounts,
    Program,
    Segment,
    Tensor,
    storage_bytes,
)
from workloads.passes import on_steps
from workloads.stored import packing_ops, unpacking_ops
from workloads.transforms.rewrite import distinct_segments, rewrite


@on_steps
def quantize_cache(program: Program, values: str) -> Program:
    """Every tensor of the cache is stored as `values`, one of quantization.KV_FORMATS.

    Who appends packs what is new (`packing_ops` each, and a division a block), who reads unpacks
    all that it reads (`unpacking_ops` each). Both are vector operations of the moment itself:
    attention unpacks inside its kernel and computes in the program's dtype. The model of fused
    attention on a GPU does not charge for vector operations, so there reading gains bytes at no
    cost. InputError: a cache that is not in the program's dtype any more.
    """
    bits = DTYPE_BITS[program.dtype]
    cached = [
        t
        for segment in distinct_segments(program)
        for moment in segment.moments
        for t in (*moment.reads, *moment.writes)
        if t.role == "kv_cache"
    ]
    # pieces of a split tensor are a byte more or less than their elements, all together are not
    if 8 * sum(t.bytes + 1 for t in cached) < bits * sum(t.elements for t in cached):
        raise InputError(
            f"kv_dtype = {values}: {cached[0].name} is not in {program.dtype} any more; a cache "
            "can be quantized once"
        )
    changed = rewrite(program, lambda segment: _in_segment(segment, values))
    needs = program.footprint
    size = storage_bytes(needs.kv_cache_bytes * 8 // bits, values)
    return replace(changed, footprint=replace(needs, kv_cache_bytes=size))


def _in_segment(segment: Segment, values: str) -> Segment:
    moments = tuple(_in_moment(moment, values) for moment in segment.moments)
    return Segment(segment.name, moments, segment.edges)


def _in_moment(moment: Moment, values: str) -> Moment:
    read = {t.name: t.elements for t in moment.reads if t.role == "kv_cache"}
    written = {t.name: t.elements for t in moment.writes if t.role == "kv_cache"}
    if not read and not written:
        return moment
    # what is read and written again is a cache that grows by copying: it stays packed
    new = sum(count - read.get(name, 0) for name, count in written.items())
    if moment.group == REORDER:
        new = 0  # rows that are spread over beams are packed already
    unpacked = sum(count for name, count in read.items() if name not in written)
    each, block = packing_ops(values)
    counts = OperationCounts(
        vector_ops=each * new + unpacking_ops(values) * unpacked,
        special_ops=-(-new // block) if block else 0,
    )
    return replace(
        moment,
        counts=moment.counts + counts,
        reads=_packed(moment.reads, values),
        writes=_packed(moment.writes, values),
    )


def _packed(tensors: tuple[Tensor, ...], values: str) -> tuple[Tensor, ...]:
    return tuple(
        replace(t, bytes=storage_bytes(t.elements, values)) if t.role == "kv_cache" else t
        for t in tensors
    )
