"""Shapes of operations: matrix products, attention calls, rows, elements, collectives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

CollectiveKind = Literal["all_reduce", "all_gather", "reduce_scatter", "all_to_all", "send_recv"]


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
    `packed`: at most so many query heads go past the keys that they share together; where more
    share them, each goes by itself (0: all together). `divided`: keys that come
    before many queries are divided among blocks, as FlashInfer does.
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
    packed: int = 0
    divided: bool = False


@dataclass(frozen=True, slots=True)
class RowShape:
    """`rows` rows of `columns` values: norms, softmax, embedding look-ups."""

    rows: int
    columns: int


@dataclass(frozen=True, slots=True)
class ElementShape:
    """`elements` values of the output, in no particular arrangement."""

    elements: int


@dataclass(frozen=True, slots=True)
class CollectiveShape:
    """One collective among `ranks` devices on `nodes` nodes, equally many on each.

    `bytes`, always of one rank: all_reduce: the tensor, which every rank has and gets. all_gather,
    reduce_scatter: the full tensor, of which a rank gives or gets 1 / ranks. all_to_all: the buffer
    that a rank sends from, its own part among it. send_recv: the message of the one that sends.
    """

    kind: CollectiveKind
    bytes: int
    ranks: int
    nodes: int = 1


Shape = MatmulShape | AttentionShape | RowShape | ElementShape | CollectiveShape
