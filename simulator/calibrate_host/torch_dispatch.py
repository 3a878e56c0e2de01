"""What PyTorch's host side costs a moment: the calls behind it, between products that evict."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from simulator.calibrate_host.rounds import Job
from simulator.calibrate_host.torch_operators import new_gelu, rms_norm

_HIDDEN, _HEADS, _TOKENS = 16, 2, 2


def dispatch_jobs() -> list[Job]:
    """One job for each kind of moment: the modules, operators and views that models spend on it.

    Tensors are so small that only the calls take time. Before each a product with 9 MiB of
    weights runs, as in a model, so that code and interpreter have left the inner caches.
    """
    import torch

    left, weight = torch.rand(8, 768), torch.rand(3072, 768)
    evict = torch.nn.functional.linear
    return [
        Job(f"dispatch {kind}", 1, call, calls=4, before=lambda: evict(left, weight))
        for kind, call in _calls().items()
    ]


def _calls() -> dict[str, Callable[[], Any]]:
    """Calls by the kind of moment whose dispatch they are, in the manner of Hugging Face models."""
    import torch

    functional = torch.nn.functional
    x = torch.rand(1, _TOKENS, _HIDDEN)
    heads = torch.rand(1, _HEADS, _TOKENS, _HIDDEN // _HEADS)
    angles = torch.rand(1, _TOKENS, _HIDDEN // _HEADS)
    ids = torch.zeros(1, _TOKENS, dtype=torch.long)
    linear, norm = torch.nn.Linear(_HIDDEN, _HIDDEN), torch.nn.LayerNorm(_HIDDEN)
    table = torch.nn.Embedding(8, _HIDDEN)
    gain = torch.rand(_HIDDEN)
    gelu, silu, gelu_tanh, rms = (_module(f) for f in
                                  (functional.gelu, functional.silu, new_gelu,
                                   lambda y: rms_norm(y, gain)))  # fmt: skip
    split = (1, _TOKENS, _HEADS, _HIDDEN // _HEADS)

    def attention() -> Any:
        query, key, value = (x.view(split).transpose(1, 2) for _ in range(3))
        out = functional.scaled_dot_product_attention(query, key, value)
        return out.transpose(1, 2).contiguous().reshape(1, _TOKENS, _HIDDEN).contiguous()

    def rope() -> Any:
        cos, sin = angles.unsqueeze(1), angles.unsqueeze(1)
        half = heads.shape[-1] // 2
        turned = torch.cat((-heads[..., half:], heads[..., :half]), dim=-1)
        return heads * cos + turned * sin

    return {
        "linear": lambda: linear(x),
        "matmul": lambda: torch.matmul(heads, heads.transpose(2, 3)),
        "attention": _module(attention),
        "layer_norm": lambda: norm(x),
        "rms_norm": lambda: rms(x),
        "rope": rope,
        "cache_append": lambda: torch.cat((heads, heads), dim=-2),
        "gelu": lambda: gelu(x),
        "gelu_tanh": lambda: gelu_tanh(x),
        "silu": lambda: silu(x),
        "embedding": lambda: table(ids),
        "add": lambda: x + x,
    }


def _module(function: Callable[..., Any]) -> Any:
    """`function` as the forward of a module, whose call costs more than a function's."""
    import torch

    class Wrapped(torch.nn.Module):
        def forward(self, *inputs: Any) -> Any:
            return function(*inputs)

    return Wrapped()
