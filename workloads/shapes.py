"""Shapes of operations: matrix products, attention calls, rows, elements."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class MatmulShape:
    """`batch` independent products (m x k)(k x n)."""

    batch: int
    m: int
    n: int
    k: int


@dataclass(frozen=True, slots=True)
class AttentionShape:
    """One attention call: q_len queries a sequence against kv_len keys.

    With `causal`, query i sees the keys up to kv_len - q_len + i; `window`, where set, limits it to
    the last `window` of these. A value has `value_dim` elements (0: head_dim, as a key has).
    """

    batch: int
    heads: int
    kv_heads: int
    head_dim: int
    q_len: int
    kv_len: int
    causal: bool
    window: int | None = None
    value_dim: int = 0


@dataclass(frozen=True, slots=True)
class RowShape:
    """`rows` rows of `columns` values: norms, softmax, embedding look-ups."""

    rows: int
    columns: int


@dataclass(frozen=True, slots=True)
class ElementShape:
    """`elements` values of the output, in no particular arrangement."""

    elements: int


Shape = MatmulShape | AttentionShape | RowShape | ElementShape
