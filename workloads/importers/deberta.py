"""DeBERTa of Hugging Face: v1, and v2 with its v3 weights."""

from __future__ import annotations

from typing import Any

from workloads.errors import shown
from workloads.importers.config import Config
from workloads.importers.encoders import ACTIVATIONS, BERT_KEYS, BLOCK, activation, widths
from workloads.importers.heads import DEBERTA_HEADS, head


def deberta(config: Config) -> dict[str, Any]:
    """DebertaModel and its heads: distances up to the length of the text, keys without bias."""
    config.refuse("talking_head", True, because="a product over the heads (talking_head)")
    config.refuse("legacy", False, because="the head of legacy = false")
    keys = _deberta(config, "Deberta", 0)
    return {**keys, "key_bias": False, "short_span": "relative_buckets" in keys}


def deberta_v2(config: Config) -> dict[str, Any]:
    """DebertaV2Model and its heads (v2 and v3): distances in buckets, v2 with a convolution."""
    config.refuse("legacy", False, because="the head of legacy = false")
    keys = _deberta(config, "DebertaV2", config.count("position_buckets", 0))
    norms = config.text("norm_rel_ebd", "none").lower().split("|")
    if keys["positions"] == "disentangled":
        keys["shared_position_keys"] = config.flag("share_att_key", False)
        keys["relative_norm"] = "layer_norm" in (name.strip() for name in norms)
    kernel = config.count("conv_kernel_size", 0)
    if not kernel:
        return keys
    if kernel % 2 == 0:
        raise config.wrong("conv_kernel_size", "expected an odd number: it has a middle")
    if config.count("conv_groups", 1) != 1:
        raise config.wrong("conv_groups", "a convolution in groups is not modelled yet")
    name = config.text("conv_act", "tanh")
    if name not in (*ACTIVATIONS, "tanh"):
        raise config.wrong("conv_act", f"expected one of {', '.join(ACTIVATIONS)}, tanh")
    return {
        **keys,
        "convolution_kernel": kernel,
        "convolution_activation": ACTIVATIONS.get(name, name),
    }


def _deberta(config: Config, prefix: str, buckets: int) -> dict[str, Any]:
    sizes = widths(config, BERT_KEYS)
    for key in ("embedding_size", "pooler_hidden_size"):
        if config.count(key, sizes["hidden"]) != sizes["hidden"]:
            raise config.wrong(key, "a width other than hidden_size is not modelled yet")
    head_width = config.count("attention_head_size", 0) or sizes["hidden"] // sizes["heads"]
    if head_width * sizes["heads"] != sizes["hidden"]:
        raise config.wrong("attention_head_size", "expected hidden_size / num_attention_heads")
    keys = {
        **BLOCK,
        "norm_position": "post",
        "embedding_norm": True,
        **sizes,
        "activation": activation(config, "hidden_act", "gelu"),
        "token_types": config.count("type_vocab_size", 0),
        "tied_embeddings": config.flag("tie_word_embeddings", True),
        **head(config, prefix, DEBERTA_HEADS, "Model"),
    }
    added = config.flag("position_biased_input", True)
    if not config.flag("relative_attention", False):
        return {**keys, "positions": "learned" if added else "none"}
    if added:
        raise config.wrong(
            "position_biased_input", "positions added to the input as well are not modelled yet"
        )
    span = buckets or _longest(config, sizes["max_positions"])
    products = _products(config)
    return {
        **keys,
        "positions": "disentangled",
        "relative_buckets": 2 * span,
        "position_products": products,
    }


def _longest(config: Config, positions: int) -> int:
    """max_relative_positions; -1 (or 0) means as many as there are positions."""
    value = config.table.get("max_relative_positions")
    if value in (None, -1) and not isinstance(value, bool):
        return positions
    return config.count("max_relative_positions", 0) or positions


def _products(config: Config) -> list[str]:
    """pos_att_type, as a list or written "p2c|c2p"; in the order in which the module works."""
    value = config.table.get("pos_att_type")
    names = value.lower().split("|") if isinstance(value, str) else value or []
    if not isinstance(names, list) or any(not isinstance(name, str) for name in names):
        raise config.wrong("pos_att_type", 'expected a list such as ["p2c", "c2p"]')
    given = [name.strip() for name in names]
    if any(name not in ("c2p", "p2c") for name in given) or len(set(given)) < len(given):
        raise config.wrong("pos_att_type", f"expected c2p, p2c or both, found {shown(given)}")
    return [name for name in ("c2p", "p2c") if name in given]
