"""Measures the CUDA GPU of this machine and fits its kernels and the runtime's host time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from hardware_profiles import load_profile
from simulator.calibrate import Calibrated, calibrate_cases
from simulator.calibrate_cuda.design import COPIES, call_of, cases, host_calls
from simulator.calibrate_cuda.device import CudaDevice, Properties
from simulator.calibrate_cuda.machine import Copies, bundled_like, made_profile
from workloads.errors import InputError

if TYPE_CHECKING:
    from hardware_profiles.schema import Profile
    from simulator.cases import Case

_FIRST_BF16 = (8, 0)


@dataclass(frozen=True)
class CudaCalibration:
    """What was found. `base`: how the profile names the machine that it extends; where no bundled
    machine is this one, `made` is its profile. `dispatch`: host seconds by kind of moment. `empty`:
    seconds of the smallest kernel in a replayed graph.
    """

    properties: Properties
    base: str
    made: Profile | None
    calibrated: Calibrated
    cases: Sequence[Case]
    copies: Copies
    dispatch: Mapping[str, float]
    empty_s: float
    library: str
    left_out: Sequence[str]

    @property
    def source(self) -> str:
        return f"measured by moments calibrate --device cuda with {self.library}"


def calibrate_cuda(
    torch: Any | None = None,
    *,
    on: str | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
    say: Callable[[str], None] = lambda line: None,
) -> CudaCalibration:
    """Calibrate the current CUDA device of PyTorch (`torch`: the module; default: import it).

    `on`: the profile that it is, instead of the one found by its name. InputError: PyTorch or
    SciPy is missing, there is no such device, or its generation has no profile.
    """
    if find_spec("scipy") is None:
        raise InputError("calibrating needs SciPy: pip install 'transformer-moments[fit]'")
    device = CudaDevice(_torch() if torch is None else torch)
    found = device.properties()
    date = datetime.now(UTC).date().isoformat()
    library = f"PyTorch {device.torch.__version__}"
    source = f"{found.name}, {library}, {date}"
    with device.torch.inference_mode():
        say(f"measuring {found.name}: copies")
        copies = Copies(dict(_copies(device)))
        base = on or bundled_like(found)
        made = None if base else made_profile(found, copies, f"measured on {date}")
        profile = made or load_profile(base or "")
        dtypes = ("fp16", "bf16", "fp32") if found.capability >= _FIRST_BF16 else ("fp16", "fp32")
        wanted = cases(profile.name, dtypes, f"pytorch {source}")
        say(f"measuring {len(wanted)} operators")
        timed, left = _timed(device, wanted, progress)
        dispatch = {k: device.host_s(call) for k, call in host_calls(device, dtypes[0]).items()}
        empty_s, _ = device.kernel_s(host_calls(device, dtypes[0])["add"])
    say("fitting")
    return CudaCalibration(
        properties=found, base=base or "gpu-base.toml", made=made,
        calibrated=calibrate_cases(timed, profile, date=date), cases=timed, copies=copies,
        dispatch=dispatch, empty_s=empty_s, library=library, left_out=left,
    )  # fmt: skip


def _torch() -> Any:
    try:
        import torch
    except ImportError as error:
        raise InputError(
            "--device cuda needs PyTorch: pip install 'transformer-moments[real]'"
        ) from error
    return torch


def _copies(device: CudaDevice) -> list[tuple[int, float]]:
    found = []
    for size in COPIES:
        try:
            source = device.tensor(size // 4, dtype="float32")
            target = device.tensor(size // 4, dtype="float32")
            found.append((size, device.kernel_s(partial(target.copy_, source))[0]))
        except device.torch.cuda.OutOfMemoryError:
            break
    return found


def _timed(
    device: CudaDevice, wanted: Sequence[Case], progress: Callable[[int, int], None]
) -> tuple[list[Case], list[str]]:
    """The cases with their times, and what does not fit or does not run."""
    timed, left = [], []
    for index, case in enumerate(wanted):
        try:
            seconds, spread = device.kernel_s(call_of(case, device))
        except (device.torch.cuda.OutOfMemoryError, RuntimeError, NotImplementedError) as error:
            left.append(f"{case.what} {dict(case.sizes)}: {' '.join(str(error).split())[:100]}")
        else:
            timed.append(replace(case, measured_us=seconds * 1e6, spread=spread))
        progress(index + 1, len(wanted))
    return timed, left
