"""Time of fused attention on a GPU: tiles of queries over the keys, and split keys in decode."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from simulator.demand.broadcast import (
    filled,
    in_waves,
    larger,
    never,
    smaller,
    where,
    whole,
)
from simulator.demand.gemm import SPLITS, Times
from simulator.demand.work import smooth_maximum

if TYPE_CHECKING:
    from hardware_profiles.schema import KernelClass

QUERY_TILES = (64, 128)
"""Queries that one block of a fused kernel handles (FlashAttention 2 and 3, FlashInfer)."""
_KEY_TILE = 64
_LEAST_KEYS = 64
"""Keys that one block of split-KV attention takes at least."""


@dataclass(frozen=True, slots=True)
class Attention:
    """Fused attention on a machine: numbers of one case, or arrays of many.

    `earlier` keys come before the first query; `span`: keys that a window lets a query see (0: all
    of them). `core_rate`, `core_exponentials`: multiply-accumulates and exponentials a second of
    one core at full width; `core_bytes`, `dram_s` and `cached_s` as in Product. `token_s`: time to
    move queries, keys and values of the new tokens of a decoder through DRAM once.
    `prefill`: more than one query. `rows`: queries that a block takes (0: one of QUERY_TILES).
    """

    batch: float
    heads: float
    kv_heads: float
    head_dim: float
    queries: float
    keys: float
    causal: bool
    earlier: float
    span: float
    kv_bytes: float
    cores: float
    core_rate: float
    core_exponentials: float
    core_bytes: float
    dram_s: float
    cached_s: float
    token_s: float
    prefill: bool
    rows: float = 0


def prefill_times(work: Attention, kernel: KernelClass) -> Times:
    """Many queries: a block takes a tile of them past all the keys that they see, in whole tiles.

    Of products and exponentials the longer counts, and `serial` of the shorter, which does not
    overlap. The last tiles of causal attention see the most keys: no run is shorter than one such
    block.
    """
    memory = filled(work.dram_s / kernel.bandwidth + work.cached_s / kernel.cache, kernel.ramp_s)
    best: Times | None = None
    for tile in QUERY_TILES:
        rows = where(work.rows > 0, work.rows, tile)
        tiles = whole(work.queries / rows)
        seen = where(work.causal, work.earlier + rows * (tiles + 1) / 2, work.keys)
        seen = smaller(seen, where(work.span > 0, work.span + rows, work.keys))
        seen = larger(smaller(seen, work.keys), _KEY_TILE)
        most = larger(where(work.span > 0, seen, work.keys), _KEY_TILE)
        products = 2 * rows * work.head_dim / (work.core_rate * kernel.arithmetic)
        softmax = rows / (work.core_exponentials * kernel.special)
        serial = where(work.rows > 0, 1.0, kernel.serial)
        key_s = larger(products, softmax) + serial * smaller(products, softmax)
        rounds = in_waves(work.batch * work.heads * tiles, work.cores, kernel.wave)
        share = work.batch * work.heads * tiles / work.cores
        blocks_s = larger(
            (seen * key_s + kernel.unit_s) * where(share < 1, share, rounds),
            most * key_s + kernel.unit_s,
        )
        found = Times(smooth_maximum(blocks_s, memory, kernel.overlap_exponent), blocks_s)
        best = found if best is None else _faster(best, found)
    assert best is not None  # noqa: S101 - there are tiles
    return Times(best.body_s + kernel.write * work.token_s / kernel.bandwidth, best.arithmetic_s)


def decode_times(work: Attention, kernel: KernelClass) -> Times:
    """One query a sequence: a block reads some of the keys and values of one key-value head.

    Keys are divided among blocks where that is faster, at the cost of a reduction. `unit`: start
    of a block; `group`: what it costs besides where several query heads share keys and values.
    """
    memory = filled(work.dram_s / kernel.bandwidth + work.cached_s / kernel.cache, kernel.ramp_s)
    start = kernel.unit_s + where(work.heads > work.kv_heads, 1.0, 0.0) * kernel.group_s
    head_bytes = 2 * work.keys * work.head_dim * work.kv_bytes
    best: Times | None = None
    for split in SPLITS:
        possible = work.keys >= split * _LEAST_KEYS
        if split > 1 and never(possible):
            continue
        rounds = in_waves(work.batch * work.kv_heads * split, work.cores, kernel.wave)
        blocks_s = rounds * (start + head_bytes / split / (work.core_bytes * kernel.operands))
        body = smooth_maximum(blocks_s, memory, kernel.overlap_exponent)
        if split > 1:
            body = where(possible, body + kernel.reduction_s, 1e9)
        found = Times(body, blocks_s)
        best = found if best is None else _faster(best, found)
    assert best is not None  # noqa: S101 - a split of one is always possible
    return best


def _faster(a: Times, b: Times) -> Times:
    first = a.body_s <= b.body_s
    return Times(where(first, a.body_s, b.body_s), where(first, a.arithmetic_s, b.arithmetic_s))
