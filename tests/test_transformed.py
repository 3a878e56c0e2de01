"""Transforms as a scenario asks for them: the right program, notes, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from simulator import Scenario
from workloads import (
    InputError,
    Pruning,
    Quantization,
    compile_forward,
    drop_layers,
    load_model,
    prune,
    prune_heads,
    quantize,
)

H100 = "nvidia-h100-sxm5-80gb"
MODEL = load_model("llama-3-8b")
LLAMA = compile_forward(MODEL, context=100, dtype="fp16")


def scenario(**options: Any) -> Scenario:
    return Scenario("llama-3-8b", options.pop("on", H100), context=100, **options)


def test_plain_weight_dtype_is_the_compilers() -> None:
    found = scenario(weight_dtype="int4-g128").prepared()
    assert found.program == compile_forward(
        MODEL, context=100, dtype="fp16", weight_dtype="int4-g128"
    )
    assert found.changes == ("quantized weights: 4.92 GB instead of 16.1 GB",)
    assert found.changes[0] in found.notes


def test_everything_together() -> None:
    found = scenario(
        weight_dtype="int8-channel", quantize_head=False, kv_dtype="fp8", activation_dtype="int8",
        prune="2:4", prune_heads=4, drop_layers="20-23,30",
    ).prepared()  # fmt: skip
    model = drop_layers(prune_heads(MODEL, 4), (20, 21, 22, 23, 30))
    program = compile_forward(model, context=100, dtype="fp16")
    program = prune(program, Pruning(0.5, "2:4"), model)
    plan = Quantization("int8-channel", head=False, kv="fp8", activations="int8")
    assert found.program == quantize(program, plan, model)
    assert found.changes[:2] == ("28 of 32 heads a layer are left", "27 of 32 layers are left")
    assert f"{H100} halves their time" in found.changes[2]


def test_a_density() -> None:
    found = scenario(density=0.25, sparse_format="csr").prepared()
    assert found.program == prune(LLAMA, Pruning(0.25, "csr"), MODEL)
    assert "does all of them, unless its runtime skips zeros" in found.changes[0]
    assert scenario(density=0.25).prepared().program == prune(LLAMA, Pruning(0.25), MODEL)
    old = scenario(on="nvidia-v100-sxm2-32gb", prune="2:4").prepared()
    assert "does not halve their time" in old.changes[0]


def test_layers_by_count_and_by_number() -> None:
    assert scenario(drop_layers="8").prepared().model == drop_layers(MODEL, 8)
    assert scenario(drop_layers="8-8").prepared().model == drop_layers(MODEL, (8,))
    assert scenario(drop_layers="3,7").prepared().model == drop_layers(MODEL, (3, 7))


def test_fusions_reach_the_run() -> None:
    one = scenario(runtime="vllm").run()
    other = scenario(runtime="vllm", no_fuse="qkv,gate_up").run()
    # 2 more products of each of 32 layers, and 1 more
    assert other.program.moment_count - one.program.moment_count == 32 * 3
    assert other.program.counts == one.program.counts


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"activation_dtype": "fp8", "weight_dtype": "fp8", "on": "nvidia-a100-sxm4-80gb"},
         "activation_dtype = fp8: nvidia-a100-sxm4-80gb has no unit for products in fp8; it has"),
        ({"prune": "4:8"}, "prune = '4:8': expected 2:4"),
        ({"prune": "2:4", "density": 0.5}, "has a density and a format of its own"),
        ({"sparse_format": "csr"}, "say how many weights are left, with density"),
        ({"density": 0.5, "sparse_format": "2:4"}, "for 2:4 give prune = 2:4"),
        ({"density": 0.5, "sparse_format": "coo"}, "expected none, bitmap or csr"),
        ({"drop_layers": "3;7"}, "drop_layers = '3;7': expected how many layers"),
        ({"drop_layers": "7-3"}, "7-3 goes backwards"),
        ({"drop_layers": "0"}, "expected 1 to 31"),
    ],
)  # fmt: skip
def test_what_cannot_be(options: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        scenario(**options).prepared()


@pytest.mark.parametrize(
    "options",
    [
        {"weight_dtype": "int8-channel", "activation_dtype": "int8", "kv_dtype": "fp8"},
        {"weight_dtype": "int4-g128", "dequantize": True, "prune_heads": 16},
        {"prune": "2:4"},
    ],
)
def test_a_part_of_a_spread_model_is_transformed_too(options: dict[str, Any]) -> None:
    whole = scenario(on="nvidia-h200-sxm-141gb", **options).prepared().program
    half = scenario(on="nvidia-h200-sxm-141gb", tensor_parallel=2, **options).prepared().program
    assert 2 * half.counts.macs == whole.counts.macs
    kinds = [{m.kind for i in p.instances() for m in i.segment.moments} for p in (whole, half)]
    assert kinds[0] <= kinds[1]
    # all but the norms and the scales of rows is divided
    assert 2 * half.footprint.weight_bytes == pytest.approx(whole.footprint.weight_bytes, rel=1e-3)
    for moment in (m for i in half.instances() for m in i.segment.moments):
        if moment.kind == "quantize":
            assert moment.reads[0].bytes == 2 * moment.reads[0].elements
