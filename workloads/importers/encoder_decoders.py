"""Encoder-decoders of Hugging Face: T5, BART, Marian, Whisper."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from workloads.importers.config import Config
from workloads.importers.encoders import activation, widths
from workloads.importers.heads import BART_HEADS, MARIAN_HEADS, T5_HEADS, WHISPER_HEADS, head

_BIASED = {"qkv_bias": True, "output_bias": True, "mlp_bias": True}
_FEED_FORWARDS = {
    "relu": ("relu", False),
    "gelu": ("gelu", False),
    "gated-gelu": ("gelu_tanh", True),
    "gated-silu": ("silu", True),
    "gated-relu": ("relu", True),
}


def t5(config: Config) -> dict[str, Any]:
    """T5Model and its heads (Flan-T5 too): relative biases, heads of a width of their own.

    The number of positions is not limited; n_positions, where given, is that of training. An output
    matrix that the file says is not tied counts by itself, as in the published weights of Flan-T5;
    transformers 5 ties it nevertheless.
    """
    both = config.table.get("num_decoder_layers") is not None
    keys = {
        "hidden": ("d_model",),
        "layers": ("num_decoder_layers",) if both else ("num_layers",),
        "heads": ("num_heads",),
        "intermediate": ("d_ff",),
        "vocab": ("vocab_size",),
    }
    sizes = widths(config, keys, divisible=False)
    kind = config.text("feed_forward_proj", "relu")
    if kind not in _FEED_FORWARDS:
        raise config.wrong(
            "feed_forward_proj",
            f"expected one of {', '.join(_FEED_FORWARDS)}; others have no formula",
        )
    function, gated = _FEED_FORWARDS[kind]
    shared = {
        **sizes,
        "head_dim": config.size("head_dim", ("d_kv",)),
        "activation": function,
        "gated": gated,
        "norm": "rms_norm",
        "norm_position": "pre",
        "final_norm": True,
        "positions": "bias",
        "relative_buckets": config.size("buckets", ("relative_attention_num_buckets",), default=32),
        "max_positions": config.size("max_positions", ("n_positions",), default=512),
    }
    encoder = {"layers": config.size("layers", ("num_layers",))}
    return _both(config, "T5", shared, encoder, T5_HEADS)


def _both(
    config: Config,
    prefix: str,
    shared: Mapping[str, Any],
    encoder: Mapping[str, Any],
    heads: Any,
) -> dict[str, Any]:
    """A decoder with its encoder; or, where `architectures` says so, the encoder by itself."""
    usual = "MTModel" if prefix == "Marian" else "ForConditionalGeneration"
    keys = head(config, prefix, heads, usual)
    if keys.pop("alone", False):
        return {**shared, **encoder, **keys, "family": "encoder"}
    return {
        **shared,
        "family": "encoder_decoder",
        "encoder": dict(encoder),
        "tied_embeddings": config.flag("tie_word_embeddings", True),
        **keys,
    }


def _side(config: Config, side: str) -> dict[str, int]:
    """The sizes that encoder and decoder have each for itself."""
    return {
        ours: config.size(ours, (f"{side}_{theirs}",))
        for ours, theirs in (
            ("layers", "layers"),
            ("heads", "attention_heads"),
            ("intermediate", "ffn_dim"),
        )
    }


def two_sides(
    config: Config, vocab: str | None = "vocab_size", function: str = "gelu"
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What BART and its kin share, with the decoder's sizes, and the encoder's sizes."""
    encoder = _side(config, "encoder")
    decoder = _side(config, "decoder")
    hidden = config.size("hidden", ("d_model",))
    common: dict[str, Any] = {
        "hidden": hidden,
        "norm": "layer_norm",
        "positions": "learned",
        "activation": activation(config, "activation_function", function),
        "embedding_scale": config.flag("scale_embedding", False),
        **_BIASED,
    }
    if vocab is not None:
        common["vocab"] = config.size("vocab", (vocab,))
    for heads, key in ((encoder["heads"], "encoder"), (decoder["heads"], "decoder")):
        if hidden % heads:
            raise config.wrong(f"{key}_attention_heads", "does not divide d_model")
    return {**common, **decoder}, {"hidden": hidden, **encoder}


def bart(config: Config) -> dict[str, Any]:
    """BartModel and its heads: post-norm, a norm of the embeddings, two unused positions."""
    shared, encoder = two_sides(config)
    shared |= {
        "norm_position": "post",
        "embedding_norm": True,
        "max_positions": config.size("max_positions", ("max_position_embeddings",)),
        "position_padding": 2,
    }
    return _both(config, "Bart", shared, encoder, BART_HEADS)


def marian(config: Config) -> dict[str, Any]:
    """MarianModel and its head: post-norm. Its table of sines counts as the module stores it."""
    shared, encoder = two_sides(config)
    together = config.flag("share_encoder_decoder_embeddings", True)
    shared |= {
        "norm_position": "post",
        "max_positions": config.size("max_positions", ("max_position_embeddings",)),
        "shared_embeddings": together,
    }
    if not together:
        encoder["vocab"] = shared["vocab"]
        shared["vocab"] = config.size("vocab", ("decoder_vocab_size",), default=shared["vocab"])
    return _both(config, "Marian", shared, encoder, MARIAN_HEADS)


def whisper(config: Config) -> dict[str, Any]:
    """WhisperModel and its head: two convolutions over mel bands, keys without bias.

    The encoder's table of sines counts as the module stores it.
    """
    shared, encoder = two_sides(config)
    shared |= {
        "norm_position": "pre",
        "final_norm": True,
        "key_bias": False,
        "max_positions": config.size("max_positions", ("max_target_positions",), default=448),
    }
    encoder |= {
        "input": "mel",
        "channels": config.size("channels", ("num_mel_bins",), default=80),
        "max_positions": config.size("positions", ("max_source_positions",), default=1500),
        "embedding_scale": False,
    }
    return _both(config, "Whisper", shared, encoder, WHISPER_HEADS)
