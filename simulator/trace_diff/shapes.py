"""Sizes of operations as plain numbers, of moments and of traced operators, to be compared."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING

from workloads.shapes import AttentionShape, ElementShape, MatmulShape, RowShape

if TYPE_CHECKING:
    from workloads.moment import Moment

Dims = Sequence[int]
ROWS = ("softmax", "layer_norm", "rms_norm")


def sizes_of_moment(moment: Moment) -> tuple[int, ...] | None:
    """matmul: batch, m, n, k. Attention: batch, heads, head_dim, q_len, kv_len.

    Norms, softmax, embedding: rows, columns. Elementwise: elements.
    None for what traces do not tell (collectives, cache appends, copies).
    """
    shape = moment.shape
    if moment.kind in ("cache_append", "copy", "rope", "sample"):
        return None
    if isinstance(shape, MatmulShape):
        return (shape.batch, shape.m, shape.n, shape.k)
    if isinstance(shape, AttentionShape):
        return (shape.batch, shape.heads, shape.head_dim, shape.q_len, shape.kv_len)
    if isinstance(shape, RowShape):
        return (shape.rows, shape.columns)
    return (shape.elements,) if isinstance(shape, ElementShape) else None


def product_sizes(left: Dims, right: Dims) -> tuple[int, ...] | None:
    """(..., m, k) x (..., k, n); leading axes are rows where the right side is one matrix."""
    if len(left) < 2 or len(right) < 2 or left[-1] != right[-2]:
        return None
    if len(right) == 2:
        return (1, prod(left[:-1]), right[1], left[-1])
    return (prod(left[:-2]), left[-2], right[-1], left[-1])


def linear_sizes(rows: Dims, weight: Dims) -> tuple[int, ...] | None:
    """(..., k) x (n, k) transposed, as torch's linear has its weight."""
    return product_sizes(rows, weight[::-1]) if len(weight) == 2 else None


def attention_sizes(query: Dims, key: Dims) -> tuple[int, ...] | None:
    """batch x heads x length x head_dim each."""
    if len(query) != 4 or len(key) != 4:
        return None
    return (query[0], query[1], query[3], query[2], key[2])


def row_sizes(dims: Dims) -> tuple[int, ...] | None:
    return (prod(dims[:-1]), dims[-1]) if dims else None


def element_sizes(inputs: Sequence[Dims]) -> tuple[int, ...] | None:
    """Elements of the output of an elementwise operation, its inputs broadcast."""
    known = [dims for dims in inputs if dims]
    if not known:
        return None
    width = max(map(len, known))
    padded = [[1] * (width - len(dims)) + list(dims) for dims in known]
    return (prod(max(axis) for axis in zip(*padded, strict=True)),)
