"""A calibrated GPU as files: the machine for --on, the runtime for --runtime, and the cases."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hardware_profiles.loader import dump_profile, dump_tables
from simulator.output import check_target, whole_file
from simulator.runtime import load_runtime

if TYPE_CHECKING:
    from simulator.calibrate_cuda.calibrate import CudaCalibration

BASE, PROFILE, RUNTIME, CASES = "gpu-base.toml", "gpu.toml", "gpu-runtime.toml", "gpu-cases.csv"
_EXTENDED = "pytorch-eager"


def targets(folder: Path) -> tuple[Path, ...]:
    """The files that may be written in `folder`; InputError now where that will not be possible."""
    return tuple(check_target(folder / name) for name in (BASE, PROFILE, RUNTIME, CASES))


def write_files(found: CudaCalibration, folder: Path) -> tuple[Path, ...]:
    """Writes the profile, the runtime and the cases; the base too where no bundled one is it."""
    base, *paths = targets(folder)
    texts = [found.calibrated.toml(found.base), runtime_toml(found), cases_csv(found)]
    if found.made is not None:
        paths, texts = [base, *paths], [dump_profile(found.made), *texts]
    for path, text in zip(paths, texts, strict=True):
        with whole_file(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return tuple(paths)


def runtime_toml(found: CudaCalibration) -> str:
    """Eager PyTorch with the host time of this machine; per_pass keeps its ratio to it."""
    host = load_runtime(_EXTENDED).on("gpu").host
    seconds = dict(found.dispatch)
    moment = seconds.pop("add")
    table: dict[str, Any] = {
        "moment": _us(moment),
        "by_kind": {kind: _us(value) for kind, value in seconds.items()},
        "source": f"{found.source}: calls of functions, without the modules around them",
    }
    if host is not None:
        table["per_pass"] = _us(host.per_pass_s * moment / host.moment_s)
    return dump_tables(
        {
            "extends": _EXTENDED,
            "name": f"{_EXTENDED}-gpu",
            "title": f"{found.library} on this machine",
            "source": found.source,
            "gpu": {"host": table},
        }
    )


def cases_csv(found: CudaCalibration) -> str:
    """Every case with its time, as `moments calibrate CASES` and `moments compare` read it."""
    sizes = list(dict.fromkeys(key for case in found.cases for key in case.sizes))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    head = ("case_id", "hardware", "devices", "runtime", "op", "dtype")
    writer.writerow((*head, *sizes, "measured_us", "spread", "source", "conditions"))
    for case in found.cases:
        writer.writerow(
            (case.case_id, case.hardware, case.devices, case.runtime, case.what, case.dtype,
             *(case.sizes.get(key, "") for key in sizes), f"{case.measured_us:.4g}",
             f"{case.spread:.3f}", case.source, case.conditions)
        )  # fmt: skip
    return text.getvalue()


def _us(seconds: float) -> str:
    return f"{seconds * 1e6:.4g} us"
