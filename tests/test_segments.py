"""Long input in segments: how many, what is computed twice, what the stitched output keeps."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator import Scenario
from simulator.look import request_text
from workloads import InputError, Moment, Program, compile_forward, load_model
from workloads.segments import compile_segments, kept_positions, starts

BERT = load_model("bert-base")


def stitches(program: Program) -> list[Moment]:
    return [m for p in program.passes for m in p.repeats[-1].segment.moments if m.name == "stitch"]


def test_segments_by_hand() -> None:
    # of 1,000 positions: 0 to 511, 448 to 959, 896 to 999
    program = compile_segments(BERT, prompt=1000, length=512, overlap=64)
    assert [(p.name, p.tokens) for p in program.passes] == [
        ("segment.1", 512), ("segment.2", 512), ("segment.3", 104),
    ]  # fmt: skip
    # of each overlap of 64, 32 from either side: 480 + 448 + 72 = 1,000 rows of 768
    assert [m.write_bytes for m in stitches(program)] == [n * 768 * 4 for n in (480, 448, 72)]
    assert request_text(program) == "3 segments of 512, batch 1, fp32"
    single = compile_forward(BERT, prompt=512)
    assert program.passes[0].counts == single.passes[0].counts
    assert program.footprint.weight_bytes == single.footprint.weight_bytes


def test_segments_that_are_alike_are_one_object() -> None:
    program = compile_segments(BERT, prompt=1536, length=512)
    first, second, _ = program.passes
    assert first.repeats[1].segment is second.repeats[1].segment


def test_what_fits_is_one_pass_without_a_stitch() -> None:
    program = compile_segments(BERT, prompt=500, length=512, overlap=64)
    assert program.counts == compile_forward(BERT, prompt=500).counts
    assert not stitches(program)


def test_a_decoder_keeps_what_has_seen_more() -> None:
    program = compile_segments(load_model("gpt2"), prompt=20, length=8, overlap=2, dtype="fp16")
    # 0 to 7, 6 to 13, 12 to 19; all of the first, and of the others all but the first two
    assert [m.write_bytes for m in stitches(program)] == [n * 50257 * 2 for n in (8, 6, 6)]


def test_a_memory_is_looked_back_on() -> None:
    model = load_model("gpt2").model_copy(update={"memory": 6, "positions": "none"})
    program = compile_segments(model, prompt=12, length=4)
    assert [p.context for p in program.passes] == [0, 4, 6]
    with pytest.raises(InputError, match="overlap = 1: gpt2 remembers earlier segments"):
        compile_segments(model, prompt=12, length=4, overlap=1)


def test_one_result_a_segment_is_not_stitched() -> None:
    model = BERT.model_copy(update={"head": "classifier", "classes": 2})
    assert not stitches(compile_segments(model, prompt=1000, length=512))


@given(st.integers(1, 400), st.integers(1, 40), st.integers(0, 39), st.booleans())
def test_every_position_is_kept_once(prompt: int, length: int, overlap: int, causal: bool) -> None:
    overlap = min(overlap, length - 1)
    firsts = starts(prompt, length, overlap)
    tokens = [min(length, prompt - start) for start in firsts]
    assert firsts[-1] + tokens[-1] == prompt
    assert min(tokens) > (overlap if len(tokens) > 1 else 0)
    kept = kept_positions(tokens, overlap, causal=causal)
    assert sum(kept) == prompt
    assert min(kept) >= 1
    assert sum(tokens) == prompt + overlap * (len(tokens) - 1)
    if prompt > length:
        assert len(tokens) == -(-(prompt - overlap) // (length - overlap))


@pytest.mark.parametrize(
    ("name", "sizes", "message"),
    [
        ("bert-base", {"length": 600}, "bert-base has max_positions = 512; give at most as many"),
        ("bert-base", {"length": 0}, "segment_length = 0: expected a whole number of tokens"),
        ("bert-base", {"length": 8, "overlap": 8}, "fewer tokens than segment_length = 8"),
        ("bert-base", {"length": 8, "overlap": -1}, "overlap = -1: expected a whole number"),
        ("t5-small", {"length": 8}, "only an encoder or a decoder of tokens"),
        ("vit-b-16-224", {"length": 8}, "only an encoder or a decoder of tokens"),
    ],
)
def test_refusals(name: str, sizes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        compile_segments(load_model(name), prompt=100, **sizes)


def test_a_run_in_segments_takes_as_long_as_its_passes() -> None:
    machine = "nvidia-a100-sxm4-80gb"
    long = Scenario("bert-base", machine, prompt=2048, segment_length=512, runtime="kernel").run()
    short = Scenario("bert-base", machine, prompt=512, runtime="kernel").run()
    assert long.latency_s == pytest.approx(4 * short.latency_s, rel=0.05)
    assert (long.ttft_s, long.tpot_s, long.tokens_per_s) == (None, None, None)
