"""A torch module as a graph of ATen operators (torch.export), and as a program.

The module is traced on stand-ins of its inputs, not run: no weight is touched.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from workloads.errors import InputError, shown
from workloads.importers.imported.program import Imported, build
from workloads.importers.operators.torch_names import TABLE
from workloads.importers.operators.values import Node, OperatorGraph, Value
from workloads.moment import Role

if TYPE_CHECKING:
    import torch
    from torch.export import ExportedProgram

_SILENT = (
    "_assert_tensor_metadata", "_assert_async", "_assert_scalar", "sym_constrain_range",
    "sym_constrain_range_for_size", "_functional_assert_async",
)  # fmt: skip
_OWN_NAME = ("linear", "addmm", "layer_norm", "rms_norm", "embedding", "conv1d", "conv2d", "conv3d")
"""Operators that are what their module is about: the module's name is enough."""

_CACHE = re.compile(r"past_key_values?|key_cache|value_cache|kv_cache", re.IGNORECASE)


def from_torch(
    module: torch.nn.Module,
    example_inputs: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    *,
    name: str | None = None,
    unknown: str | None = None,
) -> Imported:
    """The program of one forward pass of a module on inputs of these shapes.

    `example_inputs` and `kwargs` are what the module is called with; they give shapes only, so
    tensors on the device "meta" do. torch.export traces it; scaled_dot_product_attention stays one
    call. Operators without a formula are decomposed into core ATen ones, and what is then unknown
    is an InputError that lists all of them, or with `unknown` "as-copy" a move of its bytes.
    InputError also where torch cannot export the module. Not counted: what follows from sizes and
    buffers alone (numbers of positions, masks, rotary tables), as in compiled models; the host's
    time for views.
    """
    import torch

    label = name or type(module).__name__
    inputs = tuple(example_inputs)
    try:
        with torch.no_grad():
            program = torch.export.export(module, inputs, dict(kwargs or {}), strict=False)
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else ""
        raise InputError(
            f"{label}: torch.export cannot trace it: {type(error).__name__}: {shown(reason, 300)}"
        ) from error
    missing = {_base(node.target)[0] for node in program.graph.nodes if _calls(node)} - {
        *TABLE,
        *_SILENT,
        "getitem",
    }
    if missing:
        table = torch.export.default_decompositions()
        rules = {op: rule for op, rule in dict(table).items() if _base(op)[0] in missing}
        with warnings.catch_warnings():  # torch warns of what it does itself
            warnings.simplefilter("ignore", FutureWarning)
            program = program.run_decompositions(rules)
    graph = _Reader(label, program).graph()
    return build(graph, TABLE, folds_weights=False, unknown=unknown)


def _calls(node: Any) -> bool:
    return bool(node.op == "call_function")


def _base(target: Any) -> tuple[str, str]:
    """Name of an operator without namespace, overload and the "_" of in-place forms."""
    schema = getattr(target, "_schema", None)
    if schema is None:
        return getattr(target, "__name__", str(target)), ""
    name = schema.name.partition("::")[2]
    if name.endswith("_") and not name.endswith("__"):
        name = name[:-1]
    overload = schema.overload_name
    if name in ("max", "min") and overload in ("dim", ""):
        name = f"a{name}"
    return name, overload


def _in_place(target: Any) -> bool:
    schema = getattr(target, "_schema", None)
    return schema is not None and schema.name.endswith("_") and not schema.name.endswith("__")


