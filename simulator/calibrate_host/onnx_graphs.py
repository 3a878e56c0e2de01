"""Graphs of equal ONNX nodes, as bytes: operators of a design, and nodes that take no time."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from simulator.calibrate_host.design import Operator

Graph = tuple[Callable[[], bytes], dict[str, Any]]
"""What makes the model, and its inputs."""

_OPSET = 23
_IR_VERSION = 10
_NODES: dict[str, tuple[str, tuple[str, ...], dict[str, Any]]] = {
    "add": ("Add", ("other",), {}),
    "multiply": ("Mul", ("other",), {}),
    "gelu": ("Gelu", (), {}),
    "gelu_tanh": ("Gelu", (), {"approximate": "tanh"}),
    "tanh": ("Tanh", (), {}),
    "softmax": ("Softmax", (), {"axis": -1}),
    "layer_norm": ("LayerNormalization", ("gain", "gain"), {"axis": -1}),
    "rms_norm": ("RMSNormalization", ("gain",), {"axis": -1}),
    "attention": ("Attention", ("other", "value"), {}),
    "linear": ("MatMul", ("square",), {}),
}
"""By name: the ONNX operator, its inputs after the first one, its attributes."""
_GIVEN = ("other", "value")
"""Of these inputs those that are given to a run; the others are constants."""


def operator_graph(operator: Operator, nodes: int) -> Graph | None:
    """`nodes` of an operator one after another; products with as many weights as it has sets.

    None for what is no operator of ONNX.
    """
    sizes = operator.sizes
    if operator.name == "product":
        m, n, k = sizes["m"], sizes["n"], sizes["k"]
        model = partial(_products, n, k, operator.sets)
        return model, {"x": np.full((m, k), 0.5, dtype=np.float32)}
    if operator.name not in _NODES:
        return None
    if operator.name == "attention":
        head = (sizes["batch"], sizes["heads"])
        shape: tuple[int, ...] = (*head, sizes["queries"], 64)
        other: tuple[int, ...] = (*head, sizes["keys"], 64)
    else:
        shape = other = tuple(sizes.values())
    return _chain(operator.name, shape, other, nodes)


def dispatch_graphs(nodes: int) -> dict[str, Graph]:
    """By kind of moment, `nodes` on tensors that take no time; "per_pass" has one."""
    kinds = ("linear", "softmax", "layer_norm", "rms_norm", "gelu", "gelu_tanh", "add")
    found = {kind: _chain(kind, (2, 16), (2, 16), nodes) for kind in kinds}
    found["attention"] = _chain("attention", (1, 2, 2, 64), (1, 2, 2, 64), nodes)
    found["per_pass"] = _chain("add", (2, 16), (2, 16), 1)
    return found


def _chain(name: str, shape: tuple[int, ...], other: tuple[int, ...], nodes: int) -> Graph:
    """x -> node -> ... -> y, each node on the result of the one before."""
    _, more, _ = _NODES[name]
    inputs = {"x": np.full(shape, 0.5, dtype=np.float32)}
    inputs |= {n: np.full(other, 0.5, dtype=np.float32) for n in more if n in _GIVEN}
    return partial(_chain_model, name, shape, other, nodes), inputs


def _chain_model(name: str, shape: tuple[int, ...], other: tuple[int, ...], nodes: int) -> bytes:
    from onnx import TensorProto, helper, numpy_helper

    kind, more, attributes = _NODES[name]
    names = ["x", *(f"y{i}" for i in range(nodes))]
    made = [
        helper.make_node(kind, [before, *more], [after], **attributes)
        for before, after in pairwise(names)
    ]
    constants = {"gain": (shape[-1],), "square": (shape[-1], shape[-1])}
    weights = [
        numpy_helper.from_array(np.full(size, 0.5, dtype=np.float32), constant)
        for constant, size in constants.items()
        if constant in more
    ]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)]
    inputs += [
        helper.make_tensor_value_info(n, TensorProto.FLOAT, other) for n in more if n in _GIVEN
    ]
    outputs = [helper.make_tensor_value_info(names[-1], TensorProto.FLOAT, shape)]
    return _model(made, inputs, outputs, weights)


def _products(n: int, k: int, sets: int) -> bytes:
    """The product of any number of rows with each of `sets` constant matrices."""
    from onnx import TensorProto, helper, numpy_helper

    # of different values, since ONNX Runtime keeps equal ones once
    weights = [
        numpy_helper.from_array(np.full((k, n), (i + 1) / sets, dtype=np.float32), f"w{i}")
        for i in range(sets)
    ]
    made = [helper.make_node("MatMul", ["x", f"w{i}"], [f"y{i}"]) for i in range(sets)]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ("m", k))]
    outputs = [
        helper.make_tensor_value_info(f"y{i}", TensorProto.FLOAT, ("m", n)) for i in range(sets)
    ]
    return _model(made, inputs, outputs, weights)


def _model(nodes: list[Any], inputs: list[Any], outputs: list[Any], weights: list[Any]) -> bytes:
    from onnx import helper

    graph = helper.make_graph(nodes, "operators", inputs, outputs, weights)
    opset = [helper.make_opsetid("", _OPSET)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=_IR_VERSION)
    return bytes(model.SerializeToString())
