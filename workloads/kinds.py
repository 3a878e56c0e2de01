"""What moments and tensors may be: stages of inference, kinds of operations, roles of tensors."""

from __future__ import annotations

from typing import Literal

Stage = Literal["initialise", "attention", "feed_forward", "output", "decode"]
STAGES: tuple[Stage, ...] = ("initialise", "attention", "feed_forward", "output", "decode")

Role = Literal["weight", "activation", "kv_cache", "input"]

Kind = Literal[
    "matmul",
    "attention",
    "softmax",
    "layer_norm",
    "rms_norm",
    "gelu",
    "gelu_tanh",
    "silu",
    "relu",
    "tanh",
    "add",
    "multiply",
    "embedding",
    "rope",
    "cache_append",
    "copy",
    "quantize",
    "dequantize",
    "sample",
    "top_k",
    "load",
    "all_reduce",
    "all_gather",
    "reduce_scatter",
    "all_to_all",
    "send_recv",
]
