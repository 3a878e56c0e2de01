"""Time of fused attention on a GPU: tiles of queries over the keys, and split keys in decode."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from simulator.demand.broadcast import (
    doublings,
    filled,
    in_waves,
    larger,
    never,
    part,
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
_LEAST_PREFILL_KEYS = 128
"""The same for many queries."""
_BLOCKS_A_CORE = 2
"""Blocks that FlashInfer divides earlier keys among: so many fit a core side by side."""
_DECODE_ROWS = 16
"""Rows of the smallest tile of a matrix unit: query heads that share keys are padded to it."""
_SUM_BYTES = 4


@dataclass(frozen=True, slots=True)
class Attention:
    """Fused attention on a machine: numbers of one case, or arrays of many.

    `earlier` keys come before the first query; `span`: keys that a window lets a query see (0: all
    of them). `core_rate`, `core_exponentials`: multiply-accumulates and exponentials a second of
    one core at full width; `core_bytes`, `dram_s` and `cached_s` as in Product. `token_s`: time to
    move queries, keys and values of the new tokens of a decoder through DRAM once.
    `packed`, `divided` as in AttentionShape. `prefill`: more than one query. `rows`: queries that
    a block takes (0: one of QUERY_TILES).
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
    packed: float
    divided: bool
    prefill: bool
    rows: float = 0


def prefill_times(work: Attention, kernel: KernelClass) -> Times:
    """Many queries: a block takes a tile of them past all the keys that they see, in whole tiles.

    Of products and exponentials the longer counts, and `serial` of the shorter, which does not
    overlap. The last tiles of causal attention see the most keys: no run is shorter than one such
    block, which waits for its operands, `depth` a key, while no other on its core fills in. Keys
    that come before the first query are `divided` while all blocks fit the cores side by side; the
    parts are written, read again and summed.
    """
    memory = filled(work.dram_s / kernel.bandwidth + work.cached_s / kernel.cache, kernel.ramp_s)
    sums = 2 * _SUM_BYTES * work.batch * work.heads * work.queries * work.head_dim
    sums_s = sums / (work.core_bytes * work.cores * kernel.cache)
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
        blocks = work.batch * work.heads * tiles
        split = where(work.divided, larger(1.0, part(_BLOCKS_A_CORE * work.cores / blocks)), 1.0)
        split = smaller(split, larger(1.0, part(work.earlier / _LEAST_PREFILL_KEYS)))
        share = blocks * split / work.cores
        rounds = where(share < 1, share, in_waves(blocks * split, work.cores, kernel.wave))
        blocks_s = larger(
            (seen / split * key_s + kernel.unit_s) * rounds,
            most / split * (key_s + kernel.depth_s) + kernel.unit_s,
        )
        body = smooth_maximum(blocks_s, memory, kernel.overlap_exponent)
        body += where(split > 1, kernel.reduction_s + split * sums_s, 0.0)
        found = Times(body, blocks_s)
        best = found if best is None else _faster(best, found)
    assert best is not None  # noqa: S101 - there are tiles
    return Times(best.body_s + kernel.write * work.token_s / kernel.bandwidth, best.arithmetic_s)


def decode_times(work: Attention, kernel: KernelClass) -> Times:
    """One query a sequence: a block reads some of the keys and values of one key-value head.

    It takes all query heads that share them, in whole tiles of the matrix unit, or a head by itself
    (see `packed`), whose start is shorter; the longer of its arithmetic and its way from L2 counts.
    Keys are divided among blocks where that is faster, at the cost of a reduction. `unit`: start of
    a block; `group`: what it costs besides for each doubling of the heads that share keys.
    """
    memory = filled(work.dram_s / kernel.bandwidth + work.cached_s / kernel.cache, kernel.ramp_s)
    shared = work.heads / work.kv_heads
    apart = (work.packed > 0) & ((shared > work.packed) | (shared <= 1))
    start = kernel.unit_s * where(apart, kernel.single, 1.0)
    start += where(apart, 0.0, doublings(shared)) * kernel.group_s
    groups = work.batch * where(apart, work.heads, work.kv_heads)
    rows = whole(where(apart, 1.0, shared) / _DECODE_ROWS) * _DECODE_ROWS
    key_s = larger(
        2 * work.head_dim * work.kv_bytes / (work.core_bytes * kernel.operands),
        2 * rows * work.head_dim / (work.core_rate * kernel.arithmetic),
    )
    best: Times | None = None
    for split in SPLITS:
        possible = work.keys >= split * _LEAST_KEYS
        if split > 1 and never(possible):
            continue
        rounds = in_waves(groups * split, work.cores, kernel.wave)
        blocks_s = rounds * (start + work.keys / split * key_s)
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
