"""A calibration as files: the machine for --on and the runtime for --runtime."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hardware_profiles.loader import dump_profile, dump_tables
from simulator.output import check_target, whole_file
from simulator.runtime import LibraryTable

if TYPE_CHECKING:
    from simulator.calibrate_host.calibrate import HostCalibration

_FIGURES = ("arithmetic", "bandwidth", "vector", "special", "unit_s")
_TIMES = ("pack_row", "gemv_row", "fork_join", "nested_call", "page_fault")
_WHOLE = ("gemv_rows", "single_thread_rows", "parallel_elements")
PROFILE, RUNTIME, TIMINGS = "host.toml", "host-runtime.toml", "host-timings.csv"


def targets(folder: Path) -> tuple[Path, ...]:
    """The files to be written in `folder`; InputError now where that will not be possible."""
    return tuple(check_target(folder / name) for name in (PROFILE, RUNTIME, TIMINGS))


def write_files(found: HostCalibration, folder: Path) -> tuple[Path, ...]:
    """Writes the profile, the runtime and the timings that they were fitted to."""
    paths = targets(folder)
    texts = (profile_toml(found), runtime_toml(found), timings_csv(found))
    for path, text in zip(paths, texts, strict=True):
        with whole_file(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return paths


def conditions(found: HostCalibration) -> str:
    """Where the figures come from, for `source` keys and the head of the timings."""
    loads = " and ".join("unknown" if x is None else f"{x:.1f}" for x in found.load)
    return (
        f"measured on {found.date} by moments calibrate --host with {found.library}; programs "
        f"that wanted a core before and after: {loads}; spread of repetitions {found.spread:.0%}"
    )


def profile_toml(found: HostCalibration) -> str:
    """The machine's profile; figures to four digits, which is more than a measurement gives."""
    profile = found.subject.profile
    efficiency = {
        name: table.model_copy(
            update={
                "source": conditions(found),
                **{k: _digits(getattr(table, k)) for k in _FIGURES},
            }
        )
        for name, table in profile.efficiency.items()
    }
    memory = {
        name: level.model_copy(
            update={
                key: round(_digits(getattr(level, key)))
                for key in ("bandwidth_bytes_per_s", "bandwidth_per_core_bytes_per_s")
                if getattr(level, key) is not None
            }
        )
        for name, level in profile.memory.items()
    }
    return dump_profile(profile.model_copy(update={"efficiency": efficiency, "memory": memory}))


def runtime_toml(found: HostCalibration) -> str:
    """The runtime as a variant of the one that it was fitted from."""
    library = found.subject.section.library or LibraryTable(source="none")
    source = conditions(found)
    table: dict[str, Any] = {
        "pack_cycles_per_weight": _digits(library.pack_cycles_per_weight),
        "parallel": _digits(library.parallel),
        **{name: _seconds(getattr(library, f"{name}_s")) for name in _TIMES},
        **{name: getattr(library, name) for name in _WHOLE},
        "attention_blocks": [list(pair) for pair in library.attention_blocks],
        "source": source,
        "steps": dict(library.steps),
        "special": {k: _digits(v) for k, v in library.special.items()},
        "matrix_share": {k: _digits(v) for k, v in library.matrix_share.items()},
    }
    cpu: dict[str, Any] = {"library": {k: v for k, v in table.items() if v != {}}}
    if found.dispatch:
        cpu["host"] = {"source": source, **_host(found, library.steps)}
    data = {
        "extends": found.base_runtime,
        "name": f"{found.base_runtime}-host",
        "title": f"{found.library} on this machine",
        "source": source,
        "cpu": cpu,
    }
    return dump_tables(data)


def _host(found: HostCalibration, steps: Mapping[str, int]) -> dict[str, Any]:
    """Dispatch by kind; "add" stands for all others. Where a pass of one of these was not
    measured as "per_pass", what it costs keeps its ratio to them."""
    host = found.subject.section.host
    seconds = {k: timing.seconds / steps.get(k, 1) for k, timing in found.dispatch.items()}
    moment = seconds.pop("add")
    per_pass = seconds.pop("per_pass", None)
    entries: dict[str, Any] = {
        "moment": _seconds(moment),
        "by_kind": {kind: _seconds(value) for kind, value in seconds.items()},
    }
    if per_pass is not None:
        entries["per_pass"] = _seconds(max(0.0, per_pass - moment))
    elif host is not None:
        known = [(seconds[k], s) for k, s in host.by_kind_s.items() if k in seconds]
        ratio = math.exp(sum(math.log(a / b) for a, b in known) / len(known)) if known else 1.0
        entries["per_pass"] = _seconds(host.per_pass_s * ratio)
    return entries


def timings_csv(found: HostCalibration) -> str:
    """Every observation with its prediction; the first lines say under which conditions."""
    lines = [f"# {conditions(found)}", "operator,dtype,threads,sizes,seconds,predicted_s,spread"]
    for one, residual in zip(found.observations, found.after, strict=True):
        sizes = " ".join(f"{k}={v}" for k, v in one.operator.sizes.items())
        predicted = one.seconds * math.exp(residual)
        lines.append(
            f"{one.operator.name},{one.operator.dtype},{one.threads},{sizes},{one.seconds:.4g},"
            f"{predicted:.4g},{one.timing.spread:.3f}"
        )
    return "\n".join(lines) + "\n"


def _digits(value: float) -> float:
    return float(f"{value:.4g}")


def _seconds(value: float) -> str:
    return f"{value * 1e6:.4g} us"
