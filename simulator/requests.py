"""From what a user asks of a run to the program of a model: which compiler, with which options."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from workloads.errors import InputError, shown

if TYPE_CHECKING:
    from simulator.runtime import OnDevice
    from simulator.scenario import Scenario
    from workloads.model import Model
    from workloads.moment import Program

DRAFT_TOKENS = 4
"""Drafted tokens a round where nothing is said: within the 3 to 5 of arXiv:2211.17192, table 2."""

ACCEPTANCE = 0.7
"""Where nothing is said: arXiv:2211.17192 finds 0.5 to 0.9 with a small model of the family."""


def check_options(scenario: Scenario) -> None:
    """InputError for options that do not go together, before any file is read."""
    from hardware_profiles.efficiency import MODES

    if scenario.mode not in (None, *MODES):
        known = " or ".join(MODES)
        raise InputError(f"--mode {shown(scenario.mode)}: expected {known}")
    draft, beams = scenario.draft, scenario.beams
    details = {"draft-tokens": scenario.draft_tokens, "acceptance": scenario.acceptance}
    for name, value in details.items():
        if value is not None and draft is None:
            raise InputError(f"--{name} {value}: says how a draft does; give --draft MODEL too")
    if draft is not None:
        _exclude("--draft", "it verifies greedy or sampled tokens after a prompt", {
            "--beams": beams > 1,
            "--context": scenario.context is not None,
        })  # fmt: skip
        _exclude("--draft", "transforms of weights know one model; with two only --weight-dtype", {
            "--prune": scenario.prune is not None,
            "--density": scenario.density is not None,
            "--quantize-head": scenario.quantize_head is not None,
        })  # fmt: skip
    if scenario.chunk is not None and scenario.context is not None:
        raise InputError("--chunk and --context: a context has been read already; give one")
    if scenario.overlap and scenario.segment_length is None:
        raise InputError(f"--overlap {scenario.overlap}: of segments; give --segment-length too")
    if scenario.segment_length is not None:
        _exclude("--segment-length", "segments are read, nothing follows them", {
            "--generate": bool(scenario.generate),
            "--context": scenario.context is not None,
            "--chunk": scenario.chunk is not None,
            "--beams": beams > 1,
            "--draft": draft is not None,
            "--sample": scenario.sample != "greedy",
        })  # fmt: skip

    if scenario.layout.devices > 1 or scenario.micro_batches > 1:
        _exclude("several devices", "each is modelled on one device only", {
            "--beams": beams > 1,
            "--sample": scenario.sample != "greedy",
            "--segment-length": scenario.segment_length is not None,
            "--draft": draft is not None,
            "--cold": scenario.cold is not None,
        })  # fmt: skip


def assumed_of_draft(scenario: Scenario) -> list[str]:
    """What is filled in for a draft of which nothing more is said."""
    if scenario.draft is None:
        return []
    filled = {"draft-tokens": (scenario.draft_tokens, DRAFT_TOKENS),
              "acceptance": (scenario.acceptance, ACCEPTANCE)}  # fmt: skip
    return [f"--{name} {default}" for name, (given, default) in filled.items() if given is None]


def _exclude(option: str, why: str, others: dict[str, bool]) -> None:
    for other, given in others.items():
        if given:
            raise InputError(f"{option} and {other}: {why}; give one of them")


def program_of(
    scenario: Scenario, model: Model, prompt: int | None, dtype: str, section: OnDevice
) -> Program:
    """What `scenario` asks of `model`, with what is left to the runtime as its `section` says."""
    from workloads import compile_forward
    from workloads.transforms import batch_of_part

    batch = batch_of_part(scenario.batch, scenario.layout)
    if scenario.segment_length is not None:
        from workloads.segments import compile_segments

        return compile_segments(
            model, prompt=prompt or 1, length=scenario.segment_length, overlap=scenario.overlap,
            batch=batch, dtype=dtype,
        )  # fmt: skip
    chunk = scenario.chunk
    if chunk is None:
        chunk = chunk_of(section, model, prompt)
    options: dict[str, Any] = {
        "batch": batch, "prompt": prompt, "generate": scenario.generate, "dtype": dtype,
        "sample": scenario.sample, "chunk": chunk,
        "expand_latents": bool(model.kv_rank) and section.expands_latents,
    }  # fmt: skip
    if scenario.draft is not None:
        return _speculative(scenario, model, options)
    return compile_forward(
        model,
        context=scenario.context,
        beams=scenario.beams,
        prompt_once=section.beam_prompt == "once",
        **options,
    )


def loaded(scenario: Scenario, program: Program) -> Program:
    """The finished program, with the loading of its weights first if it starts cold."""
    from workloads.transforms import load_weights

    return program if scenario.cold is None else load_weights(program, scenario.cold)


def chunk_of(section: OnDevice, model: Model, prompt: int | None) -> int | None:
    """Tokens that the runtime reads of a prompt at a time, None for all of them."""
    chunk = section.prefill_chunk
    reads = model.causal and model.encoder is None and not model.memory
    return chunk if reads and chunk is not None and prompt and prompt > chunk else None


def _speculative(scenario: Scenario, model: Model, options: dict[str, Any]) -> Program:
    from workloads import load_model
    from workloads.speculative import LOOKUP, compile_speculative

    name = scenario.draft
    draft = None if name is None or name == LOOKUP else load_model(name)
    return compile_speculative(
        model,
        draft,
        weight_dtype=scenario.weight_dtype,
        drafts=DRAFT_TOKENS if scenario.draft_tokens is None else scenario.draft_tokens,
        acceptance=ACCEPTANCE if scenario.acceptance is None else scenario.acceptance,
        **options,
    )
