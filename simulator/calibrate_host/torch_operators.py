"""The operators of a design as PyTorch runs them, and what calling each from Python costs."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from simulator.calibrate_host.design import Operator


class WeightPool:
    """Memory that the weights of all products are taken from in turn, so that none is in a cache.

    A machine with large caches needs much memory to get around them, but only once. Filled with
    halves, which in narrower types are halves and zeros.
    """

    def __init__(self, size_bytes: int) -> None:
        import torch

        self._bytes = torch.full((size_bytes // 4,), 0.5).view(torch.uint8)
        self._next = 0

    def take(self, n: int, k: int, kind: Any) -> Any:
        """The next n x k weights of a torch type."""
        size = n * k * kind.itemsize
        if self._next + size > self._bytes.numel():
            self._next = 0
        start, self._next = self._next, self._next + size
        return self._bytes[start : start + size].view(kind).view(n, k)


def torch_call(operator: Operator, pool: WeightPool) -> Callable[[], Any]:
    """A call of `operator` on tensors that it owns, and weights of a pool.

    Raises RuntimeError where this build of PyTorch has no such kernel for the type.
    """
    import torch

    sizes = operator.sizes
    if operator.name == "product":
        return _product(operator, pool)
    if operator.name == "attention":
        shape = (sizes["batch"], sizes["heads"])
        query = torch.rand(*shape, sizes["queries"], 64)
        key, value = (torch.rand(*shape, sizes["keys"], 64) for _ in range(2))
        attend = torch.nn.functional.scaled_dot_product_attention
        return lambda: attend(query, key, value)
    if "rows" in sizes:
        return _row_wise(operator.name, torch.rand(sizes["rows"], sizes["columns"]))
    left, right = (torch.rand(sizes["elements"]) for _ in range(2))
    return _elementwise(operator.name, left, right, operator.fresh)


def _product(operator: Operator, pool: WeightPool) -> Callable[[], Any]:
    """x W^T as torch.nn.Linear does it, each call with other weights."""
    import torch

    m, n, k = (operator.sizes[name] for name in ("m", "n", "k"))
    kind = getattr(torch, _TORCH_TYPES[operator.dtype])
    left = torch.rand(m, k).to(kind)
    linear = torch.nn.functional.linear
    linear(left, pool.take(n, k, kind))
    return lambda: linear(left, pool.take(n, k, kind))


_TORCH_TYPES = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}


def _elementwise(name: str, left: Any, right: Any, fresh: bool) -> Callable[[], Any]:
    """Written into memory that was used before, as allocators give it, unless `fresh`."""
    import torch

    if fresh:
        return lambda: torch.add(left, right)
    if name == "gelu_tanh":
        return lambda: new_gelu(left)
    if name in ("gelu", "silu"):
        function = getattr(torch.nn.functional, name)
        return lambda: function(left)
    if name == "tanh":
        return lambda: torch.tanh(left)
    binary: Callable[..., Any] = torch.add if name == "add" else torch.mul
    return lambda: binary(left, right)


def new_gelu(x: Any) -> Any:
    """The tanh form of GELU written out in eight operators, as models of the GPT-2 kind do."""
    import torch

    inner = math.sqrt(2.0 / math.pi) * (x + 0.044715 * torch.pow(x, 3.0))
    return 0.5 * x * (1.0 + torch.tanh(inner))


def _row_wise(name: str, x: Any) -> Callable[[], Any]:
    import torch

    gain = torch.rand(x.shape[-1])
    if name == "softmax":
        return lambda: torch.softmax(x, dim=-1)
    if name == "layer_norm":
        norm = torch.nn.functional.layer_norm
        return lambda: norm(x, gain.shape, gain, gain)
    return lambda: rms_norm(x, gain)


def rms_norm(x: Any, gain: Any) -> Any:
    """RMS norm written out in operators, as models of the Llama kind do."""
    import torch

    wide = x.to(torch.float32)
    scale = torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + 1e-6)
    return gain * (wide * scale).to(x.dtype)
