"""The operators of a design that NumPy has, for machines without PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from itertools import cycle
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from simulator.calibrate_host.design import Operator


def numpy_call(operator: Operator, pool: Any) -> Callable[[], Any] | None:
    """A call of `operator` on arrays that it owns; None for what NumPy has no one function for.

    Weights are views of `pool`, a flat array of fp32.
    """
    sizes = operator.sizes
    if operator.dtype != "fp32":
        return None
    if operator.name == "product":
        left = np.full((sizes["m"], sizes["k"]), 0.5, dtype=np.float32)
        each = sizes["n"] * sizes["k"]
        parts = (pool[i * each : (i + 1) * each] for i in range(operator.sets))
        weights = cycle([part.reshape(sizes["n"], sizes["k"]) for part in parts])
        return lambda: left @ next(weights).T
    functions = {"add": np.add, "multiply": np.multiply}
    if operator.name not in functions:
        return None
    function = functions[operator.name]
    one, two, out = (np.full(sizes["elements"], 0.5, dtype=np.float32) for _ in range(3))
    if operator.fresh:
        return lambda: function(one, two)
    return lambda: function(one, two, out=out)
