"""Fusion: what becomes of the moments, and that nothing is lost or invented."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings

from tests.programs import BERT, GPT2, LLAMA, counts_by_pass, moment
from tests.random_models import fusions, programs
from workloads import (
    Fusion,
    Model,
    Program,
    Quantization,
    Segment,
    compile_forward,
    flatten,
    fuse,
    load_model,
    op_counts,
    quantize,
    split_heads,
)
from workloads.moment import (
    AttentionShape,
    Footprint,
    MatmulShape,
    Moment,
    OperationCounts,
    Pass,
    Repeat,
)
from workloads.transforms.rewrite import Merge, contract

ALL = Fusion(
    qkv=True, gate_up=True, attention="fused", epilogue=True, residual_norm=True, cache=True,
    copies=True,
)  # fmt: skip


def is_weight(name: str) -> bool:
    return name.endswith((".weight", ".bias"))


def weight_bytes(program: Program) -> int:
    """Bytes of weights that all moments of a program read, but for tables of angles.

    These are read by the rotations of queries and of keys, and once by the two as one.
    """
    moments = (m for i in program.instances() for m in i.segment.moments)
    return sum(t.bytes for m in moments for t in m.reads if is_weight(t.name))


def names(program: Program, segment: str, pass_index: int = 0) -> list[str]:
    (found,) = (r for r in program.passes[pass_index].repeats if r.segment.name == segment)
    return [moment.name for moment in found.segment.moments]


def test_the_default_fusion_changes_nothing() -> None:
    assert fuse(GPT2, Fusion()).passes == GPT2.passes


def test_everything_fused_in_a_post_norm_layer() -> None:
    fused = fuse(BERT, ALL)
    assert names(fused, "layer") == [
        "qkv",
        "attention",
        "attention_output",
        "attention_norm",
        "up",
        "down",
        "feed_forward_norm",
    ]
    assert names(fused, "embed") == [
        "token_embedding",
        "token_type_embedding",
        "position_embedding",
        "embedding_norm",
    ]
    assert names(fused, "output") == ["pooler"]


def test_everything_fused_in_a_pre_norm_layer_works_across_its_border() -> None:
    fused = fuse(LLAMA, ALL)
    assert [(r.segment.name, r.count) for r in fused.passes[0].repeats] == [
        ("embed", 1),
        ("layer", 31),
        ("last_layer", 1),
        ("output", 1),
    ]
    assert names(fused, "embed") == ["token_embedding", "next_attention_norm"]
    assert names(fused, "layer") == [
        "qkv",
        "cache_update",
        "attention",
        "attention_output",
        "feed_forward_norm",
        "gate_up",
        "down",
        "next_attention_norm",
    ]
    assert names(fused, "last_layer")[-1] == "next_final_norm"
    assert names(fused, "output") == ["lm_head", "sample"]


def test_qkv_is_one_product_with_the_widths_summed() -> None:
    qkv = moment(fuse(LLAMA, Fusion(qkv=True)), "decode/layer.0/qkv")
    assert qkv.shape == MatmulShape(1, 1, 4096 + 2 * 1024, 4096)
    assert qkv.counts.macs == 4096 * 6144
    assert [t.name for t in qkv.reads] == [
        "attention_input",
        "query.weight",
        "key.weight",
        "value.weight",
    ]
    # the rows are read once, not three times
    assert qkv.read_bytes == 2 * (4096 + 4096 * 6144)
    assert [t.name for t in qkv.writes] == ["query", "key", "value"]
    assert qkv.fused == ("matmul", "matmul", "matmul")


def test_fused_attention_never_stores_the_scores() -> None:
    fused = moment(fuse(LLAMA, Fusion(attention="fused")), "decode/layer.0/attention")
    shape = AttentionShape(1, 32, 8, 128, q_len=1, kv_len=101, causal=True)
    alone = op_counts.attention("attention", shape, "fp16", role="kv_cache")
    assert (fused.kind, fused.shape, fused.counts) == ("attention", shape, alone.counts)
    assert fused.fused == ("matmul", "softmax", "matmul")
    assert [t.name for t in fused.reads] == ["query_rotated", "key_cache", "value_cache"]
    assert (fused.read_bytes, fused.write_bytes) == (alone.read_bytes, alone.write_bytes)


def test_fused_attention_needs_less_memory_for_a_long_prompt() -> None:
    program = compile_forward(load_model("gpt2"), prompt=1024, logits="last")
    fused = fuse(program, Fusion(attention="fused"))
    # scores and probabilities of 12 heads, 1024 x 1024 each, in fp32
    assert program.footprint.activation_bytes > 2 * 12 * 1024 * 1024 * 4
    assert fused.footprint.activation_bytes < 12 * 1024 * 1024 * 4
    assert fused.footprint.weight_bytes == program.footprint.weight_bytes


def test_gate_up_and_its_epilogue() -> None:
    apart = moment(fuse(LLAMA, Fusion(epilogue=True)), "decode/layer.0/gate")
    assert apart.fused == ("matmul", "silu", "multiply")
    assert [t.name for t in apart.reads] == ["feed_forward_input", "gate.weight", "up"]
    both = moment(fuse(LLAMA, Fusion(gate_up=True, epilogue=True)), "decode/layer.0/gate_up")
    assert both.shape == MatmulShape(1, 1, 2 * 14336, 4096)
    assert both.fused == ("matmul", "matmul", "silu", "multiply")
    assert [t.name for t in both.writes] == ["gated"]


def test_an_epilogue_joins_the_product_before_it() -> None:
    up = moment(fuse(GPT2, Fusion(epilogue=True)), "prefill/layer.0/up")
    assert (up.kind, up.fused) == ("matmul", ("matmul", "gelu_tanh"))
    assert up.shape == MatmulShape(1, 8, 3072, 768)
    # 8*3072 outputs: one add for the bias, 8 vector and 1 special for gelu
    assert up.counts == OperationCounts(8 * 3072 * 768, 8 * 3072 * 9, 8 * 3072)


def test_rows_are_quantized_by_the_kernel_that_writes_them() -> None:
    plan = Quantization(weights="int8-channel", activations="int8")
    model = load_model("llama-3-8b")
    quantized = quantize(LLAMA, plan, model)
    found = names(fuse(quantized, Fusion(epilogue=True)), "layer")
    # silu, gating and quantization after the product; the norms quantize by themselves
    assert [name for name in found if name.startswith("quantize")] == [
        "quantize_attention_input",
        "quantize_context",
        "quantize_feed_forward_input",
    ]
    gate = moment(fuse(quantized, Fusion(epilogue=True)), "decode/layer.0/gate")
    assert gate.fused == ("matmul", "silu", "multiply", "quantize")
    assert [t.name for t in gate.writes] == ["gated_int8"]
    normed = fuse(quantized, Fusion(residual_norm=True))
    norm = moment(normed, "decode/layer.0/feed_forward_norm")
    assert norm.fused == ("add", "rms_norm", "quantize")
    # the sum goes on to the next one; of the norm's rows only the quantized are stored
    assert [t.name for t in norm.writes] == ["attended", "feed_forward_input_int8"]
    # attention's rows are quantized by a kernel of their own
    alone = fuse(quantized, ALL)
    assert "quantize_context" in names(alone, "layer")
    assert "quantize_gated" not in names(alone, "layer")


def test_a_residual_sum_joins_the_norm_that_follows() -> None:
    norm = moment(fuse(BERT, Fusion(residual_norm=True)), "prefill/layer.0/attention_norm")
    assert (norm.kind, norm.fused) == ("layer_norm", ("add", "layer_norm"))
    assert [t.name for t in norm.reads] == ["hidden", "attention_rows", "attention_norm.weight"]
    # the sum itself is read by nobody else and vanishes
    assert [t.name for t in norm.writes] == ["attended"]
    pre = moment(fuse(GPT2, Fusion(residual_norm=True)), "prefill/layer.0/feed_forward_norm")
    # the sum is the residual stream, which the next sum reads too
    assert [t.name for t in pre.writes] == ["attended", "feed_forward_input"]


def test_the_first_layer_keeps_its_norm_where_nothing_comes_before() -> None:
    program = compile_forward(load_model("gpt2"), prompt=4, body_only=True)
    fused = fuse(program, Fusion(residual_norm=True))
    assert [(r.segment.name, r.count) for r in fused.passes[0].repeats] == [
        ("first_layer", 1),
        ("layer", 10),
        ("last_layer", 1),
    ]
    assert names(fused, "first_layer")[0] == "attention_norm"
    assert names(fused, "last_layer")[-1] == "feed_forward_residual"
    assert fused.counts == program.counts


def test_separate_attention_is_split_heads() -> None:
    assert fuse(LLAMA, Fusion(attention="separate")).passes == split_heads(LLAMA).passes


def test_an_unknown_form_of_attention_raises() -> None:
    wrong: Any = "flash"
    with pytest.raises(ValueError, match="attention = 'flash'"):
        fuse(BERT, Fusion(attention=wrong))


def test_each_distinct_segment_is_worked_on_once() -> None:
    fused = fuse(compile_forward(load_model("gpt2"), prompt=8, generate=50), ALL)
    segments = {id(r.segment) for p in fused.passes for r in p.repeats}
    # embed, layer, last layer, output of the prefill; embed and output of the steps; two
    # layers for each of 49 contexts
    assert len(segments) == 4 + 2 + 2 * 49


def test_what_would_close_a_cycle_is_not_merged() -> None:
    first = op_counts.copy("a", "output", elements=1, dtype="fp32", target="x")
    second = op_counts.copy("b", "output", elements=1, dtype="fp32", source="x", target="y")
    third = op_counts.add("c", "output", elements=1, dtype="fp32", sources=("x", "y"))
    segment = Segment.from_moments("s", [first, second, third])
    merge = Merge((0, 2), 0, "ac", "copy", first.shape)
    assert contract(segment, [merge], frozenset()) == segment
    fourth = op_counts.copy("d", "output", elements=1, dtype="fp32", source="output", target="z")
    longer = Segment.from_moments("s", [*segment.moments, fourth])
    both = Merge((2, 3), 2, "cd", "add", third.shape)
    crossing = Merge((0, 2), 0, "ac", "copy", first.shape)
    assert contract(longer, [crossing], frozenset()) == longer
    made = contract(longer, [Merge((0, 1), 0, "ab", "copy", first.shape), both], frozenset())
    assert [moment.name for moment in made.moments] == ["ab", "cd"]


def test_a_sum_stays_apart_from_a_norm_that_waits_for_what_follows_it() -> None:
    """The sum and the norm behind a layer were one kernel, which then reads the sum before too."""

    def total(name: str, sources: tuple[str, str], target: str) -> Moment:
        return op_counts.add(
            name, "output", elements=8, dtype="fp32", sources=sources, target=target,
            group="residual_norm",
        )  # fmt: skip

    first = total("first", ("x", "y"), "sum")
    product = op_counts.linear(
        "product", "output", m=1, k=8, n=8, dtype="fp32", source="sum", target="rows"
    )
    second = total("second", ("sum", "rows"), "out")
    norm = op_counts.layer_norm(
        "norm", "output", rows=1, columns=8, dtype="fp32", source="out", target="z",
        group="residual_norm",
    )  # fmt: skip
    segment = Segment.from_moments("s", [first, product, second, norm])
    program = Program(
        "p", (Pass("x", "operator", 1, 0, (Repeat(segment),)),), 1, "fp32", Footprint(0, 0, 0)
    )
    once = fuse(program, Fusion(residual_norm=True))
    assert [m.name for m in once.passes[0].repeats[0].segment.moments] == [
        "first", "product", "norm"
    ]  # fmt: skip
    assert fuse(once, Fusion(residual_norm=True)).passes == once.passes


@settings(max_examples=200, deadline=None)
@given(programs(), fusions)
def test_fusion_conserves_counts_and_order(case: tuple[Model, Program], fusion: Fusion) -> None:
    _, program = case
    fused = fuse(program, fusion)
    assert counts_by_pass(fused) == counts_by_pass(program)
    assert weight_bytes(fused) == weight_bytes(program)
    assert fused.footprint.weight_bytes == program.footprint.weight_bytes
    flat = flatten(fused)
    for number, following in enumerate(flat.successors):
        assert all(number < consumer for consumer in following)
    assert len({flat.name(i) for i in range(len(flat))}) == len(flat)
    assert kinds(fused) == kinds(program, split=fusion.attention == "separate")


def kinds(program: Program, split: bool = False) -> list[str]:
    """The kinds of all operations, those inside merged moments too."""
    program = split_heads(program) if split else program
    return sorted(kind for m in flatten(program).moments for kind in (m.fused or (m.kind,)))


@settings(max_examples=100, deadline=None)
@given(programs(), fusions)
def test_fusion_keeps_who_waits_for_whom(case: tuple[Model, Program], fusion: Fusion) -> None:
    """Every path between the two ends of a program is still there: nothing overtakes."""
    _, program = case
    assert longest_matrix_chain(fuse(program, fusion)) >= longest_matrix_chain(program)


def longest_matrix_chain(program: Program) -> int:
    """The most MACs on any path: merging can only lengthen it."""
    flat = flatten(program if any_split(program) else split_heads(program))
    chain = [0] * len(flat)
    for number, producers in enumerate(flat.predecessors):
        before = max((chain[p] for p in producers), default=0)
        chain[number] = before + flat.moments[number].counts.macs
    return max(chain)


def any_split(program: Program) -> bool:
    return all(m.parts == 1 for m in flatten(program).moments)
