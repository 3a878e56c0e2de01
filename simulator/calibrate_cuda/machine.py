"""The profile that a measured GPU starts from: a bundled one, or one made from its like."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hardware_profiles import list_profiles, load_profile
from workloads.errors import InputError

if TYPE_CHECKING:
    from hardware_profiles.schema import MemoryLevel, Profile
    from simulator.calibrate_cuda.device import Properties

_LIKE: Mapping[tuple[int, int], str] = {
    (5, 2): "nvidia-m40",
    (6, 0): "nvidia-p100-pcie-16gb",
    (6, 1): "nvidia-gtx-1080-ti",
    (7, 0): "nvidia-v100-sxm2-16gb",
    (7, 5): "nvidia-t4",
    (8, 0): "nvidia-a100-sxm4-80gb",
    (8, 6): "nvidia-rtx-a6000",
    (8, 7): "nvidia-jetson-orin-nano-gpu",
    (8, 9): "nvidia-l40s",
    (9, 0): "nvidia-h100-sxm5-80gb",
    (10, 0): "nvidia-b200-sxm-180gb",
    (10, 3): "nvidia-b300-sxm-288gb",
    (12, 0): "nvidia-rtx-pro-6000-server",
}
"""A bundled machine of each compute capability: units a core, latencies, L1."""
_MEMORY = 0.12
"""How much of a memory's size a driver may keep to itself, or a name may round away."""
_IGNORED = {"nvidia", "geforce", "tesla", "generation", "graphics", "hbm3", "hbm3e", "gpu"}


@dataclass(frozen=True)
class Copies:
    """Seconds of copies by their bytes; each byte is read once and written once."""

    seconds: Mapping[int, float]

    def rate(self, least: int, most: int) -> float:
        """The highest rate, bytes read and written a second, of copies between two sizes."""
        rates = [2 * n / s for n, s in self.seconds.items() if least <= n <= most]
        return max(rates, default=0.0)


def bundled_like(found: Properties) -> str | None:
    """The bundled machine with the device's name, number of cores and memory, if there is one.

    All words of the machine's name, but for its socket and memory, are in the device's name.
    """
    words = _words(found.name)
    best: tuple[int, str] | None = None
    for name in list_profiles():
        if not name.startswith("nvidia-"):
            continue
        profile = load_profile(name)
        size = profile.memory["dram"].capacity_bytes
        near = abs(found.memory_bytes / size - 1) < _MEMORY
        own = {word for word in _words(name) if not word.endswith("gb")}
        shared = len(own & words)
        model = {word for word in own if any(c.isdigit() for c in word)} - {"sxm4", "sxm5"}
        if profile.cores.count == found.cores and near and model <= words:
            best = max(best or (0, name), (shared, name), key=lambda one: one[0])
    return None if best is None else best[1]


def _words(name: str) -> set[str]:
    return set(name.lower().replace("-", " ").split()) - _IGNORED


def made_profile(found: Properties, copies: Copies, source: str) -> Profile:
    """A machine that no bundled one is: units of its generation, all else as found and measured.

    Not known, and left out: peaks, power, price, links. InputError for a generation without a
    bundled machine.
    """
    like = _LIKE.get(found.capability)
    if like is None:
        known = ", ".join(f"{a}.{b}" for a, b in _LIKE)
        raise InputError(
            f"{found.name} has compute capability {found.capability[0]}.{found.capability[1]}, and "
            f"no bundled machine has (known: {known}); name a profile with --on"
        )
    base = load_profile(like)
    ratio = found.cores / base.cores.count
    l2 = found.l2_bytes or base.memory["l2"].capacity_bytes
    dram_rate = copies.rate(4 * l2, 2**40) or base.memory["dram"].bandwidth_bytes_per_s * ratio
    l2_rate = copies.rate(0, l2 // 4) or base.memory["l2"].bandwidth_bytes_per_s * ratio
    memory = {
        "l1": _level(base, "l1", base.memory["l1"].bandwidth_bytes_per_s * ratio, found.cores,
                     base.memory["l1"].source, instances=found.cores),
        "l2": _level(base, "l2", max(l2_rate, dram_rate), found.cores,
                     f"{source}: size as the driver says, bandwidth of copies within a quarter",
                     capacity_bytes=l2),
        "dram": _level(base, "dram", dram_rate, found.cores,
                       f"{source}: size as the driver says, bandwidth of copies",
                       capacity_bytes=found.memory_bytes, technology=None, bus_bits=None,
                       data_rate_bits_per_s=None),
    }  # fmt: skip
    clock = {
        "burst_hz": found.clock_hz or base.clock.burst_hz,
        "base_hz": None,
        "sustained_hz": None,
    }
    said = "highest clock of nvidia-smi" if found.clock_hz else f"assumed: that of {like}"
    return base.model_copy(
        update={
            "name": "gpu",
            "title": f"This machine: {found.name}",
            "notes": f"units of a core as in {like}; {source}",
            "cores": base.cores.model_copy(update={"count": found.cores, "source": source}),
            "clock": base.clock.model_copy(update={**clock, "source": f"{source}: {said}"}),
            "memory": memory,
            "peak": None, "power": None, "price": None, "process": None, "links": {},
            "host_link": None, "efficiency": {}, "calibration": {},
        }
    )  # fmt: skip


def _level(
    base: Profile, name: str, rate: float, cores: int, source: str, **update: Any
) -> MemoryLevel:
    level = base.memory[name]
    share = level.bandwidth_per_core_bytes_per_s
    if share is not None:
        share = round(min(rate, max(share, rate / cores)))
    return level.model_copy(
        update={
            **update,
            "bandwidth_bytes_per_s": round(rate),
            "bandwidth_per_core_bytes_per_s": share,
            "source": source,
        }
    )
