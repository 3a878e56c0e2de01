"""DeBERTa, wav2vec 2.0, YOLOS, DETR, classifiers on encoder-decoders: against torch's counters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.newer_configs import NEWER
from tests.real_modules import (
    Case,
    build,
    check_prefill,
    counted_flops,
    counted_parameters,
    ids,
    torch,
    transformers,
)
from tests.test_real_encoder_decoders import BART, SMALL_IDS, T5
from workloads import Model, compile_forward, load_model
from workloads.sound import filter_lengths

pytestmark = pytest.mark.real

SMALL = {
    "hidden_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 80,
    "vocab_size": 99,
}
RELATIVE = {
    **SMALL,
    "max_position_embeddings": 64,
    "relative_attention": True,
    "position_biased_input": False,
}
BUCKETS = {"position_buckets": 8, "norm_rel_ebd": "layer_norm", "share_att_key": True}
DEBERTA: list[Case] = [
    ("DebertaV2Model", "DebertaV2Config", {**SMALL, "max_position_embeddings": 64}),
    ("DebertaV2ForMaskedLM", "DebertaV2Config", {**RELATIVE, **BUCKETS, "pos_att_type": "p2c|c2p"}),
    (
        "DebertaV2ForSequenceClassification",
        "DebertaV2Config",
        {**RELATIVE, "pos_att_type": ["c2p"], "conv_kernel_size": 3, "num_labels": 5},
    ),
    ("DebertaV2ForQuestionAnswering", "DebertaV2Config", {**RELATIVE, "pos_att_type": ["p2c"]}),
    (
        "DebertaV2ForTokenClassification",
        "DebertaV2Config",
        {**RELATIVE, "pos_att_type": [], "num_hidden_layers": 1, "conv_kernel_size": 5},
    ),
    ("DebertaModel", "DebertaConfig", {**RELATIVE, "pos_att_type": ["p2c"]}),
    (
        "DebertaForMaskedLM",
        "DebertaConfig",
        {**RELATIVE, "pos_att_type": ["c2p", "p2c"], "max_relative_positions": 12},
    ),
    ("DebertaForSequenceClassification", "DebertaConfig", {**RELATIVE, "pos_att_type": ["c2p"]}),
]
FILTERS = {
    **SMALL,
    "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 4,
    "conv_dim": [16, 24, 24],
    "conv_kernel": [10, 3, 2],
    "conv_stride": [5, 2, 2],
}
STABLE = {"feat_extract_norm": "layer", "conv_bias": True, "do_stable_layer_norm": True}
SOUND: list[Case] = [
    ("Wav2Vec2ForCTC", "Wav2Vec2Config", FILTERS),
    (
        "Wav2Vec2Model",
        "Wav2Vec2Config",
        {**FILTERS, **STABLE, "num_conv_pos_embeddings": 5, "mask_time_prob": 0.0},
    ),
    NEWER["wav2vec2-base-960h"],
]
TOKENS = {**SMALL, "image_size": [64, 96], "num_detection_tokens": 7, "num_labels": 5}
del TOKENS["vocab_size"]
OBJECTS: list[Case] = [
    ("YolosForObjectDetection", "YolosConfig", TOKENS),
    (
        "YolosForObjectDetection",
        "YolosConfig",
        {**TOKENS, "image_size": [64, 90], "use_mid_position_embeddings": False},
    ),
    ("YolosModel", "YolosConfig", {**TOKENS, "num_hidden_layers": 1}),
    NEWER["yolos-base"],
]
START = {"decoder_start_token_id": 0, "eos_token_id": 1}
REREAD: list[Case] = [
    ("BartForSequenceClassification", "BartConfig", {**BART, **SMALL_IDS, "num_labels": 5}),
    ("BartForQuestionAnswering", "BartConfig", {**BART, **SMALL_IDS}),
    ("T5ForSequenceClassification", "T5Config", {**T5, **START, "num_labels": 5}),
    ("T5ForQuestionAnswering", "T5Config", {**T5, **START}),
    ("T5ForTokenClassification", "T5Config", {**T5, "num_labels": 4}),
]


def detr(**backbone: Any) -> Case:
    table = {"model_type": "resnet", "out_features": [f"stage{len(backbone['depths'])}"]}
    sizes = {
        "d_model": 48,
        "encoder_layers": 2,
        "decoder_layers": 3,
        "encoder_attention_heads": 4,
        "decoder_attention_heads": 6,
        "encoder_ffn_dim": 80,
        "decoder_ffn_dim": 72,
        "num_queries": 9,
        "num_labels": 5,
        "backbone_config": {**table, **backbone},
    }
    return "DetrForObjectDetection", "DetrConfig", sizes


@pytest.mark.parametrize("case", DEBERTA, ids=lambda case: case[0])
def test_deberta_agrees_with_torch(case: Case, tmp_path: Path) -> None:
    # on the CPU: the first version looks at the length of the text
    check_prefill(*build(case, tmp_path, device="cpu"))


def test_deberta_as_published_agrees_with_torch(tmp_path: Path) -> None:
    module, model = build(NEWER["deberta-v3-base"], tmp_path, device="cpu")
    check_prefill(module, model)
    program = compile_forward(load_model("deberta-v3-base"), batch=3, prompt=17)
    assert program == compile_forward(
        model.model_copy(update={"name": "deberta-v3-base"}), batch=3, prompt=17
    )


@pytest.mark.parametrize("case", SOUND, ids=lambda case: case[0])
def test_sound_agrees_with_torch(case: Case, tmp_path: Path) -> None:
    module, model = build(case, tmp_path)
    assert model.parameters == counted_parameters(module)
    for batch, prompt in ((1, 8), (3, 17)):
        samples = torch.zeros((batch, filter_lengths(model, prompt)[0]), device="meta")
        program = compile_forward(model, batch=batch, prompt=prompt)
        assert program.matrix_flops == counted_flops(module, input_values=samples)


def check_images(module: Any, model: Model, batches: tuple[int, ...]) -> None:
    assert model.parameters == counted_parameters(module)
    reader = model.encoder or model
    for batch in batches:
        shape = (batch, 3, reader.image, reader.image_width or reader.image)
        program = compile_forward(model, batch=batch, prompt=model.fixed_input)
        pixels = torch.zeros(shape, device=module.device)
        assert program.matrix_flops == counted_flops(module, pixel_values=pixels)


@pytest.mark.parametrize("case", OBJECTS, ids=lambda case: case[0])
def test_yolos_agrees_with_torch(case: Case, tmp_path: Path) -> None:
    check_images(*build(case, tmp_path), (1, 3))


@pytest.mark.parametrize(
    "case",
    [
        # with and without a projection around the first block
        detr(embedding_size=16, hidden_sizes=[16, 32, 64], depths=[2, 1, 3]),
        detr(embedding_size=8, hidden_sizes=[16, 32, 64, 64], depths=[1, 2, 1, 1]),
    ],
    ids=["three stages", "four stages"],
)
def test_detr_agrees_with_torch(case: Case, tmp_path: Path) -> None:
    # on the CPU: which pixels there are is looked at
    check_images(*build(case, tmp_path, device="cpu"), (1, 2))


def test_detr_as_published_agrees_with_torch(tmp_path: Path) -> None:
    module, model = build(NEWER["detr-resnet-50"], tmp_path, device="cpu")
    check_images(module, model, (1,))
    assert load_model("detr-resnet-50").parameters == model.parameters


def test_a_backbone_may_go_by_its_name() -> None:
    config = transformers.DetrConfig(backbone_config=None, backbone="resnet101", num_labels=91)
    saved = {**config.to_dict(), "architectures": ["DetrForObjectDetection"]}
    from workloads.importers.huggingface import model_from_config

    model = model_from_config(saved, name="detr", where="config.json")
    assert model.parameters == load_model("detr-resnet-101").parameters


@pytest.mark.parametrize("case", REREAD, ids=lambda case: case[0])
def test_classifiers_on_encoder_decoders_agree_with_torch(case: Case, tmp_path: Path) -> None:
    module, model = build(case, tmp_path, device="cpu")
    assert model.parameters == counted_parameters(module)
    for batch, prompt in ((1, 8), (3, 17)):
        read = 3 * ids(module, batch, prompt)
        read[:, -1] = module.config.eos_token_id  # whose row is classified
        program = compile_forward(model, batch=batch, prompt=prompt)
        assert program.matrix_flops == counted_flops(module, input_ids=read)
