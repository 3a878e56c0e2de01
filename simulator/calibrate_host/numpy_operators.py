"""The operators of a design as NumPy runs them, written out where it has no function for them."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import cycle
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from simulator.calibrate_host.design import Operator


def numpy_call(operator: Operator, pool: Any) -> tuple[Callable[[], Any] | None, str]:
    """A call of `operator` on arrays that it owns, or why there is none.

    Weights are views of `pool`, a flat array of fp32.
    """
    sizes = operator.sizes
    if operator.dtype != "fp32":
        return None, f"NumPy multiplies no {operator.dtype} with its library"
    if operator.name == "product":
        return _product(operator, pool), ""
    if "rows" in sizes:
        x = np.full((sizes["rows"], sizes["columns"]), 0.5, dtype=np.float32)
        gain = np.ones(sizes["columns"], dtype=np.float32)
        function = ROW_WISE[operator.name]
        return lambda: function(x, gain), ""
    if operator.name in ELEMENTWISE:
        flat = np.full(sizes["elements"], 0.5, dtype=np.float32)
        function_of_one = ELEMENTWISE[operator.name]
        return lambda: function_of_one(flat), ""
    binary = {"add": np.add, "multiply": np.multiply}.get(operator.name)
    if binary is None:
        return None, "NumPy has no such function, and runs it as others"
    one, two = (np.full(sizes["elements"], 0.5, dtype=np.float32) for _ in range(2))
    return lambda: binary(one, two), ""


def _product(operator: Operator, pool: Any) -> Callable[[], Any]:
    """x W^T, each call with other weights."""
    m, n, k = (operator.sizes[name] for name in ("m", "n", "k"))
    left = np.full((m, k), 0.5, dtype=np.float32)
    parts = (pool[i * n * k : (i + 1) * n * k] for i in range(operator.sets))
    weights = cycle([part.reshape(n, k) for part in parts])
    return lambda: left @ next(weights).T


def softmax(x: Any, _: Any = None) -> Any:
    """Of each row, with its greatest value subtracted first."""
    raised = np.exp(x - x.max(axis=-1, keepdims=True))
    return raised / raised.sum(axis=-1, keepdims=True)


def layer_norm(x: Any, gain: Any) -> Any:
    """Rows with mean 0 and variance 1, times a gain, plus a bias as long as it."""
    centred = x - x.mean(axis=-1, keepdims=True)
    scale = np.sqrt(np.square(centred).mean(axis=-1, keepdims=True) + np.float32(1e-5))
    return centred / scale * gain + gain


def rms_norm(x: Any, gain: Any) -> Any:
    """Rows with mean square 1, times a gain."""
    scale = np.sqrt(np.square(x).mean(axis=-1, keepdims=True) + np.float32(1e-6))
    return x / scale * gain


def gelu_tanh(x: Any) -> Any:
    """The tanh form of GELU; a power would take NumPy as long as all the rest."""
    inner = np.float32(math.sqrt(2.0 / math.pi)) * (x + np.float32(0.044715) * (x * x * x))
    return np.float32(0.5) * x * (np.float32(1.0) + np.tanh(inner))


def gelu(x: Any) -> Any:
    """GELU with SciPy's erf, which NumPy lacks."""
    from scipy.special import erf

    return np.float32(0.5) * x * (np.float32(1.0) + erf(x * np.float32(math.sqrt(0.5))))


def silu(x: Any) -> Any:
    """x times its logistic function."""
    return x / (np.float32(1.0) + np.exp(-x))


ROW_WISE: dict[str, Callable[[Any, Any], Any]] = {
    "softmax": softmax,
    "layer_norm": layer_norm,
    "rms_norm": rms_norm,
}
ELEMENTWISE: dict[str, Callable[[Any], Any]] = {
    "gelu": gelu,
    "gelu_tanh": gelu_tanh,
    "silu": silu,
    "tanh": np.tanh,
}


def dispatch_calls() -> dict[str, Callable[[], Any]]:
    """Calls by the kind of moment whose dispatch they are, on arrays that take no time."""
    x = np.full((2, 16), 0.5, dtype=np.float32)
    weight, gain = np.full((16, 16), 0.5, dtype=np.float32), np.ones(16, dtype=np.float32)
    heads = np.full((2, 2, 8), 0.5, dtype=np.float32)
    ids = np.zeros(2, dtype=np.int64)

    def rope() -> Any:
        turned = np.concatenate((-heads[..., 4:], heads[..., :4]), axis=-1)
        return heads * heads + turned * heads

    return {
        "linear": lambda: x @ weight.T + gain,
        "matmul": lambda: heads @ heads.transpose(0, 2, 1),
        "softmax": lambda: softmax(heads),
        "layer_norm": lambda: layer_norm(x, gain),
        "rms_norm": lambda: rms_norm(x, gain),
        "rope": rope,
        "cache_append": lambda: np.concatenate((heads, heads), axis=-2),
        "gelu": lambda: gelu(x),
        "gelu_tanh": lambda: gelu_tanh(x),
        "silu": lambda: silu(x),
        "embedding": lambda: weight[ids],
        "add": lambda: x + x,
    }
