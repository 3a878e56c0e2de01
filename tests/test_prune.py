"""Pruning: bytes of sparse storage by hand, time only where it can be saved, heads and layers."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardware_profiles import load_profile
from hardware_profiles.schema import Widths
from simulator import simulate
from simulator.runtime import LibraryTable, Runtime, load_runtime
from tests.programs import counts_by_pass, moment
from workloads import (
    InputError,
    Model,
    Pruning,
    Quantization,
    compile_forward,
    drop_layers,
    load_model,
    prune,
    prune_heads,
    quantize,
)
from workloads.stored import Sparsity, Stored

MODEL = load_model("llama-3-8b")
LLAMA = compile_forward(MODEL, context=100, dtype="fp16")
UP = "decode/layer.0/up"
WEIGHTS = 4096 * 14336
H100 = load_profile("nvidia-h100-sxm5-80gb")


@pytest.mark.parametrize(
    ("plan", "expected"),
    [
        (Pruning(0.5), 2 * WEIGHTS),
        # half the values of 2 bytes, a bit for each weight
        (Pruning(0.5, "bitmap"), WEIGHTS + WEIGHTS // 8),
        (Pruning(0.25, "bitmap"), WEIGHTS // 2 + WEIGHTS // 8),
        # a tenth of the values, 5,872,026 rounded up: 2 + 4 bytes each, 14,336 rows and the end
        (Pruning(0.1, "csr"), 6 * 5_872_026 + 4 * 14_337),
        (Pruning(0.5, "2:4"), 2 * WEIGHTS * 9 // 16),
    ],
)
def test_bytes(plan: Pruning, expected: int) -> None:
    found = prune(LLAMA, plan, MODEL)
    (weight,) = (t for t in moment(found, UP).reads if t.role == "weight")
    assert weight.bytes == expected
    # counts are those of the dense product, and what matters of them stands apart
    assert counts_by_pass(found) == counts_by_pass(LLAMA)
    kept = {0.5: WEIGHTS // 2, 0.25: WEIGHTS // 4, 0.1: 5_872_026}[plan.density]
    assert moment(found, UP).effective_macs == kept
    assert moment(LLAMA, UP).effective_macs == WEIGHTS
    # tables, norms and the head stay as they are
    head = "decode/output/lm_head"
    assert moment(found, head) == moment(LLAMA, head)


def test_footprint() -> None:
    body = 6_979_321_856  # all matrices but the head
    found = prune(LLAMA, Pruning(0.5, "2:4"), MODEL).footprint
    assert LLAMA.footprint.weight_bytes - found.weight_bytes == 2 * body * 7 // 16
    found = prune(LLAMA, Pruning(0.25, "csr"), MODEL).footprint
    # 224 matrices with 32 x 43,008 rows
    stored = 2 * body // 4 + 4 * (body // 4 + 32 * 43_008 + 224)
    assert found.weight_bytes - LLAMA.footprint.weight_bytes == stored - 2 * body


def test_two_of_four_in_int8() -> None:
    # half of the bytes and 2 bits of place for each that is left: 4 + 1 of 8 bits
    one = quantize(prune(LLAMA, Pruning(0.5, "2:4"), MODEL), Quantization("int8"), MODEL)
    other = prune(quantize(LLAMA, Quantization("int8"), MODEL), Pruning(0.5, "2:4"), MODEL)
    (weight,) = (t for t in moment(one, UP).reads if t.role == "weight")
    assert weight.bytes == WEIGHTS * 5 // 8
    assert one == other


@given(st.integers(1, 10**9), st.floats(0.01, 1), st.sampled_from(["none", "bitmap", "2:4"]))
def test_dense_matrices_are_a_limit(elements: int, density: float, storage: str) -> None:
    kept = Sparsity(density, storage).kept(elements)  # type: ignore[arg-type]
    assert density * elements - 1e-6 * elements <= kept <= elements
    thin = Stored("fp16", sparsity=Sparsity(density, storage))  # type: ignore[arg-type]
    assert 0 < thin.total_bytes(elements, 1) <= 2 * elements + -(-elements // 4)


PROMPT = compile_forward(MODEL, prompt=4096, dtype="fp16", logits="last")


def test_two_of_four_saves_time_where_the_matrix_unit_is_made_for_it() -> None:
    sparse = prune(PROMPT, Pruning(0.5, "2:4"), MODEL)
    dense_run, sparse_run = (simulate(p, H100, "vllm") for p in (PROMPT, sparse))
    assert 1.4 < dense_run.cycles / sparse_run.cycles < 2
    assert sparse_run.bounds_s["roofline"] < sparse_run.latency_s
    assert sparse_run.utilization["mfu"] < 1
    # V100 has no such unit, and bytes are no bottleneck of a long prompt
    old = load_profile("nvidia-v100-sxm2-32gb")
    assert simulate(sparse, old, "vllm").cycles == pytest.approx(
        simulate(PROMPT, old, "vllm").cycles, rel=0.02
    )


def skipping(runtime: Runtime) -> Runtime:
    library = LibraryTable(source="for this test", skips_zeros=True)
    assert runtime.gpu is not None
    section = runtime.gpu.model_copy(update={"library": library})
    return runtime.model_copy(update={"gpu": section})


def test_other_zeros_save_time_only_where_a_runtime_skips_them() -> None:
    sparse = prune(PROMPT, Pruning(0.1, "bitmap"), MODEL)
    runtime = load_runtime("vllm")
    assert simulate(sparse, H100, runtime).cycles > 0.95 * simulate(PROMPT, H100, runtime).cycles
    runs = [simulate(p, H100, skipping(runtime)) for p in (PROMPT, sparse)]
    left = sum(m.effective_macs for m in runs[1].moments) / PROMPT.counts.macs
    assert 2 < runs[0].cycles / runs[1].cycles < 1 / left
    assert runs[1].bounds_s["roofline"] < runs[1].latency_s
    # zeros that are stored are not skipped
    stored = prune(PROMPT, Pruning(0.1, "none"), MODEL)
    assert simulate(stored, H100, skipping(runtime)).cycles == runs[0].cycles


def test_only_types_of_the_matrix_unit_can_be_sparse() -> None:
    with pytest.raises(ValueError, match="sparse_2_4 names 'fp8', but matrix has no such type"):
        Widths(
            matrix={"fp16": 8.0}, vector={"fp32": 8.0}, special={"fp32": 1.0},
            sparse_2_4=("fp16", "fp8"), source="for this test",
        )  # fmt: skip


@pytest.mark.parametrize(
    ("plan", "said"),
    [
        (Pruning(0), "density = 0: expected the part of the weights that is not zero, above 0"),
        (Pruning(50), "at most 1; 50 % is 0.5"),
        (Pruning(0.5, "bitmpa"), "sparse_format = 'bitmpa'.*did you mean \"bitmap\""),  # type: ignore[arg-type]
        (Pruning(0.4, "2:4"), "two of every four are a density of 0.5"),
    ],
)
def test_what_cannot_be(plan: Pruning, said: str) -> None:
    with pytest.raises(InputError, match=said):
        prune(LLAMA, plan, MODEL)


def test_nothing_is_pruned_twice() -> None:
    once = prune(LLAMA, Pruning(0.5, "2:4"), MODEL)
    with pytest.raises(InputError, match=r"pruned already, to 0.5 \(2:4\)"):
        prune(once, Pruning(0.5, "bitmap"), MODEL)


def test_heads() -> None:
    gpt2 = load_model("gpt2")
    less = prune_heads(gpt2, 4)
    assert (less.heads, less.kv_heads, less.head_dim, less.hidden) == (8, 8, 64, 768)
    # per layer 4 heads of 64: q, k, v 768 x 256 with a bias each, output 256 x 768
    assert gpt2.parameters - less.parameters == 12 * (4 * 768 * 256 + 3 * 256)
    step = moment(compile_forward(less, context=9), "decode/layer.0/query")
    assert step.counts.macs == 768 * 8 * 64
    # whole groups of 4 query heads with their key-value head, or one of each of the 8 groups
    assert (prune_heads(MODEL, 4).heads, prune_heads(MODEL, 4).kv_heads) == (28, 7)
    multi = replace_heads(MODEL, heads=12, kv_heads=2)
    assert (prune_heads(multi, 2).heads, prune_heads(multi, 2).kv_heads) == (10, 2)
    whisper = load_model("whisper-tiny")
    both = prune_heads(whisper, 2)
    assert both.encoder is not None
    assert (both.heads, both.encoder.heads) == (4, 4)


def replace_heads(model: Model, **update: int) -> Model:
    return model.model_copy(update=update)


def test_layers() -> None:
    less = drop_layers(MODEL, 8)
    assert less.layers == 24
    assert 3 * (MODEL.parameters - less.parameters) == less.parameters - (2 * 128_256 * 4096 + 4096)
    program = compile_forward(less, context=100, dtype="fp16")
    assert [r.count for r in program.passes[0].repeats] == [1, 24, 1]
    # of a pattern, what is left keeps its kind: of local, global, ... go numbers 1 and 3
    gemma = load_model("gemma-2-2b")
    odd = drop_layers(gemma, (1, 3))
    assert odd.pattern[:4] == ("local", "local", "local", "global")
    assert len(odd.pattern) == gemma.layers - 2
    # of the numbered layers before the last, which stays
    assert drop_layers(gemma, 2).pattern[-1] == gemma.pattern[(gemma.layers - 1) % 2]


@pytest.mark.parametrize(
    ("count", "said"),
    [
        (0, "expected a whole number of heads, 1 or more"),
        (32, "has 32 heads"),
        (3, "give a multiple of 4 .* or of 8"),
    ],
)
def test_heads_that_cannot_go(count: int, said: str) -> None:
    with pytest.raises(InputError, match=said):
        prune_heads(MODEL, count)


@pytest.mark.parametrize(
    ("which", "said"),
    [
        (32, "expected 1 to 31 of the 32 layers"),
        ((3, 40), "has layers 0 to 31, no layer 40"),
        (tuple(range(32)), "no layer of llama-3-8b would be left"),
    ],
)
def test_layers_that_cannot_go(which: int | tuple[int, ...], said: str) -> None:
    with pytest.raises(InputError, match=said):
        drop_layers(MODEL, which)


def test_models_that_cannot_be_cut() -> None:
    swin = load_model("swin-tiny")
    with pytest.raises(InputError, match="differ in their heads"):
        prune_heads(swin, 1)
    with pytest.raises(InputError, match="in stages of their own width"):
        drop_layers(swin, 1)
    mixed = MODEL.model_copy(update={"experts": 4, "expert_period": 2})
    with pytest.raises(InputError, match="every 2th layer"):
        drop_layers(mixed, 1)


def test_a_matrix_that_was_written_out_is_multiplied_whole() -> None:
    sparse = prune(LLAMA, Pruning(0.5, "2:4"), MODEL)
    plan = Quantization("int8", dequantize=True)
    found = moment(quantize(sparse, plan, MODEL), UP)
    assert found.sparsity == Sparsity(0.5, "none")
    made = moment(quantize(sparse, plan, MODEL), "decode/layer.0/dequantize_up")
    assert (made.read_bytes, made.write_bytes) == (WEIGHTS * 5 // 8, 2 * WEIGHTS)
    assert replace(found, sparsity=None).effective_macs == WEIGHTS
