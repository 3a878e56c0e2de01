"""Encoders of images of Hugging Face: ViT, DeiT, Swin."""

from __future__ import annotations

from typing import Any

from workloads.importers.config import Config
from workloads.importers.encoders import BERT_KEYS, BLOCK, activation, widths
from workloads.importers.heads import SWIN_HEADS, VIT_HEADS, YOLOS_HEADS, Heads, head


def vit(config: Config) -> dict[str, Any]:
    """ViTModel and its classifier of images; the image is square, and so are its patches."""
    return patches(config, "ViT", VIT_HEADS)


def deit(config: Config) -> dict[str, Any]:
    """DeiTModel and its classifier: ViT with a second token, from which a teacher is learned."""
    return {**patches(config, "DeiT", VIT_HEADS), "class_tokens": 2}


def patches(config: Config, prefix: str, heads: Heads) -> dict[str, Any]:
    """What all encoders of patches have in common; the image may be wider than high (YOLOS)."""
    keys = {k: v for k, v in BERT_KEYS.items() if k not in ("vocab", "max_positions")}
    sizes = widths(config, keys)
    pooled = config.size("hidden", ("pooler_output_size",), default=sizes["hidden"])
    if pooled != sizes["hidden"]:
        raise config.wrong("pooler_output_size", "a pooler that changes the width is not modelled")
    return {
        **BLOCK,
        **sizes,
        "norm_position": "pre",
        "input": "patches",
        **_image(config, heads is YOLOS_HEADS),
        "patch": _side(config, "patch_size"),
        "channels": config.size("channels", ("num_channels",), default=3),
        "final_norm": True,
        "activation": activation(config, "hidden_act", "gelu"),
        "qkv_bias": config.flag("qkv_bias", True),
        **head(config, prefix, heads, "Model"),
    }


def _image(config: Config, oblong: bool) -> dict[str, int]:
    value = config.table.get("image_size")
    if not oblong or not isinstance(value, list) or len(value) != 2:
        return {"image": _side(config, "image_size")}
    one, other = (
        Config({"image_size": side}, config.where).size("image", ("image_size",)) for side in value
    )
    return {"image": one} if one == other else {"image": one, "image_width": other}


def _side(config: Config, key: str) -> int:
    value = config.table.get(key)
    if isinstance(value, list) and len(value) == 2 and value[0] == value[1]:
        squared = Config({key: value[0]}, config.where)
        return squared.size(key, (key,))
    if isinstance(value, list):
        raise config.wrong(key, "expected one number, or two equal ones: only squares are modelled")
    return config.size(key.removesuffix("_size"), (key,))


def swin(config: Config) -> dict[str, Any]:
    """SwinModel and its classifier: windows that shift, four stages."""
    return _stages(config, "Swin")


def swinv2(config: Config) -> dict[str, Any]:
    """Swinv2Model and its classifier: cosines, norms of the results, keys without bias."""
    keys = _stages(config, "Swinv2")
    return {**keys, "norm_position": "output", "cosine": True, "key_bias": False}


def _stages(config: Config, prefix: str) -> dict[str, Any]:
    config.refuse("use_absolute_embeddings", True, because="a table of positions in Swin")
    depths, heads = sizes(config, "depths"), sizes(config, "num_heads")
    hidden = config.size("hidden", ("embed_dim",))
    ratio = config.number("mlp_ratio", 4.0)
    if ratio is None or not 0 < ratio <= 64:
        raise config.wrong("mlp_ratio", "expected a number above 0 and up to 64")
    return {
        **BLOCK,
        "norm_position": "pre",
        "positions": "none",
        "layers": sum(depths),
        "hidden": hidden,
        "heads": heads[0],
        "intermediate": max(1, int(hidden * ratio)),
        "depths": depths,
        "stage_heads": heads,
        "window_side": config.size("window_side", ("window_size",)),
        "input": "patches",
        "class_tokens": 0,
        "image": _side(config, "image_size"),
        "patch": _side(config, "patch_size"),
        "channels": config.size("channels", ("num_channels",), default=3),
        "embedding_norm": True,
        "final_norm": True,
        "mean_pooling": True,
        "activation": activation(config, "hidden_act", "gelu"),
        "qkv_bias": config.flag("qkv_bias", True),
        **head(config, prefix, SWIN_HEADS, "Model"),
    }


def sizes(config: Config, key: str) -> list[int]:
    """A list of one to eight whole numbers of at least 1."""
    value = config.table.get(key)
    good = isinstance(value, list) and 1 <= len(value) <= 8
    if not good or any(type(n) is not int or not 1 <= n <= 4096 for n in value or ()):
        raise config.wrong(key, "expected a list of whole numbers, one for each stage")
    return list(value or ())
