"""The host's profile with each level's bandwidth, and the share of the last cache, from a sweep."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import TYPE_CHECKING

from hardware_profiles.detect import detect_machine
from hardware_profiles.host import profile_of, working_sets
from hardware_profiles.probe_cache import Probe, Reading, run_probe

if TYPE_CHECKING:
    from hardware_profiles.schema import Profile

_SMALLEST, _LARGEST = 2**14, 2**28


def swept_profile() -> tuple[Profile, tuple[str, ...]]:
    """The profile "host" measured anew, and remarks.

    Working sets from 16 KiB to 256 MiB are read with one thread and with all. On a shared machine
    others use the last cache too: its capacity is then the largest set read at its speed.
    """
    machine = detect_machine()
    sets = working_sets(machine)
    sweep = {str(size): size for size in _sizes(machine.memory_bytes)}
    one = run_probe(1, {**sets, **sweep})
    every = run_probe(machine.cores, {**sets, **sweep}) if machine.cores > 1 else one
    date = datetime.date.today().isoformat()
    profile = profile_of(machine, Probe(date, _only(one, sets), _only(every, sets)))
    caches = [name for name in profile.memory if name != "dram"]
    if len(caches) < 3:
        return profile, ()
    last = caches[-1]
    rates = {size: every.bandwidth_bytes_per_s[str(size)] for size in sweep.values()}
    declared = profile.memory[last].total_bytes
    held = held_bytes(rates, declared, profile.memory[caches[-2]].total_bytes)
    if held >= declared:
        return profile, ()
    level = profile.memory[last]
    smaller = level.model_copy(
        update={
            "capacity_bytes": held // level.instances,
            "source": f"{level.source}; capacity: the largest working set read at its speed",
        }
    )
    memory = {name: smaller if name == last else lv for name, lv in profile.memory.items()}
    said = (
        f"of {declared // 2**20} MiB of {last} only {held // 2**20} MiB are this machine's to use"
    )
    return profile.model_copy(update={"memory": memory}), (said,)


def _sizes(memory_bytes: int) -> list[int]:
    sizes = [_SMALLEST]
    while sizes[-1] * 4 <= min(_LARGEST, memory_bytes // 8):
        sizes.append(sizes[-1] * 2 if sizes[-1] >= 2**21 else sizes[-1] * 4)
    return sizes


def _only(reading: Reading, names: Mapping[str, int]) -> Reading:
    rates = {name: reading.bandwidth_bytes_per_s[name] for name in names}
    return Reading(reading.gemm_flops_per_s, reading.multiply_s, rates)


def held_bytes(rates: Mapping[int, float], declared: int, inner: int) -> int:
    """Of a last cache of `declared` bytes, what a working set can have of it.

    `rates`: bytes per second by working set. The rate just beyond the caches inside (`inner` bytes
    together) is the cache's, that of the largest set is memory's; the last set before the rates
    fall below the geometric mean of the two still fits.
    """
    inside = [size for size in sorted(rates) if inner < size <= declared]
    if not inside:
        return declared
    between = (rates[inside[0]] * rates[max(rates)]) ** 0.5
    if rates[inside[0]] < 1.3 * rates[max(rates)]:
        return declared  # too close to tell the two apart
    held = inside[0]
    for size in inside:
        if rates[size] < between:
            return held
        held = size
    return declared
