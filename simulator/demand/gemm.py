"""Time of a matrix product on a GPU: tiles, waves, split K, operands through L2, power."""

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
from simulator.demand.work import smooth_maximum

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hardware_profiles.schema import KernelClass

MATRIX_TILES = ((128, 256), (128, 128), (64, 64), (32, 32), (16, 64))
"""Rows and columns of the output that one block of threads computes with matrix units."""
VECTOR_TILES = ((128, 128), (128, 64), (64, 128), (64, 64), (32, 32))
"""The same for kernels on the vector unit."""
SPLITS = (1, 2, 4, 8, 16, 32, 64)
"""Among how many blocks K may be divided."""

_FULL_TILE = 128 * 128
_LEAST_DEPTH = 64
"""A block takes at least so much of K when it is divided."""
_MATRIX_STEP, _VECTOR_STEP = 32, 8
"""K is padded to whole steps of the unit's kernels."""
_THROTTLING_S = 1e-3
"""How long a product runs at full clock before the power limit halves what it has over it."""
_SUM_BYTES = 4


@dataclass(frozen=True, slots=True)
class Product:
    """A product on a machine: numbers of one case, or arrays of many.

    `dram_s`, `cached_s`: time to move its bytes once at the datasheet bandwidth of DRAM, and of the
    caches that hold them. `write_s`: time to write the output to DRAM. `core_rate`:
    multiply-accumulates a second of one core at full width; `epilogue_s`: vector and special
    operations fused into the product, on all cores; `core_bytes`: what one core draws from
    L2 when all do, in bytes a second. `operand_bytes` per element.
    """

    batch: float
    m: float
    n: float
    k: float
    operand_bytes: float
    cores: float
    core_rate: float
    core_bytes: float
    dram_s: float
    cached_s: float
    write_s: float
    epilogue_s: float


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds of a kernel without its fixed latency: all of it, and what its parts take alone."""

    body_s: float
    arithmetic_s: float


_NEVER = Times(1e9, 0.0)
_SURELY = 1 - 1e-9
"""A bound this much lower is one whatever the rounding of what it is a bound of."""


def product_times(work: Product, kernel: KernelClass, *, matrix: bool) -> Times:
    """The fastest of the tile shapes and splits that a library has kernels for.

    A block of threads computes one tile: the longer of its arithmetic, its operands' way from L2
    and the serial steps through K. Blocks run in waves; what a wave leaves uneven, the start of
    its tiles and the part of the output's way to memory that does not overlap add up. Not
    modelled: clusters that share operands, a library's own choice where it is not the fastest.
    """
    memory = filled(work.dram_s / kernel.bandwidth + work.cached_s / kernel.cache, kernel.ramp_s)
    rate = work.core_rate * kernel.arithmetic / _throttled(work, kernel)
    vector = _matrix_vector(work, kernel, memory, rate)
    best, limit_s = _NEVER, vector.body_s
    step = _MATRIX_STEP if matrix else _VECTOR_STEP
    # a division that its sums alone make slower than the kernel above needs no closer look
    splits = [
        (split, sums_s, possible)
        for split, sums_s, possible in _splits(work, kernel)
        if not never(possible & ((memory + sums_s) * _SURELY <= limit_s))
    ]
    epilogue_s = work.epilogue_s / kernel.vector
    for rows, columns in MATRIX_TILES if matrix else VECTOR_TILES:
        blocks = work.batch * whole(work.m / rows) * whole(work.n / columns)
        column_s = _column_s(work, kernel, rows, columns, rate)
        start_s = kernel.start_s * rows * columns / _FULL_TILE
        if never(blocks * work.k / work.cores * column_s * _SURELY <= limit_s):
            continue
        for split, sums_s, possible in splits:
            if never((memory + sums_s) * _SURELY <= limit_s):
                continue
            depth = whole(work.k / split / step) * step
            rounds = in_waves(blocks * split, work.cores, kernel.wave)
            blocks_s = larger(rounds * depth * column_s, kernel.depth_s * depth)
            blocks_s += start_s * (rounds - 1) + epilogue_s
            useful = possible & ((blocks_s + sums_s) * _SURELY <= limit_s)
            if never(useful):
                continue
            body = smooth_maximum(blocks_s, memory, kernel.overlap_exponent)
            body += kernel.write * smaller(work.write_s / kernel.bandwidth, blocks_s)
            body += sums_s
            best = _faster(best, Times(where(useful, body, _NEVER.body_s), blocks_s))
            limit_s = smaller(limit_s, best.body_s)
    return _faster(best, vector)


def _column_s(work: Product, kernel: KernelClass, rows: int, columns: int, rate: float) -> float:
    """How long one column of K takes a tile: its arithmetic, or its operands' way from L2."""
    area = rows * columns
    penalty = kernel.tile + where(work.batch > 1, 1.0, 0.0) * kernel.batched
    small = min(1.0, area / _FULL_TILE) ** -penalty
    operands = (rows + columns) * work.operand_bytes / (work.core_bytes * kernel.operands)
    return larger(area * small / rate, operands)


def _splits(work: Product, kernel: KernelClass) -> Iterator[tuple[int, float, bool]]:
    """Among how many blocks K may be divided, what adding up their parts costs, and whether."""
    yield 1, 0.0, work.k > 0
    for split in SPLITS[1:]:
        sums = 2 * _SUM_BYTES * split * work.batch * work.m * work.n
        sums_s = sums / (work.core_bytes * work.cores * kernel.operands) + kernel.reduction_s
        yield split, sums_s, work.k >= split * _LEAST_DEPTH


def _matrix_vector(work: Product, kernel: KernelClass, memory: float, rate: float) -> Times:
    """One row: a kernel of its own streams the matrices, each core some of their columns."""
    elements = work.k * whole(work.batch * work.n / work.cores)
    stream_s = elements * work.operand_bytes / (work.core_bytes * kernel.operands)
    stream_s = larger(stream_s, elements / rate)
    body = smooth_maximum(memory, stream_s, kernel.overlap_exponent)
    return Times(where(work.m == 1, body, 1e9), stream_s)


def _faster(a: Times, b: Times) -> Times:
    first = a.body_s <= b.body_s
    return Times(where(first, a.body_s, b.body_s), where(first, a.arithmetic_s, b.arithmetic_s))


def _throttled(work: Product, kernel: KernelClass) -> float:
    """How many times slower the clock makes a long product, which the power limit catches."""
    macs = work.batch * work.m * work.n * work.k
    alone_s = macs / (work.core_rate * work.cores * kernel.arithmetic)
    return 1 + (1 / kernel.sustained - 1) * alone_s / (alone_s + _THROTTLING_S)
