"""From a measured case to its prediction, through the same compiler and engine as any run."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

from hardware_profiles import ProfileError, list_profiles, load_profile
from hardware_profiles.calibrations import shipped
from hardware_profiles.efficiency import Mode, with_kernels
from hardware_profiles.variants import with_cores, with_one_socket
from simulator.demand.collective import collective_demand
from simulator.fabrics import measured_collective
from simulator.forward_calibration import ForwardScales, forward_scales
from simulator.forward_groups import ForwardGroup, forward_group
from simulator.forward_trial import Trial, trial_of
from simulator.operators import operator_program
from simulator.protocol import (
    UNKNOWN_RUNTIME,
    calls_in_a_row,
    library_of,
    one_socket,
    runtime_of,
    threads_of,
    unknown_runtime,
    warm_roles,
)
from simulator.run import simulate
from simulator.runtime import Runtime, load_runtime
from workloads import load_model
from workloads.errors import InputError
from workloads.moment import DTYPE_BITS, WEIGHT_FORMAT_BYTES
from workloads.op_counts import COLLECTIVES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from hardware_profiles.schema import Profile
    from simulator.cases import Case
    from simulator.run import Run
    from workloads.model import Model


class Skip(Exception):  # noqa: N818 - not an error: the case is listed with this reason
    """A case that is not predicted, and why."""


@dataclass
class Predictor:
    """Predicts cases; keeps what cases share (profiles, models) and equal cases' results.

    `mode`: "calibrated" uses the shipped calibration of a case's machine and library where there is
    one; "zero-shot" uses nothing that was fitted to a machine with the same die. `observe` is given
    every run that is simulated: one for a case, the step and then the prefill for a generation.
    """

    workloads: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    mode: Mode = "calibrated"
    observe: Callable[[Run], None] | None = None
    _known: dict[tuple[object, ...], float] = field(default_factory=dict)
    _models: dict[str, Model] = field(default_factory=dict)

    def latency_s(self, case: Case) -> float:
        """Predicted seconds of a case. Raises Skip with the reason where there is no prediction."""
        key = self.key(case)
        if key not in self._known:
            self._known[key] = self.predict(case, self.scales_of(case))
        return self._known[key]

    def key(self, case: Case) -> tuple[object, ...]:
        """All of a case that its prediction depends on."""
        return (
            case.hardware, case.devices, case.runtime, case.workload, case.what, case.dtype,
            case.weight_dtype, tuple(case.sizes.items()), case.conditions, case.source[:16],
        )  # fmt: skip

    def runtime_of(self, case: Case) -> tuple[str, str]:
        """`runtime_of` for the machine and the model that the case names."""
        decoder = not case.workload or self._model(case.workload).family == "decoder"
        return runtime_of(case, _profile(case.hardware), decoder=decoder)

    def profile_of(self, case: Case) -> Profile:
        """The machine of a case. Raises Skip where it is unknown."""
        return _profile(case.hardware)

    def scales_of(self, case: Case) -> ForwardScales | None:
        """What scales the runtime and the machine of a whole pass; None: nothing does."""
        if not case.workload:
            return None
        profile = _profile(case.hardware)
        return forward_scales(self.software_of(case), profile, case.devices, self.mode)

    def fitted(self, case: Case) -> bool:
        """Whether what this predicts a case with was fitted to it, so that it tests nothing."""
        if not case.workload:
            return self.mode == "calibrated" and case.case_id in _fitted_cases()
        scales = self.scales_of(case)
        return scales is not None and case.case_id in scales.fitted_on

    def group_of(self, case: Case) -> ForwardGroup | None:
        """The group that the accuracy of a whole pass is followed in; None for an operator."""
        if not case.workload:
            return None
        causal = self._model(case.workload).causal
        return forward_group(case.hardware, _profile(case.hardware).kind, causal=causal)

    def software_of(self, case: Case) -> str:
        """The name that scales go by: the runtime that predicts a case; unknown stays unknown."""
        unknown = unknown_runtime(case, _profile(case.hardware))
        return UNKNOWN_RUNTIME if unknown else self.runtime_of(case)[0]

    def predict(self, case: Case, scales: ForwardScales | None) -> float:
        """Seconds of a case with other scales than those on file, for fitting; may raise Skip."""
        if case.workload:
            return self.trial(case).latency_s(scales, self.observe)
        if case.what in COLLECTIVES:
            return self._collective_s(case)
        profile, runtime = self._stack(case)
        try:
            program = operator_program(case)
            run = simulate(program, profile, runtime, warm=warm_roles(case))
        except (InputError, ProfileError) as error:
            raise Skip(str(error)) from error
        if self.observe is not None:
            self.observe(run)
        calls = calls_in_a_row(case)
        return _steady_s(run, calls) if calls > 1 else run.latency_s

    def trial(self, case: Case) -> Trial:
        """A whole pass, to be predicted with one set of scales or many; may raise Skip."""
        profile, runtime = self._stack(case)
        try:
            return trial_of(case, self._model(case.workload), profile, runtime)
        except (InputError, ProfileError) as error:
            raise Skip(str(error)) from error

    def _stack(self, case: Case) -> tuple[Profile, Runtime]:
        """The machine and the software of a case, without scales."""
        _check_known(case)
        profile = _profile(case.hardware)
        threads = threads_of(case.conditions) if profile.kind == "cpu" else 0
        if profile.kind == "gpu" and not case.workload:
            profile = _kernels(case.hardware, case.dtype, self.mode, library_of(case))
        try:
            runtime = _runtime(self.runtime_of(case)[0])
            if one_socket(case):
                profile = with_one_socket(profile)
            if threads:
                profile = with_cores(profile, min(threads, profile.cores.count))
        except (InputError, ProfileError) as error:
            raise Skip(str(error)) from error
        return profile, runtime

    def _collective_s(self, case: Case) -> float:
        """One collective by itself, over the links that its source had."""
        profile = _profile(case.hardware)
        try:
            measured = measured_collective(case, profile)
            needs = collective_demand(
                measured.shape, profile, network=measured.network, mode=self.mode,
                inside=measured.inside,
            )  # fmt: skip
        except ProfileError as error:
            raise Skip(str(error)) from error
        return needs.cycles / profile.clock.burst_hz

    def _model(self, name: str) -> Model:
        if name not in self._models:
            if name in self.workloads:
                from workloads.importers.measurements import model_from_measurement_table

                self._models[name] = model_from_measurement_table(name, self.workloads[name])
            else:
                self._models[name] = load_model(name)
        return self._models[name]


def _check_known(case: Case) -> None:
    """Skip where an operator has several devices, or numbers are of a type without bytes."""
    if case.devices != 1 and not case.workload:
        raise Skip(f"{case.what} on {case.devices} devices: only collectives have several")
    if case.dtype not in DTYPE_BITS and case.dtype not in WEIGHT_FORMAT_BYTES:
        raise Skip(f"no arithmetic in {case.dtype!r}")
    if case.weight_dtype not in DTYPE_BITS and case.weight_dtype not in WEIGHT_FORMAT_BYTES:
        raise Skip(f"no weight format {case.weight_dtype!r}")


@cache
def _profile(name: str) -> Profile:
    if name not in list_profiles():
        raise Skip(f"no hardware profile {name!r}")
    try:
        return load_profile(name)
    except ProfileError as error:
        raise Skip(str(error)) from error


@cache
def _kernels(hardware: str, dtype: str, mode: Mode, library: str) -> Profile:
    return with_kernels(_profile(hardware), dtype, mode=mode, library=library)


@cache
def _fitted_cases() -> frozenset[str]:
    """Every case that a shipped calibration was fitted to."""
    files = shipped().values()
    return frozenset(
        x for file in files for entry in file.calibration.values() for x in entry.fitted
    )


_runtime = cache(load_runtime)


def _steady_s(run: Run, calls: int) -> float:
    """Time a call of calls that follow each other at once: host and device overlap."""
    retired = run.trace.retired
    moments = len(retired) // calls
    return run.trace.seconds(retired[-1] - retired[moments - 1]) / (calls - 1)
