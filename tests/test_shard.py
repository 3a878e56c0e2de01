"""Spreading over devices: the parts add up to the whole, and travel where they are needed."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hardware_profiles import load_profile
from simulator import Scenario, simulate
from tests.random_models import models
from workloads import InputError, Model, Program, compile_forward, load_model
from workloads.flat import flatten
from workloads.moment import CollectiveShape, MatmulShape, Moment, Parallel, storage_bytes
from workloads.transforms import batch_of_part, spread
from workloads.transforms.shard import shard_tensors

A100 = "nvidia-a100-sxm4-80gb"


def compiled(name: str, **request: Any) -> Program:
    return compile_forward(load_model(name), dtype="fp16", **request)


def moments_of(program: Program, segment: str) -> dict[str, Moment]:
    found = next(i.segment for i in program.instances() if i.segment.name == segment)
    return {moment.name: moment for moment in found.moments}


def collectives(program: Program) -> list[CollectiveShape]:
    return [m.shape for m in flatten(program).moments if isinstance(m.shape, CollectiveShape)]


def weights(program: Program) -> int:
    """Bytes of the matrices that one pass reads."""
    return sum(
        tensor.bytes
        for instance in program.instances()
        for moment in instance.segment.moments
        if moment.kind == "matmul"
        for tensor in moment.reads
        if tensor.name.endswith(".weight")
    )


def test_a_layer_is_split_by_columns_then_by_rows() -> None:
    layer = moments_of(shard_tensors(compiled("llama-2-7b", prompt=4), 4), "layer")
    # 4 tokens; 4096 wide, 32 heads of 128, 11008 inside; a quarter of the heads and columns
    assert layer["query"].shape == MatmulShape(1, 4, 1024, 4096)
    assert layer["scores"].shape == MatmulShape(8, 4, 4, 128)
    assert layer["attention_output"].shape == MatmulShape(1, 4, 4096, 1024)
    assert layer["gate"].shape == MatmulShape(1, 4, 2752, 4096)
    assert layer["down"].shape == MatmulShape(1, 4, 4096, 2752)
    # both halves of a layer end with a sum over the ranks of 4 x 4096 values of 2 bytes
    reduced = CollectiveShape("all_reduce", 4 * 4096 * 2, 4)
    assert layer["attention_rows_all_reduce"].shape == reduced
    assert layer["feed_forward_rows_all_reduce"].shape == reduced


def test_logits_are_gathered_and_tables_are_split() -> None:
    program = shard_tensors(compiled("llama-2-7b", prompt=4, generate=1), 4)
    output, embed = moments_of(program, "output"), moments_of(program, "embed")
    assert output["lm_head"].shape == MatmulShape(1, 1, 8000, 4096)
    assert output["logits_all_gather"].shape == CollectiveShape("all_gather", 32000 * 2, 4)
    assert embed["hidden_all_reduce"].shape == CollectiveShape("all_reduce", 4 * 4096 * 2, 4)


def test_a_parallel_block_needs_one_reduction() -> None:
    layer = moments_of(shard_tensors(compiled("gpt-j-6b", prompt=4), 2), "layer")
    kinds = [m.kind for m in layer.values()]
    assert kinds.count("all_reduce") == 1
    assert "both_all_reduce" in layer


def test_sequence_parallel_shares_the_norms() -> None:
    program = shard_tensors(compiled("llama-2-7b", prompt=8), 4, sequence=True)
    layer = moments_of(program, "layer")
    assert not [m for m in layer.values() if m.kind == "all_reduce"]
    assert layer["attention_norm"].shape.rows == 2  # type: ignore[union-attr]
    # 8 rows x 4096 x 2 bytes are gathered before each half and scattered behind it
    moved = [m.shape for m in layer.values() if isinstance(m.shape, CollectiveShape)]
    assert [(c.kind, c.bytes) for c in moved] == 2 * [
        ("all_gather", 65536),
        ("reduce_scatter", 65536),
    ]


def test_few_keys_are_repeated_on_several_ranks() -> None:
    layer = moments_of(shard_tensors(compiled("llama-3-8b", prompt=2), 16), "layer")
    # 8 heads of keys on 16 ranks: each has one, and two of the 32 of queries
    assert layer["key"].shape == MatmulShape(1, 2, 128, 4096)
    assert layer["query"].shape == MatmulShape(1, 2, 256, 4096)


@settings(max_examples=60, deadline=None)
@given(models(), st.integers(1, 3), st.booleans())
def test_the_ranks_add_up_to_the_whole(model: Model, ranks: int, sequence: bool) -> None:
    program = compile_forward(model, batch=2, prompt=3)
    if min(model.heads, model.kv_heads) < ranks or model.experts:
        return  # keys or routers are then done by several
    try:
        parts = [shard_tensors(program, ranks, rank=r, sequence=sequence) for r in range(ranks)]
    except InputError:
        return
    split = 0
    for name in {m.name for m in flatten(program).moments if m.kind == "matmul"}:
        before = [m.counts.macs for m in flatten(program).moments if m.name == name]
        shares = [[m.counts.macs for m in flatten(p).moments if m.name == name] for p in parts]
        for whole, *each in zip(before, *shares, strict=True):
            assert sum(each) == whole or set(each) == {whole}
            split += sum(each) == whole
    assert split
    assert all(part.footprint.total_bytes > 0 for part in parts)


@pytest.mark.parametrize("name", ["llama-2-7b", "gpt2", "gemma-2-9b", "qwen3-8b", "t5-base"])
@pytest.mark.parametrize("ranks", [2, 4])
def test_macs_and_weights_of_real_models_are_conserved(name: str, ranks: int) -> None:
    program = compiled(name, batch=2, prompt=5, generate=2)
    parts = [shard_tensors(program, ranks, rank=rank) for rank in range(ranks)]
    assert sum(part.counts.macs for part in parts) == program.counts.macs
    assert sum(weights(part) for part in parts) == weights(program)


@pytest.mark.parametrize(
    ("name", "request_", "split", "repeated"),
    [
        (
            "deepseek-v3",
            {"context": 64},
            ["query", "absorb_key", "scores", "context", "absorb_value", "attention_output"],
            ["kv_down", "query_down"],
        ),
        ("deberta-v3-base", {"prompt": 8}, ["query", "position_key", "c2p", "p2c", "scores"], []),
        ("dit-s-2-256", {"prompt": 256}, ["query", "scores", "up", "down"], ["modulation"]),
    ],
)
def test_what_belongs_to_a_head_goes_with_it(
    name: str, request_: dict[str, int], split: list[str], repeated: list[str]
) -> None:
    program = compiled(name, **request_)
    whole = moments_of(program, "layer")
    parts = [moments_of(shard_tensors(program, 2, rank=rank), "layer") for rank in range(2)]
    for part in parts:
        for moment in split:
            assert 2 * part[moment].counts.macs == whole[moment].counts.macs
            stored = [t.bytes for t in part[moment].reads if t.name.endswith(".weight")]
            assert [2 * size for size in stored] == [
                t.bytes for t in whole[moment].reads if t.name.endswith(".weight")
            ]
        for moment in repeated:
            assert part[moment].counts == whole[moment].counts
        assert any(moment.kind == "all_reduce" for moment in part.values())


def test_the_footprint_is_divided_but_for_norms() -> None:
    program = compiled("llama-2-7b", prompt=4)
    norms = 65 * 4096 * 2  # two of each layer and the last one
    split = program.footprint.weight_bytes - norms
    assert shard_tensors(program, 4).footprint.weight_bytes == pytest.approx(
        split / 4 + norms + 32 * 3 * 256, rel=1e-3
    )


def test_experts_inside_or_whole() -> None:
    program = compiled("mixtral-8x7b", context=64, batch=4)
    inside = moments_of(shard_tensors(program, 4), "layer")
    whole = moments_of(shard_tensors(program, 4, expert_parallel=True), "layer")
    # 4 tokens with 2 of 8 experts each: 8 (1 - (6/8)^4) = 5.47 are loaded, taken as 5
    assert inside["expert_up"].shape == MatmulShape(5, 2, 14336 // 4, 4096)
    assert whole["expert_up"].shape == MatmulShape(1, 2, 14336, 4096)
    assert whole["expert_up"].counts == inside["expert_up"].counts
    assert inside["feed_forward_rows_all_reduce"].kind == "all_reduce"


def test_experts_over_replicas_exchange_rows() -> None:
    layout = Parallel(data=4, expert=4)
    program = spread(compiled("mixtral-8x7b", context=64, batch=2), layout)
    layer = moments_of(program, "layer")
    # 2 tokens x 2 experts x 4096 values of 2 bytes leave each rank, and come back
    moved = CollectiveShape("all_to_all", 2 * 2 * 4096 * 2, 4)
    assert layer["dispatched_all_to_all"].shape == moved
    assert layer["expert_rows_all_to_all"].shape == moved
    # the 2 experts of a rank serve 8 tokens: 8 (1 - (6/8)^8) / 4 = 1.80, taken as 2
    assert layer["expert_up"].shape == MatmulShape(2, 2, 14336, 4096)
    stored = storage_bytes(8 * 14336 * 4096, "fp16")
    read = next(t.bytes for t in layer["expert_up"].reads if t.role == "weight")
    assert read == pytest.approx(stored * (1 - 0.75**8) / 4, rel=1e-6)


def test_a_pipeline_runs_its_stages_at_once() -> None:
    one = Scenario("llama-2-7b", A100, runtime="tensorrt-llm", prompt=512, batch=2).run()
    run = Scenario(
        "llama-2-7b", A100, runtime="tensorrt-llm", prompt=512, batch=8, pipeline_parallel=2,
        micro_batches=4,
    ).run()  # fmt: skip
    # four parts, each as long as `one`, through two halves: (4 + 1) halves
    assert run.latency_s == pytest.approx(2.5 * one.latency_s, rel=0.02)
    assert run.attribution["dependency"] / run.cycles == pytest.approx(1 / 5, abs=0.02)
    assert sum(run.attribution.values()) == run.cycles


def test_generation_through_a_pipeline_overlaps_parts() -> None:
    def per_token(**more: Any) -> float:
        found = Scenario(
            "llama-2-7b", A100, runtime="tensorrt-llm", context=512, generate=6, **more
        ).run()
        assert found.tpot_s is not None
        return found.tpot_s

    alone = per_token(batch=1)
    assert per_token(batch=1, pipeline_parallel=2) == pytest.approx(alone, rel=0.05)
    # two parts keep both devices busy: as fast a step as one part on one device
    both = per_token(batch=2, pipeline_parallel=2, micro_batches=2)
    assert both == pytest.approx(alone, rel=0.1)


def test_values_are_sent_once_and_right_away() -> None:
    program = spread(
        compiled("llama-2-7b", prompt=4, generate=3), Parallel(pipeline=4, micro_batches=2)
    )
    sends = [i for i in program.instances() if i.segment.name == "send"]
    # two parts in three passes: hidden over three borders; the token back in all but the last
    assert len(sends) == 2 * (3 * 3 + 2)
    assert [i.device for i in sends[:3]] == [0, 1, 2]
    flat = flatten(program)
    assert all(producer < consumer for producer, f in enumerate(flat.successors) for consumer in f)


def test_unequal_layers_go_to_the_first_stages() -> None:
    program = spread(compiled("llama-2-7b", prompt=4), Parallel(pipeline=5))
    layers = [i.device for i in program.instances() if i.segment.name == "layer"]
    assert [layers.count(d) for d in range(5)] == [7, 7, 6, 6, 6]


def test_more_tensor_ranks_make_a_large_model_faster_and_a_small_one_not() -> None:
    def latency(model: str, ranks: int) -> float:
        scenario = Scenario(model, A100, runtime="vllm", context=256, tensor_parallel=ranks)
        return scenario.run().latency_s

    assert latency("llama-2-70b", 8) < 0.7 * latency("llama-2-70b", 4)
    assert latency("gpt2", 4) > latency("gpt2", 1)


def test_communication_overlaps_where_the_graph_allows_it() -> None:
    """Replicas that exchange rows of experts compute the shared expert meanwhile."""
    layout = Parallel(data=8, expert=8)
    program = spread(compiled("deepseek-v3", context=128, batch=16, weight_dtype="fp8"), layout)
    run = simulate(program, load_profile("nvidia-h200-sxm-141gb"), "vllm", must_hold="weights")
    trace = run.trace
    links = [i for i in range(len(trace)) if trace.on_link(i)]
    devices = [(trace.issued[i], trace.retired[i]) for i in range(len(trace)) if i not in links]
    overlapped = [
        i for i in links if any(a < trace.retired[i] and b > trace.issued[i] for a, b in devices)
    ]
    assert overlapped
    assert sum(run.attribution.values()) == run.cycles


@pytest.mark.parametrize(
    ("layout", "message"),
    [
        ({"tensor_parallel": 0}, "tensor parallel = 0: expected a whole number"),
        ({"tensor_parallel": 13}, "tensor parallel over 13 devices, but it has 12 heads"),
        ({"pipeline_parallel": 13}, "13 pipeline stages, but it has 12 layers"),
        ({"micro_batches": 2, "batch": 2}, "micro_batches = 2 without pipeline stages"),
        (
            {"pipeline_parallel": 2, "micro_batches": 2, "batch": 3},
            "a replica's batch of 3 cannot be cut",
        ),
        ({"expert_parallel": 2}, "experts are spread over the tensor ranks"),
        ({"expert_parallel": 2, "tensor_parallel": 2}, "but it has no experts"),
    ],
)
def test_what_cannot_be_spread_is_refused(layout: dict[str, int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Scenario("gpt2", A100, **layout).prepared()  # type: ignore[arg-type]


def test_a_replica_has_its_part_of_the_batch() -> None:
    assert batch_of_part(10, Parallel(data=4)) == 3
    assert batch_of_part(16, Parallel(data=2, pipeline=2, micro_batches=4)) == 2
