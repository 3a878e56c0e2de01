"""Demand of the loading of weights: a stream over the host link, from a disk, or both."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING

from simulator.demand.types import Demand
from workloads.errors import InputError

if TYPE_CHECKING:
    from simulator.demand.context import Context
    from workloads.moment import Moment

HOST_LINK_BYTES_PER_S = 31_507_692_308
"""Where a profile names no host link: PCIe 4.0, 16 lanes of 16 GT/s, 128b/130b, one direction."""

HOST_LINK_SHARE = 0.8
"""What copies from pinned memory sustain: about 25 of 31.5 GB/s (CUDA's bandwidthTest on A100)."""

DISK_BYTES_PER_S = 7_000_000_000
"""An NVMe drive on PCIe 4.0 x4, whose link gives 7.88 GB/s: sequential reads of 7.0 to 7.45 GB/s
in data sheets of 2020 to 2022. Network storage and shared cloud disks are slower."""

LATENCY_S = {"disk": 100e-6, "host": 10e-6}
"""Until the first bytes arrive: a read of an NVMe drive; a launch and a round trip over PCIe."""


def load_demand(moment: Moment, context: Context) -> Demand:
    """Latency and bytes / rate of the slowest stretch of the way, all cores idle meanwhile.

    From the host's memory: its link. From disk: the disk and, on a GPU, the link too, pipelined,
    so that the slower counts; never faster than the memory written to. Not modelled: reading of
    files by one thread, conversion of dtypes, page cache, pageable copies, making of kernels or
    graphs. InputError: from the host's memory on a machine that computes in it.
    """
    apart = context.profile.kind != "cpu"
    if moment.group == "host" and not apart:
        raise InputError(
            f"cold = host with {context.profile.name}: a CPU computes on weights in the host's "
            "memory, nothing has to be loaded; cold = disk?"
        )
    rates = [float(context.profile.memory["dram"].bandwidth_bytes_per_s)]
    if moment.group == "disk":
        rates.append(DISK_BYTES_PER_S)
    if apart:
        link = context.profile.host_link
        rate = link.bandwidth_bytes_per_s if link is not None else HOST_LINK_BYTES_PER_S
        rates.append(rate * HOST_LINK_SHARE)
    size = moment.read_bytes
    cycles = ceil((LATENCY_S[moment.group] + size / min(rates)) * context.clock_hz)
    return Demand(
        units=context.cores, unit_cycles=0, cores=context.cores, serial=(("load", cycles),)
    )
