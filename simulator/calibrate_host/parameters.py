"""The physical parameters that a calibration of the host moves, and where each of them belongs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hardware_profiles.efficiency import usual_efficiency
from hardware_profiles.keys import put
from hardware_profiles.schema import Profile
from simulator.runtime import LibraryTable, OnDevice

if TYPE_CHECKING:
    from hardware_profiles.schema import KernelName


@dataclass(frozen=True)
class Free:
    """A parameter that is fitted: `spread` is the expected change of its logarithm."""

    spread: float
    low: float
    high: float


_LIBRARY: Mapping[str, Free] = {
    "pack_cycles_per_weight": Free(0.7, 0.005, 10.0),
    "pack_row_s": Free(0.5, 1e-10, 1e-6),
    "parallel": Free(0.15, 0.3, 1.0),
    "gemv_row_s": Free(1.0, 1e-10, 1e-6),
    "fork_join_s": Free(0.7, 1e-7, 1e-4),
    "nested_call_s": Free(1.0, 1e-7, 1e-4),
    "page_fault_s": Free(0.7, 1e-8, 1e-5),
}
_KERNELS: Mapping[str, Free] = {
    "matmul.arithmetic": Free(0.2, 0.05, 1.0),
    "matmul.bandwidth": Free(0.2, 0.2, 1.0),
    "attention.arithmetic": Free(0.3, 0.05, 1.0),
    "attention.bandwidth": Free(0.3, 0.2, 1.0),
    "attention.unit_s": Free(1.5, 1e-7, 1e-4),
    "element.bandwidth": Free(0.2, 0.2, 1.0),
    "element.vector": Free(0.6, 0.005, 1.0),
    "row.vector": Free(0.6, 0.005, 1.0),
}
_BANDWIDTH = Free(0.5, 1e9, 1e14)
_DRAM = Free(0.03, 1e9, 1e14)
"""The probe reads memory as fast as anything does; kernels reach their shares of that."""
_SPECIALS = ("gelu", "gelu_tanh", "silu", "tanh", "softmax")
_SPECIAL = Free(0.7, 0.05, 100.0)
_MATRIX_SHARE = Free(1.5, 0.003, 1.5)
_USUAL_S: Mapping[str, float] = {
    "unit_s": 2e-6, "nested_call_s": 1e-6, "pack_row_s": 5e-8,
}  # fmt: skip
"""Where nothing says what a sequence's head costs, a product called by one of several threads, or
a row that is packed."""
_SAME: Mapping[str, tuple[KernelName, ...]] = {
    "matmul": ("matmul", "matmul_vector"),
    "attention": ("attention", "decode_attention"),
    "element": ("element",),
    "row": ("row",),
}
"""Classes that share their figures on a CPU."""


@dataclass(frozen=True)
class Subject:
    """A machine and a runtime's section for it: what is calibrated."""

    profile: Profile
    section: OnDevice


def free_parameters(subject: Subject, kinds: frozenset[str]) -> dict[str, Free]:
    """What may move, by dotted name. `kinds`: names and types of the operators measured."""
    free = {f"library.{name}": bounds for name, bounds in _LIBRARY.items()}
    library = subject.section.library or LibraryTable(source="none")
    absent = ["parallel", "fork_join_s", "nested_call_s"]
    if subject.profile.cores.count > 1:
        absent = [] if library.attention_blocks else ["nested_call_s"]
    if not library.pack_cycles_per_weight:  # packed once, before anything is timed
        absent += ["pack_cycles_per_weight", "pack_row_s"]
    for name in absent:
        del free[f"library.{name}"]
    free |= {f"efficiency.{name}": bounds for name, bounds in _KERNELS.items()}
    for level in subject.profile.memory:
        if level != "l1":
            bounds = _DRAM if level == "dram" else _BANDWIDTH
            free[f"memory.{level}.bandwidth_per_core"] = bounds
            free[f"memory.{level}.bandwidth"] = bounds
    free |= {f"special.{k}": _SPECIAL for k in _SPECIALS if k in kinds}
    free |= {f"matrix_share.{k}": _MATRIX_SHARE for k in ("bf16", "fp16") if k in kinds}
    return free


def start_values(subject: Subject, free: Mapping[str, Free]) -> dict[str, float]:
    """The figures that `subject` has now, those that it lacks at a neutral 1."""
    library = subject.section.library or LibraryTable(source="none")
    found: dict[str, float] = {}
    for name, bounds in free.items():
        table, _, key = name.partition(".")
        if table == "library":
            value = float(getattr(library, key)) or _USUAL_S.get(key, bounds.low)
        elif table == "efficiency":
            kernel, _, figure = key.partition(".")
            value = getattr(usual_efficiency(subject.profile, _SAME[kernel][-1]), figure)
            value = value or _USUAL_S.get(figure, bounds.low)
        elif table == "memory":
            level, _, figure = key.partition(".")
            value = _bandwidth(subject.profile, level, figure)
        else:
            value = getattr(library, table).get(key, 1.0)
        found[name] = min(max(float(value), bounds.low), bounds.high)
    return found


def _bandwidth(profile: Profile, level: str, figure: str) -> float:
    found = profile.memory[level]
    total = found.bandwidth_bytes_per_s
    if figure == "bandwidth":
        return total
    return found.bandwidth_per_core_bytes_per_s or total / profile.cores.count


def applied(subject: Subject, values: Mapping[str, float], source: str = "trial") -> Subject:
    """`subject` with `values`, whose tables then name `source`. Bandwidths stay consistent."""
    profile, library = subject.profile, subject.section.library or LibraryTable(source="none")
    changes: dict[str, Any] = {"source": source}
    nested: dict[str, dict[str, float]] = {}
    for name, value in values.items():
        table, _, key = name.partition(".")
        if table == "library":
            changes[key] = value
        elif table in ("special", "matrix_share"):
            changes.setdefault(table, dict(getattr(library, table)))[key] = value
        else:
            first, _, figure = key.partition(".")
            nested.setdefault(f"{table}.{first}", {})[figure] = value
    profile = profile.model_copy(
        update={
            "efficiency": _efficiency(profile, nested, source),
            "memory": _memory(profile, nested, source),
        }
    )
    section = put(subject.section, ("library",), library.model_copy(update=changes), OnDevice)
    return Subject(profile, section)


def _efficiency(
    profile: Profile, nested: Mapping[str, Mapping[str, float]], source: str
) -> dict[KernelName, Any]:
    tables = dict(profile.efficiency)
    for kernel, names in _SAME.items():
        figures = nested.get(f"efficiency.{kernel}")
        if figures:
            for name in names:
                base = usual_efficiency(profile, name)
                tables[name] = base.model_copy(update={**figures, "source": source})
    return tables


def _memory(
    profile: Profile, nested: Mapping[str, Mapping[str, float]], source: str
) -> dict[str, Any]:
    """One core draws no more than all, and all no more than the sum of each alone."""
    levels = dict(profile.memory)
    cores = profile.cores.count
    for name, level in profile.memory.items():
        figures = nested.get(f"memory.{name}")
        if figures is None:
            continue
        core = round(figures["bandwidth_per_core"])
        total = max(core, min(round(figures["bandwidth"]), core * cores))
        update = {
            "bandwidth_bytes_per_s": total,
            "bandwidth_per_core_bytes_per_s": core,
            "source": f"{level.source}; bandwidths {source}",
        }
        levels[name] = level.model_copy(update=update)
    return levels
