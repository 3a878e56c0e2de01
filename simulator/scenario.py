"""Everything that a user can say about one run, and the run that follows from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hardware_profiles.schema import Profile
    from simulator.run import Run
    from workloads.model import Model
    from workloads.moment import Parallel, Program

_PROMPT = 128
"""Tokens to read where nothing is said."""


@dataclass(frozen=True)
class Scenario:
    """One run in the user's words; None: not said, chosen as for `moments run`.

    `workload`: a bundled name, a config.json or its folder. `hardware`: a bundled name, a .toml
    file, or "host". Lengths are tokens a sequence. `threads`: of the machine's cores. `probe`: the
    host may be measured (some seconds, once). `..._parallel`: over how many devices of that kind
    the model is spread, see workloads.transforms.spread; `batch` is that of all together.
    """

    workload: str
    hardware: str
    runtime: str | None = None
    prompt: int | None = None
    batch: int = 1
    generate: int = 0
    context: int | None = None
    dtype: str | None = None
    weight_dtype: str | None = None
    threads: int | None = None
    probe: bool = True
    tensor_parallel: int = 1
    pipeline_parallel: int = 1
    data_parallel: int = 1
    expert_parallel: int = 1
    micro_batches: int = 1
    sequence_parallel: bool = False
    stretch: bool = False
    """Lengths beyond the model's own positions are allowed, as if it had more."""

    @property
    def layout(self) -> Parallel:
        """Over how many devices the run is spread, in each way."""
        from workloads.moment import Parallel

        return Parallel(
            self.tensor_parallel,
            self.pipeline_parallel,
            self.data_parallel,
            self.expert_parallel,
            self.micro_batches,
        )

    def prepared(self, progress: Callable[[str], None] | None = None) -> Prepared:
        """The scenario with its files read and what was not said filled in.

        Raises InputError or ProfileError for what does not exist or does not go together.
        """
        return _filled(self, self.model(), self._profile(progress))

    def model(self) -> Model:
        """The model that is meant, with as many positions as are asked for where it may stretch."""
        from workloads import load_model

        model = load_model(self.workload)
        asked = (self.context or self.prompt or 0) + self.generate + 1
        if not self.stretch or asked <= model.max_positions or model.encoder is not None:
            return model
        return model.model_copy(update={"max_positions": asked})

    def run(self) -> Run:
        """Simulate it; the errors are those of `prepared` and of simulator.run.simulate."""
        return self.prepared().run()

    def _profile(self, progress: Callable[[str], None] | None) -> Profile:
        from hardware_profiles import load_profile
        from hardware_profiles.variants import with_cores

        profile = load_profile(self.hardware, probe=self.probe, progress=progress)
        return profile if self.threads is None else with_cores(profile, self.threads)


@dataclass(frozen=True)
class Prepared:
    """A scenario ready to run. `assumed`: options that were filled in, as one would write them."""

    scenario: Scenario
    model: Model
    profile: Profile
    program: Program
    runtime: str
    assumed: tuple[str, ...]

    @property
    def notes(self) -> list[str]:
        """What the user should know besides the figures."""
        assumed = [f"assumed {', '.join(self.assumed)}"] if self.assumed else []
        return [*assumed, *self.model.notes]

    def run(self) -> Run:
        """Simulate it; the errors are those of simulator.run.simulate."""
        from simulator.run import simulate

        return simulate(self.program, self.profile, self.runtime)


def _filled(scenario: Scenario, model: Model, profile: Profile) -> Prepared:
    from simulator.runtime import default_runtime
    from workloads import InputError, compile_forward
    from workloads.transforms import batch_of_part, spread

    assumed = []
    prompt, dtype, runtime = scenario.prompt, scenario.dtype, scenario.runtime
    if prompt is not None and scenario.context is not None:
        raise InputError("--prompt and --context: give one; a context is a prompt already read")
    if prompt is None and scenario.context is None:
        prompt = _default_prompt(model, scenario.generate)
        assumed.append(f"--prompt {prompt}")
    if dtype is None:
        half = profile.kind == "gpu" and profile.width.macs_per_cycle("fp16") is not None
        dtype = "fp16" if half else "fp32"
        assumed.append(f"--dtype {dtype}")
    if runtime is None:
        runtime = default_runtime(profile.kind)
        assumed.append(f"--runtime {runtime}")
    program = compile_forward(
        model,
        batch=batch_of_part(scenario.batch, scenario.layout),
        prompt=prompt,
        context=scenario.context,
        generate=scenario.generate,
        dtype=dtype,
        weight_dtype=scenario.weight_dtype,
    )
    program = spread(program, scenario.layout, sequence=scenario.sequence_parallel)
    return Prepared(scenario, model, profile, program, runtime, tuple(assumed))


def _default_prompt(model: Model, generate: int) -> int:
    """128 tokens, fewer where the model has no room for them; an image's patches."""
    if model.fixed_input is not None:
        return model.fixed_input
    if model.encoder is not None:
        return min(_PROMPT, model.encoder.max_positions)
    return max(1, min(_PROMPT, model.max_positions - max(0, generate)))
