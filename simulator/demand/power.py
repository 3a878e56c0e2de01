"""The power limit: a pass that would draw more than the machine may runs at a lower clock."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil
from typing import TYPE_CHECKING

from simulator.demand.types import Demand
from simulator.demand.work import smooth_maximum
from simulator.sharing import RATE_ONE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hardware_profiles.schema import Energy
    from simulator.demand.context import Context
    from simulator.memory import Traffic
    from workloads.moment import Moment

_EXPONENT = 4.0
"""Sharpness of the bend: near the limit the clock already falls for part of the time."""


_SAME_WIDTH = {"bf16": "fp16", "fp8": "int8", "int4": "int8"}


@dataclass(frozen=True)
class _Draw:
    """What a pass takes at the burst clock: energy, and the time that does and does not scale."""

    joules: float
    clocked_cycles: float
    memory_cycles: float


def throttled(
    demands: Sequence[Demand],
    moments: Sequence[Moment],
    traffic: Sequence[Traffic],
    context: Context,
    starts: Sequence[int],
) -> list[Demand]:
    """The demands at the clock that the power limit leaves to each pass; unchanged without one.

    A limit holds over milliseconds, so a pass as a whole has to keep it, not each kernel:
    time >= energy / (tdp x (1 - static)). What scales with the clock is slowed until that is so;
    waiting for DRAM is not. Not modelled: the lower voltage at a lower clock, temperature, and
    the rest that gaps between kernels give.
    """
    profile = context.profile
    if profile.energy is None or profile.power is None or context.runtime.ideal:
        return list(demands)
    available = profile.power.tdp_watts * (1 - profile.energy.static)
    found: list[Demand] = []
    for first, end in zip(starts, (*starts[1:], len(demands)), strict=True):
        part = slice(first, end)
        draw = _draw(demands[part], moments[part], traffic[part], context, profile.energy)
        slowdown = _slowdown(draw, available, context.clock_hz)
        found += _slowed(demands[part], slowdown) if slowdown > 1 else demands[part]
    return found


def _draw(
    demands: Sequence[Demand],
    moments: Sequence[Moment],
    traffic: Sequence[Traffic],
    context: Context,
    energy: Energy,
) -> _Draw:
    joules = clocked = waited = 0.0
    for demand, moment, moved in zip(demands, moments, traffic, strict=True):
        counts = moment.counts
        vector = counts.vector_ops + counts.special_ops
        joules += 2 * counts.macs * _flop_joules(energy.flop_joules, moment.dtype)
        joules += vector * _flop_joules(energy.flop_joules, "fp32")
        joules += sum(moved.by_level) * energy.byte_joules
        arithmetic = demand.arithmetic_cycles(context.cores)
        memory = demand.memory_bytes * RATE_ONE / demand.memory_cap if demand.memory_cap else 0.0
        clocked += max(0.0, arithmetic - memory) + demand.serial_cycles
        waited += memory
    return _Draw(joules, clocked, waited)


def _slowdown(draw: _Draw, available_watts: float, clock_hz: int) -> float:
    """How many times longer what scales with the clock takes, at least 1."""
    if not draw.clocked_cycles:
        return 1.0
    limited = draw.joules / available_watts * clock_hz
    total = smooth_maximum(draw.clocked_cycles + draw.memory_cycles, limited, _EXPONENT)
    return max(1.0, (total - draw.memory_cycles) / draw.clocked_cycles)


def _slowed(demands: Sequence[Demand], slowdown: float) -> list[Demand]:
    """Equal demands stay one object, as they came."""
    known: dict[int, Demand] = {}
    for demand in demands:
        if id(demand) not in known:
            known[id(demand)] = replace(
                demand,
                unit_cycles=ceil(demand.unit_cycles * slowdown),
                serial=tuple((cause, ceil(n * slowdown)) for cause, n in demand.serial),
            )
    return [known[id(demand)] for demand in demands]


def _flop_joules(table: Mapping[str, float], dtype: str) -> float:
    """Energy of an operation in `dtype`: its own, or that of the type of the same width."""
    return table.get(dtype, table.get(_SAME_WIDTH.get(dtype, "fp32"), table["fp32"]))
