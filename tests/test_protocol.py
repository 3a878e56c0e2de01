"""How sources measured: which library, how calls follow each other, what precedes attention."""

from __future__ import annotations

import pytest

from simulator.cases import Case
from simulator.operators import operator_program
from simulator.protocol import calls_in_a_row, library_of, prepares_attention
from workloads.moment import AttentionShape


def attention_case(
    source: str, conditions: str, *, q_len: int = 64, causal: int = 1, heads: int = 64
) -> Case:
    return Case(
        case_id="0", hardware="nvidia-h100-sxm5-80gb", devices=1, runtime="kernel", workload="",
        what="attention", dtype="bf16", weight_dtype="bf16",
        sizes={
            "batch": 1, "heads": heads, "kv_heads": 1, "head_dim": 64, "q_len": q_len,
            "kv_len": 64, "causal": causal,
        },
        measured_us=10.0, source=source, conditions=conditions,
    )  # fmt: skip


AIC = "aiconfigurator_core 0.12.0"


@pytest.mark.parametrize(
    ("conditions", "library"),
    [
        ("frameworks=vllm", "vllm"),
        ("frameworks=trtllm; kv_dtype=bf16", "trtllm"),
        ("frameworks=sglang+vllm", "aiconfigurator_core"),
        ("", "aiconfigurator_core"),
    ],
)
def test_one_framework_alone_is_the_library(conditions: str, library: str) -> None:
    assert library_of(attention_case(AIC, conditions)) == library


def test_infersim_times_attention_back_to_back() -> None:
    case = attention_case("infersim f2293dab6d23", "")
    assert calls_in_a_row(case) > 1
    assert calls_in_a_row(attention_case(AIC, "frameworks=vllm")) == 1


def test_a_kernel_precedes_attention_on_new_tokens_of_decoders() -> None:
    def moments(conditions: str, q_len: int = 64, causal: int = 1) -> list[str]:
        case = attention_case(AIC, conditions, q_len=q_len, causal=causal)
        return [m.name for m in operator_program(case).passes[0].repeats[0].segment.moments]

    assert prepares_attention(attention_case(AIC, "frameworks=vllm"))
    assert moments("frameworks=vllm") == ["plan", "attention"]
    assert moments("frameworks=trtllm") == ["append", "attention"]
    assert moments("frameworks=vllm", causal=0) == ["attention"]
    assert moments("frameworks=vllm", q_len=1) == ["attention"]


def test_what_a_library_does_with_heads_and_keys() -> None:
    def shape(source: str, conditions: str) -> AttentionShape:
        program = operator_program(attention_case(source, conditions, q_len=1))
        found = program.passes[0].repeats[0].segment.moments[-1].shape
        assert isinstance(found, AttentionShape)
        return found

    assert (shape(AIC, "frameworks=trtllm").packed, shape(AIC, "frameworks=vllm").packed) == (32, 0)
    assert shape("frontier a4b22df82118", "FlashInfer; 1 us resolution").divided
    assert not shape(AIC, "frameworks=vllm").divided
