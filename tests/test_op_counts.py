"""Each formula with one worked number, the arithmetic beside it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args

import pytest

from workloads import op_counts
from workloads.moment import (
    AttentionShape,
    ElementShape,
    Kind,
    MatmulShape,
    Moment,
    OperationCounts,
    RowShape,
    Tensor,
)


def test_linear() -> None:
    moment = op_counts.linear("up", "feed_forward", m=2, n=5, k=3, dtype="fp32")
    # macs 2*5*3 = 30; bias 2*5 = 10 adds
    assert moment.counts == OperationCounts(macs=30, vector_ops=10)
    assert moment.shape == MatmulShape(1, 2, 5, 3)
    # fp32: input 2*3*4 = 24, weight 5*3*4 = 60, bias 5*4 = 20; output 2*5*4 = 40
    assert moment.reads == (
        Tensor("input", 24, "activation"),
        Tensor("up.weight", 60, "weight"),
        Tensor("up.bias", 20, "weight"),
    )
    assert moment.writes == (Tensor("output", 40, "activation"),)


def test_linear_without_bias_and_with_narrow_weights() -> None:
    moment = op_counts.linear(
        "up", "feed_forward", m=2, n=5, k=3, dtype="fp16", weight_dtype="int4", bias=False
    )
    assert moment.counts == OperationCounts(macs=30)
    # fp16: input 2*3*2 = 12; int4: weight 15 * 4 bits = 60 bits = 7.5, rounded up to 8 bytes
    assert [tensor.bytes for tensor in moment.reads] == [12, 8]


def test_matmul() -> None:
    moment = op_counts.matmul("product", "attention", batch=4, m=2, n=5, k=3, dtype="bf16")
    # macs 4*2*5*3 = 120
    assert moment.counts == OperationCounts(macs=120)
    # bf16: left 4*2*3*2 = 48, right 4*3*5*2 = 120, output 4*2*5*2 = 80
    assert (moment.read_bytes, moment.write_bytes) == (48 + 120, 80)
    assert moment.parts == 4


GROUPED = AttentionShape(batch=2, heads=4, kv_heads=2, head_dim=8, q_len=3, kv_len=5, causal=True)


def test_attention_scores() -> None:
    moment = op_counts.attention_scores("scores", GROUPED, "fp32")
    # macs 2*4 heads * 3 queries * 5 keys * 8 = 960, masked ones too
    assert moment.counts == OperationCounts(macs=960)
    assert moment.shape == MatmulShape(batch=8, m=3, n=5, k=8)
    # queries 2*4*3*8*4 = 768; keys of 2 key-value heads 2*2*5*8*4 = 640; scores 2*4*3*5*4 = 480
    assert moment.reads == (
        Tensor("query", 768, "activation"),
        Tensor("key", 640, "activation"),
    )
    assert moment.write_bytes == 480
    assert moment.parts == 8


def test_attention_softmax() -> None:
    moment = op_counts.attention_softmax("softmax", GROUPED, "fp32")
    # 2*4*3 = 24 rows of 5 = 120 scores; per score 3 + scale + mask = 5 vector and 2 special
    assert moment.counts == OperationCounts(vector_ops=600, special_ops=240)
    assert moment.shape == RowShape(24, 5)


def test_softmax_of_one_query_has_no_mask() -> None:
    one = AttentionShape(2, 4, 2, 8, q_len=1, kv_len=5, causal=True)
    # 8 rows of 5 = 40 scores; 3 + scale = 4 vector
    assert op_counts.attention_softmax("softmax", one, "fp32").counts.vector_ops == 160


def test_attention_context() -> None:
    moment = op_counts.attention_context("context", GROUPED, "fp32", role="kv_cache")
    assert moment.counts == OperationCounts(macs=960)
    assert moment.shape == MatmulShape(batch=8, m=3, n=8, k=5)
    # probabilities 480; values of 2 key-value heads 640; output 2*4*3*8*4 = 768
    assert [tensor.bytes for tensor in moment.reads] == [480, 640]
    assert moment.reads[1].role == "kv_cache"
    assert moment.write_bytes == 768


def test_fused_attention_is_the_sum_of_its_three_steps_without_the_scores() -> None:
    moment = op_counts.attention("attention", GROUPED, "fp32")
    # macs 2 * 960; softmax 600 and 240
    assert moment.counts == OperationCounts(macs=1920, vector_ops=600, special_ops=240)
    # query 768, key 640, value 640 in; context 768 out
    assert (moment.read_bytes, moment.write_bytes) == (2048, 768)
    assert moment.shape == GROUPED


def test_softmax() -> None:
    moment = op_counts.softmax("softmax", "output", rows=2, columns=10, dtype="fp16")
    # 20 elements: 3 vector (compare, subtract, add), 2 special (exp, division)
    assert moment.counts == OperationCounts(vector_ops=60, special_ops=40)
    assert (moment.read_bytes, moment.write_bytes) == (40, 40)


def test_layer_norm_without_gain_and_bias() -> None:
    moment = op_counts.layer_norm("norm", "output", rows=2, columns=10, dtype="fp16", affine=False)
    # per row 5*10 + 1; and 3 special
    assert moment.counts == OperationCounts(vector_ops=2 * 51, special_ops=6)
    assert [tensor.bytes for tensor in moment.reads] == [2 * 2 * 10]


def test_max_pool() -> None:
    moment = op_counts.max_pool(
        "pool", "initialise", outputs=6, inputs=24, window=9, columns=5, dtype="fp32"
    )
    # eight compares for each of 6 * 5 values
    assert moment.counts == OperationCounts(vector_ops=8 * 30)
    assert (moment.read_bytes, moment.write_bytes) == (4 * 24 * 5, 4 * 6 * 5)


def test_layer_norm() -> None:
    moment = op_counts.layer_norm("norm", "output", rows=2, columns=10, dtype="fp16")
    # 2 rows of (7*10 + 1) vector, 3 special each
    assert moment.counts == OperationCounts(vector_ops=142, special_ops=6)
    # 20 elements and a gain and a bias of 10, 2 bytes each
    assert (moment.read_bytes, moment.write_bytes) == (80, 40)


def test_rms_norm() -> None:
    moment = op_counts.rms_norm("norm", "output", rows=2, columns=10, dtype="fp16")
    # 2 rows of (4*10 + 1) vector, 2 special each
    assert moment.counts == OperationCounts(vector_ops=82, special_ops=4)
    # 20 elements and a gain of 10, 2 bytes each
    assert (moment.read_bytes, moment.write_bytes) == (60, 40)


@pytest.mark.parametrize(
    ("function", "kind", "vector", "special"),
    [
        ("gelu", "gelu", 4, 1),  # x/sqrt2, 1+, x*, 0.5*; erf
        ("gelu_tanh", "gelu_tanh", 8, 1),  # x*x, x*, 0.044715*, x+, c*, 1+, x*, 0.5*; tanh
        ("silu", "silu", 2, 2),  # -x, 1+; exp, division
        ("relu", "relu", 1, 0),  # compare
        ("tanh", "tanh", 0, 1),
    ],
)
def test_activations(function: op_counts.Activation, kind: Kind, vector: int, special: int) -> None:
    moment = op_counts.activation(
        "activation", "feed_forward", function=function, elements=10, dtype="fp32"
    )
    assert moment.kind == kind
    assert moment.counts == OperationCounts(vector_ops=10 * vector, special_ops=10 * special)
    assert (moment.read_bytes, moment.write_bytes) == (40, 40)


def test_every_activation_has_a_formula_and_an_unknown_one_raises() -> None:
    assert set(op_counts.ACTIVATIONS) == set(get_args(op_counts.Activation))
    unknown: Any = "mish"
    with pytest.raises(ValueError, match="no formula for the activation 'mish'"):
        op_counts.activation("a", "feed_forward", function=unknown, elements=1, dtype="fp32")


@pytest.mark.parametrize("formula", [op_counts.add, op_counts.multiply])
def test_sums_and_products(formula: Callable[..., Moment]) -> None:
    moment = formula("sum", "initialise", elements=12, second_elements=4, dtype="fp32")
    assert moment.counts == OperationCounts(vector_ops=12)
    # 12*4 and, broadcast, 4*4 bytes in
    assert (moment.read_bytes, moment.write_bytes) == (64, 48)
    assert moment.shape == ElementShape(12)


def test_rope() -> None:
    moment = op_counts.rope(
        "rope", tokens=6, positions=3, heads=2, head_dim=8, rotary_dim=4, dtype="fp16"
    )
    # rotated 6*2*4 = 48 elements, 3 vector each
    assert moment.counts == OperationCounts(vector_ops=144)
    # all 6*2*8 = 96 elements move; the table has 3 positions * 4 (2 sines, 2 cosines)
    assert [tensor.bytes for tensor in moment.reads] == [192, 24]
    assert moment.write_bytes == 192
    with pytest.raises(ValueError, match="greater than head_dim"):
        op_counts.rope("rope", tokens=1, heads=1, head_dim=4, rotary_dim=8, dtype="fp16")


def test_embedding_counts_the_rows_that_it_gathers() -> None:
    moment = op_counts.embedding("tokens", rows=3, columns=8, dtype="fp16")
    assert moment.counts == OperationCounts()
    # 3 token numbers of 8 bytes; 3*8*2 bytes of the table in, as many out
    assert [tensor.bytes for tensor in moment.reads] == [24, 48]
    assert moment.write_bytes == 48


def test_cache_append_and_copy_only_move_bytes() -> None:
    append = op_counts.cache_append("append", elements=6, dtype="fp16")
    assert append.counts == OperationCounts()
    assert (append.read_bytes, append.write_bytes) == (12, 12)
    assert append.writes[0].role == "kv_cache"
    copied = op_counts.copy("copy", "initialise", elements=6, dtype="fp32")
    assert copied.counts == OperationCounts()
    assert (copied.read_bytes, copied.write_bytes) == (24, 24)


def test_sample() -> None:
    moment = op_counts.sample("sample", rows=2, columns=50, dtype="fp16")
    # one compare for each of 2*50 logits; 2 token numbers of 8 bytes out
    assert moment.counts == OperationCounts(vector_ops=100)
    assert (moment.read_bytes, moment.write_bytes) == (200, 16)


@pytest.mark.parametrize(
    "call",
    [
        lambda: op_counts.linear("a", "output", m=0, n=1, k=1, dtype="fp32"),
        lambda: op_counts.matmul("a", "output", batch=1, m=1, n=-1, k=1, dtype="fp32"),
        lambda: op_counts.layer_norm("a", "output", rows=0, columns=1, dtype="fp32"),
        lambda: op_counts.max_pool(
            "a", "output", outputs=1, inputs=0, window=9, columns=1, dtype="fp32"
        ),
        lambda: op_counts.rms_norm("a", "output", rows=1, columns=0, dtype="fp32"),
        lambda: op_counts.softmax("a", "output", rows=0, columns=1, dtype="fp32"),
        lambda: op_counts.activation("a", "output", function="relu", elements=0, dtype="fp32"),
        lambda: op_counts.add("a", "output", elements=0, dtype="fp32"),
        lambda: op_counts.embedding("a", rows=0, columns=1, dtype="fp32"),
        lambda: op_counts.cache_append("a", elements=0, dtype="fp32"),
        lambda: op_counts.copy("a", "output", elements=0, dtype="fp32"),
        lambda: op_counts.sample("a", rows=1, columns=0, dtype="fp32"),
        lambda: op_counts.attention(
            "a", AttentionShape(1, 1, 1, 1, q_len=0, kv_len=1, causal=False), "fp32"
        ),
    ],
)
def test_a_shape_without_work_raises_and_never_counts_0(call: Callable[[], Moment]) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        call()


def test_heads_must_be_a_multiple_of_key_value_heads() -> None:
    with pytest.raises(ValueError, match="not a multiple of kv_heads = 3"):
        op_counts.attention("a", AttentionShape(1, 4, 3, 8, 1, 1, False), "fp32")
