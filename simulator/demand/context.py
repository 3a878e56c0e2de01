"""One machine under one runtime, as the demand formulas see it: plain numbers in base units."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from hardware_profiles.efficiency import usual_efficiency
from workloads.moment import AttentionShape

if TYPE_CHECKING:
    from hardware_profiles.links import Link
    from hardware_profiles.schema import KernelClass, KernelName, Profile
    from simulator.memory import Hierarchy
    from simulator.runtime import OnDevice
    from workloads.moment import Moment

_WIDER = {
    "int4": ("int8", "fp16", "bf16", "fp32"),
    "int8": ("fp16", "bf16", "fp32"),
    "fp8": ("fp16", "bf16", "fp32"),
    "fp4": ("fp8", "fp16", "bf16", "fp32"),
    "bf16": ("fp32",),
    "fp16": ("fp32",),
    "tf32": ("fp32",),
}
"""Where a machine has no unit for a type, its operands are widened to the next type that it has."""

_ROW_KINDS = ("softmax", "layer_norm", "rms_norm", "embedding", "sample", "quantize")


def kernel_class(moment: Moment, profile: Profile) -> KernelName:
    """The class of kernels whose efficiency applies to a moment."""
    if moment.kind == "matmul":
        return "matmul" if has_matrix_unit(moment.dtype, profile) else "matmul_vector"
    if isinstance(moment.shape, AttentionShape):
        return "attention" if moment.shape.q_len > 1 else "decode_attention"
    return "row" if moment.kind in _ROW_KINDS else "element"


def has_matrix_unit(dtype: str, profile: Profile) -> bool:
    """Whether the matrix unit takes `dtype`, or the type that it is widened to."""
    for candidate in (dtype, *_WIDER.get(dtype, ())):
        if profile.width.macs_per_cycle(candidate) is not None:
            return candidate in profile.width.matrix
    return False


@dataclass(frozen=True)
class Context:
    """A profile and a runtime's section for it, with what the formulas need at hand."""

    profile: Profile
    runtime: OnDevice
    levels: Hierarchy
    network: Link | None = None
    """What joins nodes, instead of the profile's [links.network]."""

    @property
    def clock_hz(self) -> int:
        return self.profile.clock.burst_hz

    @property
    def cores(self) -> int:
        return self.profile.cores.count

    @property
    def dram_bytes_per_cycle(self) -> float:
        return self.profile.memory["dram"].bandwidth_bytes_per_s / self.clock_hz

    @cached_property
    def _efficiencies(self) -> dict[tuple[KernelName, str], KernelClass]:
        return {}

    def efficiency(self, moment: Moment) -> KernelClass:
        """Of the class of kernels that a moment runs as; looked up once for all alike."""
        key = (kernel_class(moment, self.profile), moment.dtype)
        found = self._efficiencies.get(key)
        if found is None:
            found = self._efficiencies[key] = usual_efficiency(self.profile, *key)
        return found

    def has_matrix(self, moment: Moment) -> bool:
        """Whether the matrix unit computes a moment's products."""
        return has_matrix_unit(moment.dtype, self.profile)

    def cycles(self, seconds: float) -> int:
        """Core-clock cycles, rounded up."""
        return -int(-seconds * self.clock_hz // 1)

    def clock_share(self, threads: int) -> float:
        """Clock with so many busy cores, as a share of the burst clock.

        One core has the burst clock, all have the sustained one where it is known, and between
        them the clock falls in a straight line.
        """
        clock = self.profile.clock
        if clock.sustained_hz is None or threads <= 1:
            return 1.0
        loaded = (threads - 1) / (self.cores - 1)
        return 1.0 - loaded * (1.0 - clock.sustained_hz / clock.burst_hz)

    def macs_per_cycle(self, dtype: str) -> float:
        """Multiply-accumulates per core and cycle, in a wider type where there is no unit."""
        for candidate in (dtype, *_WIDER.get(dtype, ())):
            width = self.profile.width.macs_per_cycle(candidate)
            if width is not None:
                return width
        return self.profile.width.vector["fp32"]

    def timed_macs(self, moment: Moment) -> float:
        """Multiply-accumulates that take time, where some of the weights are zero.

        2:4 takes half as long on a matrix unit that is made for it; other zeros that storage
        leaves out are skipped by a runtime with kernels for them. Otherwise all are multiplied.
        """
        sparsity, macs = moment.sparsity, moment.counts.macs
        if sparsity is None or sparsity.storage == "none":
            return macs
        if sparsity.storage == "2:4":
            return macs / 2 if self._halves_2_4(moment.dtype) else macs
        library = self.runtime.library
        return moment.effective_macs if library is not None and library.skips_zeros else macs

    def _halves_2_4(self, dtype: str) -> bool:
        width = self.profile.width
        for candidate in (dtype, *_WIDER.get(dtype, ())):
            if width.macs_per_cycle(candidate) is not None:
                return candidate in width.sparse_2_4
        return False

    def vector_per_cycle(self, dtype: str) -> float:
        vector = self.profile.width.vector
        return next((vector[d] for d in (dtype, *_WIDER.get(dtype, ())) if d in vector), 1.0)

    def special_per_cycle(self, dtype: str) -> float:
        special = self.profile.width.special
        return next((special[d] for d in (dtype, *_WIDER.get(dtype, ())) if d in special), 1.0)

    @property
    def host_clock_hz(self) -> int:
        """Clock of the dispatching processor: the machine's own where no other is declared."""
        host = self.profile.host_clock
        return (host or self.profile.clock).burst_hz

    def host_cycles(self, seconds: float) -> int:
        return -int(-seconds * self.host_clock_hz // 1)
