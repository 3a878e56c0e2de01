"""An ONNX file as a graph of operators on tensors of known shapes, and as a program.

The model is never run: shapes are inferred operator by operator, and of values only those of small
integer tensors are looked at. Weights stay where they are; their sizes stand in the file.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workloads.errors import InputError, shown
from workloads.importers.imported.onnx_file import import_onnx, open_model
from workloads.importers.imported.onnx_shapes import (
    CONTRIB,
    Unresolved,
    check_shape,
    evaluate,
    infer,
    shape_of,
)
from workloads.importers.imported.onnx_sizes import close_axes, names, ordered
from workloads.importers.imported.program import Imported, build
from workloads.importers.operators.onnx_names import TABLE
from workloads.importers.operators.values import Node, OperatorGraph, Value
from workloads.moment import Role

if TYPE_CHECKING:
    import numpy as np
    import onnx

_CACHE = re.compile(r"past[_.]?(key_values?|key|value)|^past|kv_?cache", re.IGNORECASE)
"""Inputs of these names are caches of keys and values."""


def from_onnx(
    path: str | Path, *, dims: Mapping[str, int] | None = None, unknown: str | None = None
) -> Imported:
    """The program of one forward pass of the model in an .onnx file, and what else it says.

    `dims` gives each axis of the inputs that the file leaves open a size, by its name in the file
    ("batch") or, where it has none, by input and axis ("input_ids.0"). `unknown` "as-copy" counts
    operators without a formula as a move of their bytes; otherwise they are an InputError that
    lists all of them. InputError also: not an ONNX file, open axes without a size (all of them),
    names that fit no axis, shapes that follow from no sizes, hostile or broken files. Weights are
    never loaded where they are stored apart, and the model is never run. Not modelled: control
    flow, sparse tensors, shapes that depend on data.
    """
    graph = read_graph(Path(path), dims or {})
    return build(graph, TABLE, folds_weights=True, unknown=unknown)


def read_graph(path: Path, dims: Mapping[str, int]) -> OperatorGraph:
    """The operators of a file in order, every tensor with its shape."""
    model = open_model(path)
    reader = _Reader(path, model)
    reader.weights()
    reader.inputs(dims)
    nodes = tuple(reader.nodes())
    outputs = frozenset(output.name for output in model.graph.output)
    return OperatorGraph(path.stem, nodes, outputs, tuple(reader.notes))


@dataclass
class _Reader:
    path: Path
    model: onnx.ModelProto
    types: dict[str, onnx.TypeProto] = field(default_factory=dict)
    values: dict[str, np.ndarray[Any, Any]] = field(default_factory=dict)
    known: dict[str, Value] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def weights(self) -> None:
        """Initializers: weights, or constants where they are numbers, axes or shapes."""
        onnx = import_onnx()
        for tensor in self.model.graph.initializer:
            shape = check_shape(f"{self.path}: weight {shown(tensor.name)}", tuple(tensor.dims))
            kind = onnx.helper.make_tensor_type_proto(tensor.data_type, shape)
            self.types[tensor.name] = kind
            if tensor.data_location != onnx.TensorProto.EXTERNAL:
                self.values[tensor.name] = self._array(tensor)
            dtype = self._dtype(tensor.data_type, tensor.name)
            whole = dtype in ("int64", "int32", "bool") and prod(shape) <= 64
            constant = tensor.name in self.values and (not shape or whole)
            role: Role = "input" if constant else "weight"
            self.known[tensor.name] = Value(
                tensor.name, shape, dtype, role, fixed=True, constant=constant, trained=not constant
            )

    def _array(self, tensor: onnx.TensorProto) -> np.ndarray[Any, Any]:
        import onnx.numpy_helper

        try:
            return onnx.numpy_helper.to_array(tensor)
        except Exception as error:
            raise InputError(
                f"{self.path}: weight {shown(tensor.name)}: its values do not fit its shape "
                f"({error})"
            ) from error

    def _dtype(self, number: int, name: str) -> str:
        import onnx

        text = onnx.TensorProto.DataType.Name(number).lower() if number in _numbers() else "?"
        dtype = _DTYPES.get(text)
        if dtype is None:
            raise InputError(f"{self.path}: tensor {shown(name)}: type {text} is not known")
        return dtype

    def inputs(self, dims: Mapping[str, int]) -> None:
        """The inputs under the sizes given; InputError with all the sizes that are missing."""
        for value in close_axes(self.path, self.model, dims, self.known):
            self._input(value)

    def _input(self, value: onnx.ValueInfoProto) -> None:
        shape = shape_of(value.type)
        if shape is None:
            raise InputError(f"{self.path}: input {shown(value.name)} has no shape")
        check_shape(f"{self.path}: input {shown(value.name)}", shape)
        # the name of a size is no size: inference must not find one under another name
        for extent, size in zip(value.type.tensor_type.shape.dim, shape, strict=True):
            extent.Clear()
            extent.dim_value = size
        role: Role = "kv_cache" if _CACHE.search(value.name) and len(shape) > 2 else "input"
        dtype = self._dtype(value.type.tensor_type.elem_type, value.name)
        self.types[value.name] = value.type
        self.known[value.name] = Value(value.name, shape, dtype, role)

    def nodes(self) -> Iterator[Node]:
        """Operators in an order in which each follows what it reads."""
        hints = {v.name: v.type for v in self.model.graph.value_info}
        for number, node in enumerate(ordered(self.path, self.model)):
            op = f"{node.domain}.{node.op_type}" if node.domain else node.op_type
            op = op.removeprefix("ai.onnx.") if node.domain == "ai.onnx" else op
            shapes = self._shapes(node, op, hints)
            if node.op_type == "Constant" and not node.domain:
                self._constant(node)
            else:
                evaluate(
                    self.model, node, shapes, self.values, self.types,
                    lambda name: self.known[name].constant,
                )  # fmt: skip
            outputs = [name for name in node.output if name]
            for name in outputs:
                self._define(name)
            if all(name in self.values for name in outputs):
                continue
            name, scope = names(node, number)
            yield Node(
                op, name, tuple(self.known[n] if n else None for n in node.input),
                tuple(self.known[n] for n in outputs), self._attributes(node), scope,
            )  # fmt: skip

    def _define(self, name: str) -> None:
        kind = self.types[name]
        dtype = self._dtype(kind.tensor_type.elem_type, name)
        shape = shape_of(kind) or ()
        computed = name in self.values
        role: Role = "input" if computed else "activation"
        self.known[name] = Value(name, shape, dtype, role, fixed=computed, constant=computed)

    def _constant(self, node: onnx.NodeProto) -> None:
        """A node that is a tensor: small ones are numbers, large ones weights like any other."""
        import onnx

        attribute = node.attribute[0]
        value = onnx.helper.get_attribute_value(attribute)
        if attribute.type == onnx.AttributeProto.TENSOR:
            if value.data_location != onnx.TensorProto.EXTERNAL:
                self.values[node.output[0]] = self._array(value)
        elif isinstance(value, int | float | list):
            import numpy as np

            kind = np.float32 if attribute.name.startswith("value_float") else np.int64
            self.values[node.output[0]] = np.array(value, kind)

    def _shapes(
        self, node: onnx.NodeProto, op: str, hints: Mapping[str, onnx.TypeProto]
    ) -> list[tuple[int, ...] | None]:
        """Shapes of the outputs; their types go into `types`."""
        try:
            rule = CONTRIB.get(node.op_type)
            if rule is not None and (node.domain == "com.microsoft" or op not in _standard()):
                self._by_rule(node, rule)
            else:
                self.types.update(infer(self.model, node, self.types, self.values))
            found = [shape_of(self.types[n]) if n in self.types else None for n in node.output if n]
            if any(shape is None for shape in found):
                raise Unresolved("it depends on the values of its inputs")
        except Unresolved as error:
            self._guess(node, op, hints, str(error))
            found = [shape_of(self.types[n]) for n in node.output if n]
        for shape in found:
            check_shape(f"{self.path}: operator {shown(node.name or op)}", shape or ())
        return found

    def _by_rule(self, node: onnx.NodeProto, rule: Any) -> None:
        onnx = import_onnx()
        shapes = [shape_of(self.types[n]) if n in self.types else None for n in node.input]
        try:
            results = rule(shapes, self._attributes(node))
        except (KeyError, IndexError, TypeError, ZeroDivisionError, ValueError) as error:
            raise Unresolved(f"its inputs or attributes do not fit ({error})") from None
        kind = self.types[node.input[0]].tensor_type.elem_type
        if node.op_type in ("MatMulIntegerToFloat", "DequantizeLinear"):
            kind = self.types[node.input[2 if "Mat" in node.op_type else 1]].tensor_type.elem_type
        if node.op_type == "EmbedLayerNormalization":
            kind = self.types[node.input[2]].tensor_type.elem_type
        if node.op_type == "QuantizeLinear":
            kind = onnx.TensorProto.UINT8
        for name, shape in zip(node.output, results, strict=False):
            if name:
                self.types[name] = onnx.helper.make_tensor_type_proto(kind, shape)

    def _guess(
        self, node: onnx.NodeProto, op: str, hints: Mapping[str, onnx.TypeProto], reason: str
    ) -> None:
        """The shape that the file states, or, of an unknown operator, that of its first input."""
        onnx = import_onnx()
        first = next((self.types[n] for n in node.input if n in self.types), None)
        for name in node.output:
            if not name:
                continue
            hint = hints.get(name)
            if hint is not None and shape_of(hint) is not None:
                self.types[name] = hint
            elif op in TABLE or first is None:
                self._unresolved(node, op, reason)
            else:
                shape = shape_of(first) or ()
                kind = onnx.helper.make_tensor_type_proto(first.tensor_type.elem_type, shape)
                self.types[name] = kind

    def _unresolved(self, node: onnx.NodeProto, op: str, reason: str) -> None:
        """InputError: of unknown operators, if there are any, since shapes may hang on them."""
        counts: Counter[str] = Counter()
        examples: dict[str, str] = {}
        for other in self.model.graph.node:
            name = f"{other.domain}.{other.op_type}" if other.domain else other.op_type
            if name not in TABLE:
                counts[name] += 1
                examples.setdefault(name, other.name or other.op_type)
        if counts:
            listed = ", ".join(
                f"{name} ({counts[name]} x, such as {examples[name]!r})" for name in sorted(counts)
            )
            reason += f"; there are operators without a formula: {listed}"
        raise InputError(
            f"{self.path}: shape of the result of {op} (node {node.name or op!r}) is not known: "
            f"{reason}"
        )

    def _attributes(self, node: onnx.NodeProto) -> dict[str, Any]:
        import onnx

        found: dict[str, Any] = {}
        for attribute in node.attribute:
            value = onnx.helper.get_attribute_value(attribute)
            if isinstance(value, bytes):
                value = value.decode("utf-8", "replace")
            if isinstance(value, int | float | str | list):
                found[attribute.name] = value
        return found


@cache
def _numbers() -> frozenset[int]:
    import onnx

    return frozenset(onnx.TensorProto.DataType.values())


@cache
def _standard() -> frozenset[str]:
    import onnx.defs

    return frozenset(s.name for s in onnx.defs.get_all_schemas() if not s.domain)


_DTYPES = {
    "float": "fp32", "double": "fp64", "float16": "fp16", "bfloat16": "bf16", "int64": "int64",
    "uint64": "int64", "int32": "int32", "uint32": "int32", "int16": "int16", "uint16": "int16",
    "int8": "int8", "uint8": "int8", "bool": "bool", "int4": "int4", "uint4": "int4",
    "float8e4m3fn": "fp8", "float8e5m2": "fp8",
}  # fmt: skip
