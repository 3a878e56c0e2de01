"""Encoders of Hugging Face: BERT, RoBERTa, DistilBERT, ALBERT, ELECTRA."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from workloads.errors import shown
from workloads.importers.config import Config
from workloads.importers.heads import (
    ALBERT_HEADS,
    BERT_HEADS,
    DISTILBERT_HEADS,
    ELECTRA_HEADS,
    ROBERTA_HEADS,
    XLNET_HEADS,
    head,
)

ACTIVATIONS = {
    "gelu": "gelu",
    "gelu_python": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "silu": "silu",
    "swish": "silu",
    "relu": "relu",
}


def activation(config: Config, key: str, default: str) -> str:
    """Our name of the activation that the config names."""
    name = config.text(key, default)
    if name not in ACTIVATIONS:
        raise config.wrong(key, f"expected one of {', '.join(ACTIVATIONS)}; others have no formula")
    return ACTIVATIONS[name]


def widths(
    config: Config, keys: Mapping[str, tuple[str, ...]], *, divisible: bool = True
) -> dict[str, int]:
    """The sizes that every model has, each under the keys that its type uses for it.

    Checks here what `Model` checks too, to name the keys that stand in the file. `divisible`: the
    width of a head is not stated but follows from these.
    """
    sizes = {ours: config.size(ours, names) for ours, names in keys.items()}
    hidden, heads = sizes["hidden"], sizes["heads"]
    if divisible and hidden % heads:
        raise config.wrong(
            config.read["hidden"],
            f"not divisible by {config.read['heads']} = {shown(heads)}: every head has the same "
            "width; check that neither number is mistyped",
        )
    return sizes


BERT_KEYS = {
    "hidden": ("hidden_size",),
    "layers": ("num_hidden_layers",),
    "heads": ("num_attention_heads",),
    "intermediate": ("intermediate_size",),
    "vocab": ("vocab_size",),
    "max_positions": ("max_position_embeddings",),
}
_DISTILBERT_KEYS = {
    "hidden": ("dim", "hidden_size"),
    "layers": ("n_layers", "num_hidden_layers"),
    "heads": ("n_heads", "num_attention_heads"),
    "intermediate": ("hidden_dim",),
    "vocab": ("vocab_size",),
    "max_positions": ("max_position_embeddings",),
}
BLOCK = {
    "family": "encoder",
    "norm": "layer_norm",
    "positions": "learned",
    "qkv_bias": True,
    "output_bias": True,
    "mlp_bias": True,
}
_POST_NORM = {**BLOCK, "norm_position": "post", "embedding_norm": True}


def _only_encoder(config: Config) -> None:
    config.refuse("is_decoder", True, because="this family as a decoder")
    config.refuse("add_cross_attention", True, because="cross-attention")
    relative = ("relative_key", "relative_key_query")
    config.refuse(
        "position_embedding_type", *relative, because="an embedding of relative positions"
    )


def bert(config: Config) -> dict[str, Any]:
    """BertModel and its heads."""
    _only_encoder(config)
    return {
        **_POST_NORM,
        **widths(config, BERT_KEYS),
        "activation": activation(config, "hidden_act", "gelu"),
        "token_types": config.count("type_vocab_size", 2),
        "tied_embeddings": config.flag("tie_word_embeddings", True),
        **head(config, "Bert", BERT_HEADS, "Model"),
    }


def roberta(config: Config) -> dict[str, Any]:
    """RobertaModel and its heads: BERT whose positions are counted from pad_token_id + 1.

    Of the rows in its table of positions (514) the first two are never used (512 positions).
    """
    return _roberta(config, "Roberta")


def _roberta(config: Config, prefix: str) -> dict[str, Any]:
    _only_encoder(config)
    sizes = widths(config, BERT_KEYS)
    padding = config.count("pad_token_id", 1) + 1
    if sizes["max_positions"] <= padding:
        raise config.wrong(
            "max_position_embeddings",
            f"expected more than pad_token_id + 1 = {padding}, the rows that are never used",
        )
    return {
        **_POST_NORM,
        **sizes,
        "max_positions": sizes["max_positions"] - padding,
        "position_padding": padding,
        "activation": activation(config, "hidden_act", "gelu"),
        "token_types": config.count("type_vocab_size", 2),
        "tied_embeddings": config.flag("tie_word_embeddings", True),
        **head(config, prefix, ROBERTA_HEADS, "Model"),
    }


def longformer(config: Config) -> dict[str, Any]:
    """LongformerModel and its heads: RoBERTa within bands, with one global token (the first)."""
    window = config.table.get("attention_window", 512)
    widths_ = window if isinstance(window, list) and window else [window]
    if any(type(width) is not int or width != widths_[0] for width in widths_) or widths_[0] < 2:
        raise config.wrong("attention_window", "expected one number, the same in all layers")
    keys = _roberta(config, "Longformer")
    return {**keys, "window": widths_[0], "banded": True, "global_tokens": 1}


def distilbert(config: Config) -> dict[str, Any]:
    """DistilBertModel and its heads: BERT without token types and pooler."""
    return {
        **_POST_NORM,
        **widths(config, _DISTILBERT_KEYS),
        "activation": activation(config, "activation", "gelu"),
        "tied_embeddings": config.flag("tie_word_embeddings", True),
        **head(config, "DistilBert", DISTILBERT_HEADS, "Model"),
    }


def albert(config: Config) -> dict[str, Any]:
    """AlbertModel and its heads: all layers have the weights of one, embeddings are narrow."""
    _only_encoder(config)
    for key in ("num_hidden_groups", "inner_group_num"):
        if config.count(key, 1) != 1:
            raise config.wrong(key, "only one layer that all share is modelled")
    return {
        **_POST_NORM,
        **widths(config, BERT_KEYS),
        "shared_layers": True,
        "embedding_width": config.size("embedding_width", ("embedding_size",), default=128),
        "projection": "sum",
        "activation": activation(config, "hidden_act", "gelu_new"),
        "token_types": config.count("type_vocab_size", 2),
        "tied_embeddings": config.flag("tie_word_embeddings", True),
        **head(config, "Albert", ALBERT_HEADS, "Model"),
    }


def electra(config: Config) -> dict[str, Any]:
    """ElectraModel and its heads: BERT with embeddings that may be narrow, without a pooler."""
    _only_encoder(config)
    sizes = widths(config, BERT_KEYS)
    width = config.size("embedding_width", ("embedding_size",), default=128)
    narrow = {"embedding_width": width, "projection": "sum"}
    return {
        **_POST_NORM,
        **sizes,
        **(narrow if width != sizes["hidden"] else {}),
        "activation": activation(config, "hidden_act", "gelu"),
        "token_types": config.count("type_vocab_size", 2),
        "tied_embeddings": config.flag("tie_word_embeddings", True),
        **head(config, "Electra", ELECTRA_HEADS, "Model"),
    }


def xlnet(config: Config) -> dict[str, Any]:
    """XLNetModel and its heads, one stream and no memory: relative positions, no tables of them."""
    config.refuse("attn_type", "uni", because="XLNet that reads in one direction")
    keys = {
        "hidden": ("d_model",),
        "layers": ("n_layer",),
        "heads": ("n_head",),
        "intermediate": ("d_inner",),
        "vocab": ("vocab_size",),
    }
    return {
        "family": "encoder",
        "norm": "layer_norm",
        "norm_position": "post",
        "positions": "relative",
        "segment_biases": True,
        "masked_vector": True,
        "mlp_bias": True,
        **widths(config, keys),
        "max_positions": config.size("positions", ("max_position_embeddings",), default=4096),
        "activation": activation(config, "ff_activation", "gelu"),
        "tied_embeddings": config.flag("tie_word_embeddings", True),
        **head(config, "XLNet", XLNET_HEADS, "Model"),
    }
