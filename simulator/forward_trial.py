"""A measured whole pass, compiled and placed once, to be predicted with many sets of scales."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from simulator.machine import Placed, place
from simulator.requests import chunk_of
from simulator.run import simulate_placed
from workloads import compile_forward
from workloads.errors import InputError
from workloads.moment import Parallel
from workloads.transforms import spread

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from hardware_profiles.schema import Profile
    from simulator.cases import Case
    from simulator.forward_calibration import ForwardScales
    from simulator.run import Run
    from simulator.runtime import Runtime
    from workloads.model import Model
    from workloads.moment import Program

_BODY_ONLY = "encoder layers only"
_DECODER_TOO = "decoder runs over as many tokens as the encoder"
_TOP_P = "sampling top-p"
_ALL_LOGITS = "adaptive softmax over all positions"


@dataclass(frozen=True)
class Trial:
    """One pass, one step or one generation on a machine under a runtime.

    `parts`: programs where they run, and how many times each. Scales change neither fusions nor
    where bytes are, so that these are found once.
    """

    profile: Profile
    runtime: Runtime
    parts: tuple[tuple[int, Placed], ...]

    def latency_s(
        self, scales: ForwardScales | None, observe: Callable[[Run], None] | None = None
    ) -> float:
        """Predicted seconds with these scales (None: as declared); `observe` is given each run."""
        total_s = 0.0
        for count, placed in self.parts:
            run = simulate_placed(placed, self.profile, self.runtime, scales)
            if observe is not None:
                observe(run)
            total_s += count * run.latency_s
        return total_s


def trial_of(case: Case, model: Model, profile: Profile, runtime: Runtime) -> Trial:
    """The trial of a case. Raises InputError where the case says what cannot run."""
    parts = []
    for count, lengths in _lengths(case, model):
        program = _program(case, model, profile, runtime, lengths)
        parts.append((count, place(program, profile, runtime, must_hold="weights")))
    return Trial(profile, runtime, tuple(parts))


def _lengths(case: Case, model: Model) -> list[tuple[int, Mapping[str, int]]]:
    """The passes that stand for a case: how many times, and the lengths of each.

    A generation is equal steps at the middle context after its prefill: the time of a step is
    linear in the context within a segment's kernels, so their mean is that of the middle. With
    an encoder, a prefill is the encoder alone, unless the case says that the decoder runs too.
    """
    sizes = case.sizes
    prompt, generate = sizes.get("prompt", 0), sizes.get("generate", 0)
    encoded = {"prompt": model.fixed_input or prompt} if model.encoder is not None else {}
    if case.what == "prefill":
        if prompt < 1:
            raise InputError("a prefill of no tokens")
        more = {"target": prompt} if _DECODER_TOO in case.conditions else {}
        if model.memory and "context" in sizes:
            more = {"context": sizes["context"]}
        return [(1, {"prompt": prompt, **more})]
    if case.what == "decode":
        return [(1, {"context": max(1, sizes["context"]), **encoded})]
    middle = max(1, (0 if encoded else prompt) + generate // 2)
    step = {"context": middle, **encoded}
    if case.what == "decode_mean":
        return [(1, step)]
    first = {"prompt": max(1, prompt), **encoded, **({"target": 1} if encoded else {})}
    return [(generate - 1, step), (1, first)]


def _program(
    case: Case, model: Model, profile: Profile, runtime: Runtime, lengths: Mapping[str, int]
) -> Program:
    section = runtime.on(profile.kind)
    longest = lengths["context"] + 1 if "context" in lengths else lengths["prompt"]
    # a benchmark may read more than the model was made for
    if model.encoder is None and not model.memory and longest > model.max_positions:
        model = model.model_copy(update={"max_positions": longest})
    samples = _TOP_P in case.conditions and case.what != "prefill"
    program = compile_forward(
        model,
        sample="top-p" if samples else "greedy",
        batch=case.sizes["batch"],
        prompt=lengths.get("prompt"),
        context=lengths.get("context"),
        target=lengths.get("target"),
        dtype=case.dtype,
        weight_dtype=case.weight_dtype,
        logits="all" if _ALL_LOGITS in case.conditions else "last" if model.causal else None,
        body_only=_BODY_ONLY in case.conditions,
        chunk=chunk_of(section, model, lengths.get("prompt")),
        expand_latents=bool(model.kv_rank) and section.expands_latents,
    )
    return spread(program, _layout(case))


def _layout(case: Case) -> Parallel:
    """Tensor ranks are whole devices, whatever the source counts as one (cores of a chip)."""
    stages = case.sizes.get("pipeline_parallel", 1)
    return Parallel(tensor=case.devices // stages, pipeline=stages)
