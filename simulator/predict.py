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
from simulator.forward_calibration import ForwardScales, calibrated, forward_scales
from simulator.forward_groups import ForwardGroup, forward_group
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
from simulator.requests import chunk_of
from simulator.run import simulate
from simulator.runtime import Runtime, load_runtime
from workloads import compile_forward, load_model
from workloads.errors import InputError
from workloads.moment import DTYPE_BITS, WEIGHT_FORMAT_BYTES, Parallel
from workloads.op_counts import COLLECTIVES
from workloads.transforms import spread

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from hardware_profiles.schema import Profile
    from simulator.cases import Case
    from simulator.run import Run
    from workloads.model import Model

_BODY_ONLY = "encoder layers only"
_DECODER_TOO = "decoder runs over as many tokens as the encoder"
_ALL_LOGITS = "adaptive softmax over all positions"


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
        if case.what in COLLECTIVES:
            return self._collective_s(case)
        _check_known(case)
        profile = _profile(case.hardware)
        threads = threads_of(case.conditions) if profile.kind == "cpu" else 0
        if profile.kind == "gpu" and (self.mode == "zero-shot" or not case.workload):
            profile = _kernels(case.hardware, case.dtype, self.mode, library_of(case))
        try:
            runtime = _runtime(self.runtime_of(case)[0])
            if one_socket(case):
                profile = with_one_socket(profile)
            if threads:
                profile = with_cores(profile, min(threads, profile.cores.count))
            if scales is not None:
                profile, runtime = calibrated(profile, runtime, scales, case.dtype)
            if case.workload:
                return self._forward_s(case, profile, runtime)
            program = operator_program(case)
            run = self._seen(simulate(program, profile, runtime, warm=warm_roles(case)))
            calls = calls_in_a_row(case)
            return _steady_s(run, calls) if calls > 1 else run.latency_s
        except (InputError, ProfileError) as error:
            raise Skip(str(error)) from error

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

    def _forward_s(self, case: Case, profile: Profile, runtime: Runtime) -> float:
        """One pass, one step or one generation.

        A generation is its prefill plus equal steps at the middle context: the time of a step is
        linear in the context within a segment's kernels, so their mean is that of the middle. With
        an encoder, a prefill is the encoder alone, unless the case says that the decoder runs too.
        """
        model = self._model(case.workload)
        sizes = case.sizes
        prompt, generate = sizes.get("prompt", 0), sizes.get("generate", 0)
        encoded = {"prompt": model.fixed_input or prompt} if model.encoder is not None else {}
        middle = max(1, (0 if encoded else prompt) + generate // 2)
        if case.what == "prefill":
            if prompt < 1:
                raise Skip("a prefill of no tokens")
            more = {"target": prompt} if _DECODER_TOO in case.conditions else {}
            if model.memory and "context" in sizes:
                more = {"context": sizes["context"]}
            return self._run(case, model, profile, runtime, prompt=prompt, **more).latency_s
        if case.what == "decode":
            context = max(1, sizes["context"])
            return self._run(case, model, profile, runtime, context=context, **encoded).latency_s
        step_s = self._run(case, model, profile, runtime, context=middle, **encoded).latency_s
        if case.what == "decode_mean":
            return step_s
        first = {"prompt": max(1, prompt), **encoded, **({"target": 1} if encoded else {})}
        first_s = self._run(case, model, profile, runtime, **first).latency_s
        return first_s + (generate - 1) * step_s

    def _run(
        self, case: Case, model: Model, profile: Profile, runtime: Runtime, **lengths: int
    ) -> Run:
        longest = lengths["context"] + 1 if "context" in lengths else lengths["prompt"]
        # a benchmark may read more than the model was made for
        if model.encoder is None and not model.memory and longest > model.max_positions:
            model = model.model_copy(update={"max_positions": longest})
        program = compile_forward(
            model,
            batch=case.sizes["batch"],
            prompt=lengths.get("prompt"),
            context=lengths.get("context"),
            target=lengths.get("target"),
            dtype=case.dtype,
            weight_dtype=case.weight_dtype,
            logits="all" if _ALL_LOGITS in case.conditions else "last" if model.causal else None,
            body_only=_BODY_ONLY in case.conditions,
            chunk=chunk_of(runtime.on(profile.kind), model, lengths.get("prompt")),
            expand_latents=bool(model.kv_rank) and runtime.on(profile.kind).expands_latents,
        )
        whole = spread(program, _layout(case))
        return self._seen(simulate(whole, profile, runtime, must_hold="weights"))

    def _seen(self, run: Run) -> Run:
        if self.observe is not None:
            self.observe(run)
        return run

    def _model(self, name: str) -> Model:
        if name not in self._models:
            if name in self.workloads:
                from workloads.importers.measurements import model_from_measurement_table

                self._models[name] = model_from_measurement_table(name, self.workloads[name])
            else:
                self._models[name] = load_model(name)
        return self._models[name]


def _layout(case: Case) -> Parallel:
    """Tensor ranks are whole devices, whatever the source counts as one (cores of a chip)."""
    stages = case.sizes.get("pipeline_parallel", 1)
    return Parallel(tensor=case.devices // stages, pipeline=stages)


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
