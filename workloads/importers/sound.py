"""Encoders of sound of Hugging Face: wav2vec 2.0."""

from __future__ import annotations

from typing import Any

from workloads.importers.config import Config
from workloads.importers.encoders import BERT_KEYS, BLOCK, activation, widths
from workloads.importers.heads import WAV2VEC2_HEADS, head
from workloads.importers.vision import sizes

_POSITIONS = 100_000
"""The number of positions is not limited; this is half an hour of sound."""

_WIDTHS, _KERNELS, _STRIDES = [512] * 7, [10, 3, 3, 3, 3, 2, 2], [5, 2, 2, 2, 2, 2, 2]


def wav2vec2(config: Config) -> dict[str, Any]:
    """Wav2Vec2Model and its head over letters (CTC)."""
    config.refuse("add_adapter", True, because="an adapter behind the encoder")
    if config.table.get("adapter_attn_dim") is not None:
        raise config.wrong("adapter_attn_dim", "adapters in the layers are not modelled yet")
    keys = {k: v for k, v in BERT_KEYS.items() if k not in ("vocab", "max_positions")}
    function = activation(config, "hidden_act", "gelu")
    if activation(config, "feat_extract_activation", "gelu") != function:
        raise config.wrong("feat_extract_activation", "expected the same as hidden_act")
    stable = config.flag("do_stable_layer_norm", False)
    result = {
        **BLOCK,
        **widths(config, keys),
        "norm_position": "pre" if stable else "post",
        "final_norm": stable,
        "embedding_norm": not stable,
        "activation": function,
        "input": "sound",
        "positions": "convolution",
        "max_positions": _POSITIONS,
        "filters": _filters(config),
        "filter_norm": _norm(config),
        "filter_bias": config.flag("conv_bias", False),
        "position_kernel": config.size("kernel", ("num_conv_pos_embeddings",), default=128),
        "position_groups": config.size("groups", ("num_conv_pos_embedding_groups",), default=16),
        "masked_vector": _masks(config),
        **head(config, "Wav2Vec2", WAV2VEC2_HEADS, "ForCTC"),
    }
    if "head" in result:
        result["classes"] = config.size("classes", ("vocab_size",), default=32)
    return result


def _filters(config: Config) -> list[list[int]]:
    """Width, kernel and stride of each convolution."""
    given = [
        sizes(config, key) if config.table.get(key) is not None else default
        for key, default in (
            ("conv_dim", _WIDTHS),
            ("conv_kernel", _KERNELS),
            ("conv_stride", _STRIDES),
        )
    ]
    if len({len(numbers) for numbers in given}) > 1:
        raise config.wrong("conv_dim", "expected as many entries as conv_kernel and conv_stride")
    return [list(numbers) for numbers in zip(*given, strict=True)]


def _norm(config: Config) -> str:
    kinds = {"group": "first", "layer": "each"}
    name = config.text("feat_extract_norm", "group")
    if name not in kinds:
        raise config.wrong("feat_extract_norm", 'expected "group" or "layer"')
    return kinds[name]


def _masks(config: Config) -> bool:
    """Whether training masked positions, and hence has a vector in their place."""
    found = []
    for key, default in (("mask_time_prob", 0.05), ("mask_feature_prob", 0.0)):
        value = config.number(key, default)
        found.append(value is not None and value > 0)
    return any(found)
