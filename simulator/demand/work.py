"""Arithmetic and memory time of a moment that has the whole machine, before any schedule."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING

from simulator.demand.broadcast import larger, smaller, where
from workloads.moment import (
    DTYPE_BITS,
    WEIGHT_FORMAT_BYTES,
    AttentionShape,
    MatmulShape,
    Moment,
    storage_bytes,
)

if TYPE_CHECKING:
    from hardware_profiles.schema import KernelClass
    from simulator.demand.context import Context
    from simulator.runtime import LibraryTable


def attended_share(shape: AttentionShape, diagonal_rows: int) -> float:
    """Part of the q_len x kv_len scores that a kernel computes when it skips masked blocks.

    Causal attention needs about half of a square, but the blocks on the diagonal are computed
    whole: `diagonal_rows` is their effective size, s(s + s0) / 2 of s x s scores. A window limits
    each query to its last keys, again in whole blocks.
    """
    if not shape.causal or shape.q_len == 1:
        return 1.0
    earlier = shape.kv_len - shape.q_len
    seen = earlier + (shape.q_len + diagonal_rows) / 2
    if shape.window is not None:
        seen = min(seen, shape.window + diagonal_rows)
    return min(1.0, seen / shape.kv_len)


def arithmetic_core_cycles(
    moment: Moment,
    context: Context,
    kernel: KernelClass,
    *,
    share: float = 1.0,
    special: float = 1.0,
) -> float:
    """Core-cycles of all the operations of a moment at the sustained rates, on one core's units.

    `share` of the operations is really done; special functions cost `special` times the usual.
    """
    counts = moment.counts
    cycles = 0.0
    if counts.macs:
        cycles += (
            context.timed_macs(moment)
            * share
            / (context.macs_per_cycle(moment.dtype) * kernel.arithmetic)
        )
    if counts.vector_ops:
        vector = context.vector_per_cycle(moment.dtype) * kernel.vector
        cycles += counts.vector_ops * share / vector
    if counts.special_ops:
        per_cycle = context.special_per_cycle(moment.dtype) * kernel.special
        cycles += counts.special_ops * share * special / per_cycle
    return cycles


def unpacking_core_cycles(
    weights: int, rows: int, *, cycles_per_weight: float, rows_per_unpacking: int
) -> float:
    """Core-cycles to unpack stored weights: again for each block of rows that they multiply."""
    return weights * cycles_per_weight * ceil(rows / rows_per_unpacking)


def unpacking_of(moment: Moment, shape: MatmulShape, library: LibraryTable) -> float:
    """Core-cycles that a library's kernel unpacks the weights of a product, 0 for plain ones.

    A format that the library does not name costs what it says for "*", when it is a quantized one.
    """
    stored = moment.weight_dtype
    if not stored:
        return 0.0
    # eight values take as many bytes as one takes bits
    quantized = stored in WEIGHT_FORMAT_BYTES or storage_bytes(8, stored) < DTYPE_BITS[moment.dtype]
    other = "*" if quantized else stored
    cycles = library.unpack_cycles_per_weight
    return unpacking_core_cycles(
        shape.n * shape.k,
        shape.m,
        cycles_per_weight=cycles.get(stored, cycles.get(other, 0.0)),
        rows_per_unpacking=library.unpack_rows.get(stored, library.unpack_rows.get(other, 1)),
    )


def dot_product_core_cycles(moment: Moment, context: Context, share: float) -> float:
    """Core-cycles of a product done as dot products on the vector unit, at `share` of its width.

    A lane of 32 bits takes 32 / bits narrow products at once, if the machine has units for them.
    """
    lanes = context.vector_per_cycle("fp32")
    width = lanes * max(1.0, 32 / DTYPE_BITS[moment.dtype])
    return context.timed_macs(moment) / (min(width, context.macs_per_cycle(moment.dtype)) * share)


def smooth_maximum(a: float, b: float, exponent: float) -> float:
    """(a^p + b^p)^(1/p), computed without overflow; 0 where both are."""
    large, small = larger(a, b), smaller(a, b)
    ratio = small / where(large > 0, large, 1.0)
    return large * (1 + ratio**exponent) ** (1 / exponent)  # type: ignore[no-any-return]