@dataclass
class _Reader:
    name: str
    program: ExportedProgram
    known: dict[str, Any] = field(default_factory=dict)
    nodes: list[Node] = field(default_factory=list)

    def graph(self) -> OperatorGraph:
        signature = self.program.graph_signature
        parameters = dict(signature.inputs_to_parameters)
        buffers = dict(signature.inputs_to_buffers)
        tensors = dict(signature.inputs_to_lifted_tensor_constants)
        # one tensor under two names (tied weights) is stored once
        storage: dict[int, str] = {}
        state = {**self.program.state_dict, **self.program.constants}
        for node in self.program.graph.nodes:
            if node.op == "placeholder":
                source = parameters.get(node.name) or buffers.get(node.name)
                source = source or tensors.get(node.name)
                if source is None:
                    self._input(node)
                else:
                    tied = storage.setdefault(id(state.get(source, node)), source)
                    self._weight(node, tied, trained=node.name in parameters)
            elif node.op == "get_attr":
                raise InputError(f"{self.name}: control flow ({node.target}) is not modelled")
            elif node.op == "call_function":
                self._call(node)
        outputs = frozenset(
            value.name
            for out in self.program.graph.nodes
            if out.op == "output"
            for argument in out.all_input_nodes
            for value in self._values(argument)
        )
        return OperatorGraph(self.name, tuple(self.nodes), outputs)

    def _values(self, node: Any) -> list[Value]:
        found = self.known.get(node.name)
        return [v for v in (found if isinstance(found, list) else [found]) if v is not None]

    def _input(self, node: Any) -> None:
        value = self._value(node.name, node.meta.get("val"))
        if value is None:
            return  # a number: part of the trace
        role: Role = "kv_cache" if _CACHE.search(node.name) and len(value.shape) > 2 else "input"
        self.known[node.name] = replace(value, role=role)

    def _weight(self, node: Any, source: str, *, trained: bool) -> None:
        value = self._value(source, node.meta.get("val"))
        if value is None:
            raise InputError(f"{self.name}: {source} is not a tensor")
        # a buffer is known before the run, and what follows from buffers alone is computed once
        number = not trained and value.elements <= 1
        role: Role = "input" if number else "weight"
        self.known[node.name] = replace(
            value, role=role, fixed=True, constant=not trained, trained=trained
        )

    def _value(self, name: str, val: Any) -> Value | None:
        shape = getattr(val, "shape", None)
        if shape is None:
            return None
        if not all(isinstance(extent, int) for extent in shape):
            raise InputError(f"{self.name}: tensor {name} has the open shape {tuple(shape)}")
        return Value(name, tuple(shape), _dtype(self.name, val.dtype))

    def _call(self, node: Any) -> None:
        op, _ = _base(node.target)
        if op == "getitem":
            values = self.known.get(node.args[0].name)
            if isinstance(values, list):
                self.known[node.name] = values[node.args[1]]
            return
        if op in _SILENT:
            return
        inputs, attributes, sources = self._arguments(node)
        outputs = self._outputs(node)
        if not outputs:
            return
        scope = _scope(node)
        own = op in _OWN_NAME and scope
        name = scope if own else f"{scope}.{op}".strip(".")
        free = op in ("contiguous", "reshape", "flatten", "clone", "ravel") and _is_view(
            op, sources[0] if sources else None, node.meta.get("val"), attributes
        )
        self.nodes.append(
            Node(op, name, tuple(inputs), tuple(outputs), attributes, scope, free=free)
        )
        if _in_place(node.target):  # what was there before is gone
            self.known[node.args[0].name] = outputs[0]

    def _outputs(self, node: Any) -> list[Value]:
        val = node.meta.get("val")
        if isinstance(val, list | tuple):
            values = [self._value(f"{node.name}.{i}", item) for i, item in enumerate(val)]
            self.known[node.name] = values
            return [value for value in values if value is not None]
        value = self._value(node.name, val)
        self.known[node.name] = value
        return [] if value is None else [value]

    def _arguments(self, node: Any) -> tuple[list[Value | None], dict[str, Any], list[Any]]:
        """Tensors in order, the other arguments by name, and torch's stand-ins of the tensors."""
        inputs: list[Value | None] = []
        attributes: dict[str, Any] = {}
        sources: list[Any] = []
        schema = getattr(node.target, "_schema", None)
        names = [a.name for a in schema.arguments] if schema is not None else []
        given = [*zip(names, node.args, strict=False), *node.kwargs.items()]
        tensors = {a.name for a in schema.arguments if "Tensor" in str(a.type)} if schema else set()
        for name, argument in given:
            items = argument if isinstance(argument, list | tuple) else [argument]
            values = [self._values(i) if hasattr(i, "all_input_nodes") else [] for i in items]
            if any(values):
                inputs += [value for found in values for value in found]
                sources += [i.meta.get("val") for i in items if hasattr(i, "meta")]
            elif argument is None and name in tensors:
                inputs.append(None)
            else:
                attributes[name] = argument
        return inputs, attributes, sources


def _dtype(where: str, dtype: Any) -> str:
    text = str(dtype).removeprefix("torch.")
    found = _DTYPES.get(text) or ("fp8" if text.startswith("float8") else None)
    if found is None:
        raise InputError(f"{where}: tensors of type {text} are not known")
    return found


def _scope(node: Any) -> str:
    """The path of the module that a call is in, such as "encoder.layer.0.attention"."""
    stack = node.meta.get("nn_module_stack") or {}
    paths = [entry[0] for entry in stack.values()]
    path = str(paths[-1]) if paths else ""
    path = re.sub(r"^L\['self'\]\.?", "", path)
    path = re.sub(r"_modules\['([^']*)'\]", r"\1", path)
    return re.sub(r"@\d+$", "", path)


def _is_view(op: str, source: Any, result: Any, attributes: Mapping[str, Any]) -> bool:
    """Whether torch hands out the same bytes: decided by strides, as torch decides it."""
    import torch

    if source is None or result is None:
        return False
    if op == "contiguous":
        return bool(source.is_contiguous())
    if op == "clone":
        return False
    plain = torch.empty_strided(tuple(source.shape), tuple(source.stride()), device="meta")
    try:
        plain.view(tuple(result.shape))
    except RuntimeError:
        return False
    return True


_DTYPES = {
    "float32": "fp32", "float64": "fp64", "float16": "fp16", "bfloat16": "bf16", "int64": "int64",
    "int32": "int32", "int16": "int16", "int8": "int8", "uint8": "int8", "bool": "bool",
}  # fmt: skip
