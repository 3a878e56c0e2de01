"""From a scenario to a program on a machine under a runtime: what was not said is filled in."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

from simulator.scenario import Scenario
from workloads.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hardware_profiles.schema import Profile
    from simulator.forward_calibration import ForwardScales
    from simulator.run import Run
    from simulator.runtime import Runtime
    from simulator.scheduling import Schedule
    from simulator.shared_work import Reuse
    from workloads.model import Model
    from workloads.moment import Program

_PROMPT = 128
"""Tokens to read where nothing is said."""

_OF_NO_SHAPE = ("runtime", "threads", "probe", "dims", "stretch", "changes", "power_cap", "fuse",
                "no_fuse", "cold", "policy", "cores_per_moment", "fold", "mode")  # fmt: skip
"""What may be said of an imported program too, besides the workload and the machine."""


@dataclass(frozen=True)
class Prepared:
    """A scenario ready to run.

    `assumed`: options that were filled in, as one would write them. `changes`: what transforms did,
    in words. `changed`: figures that `Scenario.changes` made otherwise, those included that follow.
    `runtime` has its changes. There is no `model` where the workload is an imported program.
    """

    scenario: Scenario
    model: Model | None
    profile: Profile
    program: Program
    runtime: Runtime
    assumed: tuple[str, ...]
    changes: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    limit_watts: float | None = None
    schedule: Schedule | None = None
    scales: ForwardScales | None = None
    """What they reach together in whole passes, see simulator.forward_calibration."""

    @property
    def notes(self) -> list[str]:
        """What the user should know besides the figures."""
        assumed = [f"assumed {', '.join(self.assumed)}"] if self.assumed else []
        changed = [f"changed {', '.join(self.changed)}"] if self.changed else []
        calibrated = [] if self.scales is None else [_calibrated(self.runtime, self.scales)]
        program = (self.model or self.program).notes
        return [*assumed, *changed, *calibrated, *self.changes, *program]

    def run(self, reuse: Reuse | None = None) -> Run:
        """Simulate it; the errors are those of simulator.run.simulate, `reuse` is as there."""
        from simulator.run import simulate

        return simulate(
            self.program,
            self.profile,
            self.runtime,
            limit_watts=self.limit_watts,
            fold=self.scenario.fold,
            reuse=reuse,
            schedule=self.schedule,
            scales=self.scales,
        )


def _calibrated(runtime: Runtime, scales: ForwardScales) -> str:
    where = "on this machine" if scales.fitted_on else "on other machines"
    return f"with what public passes under {runtime.title} reach {where}"


def scales_of(scenario: Scenario, profile: Profile, runtime: Runtime) -> ForwardScales | None:
    """The scales on file for a bundled machine under a bundled runtime; None for others.

    A machine of the user's says itself what it reaches.
    """
    from hardware_profiles import list_profiles
    from simulator.forward_calibration import forward_scales
    from simulator.runtime import list_runtimes

    bundled = scenario.hardware in list_profiles() and runtime.name in list_runtimes()
    if scenario.mode is None or not bundled:
        return None
    found = forward_scales(runtime.name, profile, scenario.layout.devices, scenario.mode)
    return None if found is None or found.plain else found


def filled(scenario: Scenario, model: Model, profile: Profile, changed: Sequence[str]) -> Prepared:
    """A model with lengths, types and runtime chosen where the scenario does not say them."""
    from simulator.requests import assumed_of_draft, loaded, program_of
    from simulator.transformed import transformed_model, transformed_program, with_conversions
    from workloads.transforms import spread

    model, changes = transformed_model(scenario, model)
    assumed: list[str] = []
    prompt, dtype = scenario.prompt, scenario.dtype
    if prompt is not None and scenario.context is not None:
        raise InputError("--prompt and --context: give one; a context is a prompt already read")
    if prompt is None and scenario.context is None:
        prompt = _default_prompt(model, scenario.generate)
        assumed.append(f"--prompt {prompt}")
    if dtype is None:
        half = profile.kind == "gpu" and profile.width.macs_per_cycle("fp16") is not None
        dtype = "fp16" if half else "fp32"
        assumed.append(f"--dtype {dtype}")
    runtime, more, fusions = _runtime(scenario, profile, assumed)
    assumed += assumed_of_draft(scenario)
    program = program_of(scenario, model, prompt, dtype, runtime.on(profile.kind))
    # the matrices of two models are stored otherwise when they are compiled
    stored = scenario if scenario.draft is None else replace(scenario, weight_dtype=None)
    program, sizes = transformed_program(stored, program, model, profile)
    if scenario.draft is None:  # two models are not spread, see simulator.requests
        program = spread(program, scenario.layout, sequence=scenario.sequence_parallel)
    program = loaded(scenario, with_conversions(scenario, program, model, profile))
    return Prepared(
        scenario,
        model,
        profile,
        program,
        runtime,
        tuple(assumed),
        (*changes, *sizes, *fusions),
        (*changed, *more),
        limit_watts_of(scenario, profile),
        scales=scales_of(scenario, profile, runtime),
    )


def _runtime(
    scenario: Scenario, profile: Profile, assumed: list[str]
) -> tuple[Runtime, list[str], list[str]]:
    """The runtime as changed; what was changed of its figures, and of its fusions."""
    from simulator.fusions import with_fusions
    from simulator.runtime import default_runtime, load_runtime
    from simulator.runtime_changes import (
        is_runtime_change,
        runtime_differences,
        with_runtime_changes,
    )

    name = scenario.runtime
    if name is None:
        name = default_runtime(profile.kind)
        assumed.append(f"--runtime {name}")
    runtime = declared = load_runtime(name)
    changes = [text for text in scenario.changes if is_runtime_change(text)]
    more = []
    if changes:
        runtime = with_runtime_changes(declared, profile.kind, changes)
        more = runtime_differences(declared, runtime, profile.kind)
    runtime, fusions = with_fusions(runtime, profile.kind, scenario.fuse, scenario.no_fuse)
    return runtime, more, fusions


def imported(
    scenario: Scenario, program: Program, profile: Profile, changed: Sequence[str]
) -> Prepared:
    """A program as it is; InputError for options that only a model can follow."""
    plain = Scenario(scenario.workload, scenario.hardware)
    fixed = [field.name for field in fields(Scenario) if field.name not in _OF_NO_SHAPE]
    given = [name for name in fixed if getattr(scenario, name) != getattr(plain, name)]
    if given:
        options = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise InputError(
            f"{options}: the shapes and types of {program.workload!r} are fixed, it is an imported "
            "graph; import it again with other sizes (moments import MODEL.onnx --dim NAME=SIZE)"
        )
    from simulator.requests import loaded

    assumed: list[str] = []
    runtime, more, fusions = _runtime(scenario, profile, assumed)
    return Prepared(
        scenario,
        None,
        profile,
        loaded(scenario, program),
        runtime,
        tuple(assumed),
        tuple(fusions),
        (*changed, *more),
        limit_watts_of(scenario, profile),
        scales=scales_of(scenario, profile, runtime),
    )


def limit_watts_of(scenario: Scenario, profile: Profile) -> float | None:
    """The limit of power in watts; InputError where it is none, or below idle power."""
    from hardware_profiles.energy import idle_watts
    from hardware_profiles.units import parse_quantity

    text = scenario.power_cap
    if text is None:
        return None
    if scenario.layout.devices > 1:
        raise InputError(f"--power-cap {text}: only for runs on one device")
    try:
        watts = float(parse_quantity(text, "W"))
    except ValueError as error:
        raise InputError(f"--power-cap: {error}") from None
    idle = idle_watts(profile)
    if idle is None:
        raise InputError(f"--power-cap {text}: nothing is known of the power of {profile.name}")
    if watts <= idle:
        raise InputError(f"--power-cap {text}: {profile.name} draws {idle:.3g} W when idle")
    return watts


def _default_prompt(model: Model, generate: int) -> int:
    """128 tokens, fewer where the model has no room for them; an image's patches."""
    if model.fixed_input is not None:
        return model.fixed_input
    if model.encoder is not None:
        return min(_PROMPT, model.encoder.max_positions)
    return max(1, min(_PROMPT, model.max_positions - max(0, generate)))
