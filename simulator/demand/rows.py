"""Time of row-wise and elementwise kernels on a GPU: arithmetic beside passes over memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from simulator.demand.broadcast import filled, larger
from simulator.demand.gemm import Times
from simulator.demand.work import smooth_maximum

if TYPE_CHECKING:
    from hardware_profiles.schema import KernelClass

ROW_READS = {"softmax": 3.0, "layer_norm": 2.0, "rms_norm": 2.0}
"""How often a kernel reads each row: for its maximum, its sum and its result; for its moments and
its result. Kinds not named read once."""
ROWS_PER_CORE = {"softmax": 2.0, "layer_norm": 16.0, "rms_norm": 2.0}
"""Rows that a core works at side by side: blocks of 1,024 threads, or of 128, in PyTorch."""
_SHARPNESS = 3.0
"""How suddenly rows cease to fit: the power of the ratio of what is used to what there is."""


@dataclass(frozen=True, slots=True)
class Rows:
    """A row-wise or elementwise kernel on a machine: numbers of one case, or arrays of many.

    `vector_s`, `special_s`: its operations at full width on all cores. `read_s`: time to read the
    rows once at the datasheet bandwidth of where they are found, and so often they are read again,
    `rereads`, if `row_bytes` of `rows_per_core` rows do not fit a core's `core_cache_bytes`.
    `blocks_s`: time that blocks of threads take, one for each row, whatever else they wait for.
    """

    vector_s: float
    special_s: float
    dram_s: float
    cached_s: float
    read_s: float
    rereads: float
    row_bytes: float
    rows_per_core: float
    core_cache_bytes: float
    blocks_s: float = 0.0


def missed(work: Rows, kernel: KernelClass) -> float:
    """Part of the second and third reads that the cache of a core does not hold."""
    used = work.row_bytes * work.rows_per_core / (work.core_cache_bytes * kernel.held)
    ratio = larger(used, 1e-6) ** _SHARPNESS
    return ratio / (1 + ratio)  # type: ignore[no-any-return]


def row_times(work: Rows, kernel: KernelClass) -> Times:
    """Arithmetic and memory side by side; rows that were not held are read again."""
    arithmetic = work.vector_s / kernel.vector + work.special_s / kernel.special
    again = work.read_s * work.rereads * missed(work, kernel) / kernel.bandwidth
    memory = work.dram_s / kernel.bandwidth + work.cached_s / kernel.cache + again
    memory = larger(filled(memory, kernel.ramp_s), work.blocks_s)
    return Times(smooth_maximum(arithmetic, memory, kernel.overlap_exponent), arithmetic)
