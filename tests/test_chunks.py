"""Prompts read in chunks: what is conserved, what is read again, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardware_profiles import load_profile
from simulator import simulate
from tests.random_models import models
from workloads import AttentionShape, InputError, Model, Program, compile_forward, load_model
from workloads.op_counts import attended_pairs

GPT2 = load_model("gpt2")
A100 = load_profile("nvidia-a100-sxm4-80gb")


def read_passes(program: Program) -> list[tuple[str, int, int, int]]:
    return [(p.name, p.tokens, p.context, p.chosen) for p in program.passes]


def macs_with_weights(program: Program) -> int:
    return sum(
        r.count * m.counts.macs
        for p in program.passes
        for r in p.repeats
        for m in r.segment.moments
        if any(t.role == "weight" for t in m.reads)
    )


def pairs(program: Program) -> int:
    """Pairs of a query and a key that it sees, in all layers."""
    return sum(
        r.count * attended_pairs(m.attention)
        for p in program.passes
        for r in p.repeats
        for m in r.segment.moments
        if m.kind == "softmax" and isinstance(m.attention, AttentionShape)
    )


def test_the_passes_of_a_chunked_prompt() -> None:
    program = compile_forward(GPT2, prompt=10, generate=2, chunk=4)
    assert read_passes(program) == [
        ("prefill.1", 4, 0, 0), ("prefill.2", 4, 4, 0), ("prefill.3", 2, 8, 1),
        ("decode.1", 1, 10, 1),
    ]  # fmt: skip
    assert read_passes(compile_forward(GPT2, prompt=4, chunk=4)) == [("prefill", 4, 0, 0)]


def test_scores_by_hand() -> None:
    whole = compile_forward(GPT2, prompt=10, logits="last")
    chunked = compile_forward(GPT2, prompt=10, chunk=4, logits="last")
    # 4 x 4 + 4 x 8 + 2 x 10 = 68 scores instead of 10 x 10, of 12 heads of 64 in 12 layers, twice
    saved = (100 - 68) * 12 * 64 * 12 * 2
    assert whole.counts.macs - chunked.counts.macs == saved
    # 1 + 2 + ... + 10 pairs
    assert pairs(whole) == pairs(chunked) == 55 * 12


def test_logits_of_every_position_need_the_head_each_time() -> None:
    whole = compile_forward(GPT2, prompt=10, logits="all")
    chunked = compile_forward(GPT2, prompt=10, chunk=4, logits="all")
    assert macs_with_weights(whole) == macs_with_weights(chunked)
    last = [p.repeats[-1].segment.moments[-1].name for p in chunked.passes]
    assert last == ["lm_head"] * 3


@given(
    models().filter(lambda m: m.causal and m.encoder is None and not m.experts and not m.pooler),
    st.integers(1, 30), st.integers(1, 30),
)  # fmt: skip
def test_products_with_weights_and_pairs_are_conserved(
    model: Model, prompt: int, chunk: int
) -> None:
    whole = compile_forward(model, prompt=prompt, logits="all")
    chunked = compile_forward(model, prompt=prompt, chunk=chunk, logits="all")
    assert macs_with_weights(whole) == macs_with_weights(chunked)
    assert pairs(whole) == pairs(chunked)
    assert chunked.counts.macs <= whole.counts.macs
    assert whole.footprint.kv_cache_bytes == chunked.footprint.kv_cache_bytes


def test_weights_are_read_again_and_the_first_token_comes_later() -> None:
    model = load_model("llama-2-7b")
    runs = [
        simulate(compile_forward(model, prompt=256, generate=2, dtype="fp16", chunk=c), A100)
        for c in (None, 64)
    ]
    moved = [sum(t.dram_bytes for t in run.job.traffic) for run in runs]
    assert moved[1] > moved[0] + 2 * 12e9  # three more passes over 12.9 GB of layers
    assert runs[0].ttft_s is not None
    assert runs[1].ttft_s is not None
    assert runs[1].ttft_s > runs[0].ttft_s
    assert runs[1].tpot_s == pytest.approx(runs[0].tpot_s, rel=1e-6)
    assert runs[1].tokens_per_s == pytest.approx(2 / runs[1].latency_s)


def test_the_host_does_not_wait_between_chunks() -> None:
    program = compile_forward(GPT2, prompt=64, generate=2, chunk=16)
    starts = [0]
    run = simulate(program, A100, "pytorch-eager")
    for step in run.program.passes:
        starts.append(starts[-1] + step.moment_count)
    assert run.job.plan.waits_before == {starts[4]}


@pytest.mark.parametrize(
    ("name", "chunk", "message"),
    [
        ("gpt2", 0, "chunk = 0: expected a whole number of tokens, 1 or more"),
        ("gpt2", True, "chunk = True: expected a whole number"),
        ("bert-base", 4, "only a decoder with a cache reads a prompt in chunks"),
        ("t5-small", 4, "only a decoder with a cache reads a prompt in chunks"),
    ],
)
def test_refusals(name: str, chunk: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        compile_forward(load_model(name), prompt=10, chunk=chunk)
