"""Demand of a moment on a CPU: packed GEMM, row-wise GEMV, vector loops, caches, fork and join."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING

from simulator.demand.types import Cause, Demand
from simulator.demand.work import (
    arithmetic_core_cycles,
    attended_share,
    dot_product_core_cycles,
    smooth_maximum,
    unpacking_of,
)
from simulator.memory import Traffic
from simulator.runtime import LibraryTable
from simulator.sharing import RATE_ONE
from workloads.moment import DTYPE_BITS, AttentionShape, MatmulShape, Moment, RowShape

if TYPE_CHECKING:
    from simulator.demand.context import Context

_PAGE_BYTES = 4096
_DOT_EXPONENT = 2.0
"""Overlap of unpacking with the stream of weights: a core waits for part of what it reads."""

_BLOCK_ROWS = 64
"""Effective size of the blocks on the diagonal of causal attention on a CPU."""


@dataclass(frozen=True)
class _Loop:
    """A moment as loops over `threads` cores: core-cycles of arithmetic, and how memory is read."""

    threads: int
    core_cycles: float
    exponent: float
    packing_cycles: float = 0.0
    row_cycles: float = 0.0
    passes: int = 1
    again_bytes: int = 0
    again_times: int = 0
    """What is read again at once, and how often: it is found where so many bytes stay."""


def cpu_demand(moment: Moment, traffic: Traffic, context: Context) -> Demand:
    """What one operator asks of the cores.

    Cycles are those of the burst clock; where more cores compute, the clock falls towards the
    sustained one. Not modelled: NUMA, hyperthreads, the choice among GEMM kernels.
    """
    library = context.runtime.library or LibraryTable(source="none: a library without costs")
    loop = _loop(moment, context, library)
    clock_share = context.clock_share(loop.threads)
    arithmetic = loop.core_cycles / clock_share
    if loop.threads > 1:
        serial = library.serial_share
        arithmetic *= serial + (1 - serial) / (loop.threads * library.parallel)
    rate = _dram_rate(context, loop.threads) * context.efficiency(moment).bandwidth
    again = _traffic_of(loop.again_bytes, loop.again_times, context)
    dram = traffic.dram_bytes * loop.passes + again.dram_bytes
    memory = dram / rate
    cached = _cache_cycles(traffic, context, loop.threads) * loop.passes
    cached += _cache_cycles(again, context, loop.threads)
    unit_cycles = ceil(arithmetic)
    smooth = smooth_maximum(arithmetic, memory + cached, loop.exponent)
    body = max(unit_cycles, memory)
    overlap = ceil(smooth - max(body, cached))
    after: dict[Cause, int] = {
        "memory": ceil(max(0.0, cached - body) + loop.row_cycles),
        "overlap": overlap,
        "packing": ceil(loop.packing_cycles / clock_share),
        "page_faults": _page_fault_cycles(moment, context, library, loop.threads),
        "fork_join": _fork_join_cycles(loop.threads, context, library),
    }
    return Demand(
        units=loop.threads,
        unit_cycles=unit_cycles,
        cores=loop.threads,
        memory_bytes=dram,
        memory_cap=int(rate * RATE_ONE),
        serial=tuple((cause, n) for cause, n in after.items() if n > 0),
    )


def _fork_join_cycles(threads: int, context: Context, library: LibraryTable) -> int:
    if threads == 1:
        return 0
    return context.cycles(library.fork_join_s + threads * library.fork_join_per_thread_s)


def _loop(moment: Moment, context: Context, library: LibraryTable) -> _Loop:
    shape = moment.shape
    kernel = context.efficiency(moment)
    special = library.special.get(moment.kind, 1.0)
    threads = context.runtime.cores_per_moment or context.cores
    if isinstance(shape, MatmulShape) and shape.batch == 1:
        if shape.m <= library.gemv_rows:
            return _matrix_vector(moment, shape, context, library, threads)
        if library.dot_share is not None:
            return _dot_product(moment, shape, context, library, threads)
        cycles = arithmetic_core_cycles(moment, context, kernel) / library.share_of(moment.dtype)
        cycles += unpacking_of(moment, shape, library)
        packing = _packing_cycles(moment, shape, context, library, threads)
        return _Loop(threads, cycles, kernel.overlap_exponent, packing)
    if isinstance(shape, AttentionShape):
        share = attended_share(shape, _BLOCK_ROWS) if library.skips_masked else 1.0
        cycles = arithmetic_core_cycles(moment, context, kernel, share=share, special=special)
        cycles += moment.parts * context.cycles(kernel.unit_s)
        return _Loop(min(threads, moment.parts), cycles, kernel.overlap_exponent)
    if not isinstance(shape, MatmulShape) and _elements(moment) < library.parallel_elements:
        threads = 1
    elif isinstance(shape, MatmulShape):
        threads = min(threads, shape.batch)
    cycles = arithmetic_core_cycles(moment, context, kernel, special=special)
    passes = library.steps.get(moment.kind, 1)
    return _Loop(threads, cycles, kernel.overlap_exponent, passes=passes)


def _packing_cycles(
    moment: Moment, shape: MatmulShape, context: Context, library: LibraryTable, threads: int
) -> float:
    """Rearranging the weights for this one product: work a weight, and writing the packed copy.

    The copy goes to the level that holds it. A second thread hardly helps: the part that is
    divided among threads shrinks with the fourth root of their number.
    """
    weights = shape.n * shape.k
    if not library.pack_cycles_per_weight:
        return 0.0
    copied = weights * DTYPE_BITS[moment.dtype] // 8
    traffic = _traffic_of(copied, 1, context)
    write = _cache_cycles(traffic, context, 1) + traffic.dram_bytes / _dram_rate(context, 1)
    return float((weights * library.pack_cycles_per_weight + write) / threads**0.25)


def _matrix_vector(
    moment: Moment, shape: MatmulShape, context: Context, library: LibraryTable, threads: int
) -> _Loop:
    """m products of the whole matrix with one vector each: every row starts its stream anew.

    The matrix comes from where it was for the first vector, then from the level that keeps it; from
    a cache, rows start without loss.
    """
    threads = min(threads, library.gemv_threads or threads)
    cycles = arithmetic_core_cycles(moment, context, context.efficiency(moment))
    matrix = sum(tensor.bytes for tensor in moment.reads if tensor.role == "weight")
    cached = context.levels.level(matrix) < len(context.levels.names) - 1
    streams = shape.n * (1 if cached else shape.m)
    rows = streams * context.cycles(library.gemv_row_s) / threads
    return _Loop(threads, cycles, 4.0, row_cycles=rows, again_bytes=matrix, again_times=shape.m - 1)


def _dot_product(
    moment: Moment, shape: MatmulShape, context: Context, library: LibraryTable, threads: int
) -> _Loop:
    """Dot products of stored rows with the activations, unpacked on the way (as ggml does)."""
    cycles = dot_product_core_cycles(moment, context, library.dot_share or 1.0)
    return _Loop(threads, cycles + unpacking_of(moment, shape, library), _DOT_EXPONENT)


def _elements(moment: Moment) -> int:
    if isinstance(moment.shape, RowShape):
        return moment.shape.rows * moment.shape.columns
    return getattr(moment.shape, "elements", 0)


def _dram_rate(context: Context, threads: int) -> float:
    """Bytes per cycle that `threads` cores can draw from DRAM."""
    level = context.profile.memory["dram"]
    per_core = level.bandwidth_per_core_bytes_per_s or level.bandwidth_bytes_per_s
    return min(level.bandwidth_bytes_per_s, per_core * threads) / context.clock_hz


def _cache_cycles(traffic: Traffic, context: Context, threads: int) -> float:
    """Cycles for the bytes found in caches, each level at what these threads can draw from it."""
    cycles = 0.0
    for name, moved in zip(context.levels.names[:-1], traffic.by_level, strict=False):
        level = context.profile.memory[name]
        total = level.bandwidth_bytes_per_s
        per_core = level.bandwidth_per_core_bytes_per_s or total / context.cores
        cycles += moved * context.clock_hz / min(total, per_core * threads)
    return cycles


def _traffic_of(size: int, times: int, context: Context) -> Traffic:
    """`size` bytes moved `times` times at the nearest level that holds so many."""
    level = context.levels.level(size)
    return Traffic(
        tuple(size * times if i == level else 0 for i in range(len(context.levels.names)))
    )


def _page_fault_cycles(
    moment: Moment, context: Context, library: LibraryTable, threads: int
) -> int:
    """Fresh outputs above the allocator's limit are new pages from the system, every time.

    Each thread takes the faults of the part that it writes, so they shrink with the threads, but
    to no less than what it takes to clear the pages: to write all bytes to memory once more.
    """
    if library.fresh_output_bytes is None:
        return 0
    fresh = sum(t.bytes for t in moment.writes if t.bytes >= library.fresh_output_bytes)
    alone = context.cycles(fresh / _PAGE_BYTES * library.page_fault_s)
    cleared = ceil(fresh / _dram_rate(context, threads))
    return max(-(-alone // threads), min(alone, cleared))
