"""Beam search: the rows of its passes, the caches that are gathered, and what runtimes do."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardware_profiles import load_profile
from simulator import Scenario, simulate
from tests.random_models import fusions, models
from workloads import (
    InputError,
    Model,
    Moment,
    Program,
    compile_forward,
    flatten,
    fuse,
    load_model,
)
from workloads.footprint import kv_cache_bytes
from workloads.transforms import share_caches
from workloads.transforms.fusion import Fusion

GPT2 = load_model("gpt2")
A100 = load_profile("nvidia-a100-sxm4-80gb")


def gathers(program: Program, number: int) -> list[Moment]:
    """The moments of a pass that gather caches."""
    flat = flatten(program)
    return [
        m
        for i, m in enumerate(flat.moments)
        if m.group == "reorder" and flat.pass_index(i) == number
    ]


def test_the_gathered_bytes_by_hand() -> None:
    program = compile_forward(GPT2, batch=2, prompt=10, generate=3, beams=4, dtype="fp16")
    first, second = gathers(program, 1), gathers(program, 2)
    assert len(first) == len(second) == 2 * 12  # keys and values of 12 layers
    # one prompt a sequence becomes four beams: 2 rows of 10 positions of 768 in, 8 rows out
    assert first[0].reads[0].bytes == 2 * 10 * 768 * 2
    assert first[0].writes[0].bytes == 8 * 10 * 768 * 2
    # from then on 8 rows in and out, one position more
    assert second[0].reads[0].bytes == second[0].writes[0].bytes == 8 * 11 * 768 * 2
    # the order: 8 beams, 8 bytes each
    assert second[0].reads[1].bytes == 64


def test_a_prompt_read_once_a_beam_is_four_times_the_work() -> None:
    plain = compile_forward(GPT2, prompt=10, generate=3)
    once = compile_forward(GPT2, prompt=10, generate=3, beams=4)
    each = compile_forward(GPT2, prompt=10, generate=3, beams=4, prompt_once=False)
    assert once.passes[0].counts.macs == plain.passes[0].counts.macs
    assert each.passes[0].counts.macs == 4 * plain.passes[0].counts.macs
    for number in (1, 2):
        expected = 4 * plain.passes[number].counts.macs
        assert once.passes[number].counts.macs == each.passes[number].counts.macs == expected
    # nothing is spread: all rows are there from the start
    assert gathers(each, 1)[0].reads[0].bytes == gathers(each, 1)[0].writes[0].bytes


def test_the_cache_of_all_beams_is_resident() -> None:
    program = compile_forward(GPT2, batch=2, prompt=10, generate=3, beams=4, dtype="fp16")
    assert program.footprint.kv_cache_bytes == kv_cache_bytes(GPT2, 8, 12, "fp16")


def test_an_encoder_is_not_repeated_and_its_keys_are_gathered() -> None:
    model = load_model("t5-small")
    plain = compile_forward(model, batch=2, prompt=20, generate=3, dtype="fp16")
    beams = compile_forward(model, batch=2, prompt=20, generate=3, beams=3, dtype="fp16")
    reading = [
        sum(m.counts.macs for r in p.passes[0].repeats if r.segment.name.startswith("encoder")
            for m in r.segment.moments)
        for p in (plain, beams)
    ]  # fmt: skip
    assert reading[0] == reading[1]
    assert beams.passes[1].counts.macs == 3 * plain.passes[1].counts.macs
    crossed = [m for m in gathers(beams, 1) if "cross" in m.name]
    # keys and values of 6 layers: 6 rows, 20 positions, 8 heads of 64
    assert len(crossed) == 12
    assert crossed[0].write_bytes == 6 * 20 * 8 * 64 * 2


def test_a_window_gathers_what_it_keeps() -> None:
    model = load_model("mistral-7b").model_copy(update={"window": 16})
    program = compile_forward(model, prompt=40, generate=3, beams=2, dtype="fp16")
    # two rows of 16 positions of 8 heads of 128
    assert gathers(program, 2)[0].write_bytes == 2 * 16 * 8 * 128 * 2


def test_attention_waits_for_the_gathered_cache() -> None:
    program = compile_forward(GPT2, prompt=10, generate=2, beams=2)
    for fusion in (Fusion(), Fusion(qkv=True, attention="fused", residual_norm=True, cache=True)):
        flat = flatten(fuse(program, fusion))
        for i, m in enumerate(flat.moments):
            if m.group == "reorder":
                readers = [flat.moments[s] for s in flat.successors[i]]
                assert any(t.name == m.writes[0].name for r in readers for t in r.reads)
                assert any(p.writes[-1].name == "beam_indices" for p in _before(flat, i))


def _before(flat: object, index: int) -> list[Moment]:
    return [flat.moments[p] for p in flat.predecessors[index]]  # type: ignore[attr-defined]


def test_a_table_instead_of_copies() -> None:
    program = compile_forward(GPT2, batch=2, prompt=10, generate=3, beams=4, dtype="fp16")
    shared = share_caches(program)
    assert shared.counts == program.counts
    assert not gathers(shared, 1)
    scores = next(m for m in flatten(shared).moments if any(
        t.name == "beam_indices" for t in m.reads))  # fmt: skip
    assert scores.name == "scores"
    # int32 for each of 8 beams and 11 positions
    assert scores.reads[-1].bytes == 4 * 8 * 11


def test_runtimes_do_it_in_their_own_way() -> None:
    runs = {
        name: Scenario("gpt2", A100.name, runtime=name, prompt=50, generate=3, beams=4).run()
        for name in ("pytorch-eager", "fastertransformer", "tensorrt-llm")
    }
    copied = {name: any(m.group == "reorder" for m in run.moments) for name, run in runs.items()}
    assert copied == {"pytorch-eager": True, "fastertransformer": False, "tensorrt-llm": False}
    macs = {name: run.program.passes[0].counts.macs for name, run in runs.items()}
    assert macs["pytorch-eager"] == macs["fastertransformer"] == 4 * macs["tensorrt-llm"]


def test_copies_take_time_and_one_result_a_sequence_counts() -> None:
    program = compile_forward(GPT2, batch=8, prompt=500, generate=4, beams=4, dtype="fp16")
    copied, shared = (simulate(p, A100, "kernel") for p in (program, share_caches(program)))
    assert copied.cycles > shared.cycles
    assert shared.ttft_s is not None
    assert shared.tpot_s == pytest.approx((shared.latency_s - shared.ttft_s) / 3)
    assert shared.tokens_per_s == pytest.approx(8 * 4 / shared.latency_s)


def test_a_memory_is_refused() -> None:
    model = load_model("gpt2").model_copy(update={"memory": 8})
    with pytest.raises(InputError, match="gpt2 keeps a memory, not a cache"):
        compile_forward(model, prompt=5, generate=2, beams=2)


@given(models().filter(lambda m: m.head == "lm" and m.vocab >= 8), fusions, st.integers(1, 4))
def test_products_grow_with_the_beams(model: Model, fusion: Fusion, beams: int) -> None:
    plain = compile_forward(model, batch=2, prompt=5, generate=3)
    search = compile_forward(model, batch=2, prompt=5, generate=3, beams=beams)
    if not model.experts:  # the rows that experts are padded to do not grow in proportion
        assert search.passes[1].counts.macs == beams * plain.passes[1].counts.macs
    assert fuse(search, fusion).counts == search.counts
    assert fuse(share_caches(search), fusion).counts == search.counts
