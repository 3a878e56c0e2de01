"""What a runtime reaches in whole passes, on any machine or on one: a few named scales."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

from pydantic import Field, TypeAdapter

from hardware_profiles.efficiency import usual_efficiency
from hardware_profiles.schema import KernelName, Sourced

if TYPE_CHECKING:
    from hardware_profiles.efficiency import Mode
    from hardware_profiles.power import Energy
    from hardware_profiles.schema import Profile
    from simulator.runtime import HostTable, LibraryTable, Runtime

FOLDER = Path(__file__).parent / "calibrations" / "forward"

Scale = Annotated[float, Field(gt=0, le=50, allow_inf_nan=False)]


class ForwardScales(Sourced):
    """Multiples of what the profile and the runtime's file say.

    `rate`: of arithmetic, by dtype (share of the peak that is sustained, and what the power limit
    leaves of it). `bandwidth`: of DRAM and shared caches. `fixed`: of the fixed time of kernels, or
    of fork and join. `host`: of dispatch and of the time around a pass. `fitted_on`: the cases, by
    id. `log_residuals`: 10, 50 and 90 % points of ln(predicted / measured) over `held_out` cases
    that were not fitted on (of any machine: predicted without their own); without such, none.
    """

    rate: Mapping[str, Scale] = {}
    bandwidth: Scale = 1.0
    fixed: Scale = 1.0
    host: Scale = 1.0
    fitted_on: tuple[str, ...] = ()
    held_out: Annotated[int, Field(ge=0)] = 0
    log_residuals: tuple[float, float, float] | None = None

    @property
    def plain(self) -> bool:
        """Whether all scales are 1."""
        return {self.bandwidth, self.fixed, self.host, *self.rate.values()} == {1.0}

    def rate_of(self, dtype: str) -> float:
        """`rate` of a type; of one that is not named, the geometric mean of those that are."""
        if dtype in self.rate or not self.rate:
            return self.rate.get(dtype, 1.0)
        return math.exp(sum(map(math.log, self.rate.values())) / len(self.rate))


_BY_MACHINE = TypeAdapter(Mapping[str, ForwardScales])


@cache
def forward_calibrations(runtime: str) -> Mapping[str, ForwardScales]:
    """A runtime's scales by key of machine, from calibrations/forward/RUNTIME.toml, if any."""
    path = FOLDER / f"{runtime}.toml"
    if not path.is_file():
        return {}
    return _BY_MACHINE.validate_python(tomllib.loads(path.read_text(encoding="utf-8")))


def machine_key(hardware: str, devices: int) -> str:
    """How calibration files name so many devices of a machine."""
    return hardware if devices == 1 else f"{hardware} x{devices}"


def general_key(kind: str, without: str = "") -> str:
    """How they name any machine of a kind of device, or all but one."""
    return f"any {kind} without {without}" if without else f"any {kind}"


def forward_scales(
    runtime: str, profile: Profile, devices: int = 1, mode: Mode = "calibrated"
) -> ForwardScales | None:
    """The scales on file for a runtime on so many devices of a machine; None: there are none.

    Mode "calibrated": those of the machine, if something was fitted to it. Else, and in mode
    "zero-shot", those of the runtime on any machine of this kind, fitted without this one.
    """
    found = forward_calibrations(runtime)
    keys = [general_key(profile.kind, without=profile.name), general_key(profile.kind)]
    if mode == "calibrated":
        keys = [machine_key(profile.name, devices), profile.name, *keys]
    return next((found[key] for key in keys if key in found), None)


def calibrated_profile(profile: Profile, scales: ForwardScales, dtype: str) -> Profile:
    """The machine as it does under the runtime that `scales` belong to."""
    rate = scales.rate_of(dtype)
    efficiency = {}
    for name in get_args(KernelName):
        kernel = usual_efficiency(profile, name, dtype)
        efficiency[name] = kernel.model_copy(
            update={
                "arithmetic": kernel.arithmetic * rate,
                "vector": kernel.vector * rate,
                "special": kernel.special * rate,
                "bandwidth": kernel.bandwidth * scales.bandwidth,
                "cache": kernel.cache * scales.bandwidth,
                "latency_s": kernel.latency_s * scales.fixed,
                "depth_s": kernel.depth_s * scales.fixed,
                "ramp_s": kernel.ramp_s * scales.fixed,
                "unit_s": kernel.unit_s * scales.fixed,
                "group_s": kernel.group_s * scales.fixed,
                "start_s": kernel.start_s * scales.fixed,
                "reduction_s": kernel.reduction_s * scales.fixed,
            }
        )
    update: dict[str, Any] = {"efficiency": efficiency}
    if profile.power is not None and profile.power.energy is not None:
        update["power"] = profile.power.model_copy(
            update={"energy": _scaled_energy(profile.power.energy, rate)}
        )
    return profile.model_copy(update=update)


def _scaled_energy(energy: Energy, rate: float) -> Energy:
    """Where the power limit sets the pace, a rate is reached at so much less energy a FLOP."""
    return energy.model_copy(
        update={
            "matrix": {dtype: joules / rate for dtype, joules in energy.matrix.items()},
            "vector": {dtype: joules / rate for dtype, joules in energy.vector.items()},
        }
    )


def calibrated_runtime(runtime: Runtime, kind: str, scales: ForwardScales, dtype: str) -> Runtime:
    """The runtime as it does on the kind of machine that `scales` belong to."""
    section = runtime.on(kind)
    update: dict[str, Any] = {}
    if section.host is not None:
        update["host"] = _scaled_host(section.host, scales.host)
    if section.library is not None and kind == "cpu":
        update["library"] = _scaled_library(section.library, scales, scales.rate_of(dtype))
    return runtime.model_copy(update={kind: section.model_copy(update=update)})


def _scaled_host(host: HostTable, scale: float) -> HostTable:
    by_kind = {kind: seconds * scale for kind, seconds in host.by_kind_s.items()}
    return host.model_copy(
        update={
            "moment_s": host.moment_s * scale,
            "by_kind_s": by_kind,
            "per_pass_s": host.per_pass_s * scale,
        }
    )


def _scaled_library(library: LibraryTable, scales: ForwardScales, rate: float) -> LibraryTable:
    """What a CPU library does beside the machine's own kernels: unpacking, forking, waiting."""
    unpack = {name: cycles / rate for name, cycles in library.unpack_cycles_per_weight.items()}
    update: dict[str, Any] = {
        "unpack_cycles_per_weight": unpack,
        "pack_cycles_per_weight": library.pack_cycles_per_weight / rate,
        "gemv_row_s": library.gemv_row_s / scales.bandwidth,
        "fork_join_s": library.fork_join_s * scales.fixed,
        "fork_join_per_thread_s": library.fork_join_per_thread_s * scales.fixed,
    }
    if library.dot_share is not None:
        update["dot_share"] = library.dot_share * rate
    return library.model_copy(update=update)
