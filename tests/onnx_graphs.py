"""Small ONNX models made by hand, as exporters write them: open axes, shapes computed inside."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import Any

import pytest

onnx = pytest.importorskip("onnx", reason="needs onnx: pip install 'transformer-moments[import]'")

FLOAT, INT64 = 1, 7


class Graph:
    """Operators one after another; each call returns the name of its result."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.weights: list[Any] = []
        self.inputs: list[Any] = []
        self.count = 0

    def input(self, name: str, shape: Sequence[int | str], kind: int = FLOAT) -> str:
        self.inputs.append(onnx.helper.make_tensor_value_info(name, kind, list(shape)))
        return name

    def weight(self, name: str, *shape: int) -> str:
        data = b"\0" * (4 * prod(shape))
        self.weights.append(onnx.helper.make_tensor(name, FLOAT, shape, data, raw=True))
        return name

    def numbers(self, *values: int) -> str:
        name = f"numbers_{len(self.weights)}"
        self.weights.append(onnx.helper.make_tensor(name, INT64, [len(values)], values))
        return name

    def number(self, value: float) -> str:
        name = f"number_{len(self.weights)}"
        self.weights.append(onnx.helper.make_tensor(name, FLOAT, [], [value]))
        return name

    def add(
        self, op: str, *inputs: str, scope: str = "", domain: str = "", **attributes: Any
    ) -> str:
        self.count += 1
        result = f"t{self.count}"
        name = f"/{scope}/{op}_{self.count}".replace("//", "/")
        self.nodes.append(
            onnx.helper.make_node(op, list(inputs), [result], name, domain=domain, **attributes)
        )
        return result

    def model(self, *outputs: str) -> Any:
        results = [onnx.helper.make_tensor_value_info(name, FLOAT, None) for name in outputs]
        graph = onnx.helper.make_graph(self.nodes, "g", self.inputs, results, self.weights)
        opsets = [onnx.helper.make_opsetid("", 18), onnx.helper.make_opsetid("com.microsoft", 1)]
        return onnx.helper.make_model(graph, opset_imports=opsets)

    def save(self, path: Path, *outputs: str) -> Path:
        onnx.save_model(self.model(*outputs), str(path))
        return path


HIDDEN, HEADS, INNER, VOCAB = 16, 2, 24, 50


def linear(g: Graph, rows: str, name: str, k: int, n: int, scope: str) -> str:
    product = g.add(
        "MatMul", rows, g.weight(f"{scope}.{name}.weight", k, n), scope=f"{scope}/{name}"
    )
    return g.add("Add", g.weight(f"{scope}.{name}.bias", n), product, scope=f"{scope}/{name}")


def norm(g: Graph, rows: str, scope: str) -> str:
    gain, bias = g.weight(f"{scope}.gain", HIDDEN), g.weight(f"{scope}.bias", HIDDEN)
    return g.add("LayerNormalization", rows, gain, bias, scope=scope, axis=-1)


def heads_shape(g: Graph, rows: str, scope: str) -> str:
    """[batch, sequence, heads, width], computed from the rows as exporters do."""
    shape = g.add("Shape", rows, scope=scope)
    parts = [g.add("Gather", shape, g.numbers(axis), scope=scope, axis=0) for axis in (0, 1)]
    return g.add(
        "Concat", *parts, g.numbers(HEADS), g.numbers(HIDDEN // HEADS), scope=scope, axis=0
    )


def encoder_layer(g: Graph, rows: str, number: int) -> str:
    """One post-norm layer of BERT, as written out by an exporter."""
    scope = f"encoder/layer.{number}"
    split: dict[str, str] = {}
    for name in ("query", "key", "value"):
        flat = linear(g, rows, name, HIDDEN, HIDDEN, f"{scope}/self")
        cut = g.add("Reshape", flat, heads_shape(g, flat, scope), scope=scope)
        order = [0, 2, 3, 1] if name == "key" else [0, 2, 1, 3]
        split[name] = g.add("Transpose", cut, scope=scope, perm=order)
    scores = g.add("MatMul", split["query"], split["key"], scope=scope)
    scaled = g.add("Div", scores, g.number(2.83), scope=scope)
    weights = g.add("Softmax", scaled, scope=scope, axis=-1)
    context = g.add("MatMul", weights, split["value"], scope=scope)
    joined = g.add("Transpose", context, scope=scope, perm=[0, 2, 1, 3])
    shape = g.add("Shape", rows, scope=scope)
    joined = g.add("Reshape", joined, shape, scope=scope)
    out = linear(g, joined, "dense", HIDDEN, HIDDEN, f"{scope}/output")
    mid = norm(g, g.add("Add", out, rows, scope=scope), f"{scope}/output/norm")
    up = linear(g, mid, "up", HIDDEN, INNER, f"{scope}/intermediate")
    down = linear(g, gelu(g, up, scope), "down", INNER, HIDDEN, f"{scope}/intermediate")
    return norm(g, g.add("Add", down, mid, scope=scope), f"{scope}/norm")


def gelu(g: Graph, x: str, scope: str) -> str:
    """x (1 + erf(x / sqrt 2)) / 2, in five operators."""
    error = g.add("Erf", g.add("Div", x, g.number(1.41), scope=scope), scope=scope)
    grown = g.add("Add", error, g.number(1.0), scope=scope)
    return g.add("Mul", g.add("Mul", x, grown, scope=scope), g.number(0.5), scope=scope)


def encoder(layers: int) -> tuple[Graph, str]:
    """Look-up, norm and `layers` layers on "input_ids" of shape (batch, sequence)."""
    g = Graph()
    tokens = g.input("input_ids", ("batch", "sequence"), INT64)
    table = g.weight("embeddings.table", VOCAB, HIDDEN)
    rows = norm(g, g.add("Gather", table, tokens, scope="embeddings", axis=0), "embeddings/norm")
    for number in range(layers):
        rows = encoder_layer(g, rows, number)
    return g, rows
