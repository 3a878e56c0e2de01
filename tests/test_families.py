"""Every family of models and every head: bundled, read from a config.json, compiled."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import workloads
from tests.newer_configs import DETR, WAV2VEC2, YOLOS
from tests.published_configs import BERT, GPT2, LLAMA, VIT
from tests.test_import_huggingface import CONFIGS as ALL_CONFIGS
from tests.test_import_huggingface import imported
from workloads import InputError, Model, Program, compile_forward, flatten, list_models, load_model
from workloads.importers.huggingface import MODEL_TYPES
from workloads.model import build_model

T5, BART = ALL_CONFIGS["t5-small"], ALL_CONFIGS["bart-base"]
FAMILIES = {
    "bert": "bert",
    "roberta": "roberta",
    "distilbert": "distilbert",
    "electra": "electra",
    "albert": "albert",
    "deberta": "deberta deberta-v2",
    "gpt2": "gpt2",
    "gpt-3": "",
    "opt": "opt",
    "bloom": "bloom",
    "gpt-j": "gptj",
    "gpt-neox": "gpt_neox",
    "pythia": "gpt_neox",
    "falcon": "falcon",
    "stablelm": "stablelm",
    "starcoder2": "starcoder2",
    "olmo-2": "olmo2",
    "llama": "llama",
    "mistral": "mistral",
    "qwen2": "qwen2",
    "qwen2.5": "qwen2",
    "qwen3": "qwen3 qwen3_moe",
    "gemma": "gemma",
    "gemma-2": "gemma2",
    "gemma-3": "gemma3_text",
    "phi-3": "phi3",
    "mixtral-8x7b": "mixtral",
    "mixtral-8x22b": "mixtral",
    "deepseek-v3": "deepseek_v3",
    "deepseek-r1": "deepseek_v3",
    "gpt-oss": "gpt_oss",
    "transformer": "",
    "opus-mt": "marian",
    "t5": "t5",
    "flan-t5": "t5",
    "bart": "bart",
    "transformer-xl": "",
    "longformer": "longformer",
    "xlnet": "xlnet",
    "vit": "vit",
    "deit": "deit",
    "swin": "swin swinv2",
    "whisper": "whisper",
    "wav2vec2": "wav2vec2",
    "detr": "detr",
    "yolos": "yolos",
    "dit": "",
}
"""Beginnings of bundled names, and the types of config.json that give such models."""


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_every_family_is_bundled_and_read(name: str) -> None:
    assert any(known == name or known.startswith(f"{name}-") for known in list_models())
    assert set(FAMILIES[name].split()) <= set(MODEL_TYPES)


def usual(model: Model) -> Program:
    """The plainest request: what a fixed input gives, or four tokens."""
    return compile_forward(model, prompt=model.fixed_input or min(4, model.max_positions))


def depth(model: Model, factor: int) -> Model:
    """The same model with as many times the layers."""
    changes: dict[str, Any] = {"layers": model.layers * factor}
    if model.depths:
        changes["depths"] = tuple(count * factor for count in model.depths)
    if model.encoder is not None:
        changes["encoder"] = depth(model.encoder, factor)
    return model.model_copy(update=changes)


def made(program: Program) -> int:
    """Moments that had to be made: each distinct segment counts once."""
    segments = {id(r.segment): r.segment for p in program.passes for r in p.repeats}
    return sum(len(segment.moments) for segment in segments.values())


@pytest.mark.parametrize("name", list_models())
def test_work_of_compiling_does_not_grow_with_depth(name: str) -> None:
    model = load_model(name)
    program, deeper = usual(model), usual(depth(model, 3))
    assert made(deeper) == made(program) <= 400
    assert deeper.moment_count > program.moment_count


@pytest.mark.parametrize("name", list_models())
def test_names_are_distinct_and_weights_are_read(name: str) -> None:
    model = load_model(name)
    if model.layers > 40:  # names of deep models take long to write out and show nothing more
        model = depth(model, 1).model_copy(update={"layers": 8})
    flat = flatten(usual(model))
    names = [flat.name(i) for i in range(len(flat))]
    assert len(set(names)) == len(names)
    assert all(moment.reads or moment.name == "zeros" for moment in flat.moments)


HEADS: list[tuple[dict[str, Any], str, dict[str, Any], dict[str, Any]]] = [
    (BERT, "BertForMaskedLM", {}, {"head": "mlm"}),
    (BERT, "BertForSequenceClassification", {"num_labels": 7}, {"classes": 7, "pooler": True}),
    (BERT, "BertForTokenClassification", {"num_labels": 9}, {"classes": 9, "classify_every": True}),
    (BERT, "BertForQuestionAnswering", {}, {"classes": 2, "classify_every": True}),
    (GPT2, "GPT2LMHeadModel", {}, {"head": "lm"}),
    (LLAMA, "LlamaForSequenceClassification", {"num_labels": 5}, {"classes": 5}),
    (LLAMA, "LlamaForTokenClassification", {"num_labels": 3}, {"classes": 3, "head_bias": True}),
    (T5, "T5ForConditionalGeneration", {}, {"head": "lm"}),
    (T5, "T5ForSequenceClassification", {"num_labels": 4}, {"classes": 4, "pooler": True}),
    (T5, "T5ForTokenClassification", {"num_labels": 4}, {"classes": 4, "family": "encoder"}),
    (T5, "T5EncoderModel", {}, {"head": "none", "family": "encoder"}),
    (BART, "BartForSequenceClassification", {"num_labels": 3, "id2label": None}, {"classes": 3}),
    (BART, "BartForQuestionAnswering", {}, {"classes": 2, "classify_every": True}),
    (VIT, "ViTForImageClassification", {}, {"classes": 1000}),
    (VIT, "ViTModel", {}, {"head": "none", "pooler": True}),
    (WAV2VEC2, "Wav2Vec2ForCTC", {"vocab_size": 40}, {"classes": 40, "classify_every": True}),
    (WAV2VEC2, "Wav2Vec2Model", {}, {"head": "none"}),
    (YOLOS, "YolosForObjectDetection", {}, {"head": "detector", "classes": 92}),
    (DETR, "DetrModel", {}, {"head": "none", "queries": 100}),
]


@pytest.mark.parametrize(("base", "architecture", "changes", "expected"), HEADS, ids=str)
def test_architectures_decide_the_head(
    base: dict[str, Any], architecture: str, changes: dict[str, Any], expected: dict[str, Any]
) -> None:
    table = {**base, **changes, "architectures": [architecture]}
    model = imported(table)
    assert {key: getattr(model, key) for key in expected} == expected
    rows = 2 * (model.queries or model.fixed_input or 4)
    program = compile_forward(model, batch=2, prompt=model.fixed_input or 4)
    last = flatten(program).moments[-1]
    if model.head == "classifier":
        logits = 4 * model.classes * (rows if model.classify_every else 2)
        assert (last.name, last.write_bytes) == ("classifier", logits)


def test_without_architectures_the_usual_head_is_assumed_and_said() -> None:
    for base, kind in ((DETR, "DetrForObjectDetection"), (WAV2VEC2, "Wav2Vec2ForCTC")):
        table = {key: value for key, value in base.items() if key != "architectures"}
        model = imported(table)
        assert f'no "architectures" in config.json: taken as {kind}' in model.notes


def test_several_heads_read_one_trunk() -> None:
    table = tomllib.loads(
        """
        family = "encoder"
        layers = 2
        hidden = 16
        heads = 2
        intermediate = 32
        activation = "gelu"
        positions = "learned"
        max_positions = 64
        vocab = 100
        [[tasks]]
        name = "mood"
        classes = 3
        pooler = true
        [[tasks]]
        name = "words"
        classes = 9
        every = true
        """
    )
    model = build_model({"name": "trunk", **table}, "trunk.toml")
    moments = {m.name: m for m in flatten(compile_forward(model, batch=2, prompt=4)).moments}
    assert moments["mood_classifier"].write_bytes == 4 * 2 * 3
    assert moments["words_classifier"].write_bytes == 4 * 8 * 9
    # both begin with the same rows of the last layer
    assert moments["mood_pooler"].reads[0].name == moments["words_classifier"].reads[0].name


def test_parts_add_up() -> None:
    from workloads.parameters import parameter_parts

    parts = parameter_parts(load_model("bart-base"))
    # encoder and decoder have one table of 50,265 tokens, 768 wide
    assert parts["shared"] == -50_265 * 768
    assert sum(parts.values()) == 139_420_416


TABLES = {
    path.stem: tomllib.loads(path.read_text())
    for path in sorted((Path(workloads.__file__).parent / "models").glob("*.toml"))
    if path.stem
    in (
        *("deberta-v2-xlarge", "deberta-base", "wav2vec2-large-960h-lv60", "yolos-small"),
        *("detr-resnet-50", "dit-s-2-256", "transformer-xl-large", "deepseek-v3", "t5-small"),
    )
}
KEYS = sorted({*Model.model_fields} - {"name", "source", "notes"})
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-1, 12),
    st.sampled_from([64, 800, 1 << 21, 1 << 80, "pre", "post", "lm", "none", "encoder", "tokens"]),
    st.lists(st.integers(0, 9), max_size=3),
    st.lists(st.lists(st.integers(1, 9), min_size=3, max_size=3), max_size=3),
    st.sampled_from(["classifier", "detector", "denoiser", "patches", "sound", "features"]),
    st.sampled_from(["each_layer", "disentangled", "convolution", "relative", "learned", "rope"]),
    st.sampled_from([{}, {"input": "features"}, {"stem": 4, "widths": [8], "depths": [1]}]),
)


@settings(max_examples=600, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    name=st.sampled_from(sorted(TABLES)),
    changes=st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=4),
)
def test_no_table_however_changed_gives_a_traceback(name: str, changes: dict[str, Any]) -> None:
    try:
        model = build_model({"name": name, **TABLES[name], **changes}, "changed.toml")
        assert model.parameters > 0
        program = usual(model)
    except InputError as error:
        message = str(error)
        assert "\n" not in message
        assert len(message) < 800
    else:
        assert program.moment_count > 0
        assert program.footprint.weight_bytes > 0
        json.dumps(model.model_dump(mode="json"))
