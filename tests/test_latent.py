"""Latent attention, expanded and absorbed, with the numbers of DeepSeek-V3."""

from __future__ import annotations

import pytest

from workloads import Fusion, Moment, Program, compile_forward, fuse, load_model

MODEL = load_model("deepseek-v3")
POSITIONS = 1024


def layer(program: Program) -> dict[str, Moment]:
    """The moments of a layer with experts, by name."""
    segment = program.passes[0].repeats[2].segment
    return {moment.name: moment for moment in segment.moments}


def decode(*, expand: bool = False) -> dict[str, Moment]:
    """One step over 1,024 positions, the new one among them."""
    return layer(compile_forward(MODEL, context=POSITIONS - 1, dtype="bf16", expand_latents=expand))


def macs(moments: dict[str, Moment], *names: str) -> int:
    return sum(moments[name].counts.macs for name in names)


def test_macs_of_both_forms_by_hand() -> None:
    # 128 heads; of a key 128 expanded from a row of 512, and 64 rotated; a value has 128
    expanded = decode(expand=True)
    assert macs(expanded, "key", "value") == 1024 * 512 * 128 * (128 + 128) == 17_179_869_184
    assert macs(expanded, "scores", "context") == 1024 * 128 * (192 + 128) == 41_943_040
    absorbed = decode()
    assert macs(absorbed, "absorb_key", "absorb_value") == 128 * 512 * (128 + 128) == 16_777_216
    assert macs(absorbed, "scores", "context") == 1024 * 128 * (576 + 512) == 142_606_336


def test_absorbed_reads_the_same_weights_and_the_cache_once() -> None:
    absorbed, expanded = decode(), decode(expand=True)
    for name in ("key", "value"):
        assert absorbed[f"absorb_{name}"].reads[1] == expanded[name].reads[1]
    assert [(t.name, t.bytes) for t in absorbed["scores"].reads[1:]] == [
        ("latent_cache", 2 * 1024 * 512),
        ("key_cache", 2 * 1024 * 64),
    ]
    program = compile_forward(MODEL, context=POSITIONS - 1, dtype="bf16")
    fused = layer(fuse(program, Fusion(attention="fused")))
    core = next(m for m in fused.values() if m.kind == "attention")
    cached = [t.bytes for t in core.reads if t.role == "kv_cache"]
    # one head of keys for all 128 of queries; values are the same rows
    assert sum(cached) == 2 * 1024 * (512 + 64)
    assert core.attention is not None
    assert (core.attention.kv_heads, core.attention.head_dim, core.attention.value_dim) == (
        *(1, 576),
        512,
    )


def test_the_order_is_that_of_the_cache() -> None:
    program = compile_forward(MODEL, context=POSITIONS - 1)
    segment = program.passes[0].repeats[2].segment
    names = [moment.name for moment in segment.moments]
    followed = {names[a] for a, b in segment.edges if names[b] == "scores"}
    assert followed == {"join_query", "append_latent", "append_key"}
    assert {names[a] for a, b in segment.edges if names[b] == "attention_output"} == {
        "absorb_value"
    }


def test_prefill_expands_and_decode_does_not_unless_asked() -> None:
    for expand in (False, True):
        program = compile_forward(MODEL, prompt=16, generate=2, expand_latents=expand)
        first, second = (
            {m.name for r in step.repeats for m in r.segment.moments} for step in program.passes
        )
        assert "absorb_key" not in first
        assert ("absorb_key" in second) != expand
    with_flag, without = (
        compile_forward(MODEL, prompt=16, expand_latents=flag) for flag in (True, False)
    )
    assert with_flag.counts == without.counts


@pytest.mark.parametrize(("runtime", "expands"), [("pytorch-eager", True), ("vllm", False)])
def test_the_runtime_says_which(runtime: str, expands: bool) -> None:
    from simulator.scenario import Scenario

    prepared = Scenario(
        "deepseek-v3", "nvidia-h200-sxm-141gb", runtime, context=100, dtype="bf16"
    ).prepared()
    names = {m.name for r in prepared.program.passes[0].repeats for m in r.segment.moments}
    assert ("absorb_key" not in names) == expands
