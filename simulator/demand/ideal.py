"""Demand on a machine without software: full width, full bandwidth, no fixed costs."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING

from simulator.demand.types import Demand
from simulator.sharing import RATE_ONE

if TYPE_CHECKING:
    from simulator.demand.context import Context
    from simulator.memory import Traffic
    from workloads.moment import Moment


def ideal_demand(moment: Moment, traffic: Traffic, context: Context) -> Demand:
    """The moment's operations at the machine's widths, as one unit on one core.

    Every byte that is not in a cache passes the shared memory at its datasheet bandwidth.
    """
    cycles = 0.0
    counts = moment.counts
    if counts.macs:
        cycles += context.timed_macs(moment) / context.macs_per_cycle(moment.dtype)
    if counts.vector_ops:
        cycles += counts.vector_ops / context.vector_per_cycle(moment.dtype)
    if counts.special_ops:
        cycles += counts.special_ops / context.special_per_cycle(moment.dtype)
    cores = min(context.runtime.cores_per_moment or context.cores, context.cores)
    return Demand(
        units=cores,
        unit_cycles=ceil(cycles / cores),
        cores=cores,
        memory_bytes=traffic.dram_bytes,
        memory_cap=int(context.dram_bytes_per_cycle * RATE_ONE),
    )
