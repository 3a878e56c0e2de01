"""Demand of a moment on a GPU: one kernel with the whole device."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING

from simulator.demand.flash import Attention, decode_times, prefill_times
from simulator.demand.gemm import Product, Times, product_times
from simulator.demand.rows import ROW_READS, ROWS_PER_CORE, Rows, row_times
from simulator.demand.types import Cause, Demand
from simulator.sharing import RATE_ONE
from workloads.moment import DTYPE_BITS, AttentionShape, MatmulShape, Moment, RowShape

if TYPE_CHECKING:
    from hardware_profiles.schema import KernelClass
    from simulator.demand.context import Context
    from simulator.memory import Traffic
    from simulator.runtime import LibraryTable

Work = Product | Attention | Rows
_EXPONENTIAL_STEPS = {"int8": 3}
"""Instructions at the rate of special functions that a score of attention takes: with integer
products its sum is converted to a float before the exponential, and the result back. Conversions
run at that rate up to compute capability 8.0 (CUDA C++ Programming Guide, arithmetic throughput).
"""
_SUM_BYTES = 4
_BLOCK_THREADS = 512
_THREADS = 2048
"""Threads that a core holds at once, where a profile does not say."""
_ROUNDING = 1e-9
"""Relative error of a sum of seconds, which must not become one cycle more."""


def gpu_demand(moment: Moment, traffic: Traffic, context: Context) -> Demand:
    """What one kernel asks of the device.

    Not modelled: clusters of cores, kernels that run side by side.
    """
    kernel = context.efficiency(moment)
    library = context.runtime.library
    steps = 1 if library is None else library.steps.get(moment.kind, 1)
    dequantized = _dequantized_bytes(moment, library)
    dram = traffic.dram_bytes * steps + dequantized + _wide_bytes(moment, library)
    times = kernel_times(work_of(moment, traffic, context), kernel, context.has_matrix(moment))
    rate = context.dram_bytes_per_cycle * kernel.bandwidth
    unit_cycles = _up(times.arithmetic_s, context)
    body = max(unit_cycles, ceil(dram / rate))
    overlap = max(0, _up(times.body_s, context) - body)
    fixed = context.cycles(kernel.latency_s * context.runtime.latency_scale)
    latency = (steps + (1 if dequantized else 0)) * fixed
    serial: tuple[tuple[Cause, int], ...] = (("latency", latency), ("overlap", overlap))
    return Demand(
        units=context.cores,
        unit_cycles=unit_cycles,
        cores=context.cores,
        memory_bytes=dram,
        memory_cap=int(rate * RATE_ONE),
        serial=tuple((cause, cycles) for cause, cycles in serial if cycles > 0),
    )


def kernel_times(work: Work, kernel: KernelClass, matrix: bool) -> Times:
    """Seconds of a kernel without its latency, from the formula of its kind."""
    if isinstance(work, Product):
        return product_times(work, kernel, matrix=matrix)
    if isinstance(work, Attention):
        return prefill_times(work, kernel) if work.prefill else decode_times(work, kernel)
    return row_times(work, kernel)


def work_of(moment: Moment, traffic: Traffic, context: Context) -> Work:
    """A moment as the numbers of its formula, without any efficiency."""
    library = context.runtime.library
    steps = 1 if library is None else library.steps.get(moment.kind, 1)
    dram_rate = context.profile.memory["dram"].bandwidth_bytes_per_s
    more = _dequantized_bytes(moment, library) + _wide_bytes(moment, library)
    dram_s = (traffic.dram_bytes * steps + more) / dram_rate
    cached_s = steps * _cached_s(traffic, context)
    if isinstance(moment.shape, MatmulShape) and moment.kind == "matmul":
        return _product(moment, moment.shape, context, dram_s, cached_s)
    if isinstance(moment.shape, AttentionShape):
        return _attention(moment, moment.shape, context, dram_s, cached_s)
    return _rows(moment, context, dram_s, cached_s)


def _product(
    moment: Moment, shape: MatmulShape, context: Context, dram_s: float, cached_s: float
) -> Product:
    library = context.runtime.library
    share = 1.0
    if library is not None:
        share = library.share_of(moment.dtype) * _accumulation_gain(moment, context)
    bits = DTYPE_BITS[moment.dtype]
    written = sum(tensor.bytes for tensor in moment.writes)
    # grouped products of a mixture of experts do no more than their counted operations
    padded = shape.batch * shape.m * shape.n * shape.k
    rows = shape.m if padded <= moment.counts.macs else moment.counts.macs * shape.m / padded
    # zeros that are left out shorten the way through K
    done = context.timed_macs(moment) / moment.counts.macs if moment.sparsity is not None else 1.0
    return Product(
        batch=shape.batch,
        m=rows,
        n=shape.n,
        k=shape.k * done,
        operand_bytes=bits / 8,
        cores=context.cores,
        core_rate=context.macs_per_cycle(moment.dtype) * context.clock_hz * share,
        core_bytes=_core_bytes(context),
        dram_s=dram_s,
        cached_s=cached_s,
        write_s=written / context.profile.memory["dram"].bandwidth_bytes_per_s,
        epilogue_s=_vector_s(moment, context) + _special_s(moment, context),
    )


def _attention(
    moment: Moment, shape: AttentionShape, context: Context, dram_s: float, cached_s: float
) -> Attention:
    library = context.runtime.library
    skips = library is None or library.skips_masked
    value_dim = shape.value_dim or shape.head_dim
    token_bytes = DTYPE_BITS[moment.dtype] / 8 * shape.batch * shape.q_len
    token_bytes *= (shape.heads + shape.kv_heads) * shape.head_dim + shape.kv_heads * value_dim
    kv_bytes = sum(t.bytes for t in moment.reads if t.role == "kv_cache")
    elements = shape.batch * shape.kv_heads * shape.kv_len * (shape.head_dim + value_dim)
    return Attention(
        batch=shape.batch,
        heads=shape.heads,
        kv_heads=shape.kv_heads,
        head_dim=(shape.head_dim + value_dim) / 2,
        queries=shape.q_len,
        keys=shape.kv_len,
        causal=shape.causal and skips,
        earlier=shape.kv_len - shape.q_len,
        span=(shape.window or 0) if skips else 0,
        kv_bytes=kv_bytes / elements if kv_bytes else DTYPE_BITS[moment.dtype] / 8,
        cores=context.cores,
        core_rate=context.macs_per_cycle(moment.dtype) * context.clock_hz,
        core_exponentials=context.special_per_cycle(moment.dtype)
        * context.clock_hz
        / _EXPONENTIAL_STEPS.get(moment.dtype, 1),
        core_bytes=_core_bytes(context),
        dram_s=dram_s,
        cached_s=cached_s,
        token_s=token_bytes / context.profile.memory["dram"].bandwidth_bytes_per_s
        if shape.causal
        else 0.0,
        packed=shape.packed,
        divided=shape.divided,
        prefill=shape.q_len > 1,
        rows=shape.q_len if library is not None and shape.q_len <= library.whole_queries else 0,
    )


def _rows(moment: Moment, context: Context, dram_s: float, cached_s: float) -> Rows:
    read = sum(tensor.bytes for tensor in moment.reads)
    moved = read + sum(tensor.bytes for tensor in moment.writes)
    columns = moment.shape.columns if isinstance(moment.shape, RowShape) else 0
    inner = next(iter(context.profile.memory.values()))
    return Rows(
        vector_s=_vector_s(moment, context),
        special_s=_special_s(moment, context),
        dram_s=dram_s,
        cached_s=cached_s,
        read_s=(dram_s + cached_s) * read / moved if moved else 0.0,
        rereads=ROW_READS.get(moment.kind, 1.0) - 1,
        row_bytes=columns * DTYPE_BITS[moment.dtype] / 8,
        rows_per_core=ROWS_PER_CORE.get(moment.kind, 1.0),
        core_cache_bytes=inner.total_bytes / context.cores,
        blocks_s=_blocks_s(moment, context),
    )


def _blocks_s(moment: Moment, context: Context) -> float:
    """Where a kernel gives each row to a block of its own, the rounds that a core takes."""
    library, shape = context.runtime.library, moment.shape
    if library is None or not isinstance(shape, RowShape):
        return 0.0
    each_s = library.row_block_s.get(moment.kind, 0.0)
    each_s += library.column_block_s.get(moment.kind, 0.0) * shape.columns
    threads = context.profile.width.threads or _THREADS
    return each_s * max(1.0, shape.rows / (context.cores * (threads // _BLOCK_THREADS)))


def _vector_s(moment: Moment, context: Context) -> float:
    rate = context.vector_per_cycle(moment.dtype) * context.cores * context.clock_hz
    return moment.counts.vector_ops / rate


def _special_s(moment: Moment, context: Context) -> float:
    rate = context.special_per_cycle(moment.dtype) * context.cores * context.clock_hz
    return moment.counts.special_ops / rate


def _core_bytes(context: Context) -> float:
    """What a core draws from the last cache (or DRAM, where there is none) when all do."""
    levels = list(context.profile.memory.values())
    shared = levels[-2] if len(levels) > 1 else levels[-1]
    return shared.bandwidth_bytes_per_s / context.cores


def _up(seconds: float, context: Context) -> int:
    return ceil(seconds * context.clock_hz * (1 - _ROUNDING))


def _accumulation_gain(moment: Moment, context: Context) -> float:
    """How much faster fp16 products are when the runtime sums them in fp16.

    A matrix unit takes half as many fp16 products as int8 ones, unless the vendor has halved the
    rate of sums in fp32, which is what the profile's width counts.
    """
    library = context.runtime.library
    if library is None or not library.fp16_accumulation or moment.dtype != "fp16":
        return 1.0
    matrix = context.profile.width.matrix
    return max(1.0, matrix.get("int8", 0.0) / 2 / matrix["fp16"]) if "fp16" in matrix else 1.0


def _dequantized_bytes(moment: Moment, library: LibraryTable | None) -> int:
    """Bytes of a quantized weight written out in the type of the arithmetic, and read again."""
    shape = moment.shape
    if library is None or not library.dequantize_rows or not isinstance(shape, MatmulShape):
        return 0
    if moment.weight_dtype in ("", moment.dtype) or shape.m < library.dequantize_rows:
        return 0
    return 2 * shape.n * shape.k * DTYPE_BITS[moment.dtype] // 8


def _wide_bytes(moment: Moment, library: LibraryTable | None) -> int:
    """Bytes that sums of 4 bytes take beyond those of the type, written and read again."""
    if library is None or not library.wide_sums or moment.kind != "matmul":
        return 0
    written = sum(tensor.bytes for tensor in moment.writes)
    return 2 * (_SUM_BYTES * 8 // DTYPE_BITS[moment.dtype] - 1) * written


def _cached_s(traffic: Traffic, context: Context) -> float:
    """Time that the bytes found in caches take, at the datasheet bandwidth of each level."""
    seconds = 0.0
    for name, moved in zip(context.levels.names[:-1], traffic.by_level, strict=False):
        seconds += moved / context.profile.memory[name].bandwidth_bytes_per_s
    return seconds
