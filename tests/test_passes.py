"""Passes held as one: the same as written out, through the compiler and all that changes it."""

from __future__ import annotations

import pickle
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.random_models import fusions, generations
from workloads import Fusion, Model, Program, compile_forward, fuse, load_model
from workloads.attention import attention_shape
from workloads.layers import LayerKind
from workloads.moment import AttentionShape
from workloads.passes import Passes, counted, ends_of, parts_of, written_out
from workloads.request import Request
from workloads.step import Step
from workloads.transforms import (
    Quantization,
    copy_caches,
    load_weights,
    quantize,
    share_caches,
    share_moments,
    split_heads,
)

TRANSFORMS: dict[str, Callable[[Program], Program]] = {
    "copy_caches": copy_caches,
    "share_caches": share_caches,
    "share_moments": share_moments,
    "split_heads": split_heads,
    "load_weights": lambda program: load_weights(program, "disk"),
}


def one_by_one(model: Model, monkeypatch: pytest.MonkeyPatch, **request: object) -> Program:
    """The program with each request compiled by itself."""

    def apart(requests: list[Request]) -> list[list[Request]]:
        return [[request] for request in requests]

    with monkeypatch.context() as patch:
        patch.setattr("workloads.compile_request.steps_among", apart)
        return compile_forward(model, **request)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "prompt", "parts"),
    [
        ("llama-2-7b", 5, 2),
        ("mistral-7b", 4093, 3),  # until the window is full, and after
        ("gemma-2-2b", 4093, 3),
        ("t5-small", 5, 2),
        ("deepseek-v3", 5, 2),
        ("bloom-560m", 5, 2),
        ("gpt-oss-20b", 125, 3),
    ],
)
@pytest.mark.parametrize("dtype", ["fp16", "int4"])
def test_steps_are_compiled_as_each_by_itself(
    name: str, prompt: int, parts: int, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load_model(name)
    found = compile_forward(model, prompt=prompt, generate=9, dtype=dtype)
    expected = one_by_one(model, monkeypatch, prompt=prompt, generate=9, dtype=dtype)
    assert isinstance(expected.passes, tuple)
    assert len(parts_of(found.passes)) == parts
    assert found == expected
    assert found.counts == expected.counts
    assert found.moment_count == expected.moment_count == len(list(all_moments(expected)))


def all_moments(program: Program) -> list[str]:
    return [i.prefix + m.name for i in program.instances() for m in i.segment.moments]


@given(generations(), fusions, st.sampled_from(sorted(TRANSFORMS)))
@settings(deadline=None, max_examples=60)
def test_transforms_change_steps_as_each_pass(
    program: Program, fusion: Fusion, transform: str
) -> None:
    change = TRANSFORMS[transform]
    apart = written_out(program)
    assert change(program) == change(apart)
    assert fuse(program, fusion) == fuse(apart, fusion)
    assert fuse(change(program), fusion) == fuse(change(apart), fusion)
    assert program.counts == apart.counts


def test_quantized_steps_stay_together() -> None:
    model = load_model("llama-2-7b")
    program = compile_forward(model, prompt=64, generate=20, dtype="fp16")
    for plan in (Quantization("int8", kv="int8"), Quantization("int4-g128", dequantize=True)):
        found = quantize(program, plan, model)
        assert isinstance(found.passes, Passes)
        assert found == quantize(written_out(program), plan, model)


def test_passes_are_a_sequence() -> None:
    program = compile_forward(load_model("gpt2"), prompt=4, generate=6)
    passes = program.passes
    assert isinstance(passes, Passes)
    assert [step.name for step in passes] == ["prefill", *(f"decode.{i}" for i in range(1, 6))]
    assert passes[-1].name == "decode.5"
    assert passes[-1] is passes[5]
    assert passes[1:3] == (passes[1], passes[2])
    assert passes == tuple(passes)
    with pytest.raises(IndexError):
        passes[6]
    assert [step.name for step in ends_of(passes)] == ["prefill", "decode.1", "decode.5"]
    assert [count for _, count in counted(passes)] == [1, 5]
    shared = passes[1].repeats[0].segment
    assert all(step.repeats[0].segment is shared for step in passes[1:])


def test_what_has_no_one_answer_is_compiled_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """A compiler that asks for the length itself still gets it, step by step."""
    model = load_model("gpt2")
    expected = compile_forward(model, prompt=4, generate=5)
    asked: list[int] = []

    def plain(model: Model, step: Step, kind: LayerKind) -> AttentionShape:
        shape = attention_shape(model, step, kind)
        asked.append(int(shape.kv_len))
        return shape

    monkeypatch.setattr("workloads.compile_request.attention_shape", plain)
    found = compile_forward(model, prompt=4, generate=5)
    assert isinstance(found.passes, tuple)
    assert found == expected
    assert asked == [4, 5, 6, 7, 8]


def test_steps_can_be_sent_to_another_process() -> None:
    program = compile_forward(load_model("gpt2"), prompt=4, generate=6)
    assert program.passes[2].name == "decode.2"  # made before it is sent
    assert pickle.loads(pickle.dumps(program)) == program  # noqa: S301 - our own
