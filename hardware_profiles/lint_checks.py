"""What is true of every machine that was ever built, as checks on a profile that loads."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from hardware_profiles.units import format_quantity

if TYPE_CHECKING:
    from hardware_profiles.schema import MemoryLevel, Profile

_TOLERANCE = 0.01
_FLOPS_PER_BYTE = (0.5, 5000.0)
"""Peak of the widest floating type against DRAM bandwidth: 1 in small CPUs, hundreds in GPUs."""

_FLOPS_PER_JOULE = (1e9, 2e13)
"""Peak of fp32 or the matrix unit's fp16 against the TDP: 2 GFLOP/s a watt to 10 TFLOP/s a watt."""

_FLOPS_PER_DOLLAR = (1e7, 1e12)
_HOURS_TO_BUY = (200.0, 200_000.0)
_TRANSISTORS_PER_MM2 = (1e6, 4e8)
_LATENCY_S = (2e-10, 5e-6)


@dataclass(frozen=True)
class Doubt:
    """A figure, what was expected of it, and the slip that explains it."""

    key: str
    value: str
    expected: str
    slip: str


def doubts(profile: Profile) -> Iterator[Doubt]:
    """Figures of a valid profile that contradict one another or are of no known machine."""
    yield from _bus(profile.memory["dram"])
    yield from _caches(profile)
    yield from _order(profile)
    yield from _sparsity(profile)
    yield from _ratios(profile)
    yield from _facts(profile)


def _bus(dram: MemoryLevel) -> Iterator[Doubt]:
    """DRAM bandwidth against the width of its bus times the rate of a pin."""
    bits, rate = dram.bus_bits, dram.data_rate_bits_per_s
    if bits is None and rate is None:
        return
    if bits is None or rate is None:
        missing = "data_rate" if rate is None else "bus_bits"
        yield Doubt(f"memory.dram.{missing}", "", "bus_bits and data_rate together", "")
        return
    computed = bits * rate / 8
    quotient = dram.bandwidth_bytes_per_s / computed
    if abs(quotient - 1) <= _TOLERANCE:
        return
    slips = {
        8.0: "bits where bytes are meant",
        1 / 8: "bytes where bits are meant",
        2.0: "both directions, or a data rate that is a clock (two bits a cycle)",
        0.5: "a clock where a data rate is meant, or half of the bus",
        1.073741824: "GiB/s where GB/s is meant",
        1 / 1.073741824: "GB/s where GiB/s is meant",
        1000.0: "a prefix too large",
        1 / 1000: "a prefix too small",
    }
    slip = next((text for q, text in slips.items() if abs(quotient / q - 1) <= _TOLERANCE), "")
    yield Doubt(
        "memory.dram.bandwidth",
        format_quantity(dram.bandwidth_bytes_per_s, "B/s"),
        f"{bits} bits x {format_quantity(rate, 'bit/s')} = {computed / 1e9:.5g} GB/s",
        slip,
    )


def _caches(profile: Profile) -> Iterator[Doubt]:
    """Capacities and lines of caches are made of whole binary units."""
    for name, level in profile.memory.items():
        size = level.capacity_bytes
        if name != "dram" and size % 1024:
            meant = "MiB" if size >= 10**6 else "KiB"
            yield Doubt(
                f"memory.{name}.capacity",
                format_quantity(size, "B"),
                "a whole number of KiB",
                f"{meant[0].replace('K', 'k')}B where {meant} is meant",
            )
        line = level.line_bytes
        if line is not None and (line % 8 or not 8 <= line <= 4096):
            yield Doubt(
                f"memory.{name}.line", f"{line} B", "a multiple of 8 B up to 4 KiB", "bits?"
            )
        latency = level.latency_s
        low, high = _LATENCY_S
        if latency and not low <= latency <= high:
            slip = "us where ns is meant" if latency > high else "ps where ns is meant"
            yield Doubt(
                f"memory.{name}.latency", format_quantity(latency, "s"), "0.2 ns to 5 us", slip
            )
        yield from _in_flight(name, level)


def _in_flight(name: str, level: MemoryLevel) -> Iterator[Doubt]:
    """Little's law: what one core draws is what it has in flight over the latency."""
    flight, latency = level.bytes_in_flight, level.latency_s
    share = level.bandwidth_per_core_bytes_per_s
    if flight is None or not latency or share is None:
        return
    possible = flight / latency
    if share > 1.5 * possible:
        yield Doubt(
            f"memory.{name}.bytes_in_flight",
            format_quantity(flight, "B"),
            f"{format_quantity(share, 'B/s')} x {format_quantity(latency, 's')} ="
            f" {share * latency:.0f} B or more",
            "of a smaller unit than a core?",
        )


