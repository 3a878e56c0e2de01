"""Quantization: exact bytes by hand, the compiler's own path again, moments that it adds."""

from __future__ import annotations

import pytest
from hypothesis import given

from tests.programs import moment
from tests.random_models import models
from workloads import (
    InputError,
    Model,
    Moment,
    Program,
    Quantization,
    compile_forward,
    fuse,
    list_models,
    load_model,
    quantize,
)
from workloads.matrices import _number, _products, _width, body_matrices, head_matrix
from workloads.moment import WEIGHT_FORMAT_BYTES, MatmulShape, RowShape
from workloads.stored import CHANNEL_FORMATS, Stored
from workloads.transforms.fusion import Fusion

MODEL = load_model("llama-3-8b")
LLAMA = compile_forward(MODEL, context=100, dtype="fp16")
GPT2_MODEL = load_model("gpt2")
GPT2 = compile_forward(GPT2_MODEL, prompt=8, generate=2, dtype="fp16")

UP = "decode/layer.0/up"
"""4096 x 14336 = 58,720,256 weights."""


def weights(found: Moment) -> list[tuple[str, int]]:
    return [(t.name, t.bytes) for t in found.reads if t.role == "weight"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("int8", 58_720_256),
        ("fp8", 58_720_256),
        ("int4", 29_360_128),
        ("int8-g128", 58_720_256 // 128 * 130),  # 59,637,760
        ("int4-g32", 58_720_256 // 32 * (16 + 2)),  # 33,030,144
        ("int4-g64", 58_720_256 // 64 * (32 + 2)),  # 31,195,136
        ("int4-g128", 58_720_256 // 128 * (64 + 2)),  # 30,277,632
        ("q4_0", 33_030_144),  # 16 bytes of values and a scale
        ("q4_1", 58_720_256 // 32 * (16 + 2 + 2)),  # a minimum too
        ("q5_0", 58_720_256 // 32 * (16 + 4 + 2)),  # 32 fifth bits
        ("q5_1", 58_720_256 // 32 * (16 + 4 + 2 + 2)),
        ("q8_0", 58_720_256 // 32 * (32 + 2)),
        # k-quants, 256 weights: values + scales + super-block's scales
        ("q2_k", 58_720_256 // 256 * (64 + 16 + 4)),
        ("q3_k", 58_720_256 // 256 * (64 + 32 + 12 + 2)),
        ("q4_k", 58_720_256 // 256 * (128 + 12 + 4)),
        ("q5_k", 58_720_256 // 256 * (128 + 32 + 12 + 4)),
        ("q6_k", 58_720_256 // 256 * (128 + 64 + 16 + 2)),
        ("iq1_s", 58_720_256 // 256 * (32 + 16 + 2)),
        ("iq1_m", 58_720_256 // 256 * (32 + 16 + 8)),  # the scale is spread over spare bits
        ("iq2_xxs", 58_720_256 // 256 * (64 + 2)),
        ("iq2_xs", 58_720_256 // 256 * (64 + 8 + 2)),
        ("iq2_s", 58_720_256 // 256 * (64 + 8 + 8 + 2)),
        ("iq3_xxs", 58_720_256 // 256 * (96 + 2)),
        ("iq3_s", 58_720_256 // 256 * (64 + 8 + 32 + 4 + 2)),
        ("iq4_nl", 33_030_144),
        ("iq4_xs", 58_720_256 // 256 * (128 + 4 + 2 + 2)),
        ("tq1_0", 58_720_256 // 256 * (48 + 4 + 2)),  # five ternary digits a byte for 240 of 256
        ("tq2_0", 58_720_256 // 256 * (64 + 2)),
        ("mxfp4", 58_720_256 // 32 * (16 + 1)),  # a byte of exponent
        ("nvfp4", 58_720_256 // 64 * (32 + 4)),  # an fp8 scale for each 16
        ("iq2_m", 19_818_087),  # 58,720,256 * 2.7 / 8 = 19,818,086.4, rounded up
        ("q2_k_s", 19_304_285),  # 2.63 bits
        ("q3_k_s", 25_690_112),  # 3.5 bits
        ("q3_k_m", 28_699_526),  # 3.91 bits: 28,699,525.1
        ("q4_k_s", 33_617_347),  # 4.58 bits: 33,617,346.6
        ("q4_k_m", 35_599_156),  # 4.85 bits: 35,599,155.2
        ("q5_k_s", 40_663_778),  # 5.54 bits: 40,663,777.3
        ("q5_k_m", 41_764_783),  # 5.69 bits: 41,764,782.1
    ],
)
def test_bytes_of_each_format(name: str, expected: int) -> None:
    assert weights(moment(quantize(LLAMA, Quantization(weights=name), MODEL), UP)) == [
        ("up.weight", expected)
    ]


def test_every_format_is_worked_out_above() -> None:
    marks = test_bytes_of_each_format.pytestmark  # type: ignore[attr-defined]
    done = {name for mark in marks for name, _ in mark.args[1]}
    assert set(WEIGHT_FORMAT_BYTES) <= done


@pytest.mark.parametrize("name", sorted(CHANNEL_FORMATS))
def test_a_scale_for_each_channel(name: str) -> None:
    found = moment(quantize(LLAMA, Quantization(weights=name), MODEL), UP)
    values = 58_720_256 // (2 if name.startswith("int4") else 1)
    assert weights(found) == [("up.weight", values), ("up.scales", 2 * 14336)]
    # each of the 14,336 outputs times its scale
    assert found.counts.vector_ops == 14336
    assert found.counts.macs == 58_720_256


FORMATS = ("int8", "fp8", "int4", "q4_0", "q8_0", "q4_k_m", "int4-g128", "int4-g64")


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize(
    "workload",
    ["llama-3-8b", "gpt2", "bert-base", "mixtral-8x7b", "t5-small", "whisper-tiny", "swin-tiny",
     "albert-base-v2", "opt-125m"],
)  # fmt: skip
def test_it_is_what_the_compiler_makes_with_such_weights(workload: str, name: str) -> None:
    model = load_model(workload)
    prompt = model.fixed_input or 8
    body = {"prompt": prompt, "body_only": True}
    for request in ({"prompt": prompt}, body):
        plain = compile_forward(model, dtype="fp16", **request)  # type: ignore[arg-type]
        stored = compile_forward(model, dtype="fp16", weight_dtype=name, **request)  # type: ignore[arg-type]
        assert quantize(plain, Quantization(weights=name), model) == stored


def test_footprint_with_scales() -> None:
    # 6,979,321,856 weights in 32 layers and 525,336,576 in the head
    body, head = body_matrices(MODEL), head_matrix(MODEL)
    assert (body.elements, body.count) == (6_979_321_856, 32 * 7)
    # per layer: q 4096, k 1024, v 1024, o 4096, gate and up 14336 each, down 4096
    assert body.rows == 32 * 43_008
    assert (head.elements, head.rows) == (525_336_576, 128_256)
    found = quantize(LLAMA, Quantization(weights="int8-channel"), MODEL).footprint
    rest = LLAMA.footprint.weight_bytes - 2 * (body.elements + head.elements)
    scales = 2 * (body.rows + head.rows)
    assert found.weight_bytes == rest + body.elements + head.elements + scales
    assert found.kv_cache_bytes == LLAMA.footprint.kv_cache_bytes


def test_the_head_may_be_kept_or_taken_along() -> None:
    name = "decode/output/lm_head"
    kept = quantize(LLAMA, Quantization(weights="int8", head=False), MODEL)
    assert moment(kept, name) == moment(LLAMA, name)
    both = quantize(LLAMA, Quantization(weights="int8"), MODEL)
    assert kept.footprint.weight_bytes - both.footprint.weight_bytes == 525_336_576
    # GPT-2's head is its table: kept unless asked for, and then a matrix beside the table
    tied = "prefill/output/lm_head"
    body = quantize(GPT2, Quantization(weights="int8"), GPT2_MODEL)
    assert moment(body, tied) == moment(GPT2, tied)
    whole = quantize(GPT2, Quantization(weights="int8", head=True), GPT2_MODEL)
    assert weights(moment(whole, tied)) == [("lm_head.weight", 50257 * 768)]
    assert whole.footprint.weight_bytes - body.footprint.weight_bytes == 50257 * 768
    table = "prefill/embed/token_embedding"
    assert moment(whole, table) == moment(GPT2, table)


def test_fused_products_keep_a_matrix_each() -> None:
    fused = fuse(LLAMA, Fusion(qkv=True))
    found = moment(
        quantize(fused, Quantization(weights="int8-channel"), MODEL), "decode/layer.0/qkv"
    )
    assert weights(found) == [
        ("query.weight", 4096 * 4096), ("query.scales", 2 * 4096),
        ("key.weight", 4096 * 1024), ("key.scales", 2 * 1024),
        ("value.weight", 4096 * 1024), ("value.scales", 2 * 1024),
    ]  # fmt: skip
    first = quantize(LLAMA, Quantization(weights="int8-channel"), MODEL)
    assert fuse(first, Fusion(qkv=True)) == quantize(
        fused, Quantization(weights="int8-channel"), MODEL
    )


def test_weights_that_are_written_out_first() -> None:
    found = quantize(LLAMA, Quantization(weights="int4-g128", dequantize=True), MODEL)
    made = moment(found, "decode/layer.0/dequantize_up")
    assert (made.kind, made.read_bytes, made.write_bytes) == (
        "dequantize", 30_277_632, 2 * 58_720_256,
    )  # fmt: skip
    assert made.counts.vector_ops == 5 * 58_720_256  # shift, mask, convert, subtract, multiply
    product = moment(found, UP)
    assert [(t.name, t.bytes, t.role) for t in product.reads] == [
        ("feed_forward_input", 2 * 4096, "activation"),
        ("up.weight.unpacked", 2 * 58_720_256, "activation"),
    ]
    assert (product.counts, product.weight_dtype) == (moment(LLAMA, UP).counts, "fp16")
    # what is written out must have room: the largest matrix, the head, while it is multiplied
    more = found.footprint.activation_bytes - LLAMA.footprint.activation_bytes
    assert more > 2 * 525_336_576 - 2**20
    scaled = quantize(LLAMA, Quantization(weights="int8-channel", dequantize=True), MODEL)
    made = moment(scaled, "decode/layer.0/dequantize_up")
    assert made.read_bytes == 58_720_256 + 2 * 14336
    assert made.counts.vector_ops == 2 * 58_720_256  # convert, multiply
    assert moment(scaled, UP).counts == moment(LLAMA, UP).counts


@pytest.mark.parametrize(
    ("name", "bits", "packing", "divisions", "unpacking"),
    [("fp8", 8, 4, 0, 2), ("int8", 8, 4, 0, 2), ("int4-g64", 4.25, 6, 1024 // 64, 5),
     ("q8_0", 8.5, 6, 1024 // 32, 2)],
)  # fmt: skip
def test_a_quantized_cache(
    name: str, bits: float, packing: int, divisions: int, unpacking: int
) -> None:
    found = quantize(LLAMA, Quantization(kv=name), MODEL)
    # 8 heads of 128 for the new position, 101 positions in all
    append = moment(found, "decode/layer.0/append_key")
    assert append.write_bytes == 1024 * bits / 8
    assert append.read_bytes == 2 * 1024
    assert (append.counts.vector_ops, append.counts.special_ops) == (packing * 1024, divisions)
    before, after = (moment(p, "decode/layer.0/scores") for p in (LLAMA, found))
    assert [t.bytes for t in after.reads] == [before.reads[0].bytes, 101 * 1024 * bits / 8]
    assert after.counts.vector_ops == unpacking * 101 * 1024
    assert after.counts.macs == before.counts.macs
    assert found.footprint.kv_cache_bytes == 32 * 2 * 101 * 1024 * bits / 8
    assert found.footprint.weight_bytes == LLAMA.footprint.weight_bytes


def test_activations_are_quantized_once_for_all_that_read_them() -> None:
    plan = Quantization(weights="int8-channel", activations="int8")
    found = quantize(LLAMA, plan, MODEL)
    layer = [m.name for m in found.passes[0].repeats[1].segment.moments]
    assert [name for name in layer if name.startswith("quantize")] == [
        "quantize_attention_input",
        "quantize_context",
        "quantize_feed_forward_input",
        "quantize_gated",
    ]
    made = moment(found, "decode/layer.0/quantize_attention_input")
    assert (made.kind, made.shape) == ("quantize", RowShape(1, 4096))
    assert (made.read_bytes, made.write_bytes) == (2 * 4096, 4096 + 2)
    assert (made.counts.vector_ops, made.counts.special_ops) == (4 * 4096, 1)
    product = moment(found, "decode/layer.0/query")
    assert (product.dtype, product.shape) == ("int8", MatmulShape(1, 1, 4096, 4096))
    # times the scale of the channel and of the row
    assert product.counts.vector_ops == 2 * 4096
    assert [t.name for t in product.reads] == [
        "attention_input_int8", "query.weight", "query.scales",
    ]  # fmt: skip
    assert moment(found, "decode/layer.0/scores").dtype == "fp16"
    assert found.counts.macs == LLAMA.counts.macs
    assert edges_of(found, "query") == {"quantize_attention_input"}


def edges_of(program: Program, name: str) -> set[str]:
    segment = program.passes[0].repeats[1].segment
    names = [m.name for m in segment.moments]
    return {names[a] for a, b in segment.edges if names[b] == name}


def test_a_head_that_is_kept_reads_what_was_not_quantized() -> None:
    plan = Quantization(weights="int8", head=False, activations="int8")
    head = moment(quantize(LLAMA, plan, MODEL), "decode/output/lm_head")
    assert head == moment(LLAMA, "decode/output/lm_head")


@pytest.mark.parametrize(
    ("plan", "said"),
    [
        (Quantization(weights="in8"), "weight_dtype = 'in8': expected one of .*mean \"int8\""),
        (Quantization(kv="q4_k"), "kv_dtype = 'q4_k': expected one of fp8, int8"),
        (Quantization(activations="fp16"), "activation_dtype = 'fp16': expected one of int8, fp8"),
        (Quantization(activations="int8"), "8 bits at most, and these are fp16; give weight_dtype"),
        (Quantization(head=True), "say in which weight_dtype"),
        (Quantization("int8", dequantize=True, activations="int8"), "give one of the two"),
    ],
)
def test_what_cannot_be(plan: Quantization, said: str) -> None:
    with pytest.raises(InputError, match=said):
        quantize(LLAMA, plan, MODEL)


def test_nothing_is_quantized_twice() -> None:
    for plan, said in (
        (Quantization(weights="int4-g32"), "query is stored as int4-g32 already"),
        (Quantization(kv="int8"), "kv_dtype = int8: key_cache is not in fp16"),
        (Quantization(weights="int4-g32", dequantize=True), "written out"),
    ):
        once = quantize(LLAMA, plan, MODEL)
        with pytest.raises(InputError, match=said):
            quantize(once, plan, MODEL)


def values(model: Model) -> int:
    """Weights of all matrices but the head's, from the rows and depths of what is multiplied."""
    found = 0
    for count, product in _products(model):
        assert isinstance(product.shape, MatmulShape)
        found += count * _width(product) * _number(model, product) * product.shape.k
    return found


RARE = {"transformer-xl-large": 1024 * (256 + 64 + 16)}
"""Projections of rare tokens, which an adaptive input has and no moment multiplies with."""


def test_channels_of_every_bundled_model() -> None:
    """The enumeration of rows multiplies out to the values that are counted by formula."""
    for name in list_models():
        model = load_model(name)
        assert body_matrices(model).elements == values(model) + RARE.get(name, 0), name


@given(models())
def test_channels_of_any_model(model: Model) -> None:
    assert body_matrices(model).elements == values(model)


def test_bytes_of_values_and_scales() -> None:
    assert Stored("int8", channels=True).total_bytes(1000, 10) == 1000 + 20
    assert Stored("fp16").total_bytes(1000, 10) == 2000
