"""Speculative decoding: rounds, limits of the acceptance, passes, footprint, and what is gained."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardware_profiles import load_profile
from simulator import simulate
from workloads import InputError, compile_forward, flatten, load_model
from workloads.speculative import compile_speculative, rounds, tokens_per_round

H100 = load_profile("nvidia-h100-sxm5-80gb")
LARGE, SMALL = load_model("gpt2-xl"), load_model("gpt2")


def test_tokens_per_round_by_hand() -> None:
    # (1 - 0.7^5) / (1 - 0.7) = 0.83193 / 0.3
    assert float(tokens_per_round(4, 0.7)) == pytest.approx(2.7731)
    assert tokens_per_round(4, 0) == 1
    assert tokens_per_round(4, 1) == 5


def test_rounds_by_hand() -> None:
    # 1 + 1/2 + 1/4 = 1.75 a round: 1, 2, 2, 2, 1, ... of 9 tokens the first comes with the prompt
    found = [(r.known, r.unread, r.drafted, r.chosen) for r in rounds(10, 9, 2, 0.5)]
    assert found == [(11, 1, 2, 1), (12, 1, 2, 2), (14, 1, 2, 2), (16, 1, 2, 2), (18, 1, 0, 1)]


def test_a_draft_accepted_whole_has_a_token_to_catch_up_with() -> None:
    found = list(rounds(10, 8, 2, 1.0))
    assert [(r.unread, r.drafted, r.chosen) for r in found] == [(1, 2, 3), (2, 2, 3), (2, 0, 1)]


@given(st.integers(1, 50), st.integers(1, 200), st.integers(1, 8), st.floats(0, 1))
def test_rounds_add_up(prompt: int, generate: int, drafts: int, acceptance: float) -> None:
    found = list(rounds(prompt, generate, drafts, acceptance))
    assert sum(r.chosen for r in found) == generate - 1
    mean = tokens_per_round(drafts, acceptance)
    known = prompt + 1
    for number, r in enumerate(found, 1):
        assert (r.number, r.known) == (number, known)
        assert 1 <= r.chosen <= r.drafted + 1 <= drafts + 1
        assert 1 <= r.unread <= 2
        # never a whole token behind the average, unless the end cuts it short
        if r.known + drafts < prompt + generate:
            assert 0 <= number * mean - (known + r.chosen - prompt - 1) < 1
        known += r.chosen


def test_the_passes_of_a_generation() -> None:
    program = compile_speculative(LARGE, SMALL, prompt=10, generate=4, drafts=2, acceptance=1.0)
    assert [(p.name, p.phase, p.tokens, p.context, p.chosen) for p in program.passes] == [
        ("prefill", "prefill", 10, 0, 1),
        ("draft.prefill", "prefill", 10, 0, 0),
        ("draft.1.1", "decode", 1, 10, 0),
        ("draft.1.2", "decode", 1, 11, 0),
        ("verify.1", "decode", 3, 10, 3),
    ]
    # the last pass has logits at three positions, and three choices
    rows = program.passes[-1].repeats[-1].segment.moments[-1]
    assert rows.read_bytes == 3 * 50257 * 4
    names = {r.segment.name for p in program.passes for r in p.repeats}
    assert names == {f"{d}{s}" for d in ("", "draft_") for s in ("embed", "layer", "output")}


def test_a_verified_round_reads_the_drafts() -> None:
    program = compile_speculative(LARGE, SMALL, prompt=10, generate=4, drafts=2, acceptance=1.0)
    flat = flatten(program)
    check = next(i for i in range(len(flat)) if flat.name(i) == "verify.1/embed/token_embedding")
    assert [flat.name(p) for p in flat.predecessors[check]] == ["draft.1.2/draft_output/sample"]


def test_both_models_are_resident() -> None:
    program = compile_speculative(LARGE, SMALL, prompt=10, generate=9, dtype="fp16")
    parts = [compile_forward(m, prompt=10, generate=9, dtype="fp16") for m in (LARGE, SMALL)]
    weights = sum(p.footprint.weight_bytes for p in parts)
    assert program.footprint.weight_bytes == weights
    # the model's cache grows to 18 positions, the draft's to 17: it never reads the last token
    caches = [p.footprint.kv_cache_bytes for p in parts]
    assert program.footprint.kv_cache_bytes == caches[0] + caches[1] * 17 // 18


def test_work_of_a_draft_that_is_never_right() -> None:
    """Acceptance 0: one token a round, of which the model alone would have done the same."""
    plain = compile_forward(LARGE, prompt=10, generate=4)
    useless = compile_speculative(LARGE, None, prompt=10, generate=4, drafts=2, acceptance=0)
    verified = [p for p in useless.passes if p.name.startswith("verify")]
    assert [p.chosen for p in verified] == [1, 1, 1]
    assert [p.context for p in verified] == [p.context for p in plain.passes[1:]]
    assert [p.tokens for p in verified] == [3, 2, 1]
    assert verified[-1].counts == plain.passes[-1].counts


def test_limits_of_the_speed_up() -> None:
    def tpot(acceptance: float | None, drafts: int = 3, generate: int = 33) -> float:
        if acceptance is None:
            program = compile_forward(LARGE, prompt=100, generate=generate, dtype="fp16")
        else:
            program = compile_speculative(
                LARGE, None, prompt=100, generate=generate, drafts=drafts, acceptance=acceptance,
                dtype="fp16",
            )  # fmt: skip
        run = simulate(program, H100, "kernel")
        assert run.tpot_s is not None
        assert run.tokens_per_s == pytest.approx(generate / run.latency_s)
        return run.tpot_s

    plain = tpot(None)
    # a lookup costs next to nothing: four rows take about as long as one
    assert tpot(0.0) == pytest.approx(plain, rel=0.12)
    assert tpot(0.0) > plain
    assert tpot(1.0) == pytest.approx(plain / 4, rel=0.12)
    found = [tpot(a) for a in (0.0, 0.3, 0.6, 0.9, 1.0)]
    assert found == sorted(found, reverse=True)


def test_the_draft_costs_its_passes() -> None:
    slow, fast = (
        simulate(
            compile_speculative(LARGE, draft, prompt=50, generate=9, acceptance=0.7, dtype="fp16"),
            H100, "kernel",
        )
        for draft in (SMALL, None)
    )  # fmt: skip
    assert slow.ttft_s == fast.ttft_s
    assert slow.tpot_s is not None
    assert fast.tpot_s is not None
    assert slow.tpot_s > fast.tpot_s


def test_one_token_needs_no_round() -> None:
    program = compile_speculative(LARGE, SMALL, prompt=10, generate=1)
    assert [p.name for p in program.passes] == ["prefill", "draft.prefill"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"generate": 0}, "draft without generate"),
        ({"drafts": 0}, "draft_tokens = 0: expected a whole number of tokens from 1 to 1000"),
        ({"acceptance": 1.5}, "acceptance = 1.5: expected a probability from 0 to 1"),
        ({"acceptance": float("nan")}, "acceptance = nan: expected a probability"),
        ({"draft": load_model("llama-2-7b")}, "has 32000 tokens, gpt2-xl 50257"),
        ({"draft": load_model("bert-base")}, "draft with bert-base: speculative decoding needs"),
        ({"prompt": 1020}, "gpt2-xl has max_positions = 1024"),
        ({"sample": "best"}, "sample = 'best': expected greedy"),
    ],
)
def test_refusals(options: dict[str, Any], message: str) -> None:
    given: dict[str, Any] = {"draft": SMALL, "prompt": 10, "generate": 9, **options}
    with pytest.raises(InputError, match=message):
        compile_speculative(LARGE, given.pop("draft"), **given)