def _order(profile: Profile) -> Iterator[Doubt]:
    """A farther level is not faster, neither in all nor for one core."""
    for (near, inner), (far, outer) in pairwise(profile.memory.items()):
        pairs = (
            ("bandwidth", inner.bandwidth_bytes_per_s, outer.bandwidth_bytes_per_s),
            (
                "bandwidth_per_core",
                inner.bandwidth_per_core_bytes_per_s,
                outer.bandwidth_per_core_bytes_per_s,
            ),
        )
        for key, fast, slow in pairs:
            if fast and slow and slow > fast * (1 + _TOLERANCE):
                yield Doubt(
                    f"memory.{far}.{key}",
                    format_quantity(slow, "B/s"),
                    f"at most memory.{near}.{key} = {format_quantity(fast, 'B/s')}",
                    f"{near} of one core where all are meant?" if key == "bandwidth" else "",
                )
        # stacked DRAM as a cache answers a little later than the DRAM behind it
        if inner.latency_s and outer.latency_s and outer.latency_s < 0.8 * inner.latency_s:
            yield Doubt(
                f"memory.{far}.latency",
                format_quantity(outer.latency_s, "s"),
                f"above memory.{near}.latency = {format_quantity(inner.latency_s, 's')}",
                "cycles of another clock, or the two swapped?",
            )
        # private caches hold more than what they share: the many of a GPU, 192 MiB of L2 before
        # the 36 MiB of Graviton4
        if outer.total_bytes < inner.total_bytes / 8:
            yield Doubt(
                f"memory.{far}.capacity",
                f"{outer.instances} x {format_quantity(outer.capacity_bytes, 'B')}",
                f"not far below memory.{near}, {format_quantity(inner.total_bytes, 'B')} in all",
                "instances missing, or a slip between KiB, MiB and GiB?",
            )


def _sparsity(profile: Profile) -> Iterator[Doubt]:
    """Peaks whose source speaks of sparsity and does not say that it is left out."""
    tables = {"width": profile.width, "peak": profile.peak}
    dense = ("dense", "without sparsity", "half of those with sparsity", "not counted here")
    for name, table in tables.items():
        text = table.source.lower() if table is not None else ""
        if "spars" in text and not any(word in text for word in dense):
            yield Doubt(
                f"{name}.source",
                "with sparsity",
                "dense figures: half of those with 2:4 sparsity",
                "a figure with sparsity in a dense field?",
            )


def _ratios(profile: Profile) -> Iterator[Doubt]:
    """Arithmetic against bandwidth, power and price."""
    width = profile.width
    widest = max(width.macs_per_cycle(d) or 0.0 for d in ("fp32", "fp16", "bf16"))
    flops = 2.0 * profile.cores.count * widest * profile.clock.burst_hz
    dram = profile.memory["dram"].bandwidth_bytes_per_s
    low, high = _FLOPS_PER_BYTE
    # a wafer that keeps its models on the chip hardly needs the memory outside
    on_chip = any(
        level.total_bytes > 10**10 for name, level in profile.memory.items() if name != "dram"
    )
    if flops / dram < low or (flops / dram > high and not on_chip):
        yield Doubt(
            "memory.dram.bandwidth",
            format_quantity(dram, "B/s"),
            f"{low:g} to {high:g} FLOP of {flops / 1e12:.4g} TFLOP/s for each byte, not"
            f" {flops / dram:.3g}",
            "a prefix, or bits where bytes are meant?",
        )
    if profile.power is not None:
        yield from _between(
            "power.tdp",
            format_quantity(profile.power.tdp_watts, "W"),
            flops / profile.power.tdp_watts,
            _FLOPS_PER_JOULE,
            "FLOP a joule",
            "the power of another part, or mW?",
        )


def _facts(profile: Profile) -> Iterator[Doubt]:
    """Price and process."""
    price, process = profile.price, profile.process
    if price is not None and price.date is None:
        yield Doubt("price.date", "", "the day or month of the price", "")
    if price is not None and price.to_buy is not None:
        widest = max(profile.width.macs_per_cycle(d) or 0.0 for d in ("fp32", "fp16", "bf16"))
        flops = 2.0 * profile.cores.count * widest * profile.clock.burst_hz
        yield from _between(
            "price.to_buy", f"{price.to_buy:g}", flops / price.to_buy, _FLOPS_PER_DOLLAR,
            "FLOP/s a dollar", "a price per hour, or of a whole server?",
        )  # fmt: skip
        if price.per_hour is not None:
            yield from _between(
                "price.per_hour", f"{price.per_hour:g}", price.to_buy / price.per_hour,
                _HOURS_TO_BUY, "hours of rent for the price", "of a whole server, or a month?",
            )  # fmt: skip
    if process is not None and process.transistors and process.die_area_mm2:
        yield from _between(
            "process.transistors", f"{process.transistors:g}",
            process.transistors / process.die_area_mm2, _TRANSISTORS_PER_MM2,
            "transistors a mm2", "millions where billions are meant, or one die of several?",
        )  # fmt: skip


def _between(
    key: str, value: str, ratio: float, limits: tuple[float, float], what: str, slip: str
) -> Iterator[Doubt]:
    low, high = limits
    if not low <= ratio <= high:
        yield Doubt(key, value, f"{low:.3g} to {high:.3g} {what}, not {ratio:.3g}", slip)
