"""Everything that a user can say about one run, and the run that follows from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hardware_profiles.efficiency import Mode
    from hardware_profiles.schema import Profile
    from simulator.prepare import Prepared
    from simulator.run import Run
    from workloads.choose import Sampling
    from workloads.model import Model
    from workloads.moment import Parallel
    from workloads.transforms.loading import Origin


@dataclass(frozen=True)
class Scenario:
    """One run in the user's words; None: not said, chosen as for `moments run`.

    `workload`: a bundled name, a config.json or its folder, a program that `moments import` wrote,
    or an .onnx file with the sizes `dims` of its open axes. The shapes of the last two are fixed:
    what would change them is an error. `hardware`: a bundled name, a .toml
    file, or "host". Lengths are tokens a sequence. `threads`: of the machine's cores. `probe`: the
    host may be measured (some seconds, once). `changes`: figures of the machine or of the runtime
    that are otherwise, each as "key=value"; see hardware_profiles.variants.with_changes and
    simulator.runtime_changes. `power_cap`: watts that the device may draw on average ("300W"); the
    clock follows, see simulator.power. `..._parallel`: over how many devices of that kind the model
    is spread, see workloads.transforms.spread; `batch` is that of all together.

    Transforms, see workloads.transforms: `weight_dtype` to `activation_dtype` are those of
    Quantization; `prune` "2:4", or a `density` stored in a `sparse_format`; `prune_heads` of each
    layer; `drop_layers` how many ("8") or which ("3,7", "20-27"); `fuse` and `no_fuse` (names with
    commas) override the runtime's fusions.

    `sample`, `beams`: how tokens are chosen (workloads.choose, workloads.beams). `chunk`: a prompt
    is read in pieces. `segment_length`, `overlap`: a long input is read in segments
    (workloads.segments). `draft`: a model, or "lookup", that proposes `draft_tokens` a round, each
    accepted with the probability `acceptance` (workloads.speculative). `cold`: weights come from
    "disk" or from the memory of the "host" first.
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
    quantize_head: bool | None = None
    dequantize: bool = False
    kv_dtype: str | None = None
    activation_dtype: str | None = None
    prune: str | None = None
    density: float | None = None
    sparse_format: str | None = None
    prune_heads: int | None = None
    drop_layers: str | None = None
    fuse: str | None = None
    no_fuse: str | None = None
    threads: int | None = None
    probe: bool = True
    changes: tuple[str, ...] = ()
    power_cap: str | None = None
    tensor_parallel: int = 1
    pipeline_parallel: int = 1
    data_parallel: int = 1
    expert_parallel: int = 1
    micro_batches: int = 1
    sequence_parallel: bool = False
    sample: Sampling = "greedy"
    beams: int = 1
    chunk: int | None = None
    segment_length: int | None = None
    overlap: int = 0
    draft: str | None = None
    draft_tokens: int | None = None
    acceptance: float | None = None
    cold: Origin | None = None
    stretch: bool = False
    """Lengths beyond the model's own positions are allowed, as if it had more."""
    dims: Mapping[str, int] | None = None
    policy: str | None = None
    """In which order ready moments are issued, see simulator.scheduling.POLICIES."""
    cores_per_moment: int | None = None
    """Moments run side by side, on at most so many cores each."""
    fold: bool = True
    """Instances of a segment met in the same state are simulated once; False: every one."""
    mode: Mode | None = None
    """With scales that public whole passes gave: "calibrated", those of this machine where some
    ship, or "zero-shot", those of the runtime on other machines. None: as the files declare."""

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
        from simulator.prepare import filled, imported
        from simulator.requests import check_options
        from simulator.scheduling import best_split, parse_schedule
        from workloads import Model, load_workload

        check_options(self)
        schedule = parse_schedule(self.policy, self.cores_per_moment)
        profile, changed = self._profile(progress)
        found = load_workload(self.workload, dims=self.dims)
        if isinstance(found, Model):
            prepared = filled(self, self.stretched(found), profile, changed)
        else:
            prepared = imported(self, found, profile, changed)
        if schedule is None:
            return prepared
        if schedule.policy == "best-split":
            return best_split(prepared)
        schedule.cores_of(profile)
        return replace(prepared, schedule=schedule)

    def model(self) -> Model:
        """The model that is meant, with as many positions as are asked for where it may stretch.

        InputError for an imported program, whose lengths are fixed.
        """
        from workloads import InputError, Model, load_workload

        found = load_workload(self.workload, dims=self.dims)
        if not isinstance(found, Model):
            raise InputError(
                f"{self.workload}: is an imported graph, whose shapes are fixed; expected a model: "
                "a bundled name or a config.json"
            )
        return self.stretched(found)

    def stretched(self, model: Model) -> Model:
        """`model` with as many positions as are asked for, where `stretch` allows more."""
        asked = (self.context or self.prompt or 0) + self.generate + 1
        if not self.stretch or asked <= model.max_positions or model.encoder is not None:
            return model
        return model.model_copy(update={"max_positions": asked})

    def run(self) -> Run:
        """Simulate it; the errors are those of `prepared` and of simulator.run.simulate."""
        return self.prepared().run()

    def without_draft(self) -> Scenario:
        """The same run, decoded one token after another, to compare with."""
        return replace(self, draft=None, draft_tokens=None, acceptance=None)

    def _profile(self, progress: Callable[[str], None] | None) -> tuple[Profile, list[str]]:
        """The machine, and what was changed of it."""
        from hardware_profiles import load_profile
        from hardware_profiles.variants import made_changes, with_changes, with_cores
        from simulator.runtime_changes import is_runtime_change

        declared = load_profile(self.hardware, probe=self.probe, progress=progress)
        changes = [text for text in self.changes if not is_runtime_change(text)]
        profile = with_changes(declared, changes)
        lines = made_changes(declared, profile) if changes else []
        return profile if self.threads is None else with_cores(profile, self.threads), lines
