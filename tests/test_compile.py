"""From model and request to program: counts by hand, structure, passes, slips."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings

from tests.random_models import programs
from workloads import (
    InputError,
    Model,
    Moment,
    Program,
    compile_forward,
    flatten,
    list_models,
    load_model,
)
from workloads.layers import layer_runs
from workloads.model import build_model
from workloads.moment import STAGES, AttentionShape, Footprint
from workloads.parameters import layer_parameters

BERT = load_model("bert-base")
GPT2 = load_model("gpt2")
LLAMA = load_model("llama-3-8b")
MISTRAL = load_model("mistral-7b")


def layer(program: Program, pass_index: int = 0) -> dict[str, Moment]:
    """The moments of one layer by name."""
    (segment,) = (
        r.segment for r in program.passes[pass_index].repeats if r.segment.name == "layer"
    )
    return {moment.name: moment for moment in segment.moments}


def by_name(program: Program) -> dict[str, Moment]:
    flat = flatten(program)
    return {flat.name(i): moment for i, moment in enumerate(flat.moments)}


def predecessors(program: Program, name: str) -> list[str]:
    flat = flatten(program)
    names = [flat.name(i) for i in range(len(flat))]
    return [names[i] for i in flat.predecessors[names.index(name)]]


def test_flops_of_bert_by_hand() -> None:
    # per layer, in macs: four projections 4 * 8*768*768 = 18,874,368; feed-forward
    # 2 * 8*768*3072 = 37,748,736; scores and context 2 * 12*8*8*64 = 98,304
    per_layer = 18_874_368 + 37_748_736 + 98_304
    pooler = 768 * 768
    assert compile_forward(BERT, prompt=8).matrix_flops == 2 * (12 * per_layer + pooler)


def test_flops_of_one_decode_step_with_grouped_heads_by_hand() -> None:
    # per layer, in macs: Q and output 2 * 4096*4096, K and V 2 * 4096*1024, gate, up, down
    # 3 * 4096*14336, scores and context 2 * 32 heads * 101 keys * 128
    per_layer = 2 * 4096 * 4096 + 2 * 4096 * 1024 + 3 * 4096 * 14336 + 2 * 32 * 101 * 128
    head = 4096 * 128256
    assert compile_forward(LLAMA, context=100).matrix_flops == 2 * (32 * per_layer + head)


def test_projections_are_independent_and_meet_in_the_core() -> None:
    program = compile_forward(BERT, prompt=8)
    for name in ("query", "key", "value"):
        before = predecessors(program, f"prefill/layer.3/{name}")
        assert before == ["prefill/layer.2/feed_forward_norm"]
    assert predecessors(program, "prefill/layer.3/scores") == [
        "prefill/layer.3/query",
        "prefill/layer.3/key",
    ]
    assert predecessors(program, "prefill/layer.3/context") == [
        "prefill/layer.3/value",
        "prefill/layer.3/softmax",
    ]
    moments = layer(program)
    assert {m.group for m in (moments["query"], moments["key"], moments["value"])} == {"qkv"}
    assert moments["scores"].parts == 12


def test_residuals_skip_the_block() -> None:
    program = compile_forward(GPT2, prompt=8)
    assert predecessors(program, "prefill/layer.1/attention_residual") == [
        "prefill/layer.0/feed_forward_residual",
        "prefill/layer.1/attention_output",
    ]
    assert predecessors(program, "prefill/layer.1/feed_forward_residual") == [
        "prefill/layer.1/attention_residual",
        "prefill/layer.1/down",
    ]


def test_keys_and_values_pass_through_the_cache() -> None:
    moments = layer(compile_forward(LLAMA, batch=2, context=100, dtype="fp16"))
    append, scores = moments["append_key"], moments["scores"]
    # one position of 8 heads of 128 for 2 sequences, 2 bytes each
    assert append.write_bytes == 2 * 8 * 128 * 2
    assert [(t.name, t.role, t.bytes) for t in scores.reads[1:]] == [
        ("key_cache", "kv_cache", 2 * 8 * 101 * 128 * 2)
    ]
    shape = AttentionShape(2, 32, 8, 128, q_len=1, kv_len=101, causal=True)
    assert scores.attention == shape
    assert moments["append_key"].reads[0].name == "key_rotated"
    assert moments["append_value"].reads[0].name == "value"
    assert not [m for m in layer(compile_forward(BERT, prompt=8)).values() if "cache" in m.kind]


def test_a_window_masks_the_prefill_and_shortens_the_cache() -> None:
    prefill = layer(compile_forward(MISTRAL, prompt=5000))["scores"].attention
    assert prefill is not None
    assert (prefill.kv_len, prefill.window) == (5000, 4096)
    step = layer(compile_forward(MISTRAL, context=5000))["scores"].attention
    assert step is not None
    assert step.kv_len == 4096
    short = layer(compile_forward(MISTRAL, context=100))["scores"].attention
    assert short is not None
    assert short.kv_len == 101


def test_stages_come_in_order_and_all_occur() -> None:
    program = compile_forward(GPT2, prompt=8, generate=1)
    found = list(dict.fromkeys(moment.stage for moment in flatten(program).moments))
    assert tuple(found) == STAGES


def test_passes_of_a_generation() -> None:
    program = compile_forward(GPT2, prompt=8, generate=4)
    assert [(p.name, p.phase, p.tokens, p.context) for p in program.passes] == [
        ("prefill", "prefill", 8, 0),
        ("decode.1", "decode", 1, 8),
        ("decode.2", "decode", 1, 9),
        ("decode.3", "decode", 1, 10),
    ]
    # the token that one pass chooses is what the next one looks up
    assert predecessors(program, "decode.2/embed/token_embedding") == ["decode.1/output/sample"]
    assert predecessors(program, "prefill/embed/token_embedding") == []
    assert predecessors(program, "decode.2/embed/position_embedding") == []


def test_passes_of_decoding_from_a_cache() -> None:
    one = compile_forward(GPT2, context=8)
    assert [(p.name, p.context) for p in one.passes] == [("decode", 8)]
    assert compile_forward(GPT2, prompt=3, context=8) == one
    more = compile_forward(GPT2, context=8, generate=2)
    assert [(p.name, p.context) for p in more.passes] == [("decode.1", 8), ("decode.2", 9)]
    grown = compile_forward(GPT2, prompt=8, generate=2).passes[1]
    assert grown.repeats == more.passes[0].repeats


def test_a_generation_compiles_each_context_once_and_shares_the_rest() -> None:
    program = compile_forward(GPT2, prompt=8, generate=100)
    segments = {id(r.segment) for p in program.passes for r in p.repeats}
    # three of the prefill; embedding and output of all steps; one layer for each of 99 contexts
    assert len(segments) == 3 + 2 + 99
    # embedding 3, layers 12 * 16, output 3
    assert program.moment_count == 100 * (3 + 12 * 16 + 3)


def test_logits_of_all_positions_or_the_last() -> None:
    plain = compile_forward(GPT2, batch=2, prompt=8)
    last = compile_forward(GPT2, batch=2, prompt=8, logits="last")
    head = 768 * 50257
    assert plain.counts.macs - last.counts.macs == 2 * 7 * head
    assert "prefill/output/sample" not in by_name(plain)
    assert "prefill/output/sample" in by_name(last)
    generating = compile_forward(GPT2, batch=2, prompt=8, generate=1)
    assert generating.counts == last.counts
    every = compile_forward(GPT2, batch=2, prompt=8, generate=1, logits="all")
    assert every.counts.macs == plain.counts.macs


def test_body_only_leaves_the_layers() -> None:
    program = compile_forward(BERT, prompt=8, body_only=True)
    assert [(r.segment.name, r.count) for r in program.passes[0].repeats] == [("layer", 12)]
    assert predecessors(program, "prefill/layer.0/query") == []


def test_a_head_that_is_tied_is_stored_like_the_table() -> None:
    tied = by_name(compile_forward(GPT2, prompt=2, dtype="fp16", weight_dtype="int4"))
    assert tied["prefill/output/lm_head"].reads[1].bytes == 768 * 50257 * 2
    assert tied["prefill/layer.0/up"].reads[1].bytes == 768 * 3072 // 2
    free = by_name(compile_forward(LLAMA, prompt=2, dtype="fp16", weight_dtype="int4"))
    assert free["prefill/output/lm_head"].reads[1].bytes == 4096 * 128256 // 2


def test_an_image_is_cut_into_patches() -> None:
    program = compile_forward(load_model("vit-b-16-224"), batch=2, prompt=197)
    moments = by_name(program)
    patches = moments["prefill/embed/patch_projection"]
    # 2 images of 196 patches of 3*16*16 values
    assert patches.counts.macs == 2 * 196 * 768 * 768
    assert patches.reads[0].bytes == 2 * 3 * 224 * 224 * 4
    assert moments["prefill/output/classifier"].counts.macs == 2 * 768 * 1000


def test_parallel_blocks_read_one_norm_or_two() -> None:
    shared = compile_forward(load_model("gpt-j-6b"), prompt=4)
    assert predecessors(shared, "prefill/layer.1/up") == ["prefill/layer.1/attention_norm"]
    apart = compile_forward(load_model("gpt-neox-20b"), prompt=4)
    assert predecessors(apart, "prefill/layer.1/up") == ["prefill/layer.1/feed_forward_norm"]
    assert predecessors(apart, "prefill/layer.1/feed_forward_norm") == [
        "prefill/layer.0/feed_forward_residual"
    ]


@pytest.mark.parametrize("name", list_models())
def test_each_kind_of_layer_reads_all_of_its_weights_once(name: str) -> None:
    model = load_model(name)
    # so many tokens that every expert is chosen by one of them
    prompt = model.fixed_input or (4096 if model.experts else 4)
    target = None if model.encoder is None or model.queries else 1
    program = compile_forward(model, prompt=prompt, target=target)
    layers = [r.segment for r in program.passes[0].repeats if r.segment.name == "layer"]
    runs = layer_runs(model)
    if model.depths:
        return  # test_stages
    if model.convolution_kernel or model.layer_positions:
        layers = layers[-1:]  # test_disentangled and test_detection have what is beside them
    assert len(layers) == len(runs)
    for run, segment in {
        run.kind: (run, layer) for run, layer in zip(runs, layers, strict=True)
    }.values():
        weights = [
            tensor
            for moment in segment.moments
            for tensor in moment.reads
            if tensor.role == "weight" and tensor.name != "rotary_table"
        ]
        # XLNet's biases of segments are for pairs of texts
        unread = 3 * model.heads * model.head_dim * model.segment_biases
        each = {tensor.name: tensor.bytes for tensor in weights}
        assert sum(each.values()) == 4 * (layer_parameters(model, run.kind) - unread)
        # two matrices and their biases bring contents and distances to queries and keys
        assert len(weights) - len(each) == (4 if model.shared_position_keys else 0)


@pytest.mark.parametrize("name", list_models())
def test_compiling_does_not_grow_with_depth(name: str) -> None:
    model = load_model(name)
    program = compile_forward(model, prompt=model.fixed_input or 4)
    assert len({id(r.segment) for p in program.passes for r in p.repeats}) <= 14
    assert program.moment_count == len(flatten(program))


T5 = load_model("t5-small")


def test_an_encoder_decoder_by_hand() -> None:
    # the encoder over 8 tokens, in macs a layer: four projections 4 * 8*512*512, feed-forward
    # 2 * 8*512*2048, scores and context 2 * 8 heads * 8*8*64
    encoder = 6 * (4 * 8 * 512 * 512 + 2 * 8 * 512 * 2048 + 2 * 8 * 8 * 8 * 64)
    alone = compile_forward(T5, prompt=8)
    assert alone.counts.macs == encoder
    # the decoder's first token: the same for one token; queries and outputs of cross-attention
    # 2 * 512*512, its keys and values of 8 positions 2 * 8*512*512, its core 2 * 8 heads * 8*64
    layer = 4 * 512 * 512 + 2 * 512 * 2048 + 2 * 8 * 64
    crossing = 2 * 512 * 512 + 2 * 8 * 8 * 64
    head = 512 * 32128
    first = 6 * (layer + crossing + 2 * 8 * 512 * 512) + head
    assert compile_forward(T5, prompt=8, target=1).counts.macs == encoder + first
    # one step at 3 cached tokens reads the keys and values that are there
    step = 6 * (layer + 3 * 2 * 8 * 64 + crossing) + head
    assert compile_forward(T5, prompt=8, context=3).counts.macs == step


def test_passes_of_an_encoder_decoder() -> None:
    program = compile_forward(T5, prompt=8, generate=3)
    assert [(p.name, p.tokens, p.context) for p in program.passes] == [
        ("prefill", 1, 0),
        ("decode.1", 1, 1),
        ("decode.2", 1, 2),
    ]
    assert [r.segment.name for r in program.passes[0].repeats] == [
        *("encoder_embed", "encoder_layer", "encoder_output", "embed", "layer", "output")
    ]
    # each layer of the decoder reads what the encoder's final norm has written
    for number in (0, 5):
        before = predecessors(program, f"prefill/layer.{number}/cross_key")
        assert before == ["prefill/encoder_output/final_norm"]
    assert "decode.1/layer.0/cross_key" not in by_name(program)
    # self-attention of 3 positions and cross-attention to 8, 6 layers, 2 x 512, 4 bytes
    assert program.footprint.kv_cache_bytes == 6 * 2 * 512 * (3 + 8) * 4


def test_thirty_seconds_of_sound() -> None:
    whisper = load_model("whisper-tiny")
    program = compile_forward(whisper, prompt=1500)
    moments = by_name(program)
    # 3,000 frames of 80 bands, 3 at a time, to 384; then 1,500 of 384
    first, second = (moments[f"prefill/encoder_embed/convolution_{i}"] for i in "12")
    assert (first.counts.macs, second.counts.macs) == (3000 * 384 * 240, 1500 * 384 * 1152)
    step = by_name(compile_forward(whisper, context=100))
    attention = step["decode/layer.0/cross_scores"].attention
    assert attention is not None
    assert (attention.q_len, attention.kv_len, attention.causal) == (1, 1500, False)


def test_local_and_global_layers_take_turns() -> None:
    program = compile_forward(load_model("gemma-3-1b"), context=2000)
    lengths = [
        moment.attention.kv_len
        for name, moment in by_name(program).items()
        if name.endswith("/scores") and moment.attention is not None
    ]
    assert lengths == [2001 if number % 6 == 5 else 512 for number in range(26)]
    # keys and values of 4 global layers of 2001 and 22 local ones of 512, a head of 256
    assert program.footprint.kv_cache_bytes == 2 * 256 * 4 * (4 * 2001 + 22 * 512)


def test_experts_by_hand() -> None:
    # Mixtral, one token, in macs a layer: Q and output 2 * 4096*4096, K and V 2 * 4096*1024,
    # scores and context 2 * 32*101*128, router 4096*8, two experts of 3 * 4096*14336
    mixtral = load_model("mixtral-8x7b")
    program = compile_forward(mixtral, context=100, dtype="fp16")
    attention = 2 * 4096 * 4096 + 2 * 4096 * 1024 + 2 * 32 * 101 * 128
    each = attention + 4096 * 8 + 2 * 3 * 4096 * 14336
    assert program.counts.macs == 32 * each + 4096 * 32000
    # the weights of two experts of eight are read, in 2 bytes
    assert layer(program)["expert_up"].reads[1].bytes == 2 * 4096 * 14336 * 2
    # with 4 sequences 8 (1 - (6/8)^4) = 5.46875 of them
    four = layer(compile_forward(mixtral, batch=4, context=100, dtype="fp16"))["expert_up"]
    assert four.reads[1].bytes == 5.46875 * 4096 * 14336 * 2


def test_a_latent_cache() -> None:
    program = compile_forward(load_model("deepseek-v3"), context=100, dtype="fp16")
    # 512 latent values and a rotated key of 64, for 101 positions of 61 layers, in 2 bytes
    assert program.footprint.kv_cache_bytes == 61 * 101 * (512 + 64) * 2
    assert [(r.segment.name, r.first, r.count) for r in program.passes[0].repeats[1:-1]] == [
        ("layer", 0, 3),
        ("layer", 3, 58),
    ]


def test_a_segment_looks_back_on_its_memory() -> None:
    # Transformer-XL, 64 tokens after 640, in macs a layer: queries, keys and values of all 704
    # 3 * 704*410*410, sines of 704 distances 704*410*410, output 64*410*410, feed-forward
    # 2 * 64*410*2100; contents, distances and context 3 * 10 heads * 64*704*41
    model = load_model("transformer-xl-base")
    program = compile_forward(model, prompt=64, context=640)
    layers = 4 * 704 * 410 * 410 + 64 * 410 * 410 + 2 * 64 * 410 * 2100 + 3 * 10 * 64 * 704 * 41
    assert program.counts.macs == 16 * layers + 64 * 410 * 20003
    assert [(p.name, p.tokens, p.context) for p in program.passes] == [("prefill", 64, 640)]
    # what entered each of 16 layers, 640 positions of 410, 4 bytes
    assert program.footprint.kv_cache_bytes == 16 * 640 * 410 * 4
    alone = compile_forward(model, prompt=64)
    assert "prefill/layer.0/join_memory" not in by_name(alone)
    with pytest.raises(InputError, match="has a memory of 640 positions"):
        compile_forward(model, prompt=8, context=641)


def test_several_tasks_share_one_trunk() -> None:
    tasks = [
        {"name": "mood", "classes": 3, "pooler": True},
        {"name": "names", "classes": 9, "every": True},
    ]
    table = BERT.model_dump() | {"name": "both", "pooler": False, "tasks": tasks}
    model = build_model(table, "here")
    bare = build_model(BERT.model_dump() | {"pooler": False}, "here")
    # a dense layer and 3 classes for each of 2 sequences, 9 classes for each of 16 positions
    more = 2 * (768 * 768 + 768 * 3) + 16 * 768 * 9
    macs = [compile_forward(m, batch=2, prompt=8).counts.macs for m in (model, bare)]
    assert macs[0] - macs[1] == more
    assert model.parameters - bare.parameters == 769 * 768 + 769 * 3 + 769 * 9
    for name in ("mood_pooler", "names_classifier"):
        before = predecessors(compile_forward(model, prompt=8), f"prefill/output/{name}")
        assert before == ["prefill/layer.11/feed_forward_norm"]
    with pytest.raises(InputError, match="tasks: each needs a name of its own"):
        build_model(table | {"tasks": [tasks[0], tasks[0]]}, "here")


def test_footprint_by_hand() -> None:
    program = compile_forward(GPT2, batch=2, prompt=8, generate=5, dtype="fp16")
    weights = 124_439_808 * 2
    # the longest cache: 8 + 4 positions, keys and values, 12 layers of 768, 2 sequences
    cache = 2 * 12 * 2 * 768 * 12 * 2
    # the most that lives at once, as each of 16 rows goes up: the residual stream, the
    # rows before the activation and those after it
    rows = 16 * (768 + 3072 + 3072) * 2
    # and in the output: 16 rows of the residual stream for the norm, 2 rows of logits
    output = max(16 * 2 * 768 * 2, (16 * 768 + 2 * 50257) * 2)
    assert program.footprint == Footprint(weights, cache, max(rows, output))


def test_footprint_of_quantized_weights() -> None:
    program = compile_forward(LLAMA, prompt=8, dtype="fp16", weight_dtype="int8")
    tables_and_norms = 4096 * 128256 + 65 * 4096
    assert program.footprint.weight_bytes == LLAMA.parameters + tables_and_norms
    assert compile_forward(BERT, prompt=8).footprint.kv_cache_bytes == 0
    blocks = compile_forward(LLAMA, prompt=8, dtype="fp16", weight_dtype="q4_0").footprint
    # blocks of 32 weights in 18 bytes
    matrices = LLAMA.parameters - tables_and_norms
    assert blocks.weight_bytes == matrices * 18 // 32 + 2 * tables_and_norms


SLIPS: list[tuple[Model, dict[str, Any], str]] = [
    (GPT2, {}, "prompt is missing"),
    (GPT2, {"prompt": 0}, "prompt = 0: expected a whole number of tokens, 1 or more"),
    (GPT2, {"prompt": -5}, "prompt = -5"),
    (GPT2, {"prompt": True}, "prompt = True"),
    (GPT2, {"prompt": 2.5}, "prompt = 2.5"),
    (GPT2, {"prompt": "8"}, "prompt = '8'"),
    (GPT2, {"prompt": 10**6000}, "but gpt2 has max_positions = 1024"),
    (GPT2, {"prompt": 1025}, "prompt = 1025 is 1025 positions"),
    (GPT2, {"prompt": 1000, "generate": 25}, "prompt = 1000 + generate = 25 is 1025 positions"),
    (GPT2, {"prompt": 8, "generate": -1}, "generate = -1"),
    (GPT2, {"prompt": 8, "batch": 0}, "batch = 0: expected a whole number of sequences"),
    (GPT2, {"prompt": 8, "batch": 10**7}, "batch = 10000000: expected at most"),
    (GPT2, {"context": 0}, "for an empty cache give prompt = 1 instead"),
    (GPT2, {"context": -1}, "context = -1"),
    (GPT2, {"context": 1024}, "context = 1024 + 1 new is 1025 positions"),
    (GPT2, {"prompt": 8, "dtype": "fp17"}, "dtype = 'fp17': expected one of fp64"),
    (GPT2, {"prompt": 8, "dtype": "float16"}, 'did you mean "fp16"'),
    (GPT2, {"prompt": 8, "dtype": None}, "dtype = None"),
    (GPT2, {"prompt": 8, "weight_dtype": "q4"}, "weight_dtype = 'q4'"),
    (GPT2, {"prompt": 8, "logits": "first"}, "logits = 'first'"),
    (GPT2, {"prompt": 8, "generate": 2, "body_only": True}, "body_only leaves it out"),
    (BERT, {"prompt": 8, "generate": 1}, "generate = 1 with bert-base: an encoder"),
    (BERT, {"context": 8}, "context = 8 with bert-base: an encoder"),
    (BERT, {"prompt": 513}, "bert-base has max_positions = 512"),
    (T5, {"prompt": 8, "context": 0}, "for an empty cache"),
    (T5, {"context": 3}, "prompt is missing: t5-small has an encoder"),
    (T5, {"prompt": 513}, "encoder has max_positions = 512"),
    (T5, {"prompt": 8, "target": 513}, "but t5-small has max_positions = 512"),
    (T5, {"prompt": 8, "target": 0}, "target = 0: expected a whole number of tokens"),
    (T5, {"prompt": 8, "target": 2, "context": 3}, "context says already what was decoded"),
    (GPT2, {"prompt": 8, "target": 2}, "target = 2 with gpt2: only an encoder-decoder"),
    (load_model("whisper-tiny"), {"prompt": 8}, "its input always gives 1500 positions"),
    (load_model("vit-b-16-224"), {"prompt": 8}, "its images always give 197 positions"),
    (load_model("roberta-base"), {"prompt": 513}, "max_positions = 512"),
]


@pytest.mark.parametrize(("model", "request_", "message"), SLIPS, ids=[s[2][:40] for s in SLIPS])
def test_a_slip_gets_one_clear_line(model: Model, request_: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        compile_forward(model, **request_)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_without_a_head_there_is_nothing_to_generate() -> None:
    table = GPT2.model_dump() | {"head": "none", "name": "headless"}
    with pytest.raises(InputError, match="headless has none"):
        compile_forward(build_model(table, "t"), prompt=8, generate=2)


@settings(max_examples=150, deadline=None)
@given(programs())
def test_whatever_is_compiled_hangs_together(case: tuple[Model, Program]) -> None:
    _, program = case
    flat = flatten(program)
    prefixes = [instance.prefix for instance in program.instances()]
    assert len(set(prefixes)) == len(prefixes)
    for step in program.passes:
        for repeat in step.repeats:
            moments = repeat.segment.moments
            assert len({m.name for m in moments}) == len(moments)
            written = [t.name for m in moments for t in m.writes]
            assert len(set(written)) == len(written)
    # what nobody has written is what the user hands in; all else has a producer
    handed_in = {"tokens", "token_types", "pixels", "hidden", "source_tokens", "encoded"}
    handed_in |= {"position_bias", "distances", "scale.weight"}
    for number, moment in enumerate(flat.moments):
        if not flat.predecessors[number]:
            assert {t.name for t in moment.reads if t.role != "weight"} <= handed_in
        assert moment.write_bytes > 0
        assert all(t.bytes > 0 for t in (*moment.reads, *moment.writes))
    assert program.footprint.activation_bytes > 0
    assert program.moment_count == len(flat)
