"""Demand of a moment on a CPU: packed GEMM, row-wise GEMV, vector loops, caches, fork and join."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING

from hardware_profiles.efficiency import usual_efficiency
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
    from hardware_profiles.schema import KernelClass
    from simulator.demand.context import Context

_PAGE_BYTES = 4096
_DOT_EXPONENT = 2.0
"""Overlap of unpacking with the stream of weights: a core waits for part of what it reads."""

_REPLACEMENT = 4.0
"""How suddenly a stream ceases to fit the last cache: the power of the ratio of the two."""

_PACKED_COLUMNS = 512
"""Columns of a weight matrix (of k) that are packed at a time: seen on MKL 2024.2, where the copy
of 4,096 rows begins to miss 10 MiB of cache and that of 8,192 rows misses it."""

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
    again: Traffic | None = None
    """What is read again at once, where it is found."""


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
    rate = _dram_rate(context, loop.threads) * _kernel(moment, context, library).bandwidth
    dram = traffic.dram_bytes * loop.passes + (loop.again.dram_bytes if loop.again else 0)
    memory = dram / rate
    cached = _cache_cycles(traffic, context, loop.threads) * loop.passes
    cached += _cache_cycles(loop.again, context, loop.threads) if loop.again else 0.0
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
    kernel = _kernel(moment, context, library)
    special = library.special.get(moment.kind, 1.0)
    threads = context.runtime.cores_per_moment or context.cores
    if isinstance(shape, MatmulShape) and shape.batch == 1:
        if shape.m <= library.gemv_rows:
            return _matrix_vector(moment, shape, context, library, threads)
        if library.dot_share is not None:
            return _dot_product(moment, shape, context, library, threads)
        cycles = arithmetic_core_cycles(moment, context, kernel) / library.share_of(moment.dtype)
        cycles += unpacking_of(moment, shape, library)
        if shape.m <= library.single_thread_rows:
            threads = 1
        packing = _packing_cycles(moment, shape, context, library, threads)
        return _Loop(threads, cycles, kernel.overlap_exponent, packing)
    if isinstance(shape, AttentionShape):
        share = attended_share(shape, _BLOCK_ROWS) if library.skips_masked else 1.0
        cycles = arithmetic_core_cycles(moment, context, kernel, share=share, special=special)
        cycles += moment.parts * context.cycles(kernel.unit_s)
        threads = min(threads, moment.parts)
        cycles += _block_cycles(shape, context, library, threads) * share
        return _Loop(threads, cycles, kernel.overlap_exponent)
    if not isinstance(shape, MatmulShape) and _elements(moment) < library.parallel_elements:
        threads = 1
    elif isinstance(shape, MatmulShape):
        threads = min(threads, shape.batch)
    cycles = arithmetic_core_cycles(moment, context, kernel, special=special)
    passes = library.steps.get(moment.kind, 1)
    return _Loop(threads, cycles, kernel.overlap_exponent, passes=passes)


def _kernel(moment: Moment, context: Context, library: LibraryTable) -> KernelClass:
    """The efficiency of a moment's kernels: what is computed in steps is elementwise loops."""
    if library.steps.get(moment.kind, 1) > 1:
        return usual_efficiency(context.profile, "element", moment.dtype)
    return context.efficiency(moment)


def _block_cycles(
    shape: AttentionShape, context: Context, library: LibraryTable, threads: int
) -> float:
    """Core-cycles for the blocks of queries that a kernel multiplies by products of the library.

    Keys and values are packed anew for each block, as the library packs weights, and a product
    called by one of several threads takes longer. One query alone is multiplied as a vector.
    """
    rows = library.rows_a_block(shape.q_len)
    if shape.q_len == 1 or not rows:
        return 0.0
    blocks = shape.batch * shape.heads * ceil(shape.q_len / rows)
    columns = shape.head_dim + (shape.value_dim or shape.head_dim)
    packing = shape.kv_len * columns * library.pack_cycles_per_weight
    called = 2 * context.cycles(library.nested_call_s) if threads > 1 else 0
    return float(blocks * (packing + called))


def _packing_cycles(
    moment: Moment, shape: MatmulShape, context: Context, library: LibraryTable, threads: int
) -> float:
    """Rearranging the weights for this one product: work a weight, and writing the packed copy.

    Every row of weights starts its stream anew, as it does for a vector. The copy of a block of
    columns goes to where so many bytes stay. A second thread hardly helps: the part that is divided
    among threads shrinks with the fourth root of their number.
    """
    weights = shape.n * shape.k
    if not library.pack_cycles_per_weight:
        return 0.0
    width = DTYPE_BITS[moment.dtype] // 8
    traffic = _kept(shape.n * min(shape.k, _PACKED_COLUMNS) * width, weights * width, context)
    write = _cache_cycles(traffic, context, 1) + traffic.dram_bytes / _dram_rate(context, 1)
    rows = shape.n * context.cycles(library.pack_row_s)
    return float((weights * library.pack_cycles_per_weight + write + rows) / threads**0.25)


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
    again = _kept(matrix, matrix * (shape.m - 1), context)
    streams = shape.n * (1 + again.dram_bytes / max(1, matrix))
    rows = streams * context.cycles(library.gemv_row_s) / threads
    return _Loop(threads, cycles, 4.0, row_cycles=rows, again=again)


def _kept(working_set: int, moved: int, context: Context) -> Traffic:
    """`moved` bytes of what was touched as the last `working_set` bytes, where they are found.

    What is about as large as the last cache is kept in part, since others use that cache too and
    it evicts by other rules than strict age: half at equal size, a sixteenth at twice the size.
    """
    levels = context.levels
    by_level = [0] * len(levels.names)
    level, last = levels.level(working_set), len(levels.capacities) - 1
    if level < last or last < 0:
        by_level[level] = moved
    else:
        ratio = levels.capacities[last] / working_set
        missed = round(moved / (1 + ratio**_REPLACEMENT))
        by_level[last], by_level[-1] = moved - missed, missed
    return Traffic(tuple(by_level))


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
