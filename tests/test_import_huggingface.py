"""config.json files: what is read from them, and one clear line for each that cannot be read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.later_configs import GEMMA2, GPT_OSS, LATER_CONFIGS, QWEN3_MOE
from tests.newer_configs import DEBERTA, DEBERTA_V3, DETR, NEWER_CONFIGS, WAV2VEC2, YOLOS
from tests.published_configs import BERT, GPT2, LLAMA, NEOX, PHI, QWEN2, ROBERTA, VIT
from tests.published_configs import CONFIGS as FIRST
from workloads import InputError, Model, load_model
from workloads.importers.huggingface import MODEL_TYPES, model_from_config
from workloads.layers import layer_runs

CONFIGS = {**FIRST, **NEWER_CONFIGS}
LONG = LATER_CONFIGS["longformer-base-4096"]
SWIN = LATER_CONFIGS["swin-tiny"]


def imported(table: dict[str, Any]) -> Model:
    return model_from_config(table, name="model", where="config.json")


def refused(table: dict[str, Any]) -> str:
    with pytest.raises(InputError) as caught:
        imported(table)
    message = str(caught.value)
    assert message.startswith("config.json: ")
    assert "\n" not in message
    assert len(message) < 600
    return message


@pytest.mark.parametrize("name", sorted(CONFIGS))
def test_a_published_config_is_the_bundled_model(name: str) -> None:
    ours = load_model(name).model_dump(exclude={"name", "source"})
    theirs = imported(CONFIGS[name]).model_dump(exclude={"name", "source"})
    # only DETR's leaves something open that is then assumed
    assert bool(theirs.pop("notes")) == (name == "detr-resnet-50")
    assert theirs == {key: value for key, value in ours.items() if key != "notes"}


def test_every_type_is_tested_here() -> None:
    assert {config["model_type"] for config in CONFIGS.values()} == set(MODEL_TYPES)


def test_a_file_and_its_folder(tmp_path: Path) -> None:
    folder = tmp_path / "my-model"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(GPT2))
    for given_path in (folder, str(folder), folder / "config.json"):
        model = load_model(given_path)
        assert model.name == "my-model"
        assert model.parameters == 124_439_808


def test_architectures_decide_what_follows_the_last_layer() -> None:
    masked = imported(BERT)
    assert (masked.head, masked.pooler, masked.head_bias) == ("mlm", False, True)
    # 109,514,298: the body without pooler 108,891,648, transform 592,128, bias 30,522
    assert masked.parameters == 109_514_298
    classifier = imported(
        {**BERT, "architectures": ["BertForSequenceClassification"], "num_labels": 3}
    )
    assert (classifier.head, classifier.pooler, classifier.classes) == ("classifier", True, 3)
    assert imported({**GPT2, "architectures": ["GPT2Model"]}).head == "none"
    assert imported({**GPT2, "architectures": ["GPT2ForTokenClassification"]}).classes == 2


def test_without_architectures_the_usual_head_is_assumed_and_said() -> None:
    table = {key: value for key, value in BERT.items() if key != "architectures"}
    model = imported(table)
    assert model.parameters == 109_482_240
    assert model.notes == ('no "architectures" in config.json: taken as BertModel',)
    table = {key: value for key, value in GPT2.items() if key != "architectures"}
    assert imported(table).head == "lm"


def test_code_and_unknown_keys_are_not_looked_at() -> None:
    extra = {
        "auto_map": {"AutoModel": "evil.py--Model"},
        "trust_remote_code": True,
        "whatever": [1, {"a": None}],
    }
    assert imported({**LLAMA, **extra}) == imported(LLAMA)


def test_quantized_weights_are_said() -> None:
    model = imported({**LLAMA, "quantization_config": {"bits": 4}})
    assert "quantization_config" in model.notes[0]


@pytest.mark.parametrize("name", sorted(CONFIGS))
def test_each_missing_size_is_named(name: str) -> None:
    sizes = {
        key
        for key, value in CONFIGS[name].items()
        if isinstance(value, int) and not isinstance(value, bool)
    }
    optional = {
        "decoder_sparse_step",
        "max_relative_positions",
        "num_conv_pos_embedding_groups",
        "num_conv_pos_embeddings",
        "num_detection_tokens",
        "num_feat_extract_layers",
        "num_queries",
        "pooler_hidden_size",
        "position_buckets",
        "embedding_size",
        "first_k_dense_replace",
        "head_dim",
        "max_source_positions",
        "max_target_positions",
        "max_window_layers",
        "n_routed_experts",
        "n_positions",
        "n_shared_experts",
        "num_decoder_layers",
        "num_experts",
        "num_experts_per_tok",
        "num_layers",
        "num_local_experts",
        "num_nextn_predict_layers",
        "q_lora_rank",
        "qk_nope_head_dim",
        "qk_rope_head_dim",
        "seq_length",
        "v_head_dim",
        "n_ctx",
        "num_channels",
        "num_hidden_groups",
        "num_key_value_heads",
        "num_mel_bins",
        "pad_token_id",
        "relative_attention_num_buckets",
        "rotary_dim",
        "sliding_window",
        "type_vocab_size",
        "word_embed_proj_dim",
    }
    if "swin" not in CONFIGS[name]["model_type"]:
        optional.discard("num_layers")
    if CONFIGS[name]["model_type"] == "wav2vec2":  # its classes are letters
        optional.add("vocab_size")
    if CONFIGS[name]["model_type"] != "t5":  # its positions are not limited
        optional.discard("n_positions")
    for key in sizes - optional:
        table = {k: v for k, v in CONFIGS[name].items() if k != key}
        message = refused(table)
        assert key in message
        assert "is missing" in message or "expected a whole number" in message


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({}, "model_type is missing: expected one of "),
    ({"model_type": "mamba"}, "model_type = 'mamba': expected one of "),
    ({"model_type": "lama"}, 'did you mean "llama"?'),
    ({"model_type": 7}, "model_type = 7: expected one of"),
    ({**BERT, "num_attention_heads": 7}, "hidden_size = 768: not divisible by num_attention_heads"),
    ({**BERT, "num_hidden_layers": 0}, "num_hidden_layers = 0: expected a number from 1"),
    ({**BERT, "num_hidden_layers": -1}, "num_hidden_layers = -1"),
    ({**BERT, "num_hidden_layers": True}, "num_hidden_layers = True: expected a whole number"),
    ({**BERT, "num_hidden_layers": "12"}, "write the number without quotes"),
    ({**BERT, "num_hidden_layers": 12.0}, "num_hidden_layers = 12.0: expected a whole number"),
    ({**BERT, "num_hidden_layers": 10**9}, "num_hidden_layers = 1000000000: expected less than"),
    ({**BERT, "vocab_size": 10**4000}, "vocab_size = an integer of"),
    ({**BERT, "hidden_act": "mish"}, "hidden_act = 'mish': expected one of gelu"),
    ({**BERT, "hidden_act": ["gelu"]}, "hidden_act = ['gelu']: expected a name"),
    ({**BERT, "is_decoder": True}, "is_decoder = True: this family as a decoder is not modelled"),
    (
        {**BERT, "position_embedding_type": "relative_key"},
        "an embedding of relative positions is not modelled",
    ),
    ({**BERT, "tie_word_embeddings": 1}, "tie_word_embeddings = 1: expected true or false"),
    ({**BERT, "architectures": ["BertForPreTraining"]}, "expected one of BertModel"),
    ({**BERT, "architectures": ["GPT2LMHeadModel"]}, "contradicts model_type = 'bert'"),
    ({**BERT, "architectures": "BertModel"}, "architectures = 'BertModel': expected a list"),
    ({**BERT, "is_encoder_decoder": True}, "an encoder-decoder is not modelled yet"),
    ({**ROBERTA, "max_position_embeddings": 2}, "expected more than pad_token_id + 1 = 2"),
    ({**GPT2, "hidden_size": 1024}, "hidden_size = 1024: contradicts n_embd = 768"),
    ({**GPT2, "add_cross_attention": True}, "cross-attention is not modelled"),
    ({**LLAMA, "num_key_value_heads": 7}, "num_key_value_heads = 7: does not divide"),
    ({**LLAMA, "num_key_value_heads": 128}, "are the two swapped?"),
    ({**LLAMA, "head_dim": 127}, "rotary_dim = 127 is odd"),
    ({**NEOX, "rotary_pct": 1.5}, "rotary_pct = 1.5: expected a fraction"),
    ({**NEOX, "rotary_pct": float("nan")}, "rotary_pct = nan: expected a fraction"),
    ({**PHI, "qk_layernorm": True}, "a norm of queries and keys is not modelled"),
    ({**GPT_OSS, "layer_types": ["full_attention"]}, "layer_types = ['full_attention']: expected"),
    ({**GPT_OSS, "layer_types": ["chunked_attention"] * 24}, "'chunked_attention' is not one of"),
    ({**QWEN3_MOE, "mlp_only_layers": [3]}, "only the first layers may be without experts"),
    (
        {**GEMMA2, "attn_logit_softcapping": "50"},
        "attn_logit_softcapping = '50': expected a number",
    ),
    ({**LONG, "attention_window": [512, 256]}, "expected one number, the same in all layers"),
    ({**SWIN, "depths": [2, 0]}, "depths = [2, 0]: expected a list of whole numbers"),
    ({**SWIN, "num_heads": [3]}, "stage_heads has 1 entries"),
    ({**SWIN, "num_heads": [3, 7, 12, 24]}, "stage_heads = 7 does not divide the width 192"),
    ({**SWIN, "use_absolute_embeddings": True}, "a table of positions in Swin is not modelled"),
    ({**DEBERTA, "talking_head": True}, "a product over the heads (talking_head) is not modelled"),
    ({**DEBERTA, "position_biased_input": True}, "positions added to the input as well are not"),
    ({**DEBERTA, "max_relative_positions": -2}, "max_relative_positions = -2: expected a whole"),
    ({**DEBERTA_V3, "pos_att_type": "c2p|p2p"}, "expected c2p, p2c or both, found ['c2p', 'p2p']"),
    ({**DEBERTA_V3, "pos_att_type": 7}, "pos_att_type = 7: expected a list such as"),
    ({**DEBERTA_V3, "embedding_size": 128}, "a width other than hidden_size is not modelled"),
    ({**DEBERTA_V3, "attention_head_size": 32}, "expected hidden_size / num_attention_heads"),
    ({**DEBERTA_V3, "legacy": False}, "the head of legacy = false is not modelled"),
    ({**DEBERTA_V3, "conv_kernel_size": 4}, "conv_kernel_size = 4: expected an odd number"),
    ({**DEBERTA_V3, "conv_kernel_size": 3, "conv_groups": 2}, "a convolution in groups is not"),
    ({**DEBERTA_V3, "conv_kernel_size": 3, "conv_act": "mish"}, "conv_act = 'mish': expected one"),
    ({**WAV2VEC2, "add_adapter": True}, "an adapter behind the encoder is not modelled"),
    ({**WAV2VEC2, "adapter_attn_dim": 16}, "adapters in the layers are not modelled"),
    ({**WAV2VEC2, "feat_extract_norm": "batch"}, 'expected "group" or "layer"'),
    ({**WAV2VEC2, "feat_extract_activation": "relu"}, "expected the same as hidden_act"),
    ({**WAV2VEC2, "conv_stride": [5, 2]}, "expected as many entries as conv_kernel"),
    ({**WAV2VEC2, "num_conv_pos_embedding_groups": 7}, "groups that divide hidden_size = 768"),
    ({**WAV2VEC2, "architectures": ["Wav2Vec2ForXVector"]}, "expected one of Wav2Vec2Model"),
    ({**YOLOS, "image_size": [8, 864]}, "expected at least patch_size = 16"),
    ({**YOLOS, "image_size": [512, "864"]}, "write the number without quotes"),
    ({**DETR, "dilation": True}, "a backbone with dilation (DC5) is not modelled"),
    ({**DETR, "position_embedding_type": "learned"}, 'only "sine" is modelled'),
    ({**DETR, "backbone": "vgg16"}, "backbone = 'vgg16': expected one of resnet50, resnet101"),
    ({**DETR, "backbone_config": 3}, "backbone_config = 3: expected a table or null"),
    (
        {**DETR, "backbone_config": {"model_type": "swin"}},
        """config.json: backbone_config: model_type = 'swin': expected "resnet" of layer_type""",
    ),
    (
        {**DETR, "backbone_config": {"model_type": "resnet", "depths": [3, 4]}},
        "depths = [3, 4]: expected as many entries as hidden_sizes",
    ),
    ({**VIT, "image_size": [224, 192]}, "only squares are modelled"),
    ({**VIT, "image_size": 225}, "image_size = 225 is not a positive multiple of patch_size = 16"),
    ({**VIT, "pooler_output_size": 10}, "a pooler that changes the width is not modelled"),
    ({**VIT, "num_labels": 5}, "contradicts id2label, which names 1000 labels"),
]


def test_a_window_on_the_last_layers_only() -> None:
    model = imported({**QWEN2, "use_sliding_window": True, "max_window_layers": 21})
    assert model.window == 131072
    assert model.pattern == ("global",) * 21 + ("local",) * 3
    assert [(run.first, run.count) for run in layer_runs(model)] == [(0, 21), (21, 3)]


@pytest.mark.parametrize(("table", "message"), REFUSED, ids=[case[1][:40] for case in REFUSED])
def test_a_config_that_lacks_or_contradicts_gets_one_clear_line(
    table: dict[str, Any], message: str
) -> None:
    assert message in refused(table)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not valid JSON"),
        ("{", "not valid JSON"),
        ("[1, 2]", "expected a table of keys and values, found [1, 2]"),
        ("null", "expected a table of keys and values"),
        ('{"hidden_size": NaN}', "NaN is not a number"),
        ('{"hidden_size": -Infinity}', "-Infinity is not a number"),
        ('{"hidden_size": 1, "hidden_size": 2}', "the key 'hidden_size' is given twice"),
        ('{"hidden_size": 1' + "0" * 5000 + "}", "not valid JSON"),
        ('{"a": ' + "[" * 200_000, "nested too deeply"),
        ('{"a": "' + "x" * (1 << 20) + '"}', "larger than 1048576 bytes"),
    ],
)
def test_a_broken_file_gets_one_clear_line(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        load_model(path)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 80), 1 << 80)
    | st.floats()
    | st.text(max_size=6)
    | st.sampled_from([1, 2, 8, 64, "gelu", "BertModel", 10**9, 10**4000]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=4,
)
KEYS = sorted({key for config in CONFIGS.values() for key in config} | {"num_labels", "head_dim"})


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    base=st.sampled_from(sorted(CONFIGS)),
    changes=st.dictionaries(st.sampled_from(KEYS), JSON, max_size=4),
)
def test_no_config_whatever_gives_a_traceback(base: str, changes: dict[str, Any]) -> None:
    try:
        model = imported({**CONFIGS[base], **changes})
    except InputError as error:
        message = str(error)
    else:
        message = ""
        assert model.parameters > 0
    assert "\n" not in message
    assert len(message) < 800


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.binary(max_size=200))
def test_no_bytes_whatever_give_a_traceback(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(data)
    with pytest.raises(InputError):
        load_model(path)
