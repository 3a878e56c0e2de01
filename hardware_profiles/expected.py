"""What kernels reach on a machine that nobody has measured: from its datasheet and generation.

Times follow from the latency of memory, the depth of the pipeline from its generation's way to copy
operands, the clock under load from the base clock; the shares are the same for every machine. They
were fitted to public measurements; a machine among these has a fit without its die, so that its
prediction uses nothing that was measured on it.
"""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path
from typing import Annotated

from pydantic import Field

from hardware_profiles.energy import load_share
from hardware_profiles.schema import Fraction, KernelClass, KernelName, Profile, Share, Sourced
from hardware_profiles.units import Bytes

FOLDER = Path(__file__).parent / "kernels"
_DRAM_S, _L2_S = 350e-9, 200e-9
"""Latencies of memory where a profile does not give them: between those of GA100 and AD102."""
_BASE_SHARE = 0.8
"""Base clock as a share of the boost clock where a profile does not give it."""
_ROOM, _KEPT = 0.7, 0.98
"""A board whose matrix unit at its peak would draw less than this share of the TDP keeps its boost
clock, and reaches this share of the peak: in zzc0721/torch-performance-test-data (database.md,
commit 07858687) H20 reaches 96 %, RTX 3080 Ti, 3090, 4090 and 5090 100 to 115 % (they exceed
the boost clock that is promised); A100, H100, H200, A6000, L40S and B200, without room, 72 to 85 %,
and RX 7900 XT, with some, 81 %. On the public cases, products on the two boards with room came from
25 to 12 % (RTX 4090) and from 31 to 19 % (H20).
"""
Ratio = Annotated[float, Field(ge=0, le=1000)]


class Die(Sourced):
    """What a generation of GPUs has to keep products supplied; see kernels/dies.toml."""

    die: str = ""
    flight_bytes: Bytes = Field(alias="flight")
    asynchronous: bool = False


class Expected(Sourced):
    """A kernel class on any machine: shares as in KernelClass, and times as ratios.

    `latency`, `ramp`, `unit`, `group`, `start`: in latencies of DRAM. `reduction`: in latencies of
    the kernel. `depth`: by it the latency of L2 is divided among the elements under way. The power
    limit holds the clock down by (base clock / boost clock)^`throttle`: a matrix unit at once, so
    that it reaches `arithmetic` times that, and then, as any long product, `sustained` times that.
    `exposed`: part of `serial` that remains where products run asynchronously.
    """

    latency: Ratio
    arithmetic: Fraction
    bandwidth: Fraction
    cache: Share = 1.0
    ramp: Ratio = 0.0
    unit: Ratio = 0.0
    group: Ratio = 0.0
    start: Ratio = 0.0
    reduction: Ratio = 0.0
    depth: Ratio = 0.0
    throttle: Ratio = 0.0
    overlap_exponent: Annotated[float, Field(ge=1)] = 2.5
    vector: Fraction = 0.5
    special: Fraction = 0.5
    sustained: Fraction = 1.0
    operands: Share = 1.0
    wave: Annotated[float, Field(ge=0, le=1)] = 0.0
    write: Annotated[float, Field(ge=0, le=10)] = 0.0
    tile: Annotated[float, Field(ge=0, le=2)] = 0.0
    batched: Annotated[float, Field(ge=0, le=2)] = 0.0
    serial: Annotated[float, Field(ge=0, le=1)] = 0.0
    exposed: Annotated[float, Field(ge=0, le=1)] = 1.0
    single: Annotated[float, Field(ge=0, le=1)] = 1.0
    held: Share = 1.0

    def on(self, profile: Profile, name: KernelName, operand_bytes: float) -> KernelClass:
        """The kernel class that this says a machine has."""
        dram_s = profile.memory["dram"].latency_s or _DRAM_S
        outer = list(profile.memory.values())[-2:][0]
        l2_s = outer.latency_s or _L2_S
        die = die_of(profile)
        burst = profile.clock.burst_hz
        loaded = (profile.clock.base_hz or _BASE_SHARE * burst) / burst
        share = loaded**self.throttle
        return KernelClass.model_construct(
            **{key: getattr(self, key) for key in _SHARES},
            latency_s=self.latency * dram_s,
            arithmetic=self.arithmetic * (share if name == "matmul" else 1.0),
            sustained=self.sustained * share,
            ramp_s=self.ramp * dram_s,
            unit_s=self.unit * dram_s,
            group_s=self.group * dram_s,
            start_s=self.start * dram_s,
            reduction_s=self.reduction * self.latency * dram_s,
            depth_s=self.depth * l2_s * operand_bytes / die.flight_bytes,
            serial=self.serial * (self.exposed if die.asynchronous else 1.0),
            source=f"expected of a machine like this, not measured on it: {self.source}",
        )


_SHARES = (
    "bandwidth", "cache", "overlap_exponent", "vector", "special", "operands", "wave", "write",
    "tile", "batched", "single", "held",
)  # fmt: skip


@cache
def dies() -> dict[str, Die]:
    """Facts by generation, from kernels/dies.toml."""
    table = tomllib.loads((FOLDER / "dies.toml").read_text(encoding="utf-8"))
    return {key: Die.model_validate(entry) for key, entry in table.items()}


def die_of(profile: Profile) -> Die:
    """The facts of a machine's generation, or the default."""
    return dies().get(profile.kernels or "", dies()["default"])


@cache
def expectations(without: str = "") -> dict[str, Expected]:
    """Expected kernel classes of GPUs from kernels/gpu.toml, fitted without the die of that name.

    Where no machine with the die was measured, those fitted to all of them.
    """
    table = tomllib.loads((FOLDER / "gpu.toml").read_text(encoding="utf-8"))
    entries = {**table["all"], **table["without"].get(without, {})}
    return {key: Expected.model_validate(entry) for key, entry in entries.items()}


def expected_kernel(profile: Profile, name: KernelName, operand_bytes: float) -> KernelClass:
    """What a kernel class should reach on a GPU, without what was measured on its die."""
    found = expectations(die_of(profile).die)[name].on(profile, name, operand_bytes)
    share = load_share(profile)
    if name != "matmul" or share is None or share > _ROOM:
        return found
    kept = {"arithmetic": max(found.arithmetic, _KEPT), "sustained": 1.0}
    return found.model_copy(update=kept)
