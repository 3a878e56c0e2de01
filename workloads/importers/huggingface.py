"""A Hugging Face config.json becomes a `Model`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from workloads.errors import InputError, nearest, shown
from workloads.importers import (
    deberta,
    decoders,
    detection,
    encoder_decoders,
    encoders,
    experts,
    later_decoders,
    sound,
    vision,
)
from workloads.importers.config import Config
from workloads.model import Model, build_model

MODEL_TYPES: dict[str, Callable[[Config], dict[str, Any]]] = {
    "albert": encoders.albert,
    "bart": encoder_decoders.bart,
    "bert": encoders.bert,
    "bloom": later_decoders.bloom,
    "deberta": deberta.deberta,
    "deberta-v2": deberta.deberta_v2,
    "deepseek_v3": experts.deepseek_v3,
    "detr": detection.detr,
    "distilbert": encoders.distilbert,
    "deit": vision.deit,
    "electra": encoders.electra,
    "falcon": later_decoders.falcon,
    "gemma": later_decoders.gemma,
    "gemma2": later_decoders.gemma2,
    "gemma3_text": later_decoders.gemma3,
    "gpt2": decoders.gpt2,
    "gpt_neox": decoders.gpt_neox,
    "gpt_oss": experts.gpt_oss,
    "gptj": decoders.gptj,
    "llama": decoders.llama,
    "longformer": encoders.longformer,
    "marian": encoder_decoders.marian,
    "mistral": decoders.mistral,
    "mixtral": experts.mixtral,
    "olmo2": later_decoders.olmo2,
    "opt": decoders.opt,
    "phi": decoders.phi,
    "phi3": later_decoders.phi3,
    "qwen2": decoders.qwen2,
    "qwen3": later_decoders.qwen3,
    "qwen3_moe": experts.qwen3_moe,
    "roberta": encoders.roberta,
    "stablelm": later_decoders.stablelm,
    "starcoder2": later_decoders.starcoder2,
    "swin": vision.swin,
    "swinv2": vision.swinv2,
    "t5": encoder_decoders.t5,
    "vit": vision.vit,
    "wav2vec2": sound.wav2vec2,
    "xlnet": encoders.xlnet,
    "yolos": detection.yolos,
    "whisper": encoder_decoders.whisper,
}


_WITH_ENCODER = ("bart", "detr", "marian", "t5", "whisper")


def model_from_config(table: dict[str, Any], *, name: str, where: str) -> Model:
    """The model that a config.json describes.

    `architectures` decides what follows the last layer (head, pooler, classifier); without it the
    model gets the head that its type usually has, and a note says so. Keys that do not change what
    is computed are not looked at, nor are keys that name code (`auto_map`, `trust_remote_code`):
    nothing of it is run. Default values are those of transformers 5. InputError, naming `where`
    and the key: an unknown model_type (with those that are known), a missing key, a value of the
    wrong type, values that contradict each other, what is not modelled.
    """
    config = Config(table, where)
    kind = table.get("model_type")
    if not isinstance(kind, str) or kind not in MODEL_TYPES:
        known = ", ".join(MODEL_TYPES)
        if kind is None:
            raise InputError(f"{where}: model_type is missing: expected one of {known}")
        hint = nearest(kind, MODEL_TYPES) if isinstance(kind, str) else ""
        raise InputError(f"{where}: model_type = {shown(kind)}: expected one of {known}{hint}")
    if kind not in _WITH_ENCODER:
        config.refuse("is_encoder_decoder", True, because="an encoder-decoder")
    keys = MODEL_TYPES[kind](config)
    if table.get("quantization_config") is not None:
        config.notes.append(
            f"quantization_config in {where} is not looked at: say which weight_dtype to use"
        )
    full = {"name": name, "source": where, "notes": tuple(config.notes), **keys}
    return build_model(full, where, called=config.read)
