"""Shapes of all tensors of an ONNX graph, operator by operator, from the sizes of its inputs.

ONNX's own inference does the work, one node at a time; the values of small integer tensors (shapes,
axes) are computed beside it. Contrib operators, which ONNX does not know, have rules of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod
from typing import TYPE_CHECKING, Any

from workloads.errors import InputError, shown
from workloads.importers.imported.onnx_file import SMALL

if TYPE_CHECKING:
    import numpy as np
    import onnx

MAX_ELEMENTS = 1 << 50
"""Elements of the largest tensor: more is a mistake in a size."""

_RANDOM = ("RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike", "Bernoulli",
           "Multinomial")  # fmt: skip

Shape = tuple[int, ...]
Attributes = Mapping[str, Any]


class Unresolved(Exception):  # noqa: N818 - not an error yet: the reader says why it matters
    """A shape that does not follow from the sizes given."""


def infer(
    model: onnx.ModelProto,
    node: onnx.NodeProto,
    types: Mapping[str, onnx.TypeProto],
    values: Mapping[str, np.ndarray[Any, Any]],
) -> dict[str, onnx.TypeProto]:
    """Types of the outputs of one node by ONNX's own rules. Raises Unresolved, with the reason."""
    import onnx.defs
    import onnx.numpy_helper
    import onnx.shape_inference

    version = next((o.version for o in model.opset_import if o.domain in (node.domain, "")), 1)
    try:
        schema = onnx.defs.get_schema(node.op_type, version, node.domain)
        given = {name: types[name] for name in node.input if name}
        data = {
            name: onnx.numpy_helper.from_array(values[name], name)
            for name in node.input
            if name in values
        }
        return onnx.shape_inference.infer_node_outputs(
            schema, node, given, data, opset_imports=list(model.opset_import),
            ir_version=model.ir_version,
        )  # fmt: skip
    except KeyError as error:
        raise Unresolved(f"nothing is known of its input {error}") from None
    except Exception as error:  # onnx raises RuntimeError subclasses of its C++ side
        raise Unresolved(" ".join(str(error).split())[:300]) from None


def evaluate(
    model: onnx.ModelProto,
    node: onnx.NodeProto,
    shapes: list[Shape | None],
    values: dict[str, np.ndarray[Any, Any]],
    types: Mapping[str, onnx.TypeProto],
    constant: Callable[[str], bool],
) -> None:
    """Add the values of a node's outputs to `values`, where they are small and follow from
    constants: sizes and numbers, not weights."""
    if node.op_type == "Shape" and not node.domain:
        _shape_of(node, types, values)
        return
    names = [name for name in node.input if name]
    known = all(name in values and constant(name) for name in names)
    small = all(shape is not None and prod(shape) <= SMALL for shape in shapes)
    if not known or not small or node.domain or node.op_type in _RANDOM:
        return
    import numpy as np
    from onnx.reference import ReferenceEvaluator

    if any(a.HasField("g") or a.graphs for a in node.attribute):
        return
    try:
        opsets = {o.domain: o.version for o in model.opset_import}
        session = ReferenceEvaluator(node, opsets=opsets)
        with np.errstate(all="ignore"):  # the logarithm of 0 is what the graph asks for
            results = session.run(None, {name: values[name] for name in names})
    except Exception:  # what cannot be computed beforehand stays a moment
        return
    for name, result in zip(node.output, results, strict=False):
        if name and isinstance(result, np.ndarray | np.generic):
            values[name] = np.asarray(result)


def _shape_of(
    node: onnx.NodeProto,
    types: Mapping[str, onnx.TypeProto],
    values: dict[str, np.ndarray[Any, Any]],
) -> None:
    import numpy as np

    kind = types.get(node.input[0])
    shape = None if kind is None else shape_of(kind)
    if shape is None:
        return
    given = {a.name: a.i for a in node.attribute}
    values[node.output[0]] = np.array(shape[given.get("start", 0) : given.get("end")], np.int64)


def shape_of(kind: onnx.TypeProto) -> Shape | None:
    """The extents of a type, or None where one is not known."""
    if not kind.HasField("tensor_type") or not kind.tensor_type.HasField("shape"):
        return None
    found = []
    for extent in kind.tensor_type.shape.dim:
        if not extent.HasField("dim_value"):
            return None
        found.append(extent.dim_value)
    return tuple(found)


def check_shape(where: str, shape: Shape) -> Shape:
    """The shape; InputError for a negative extent or more elements than any memory holds."""
    if any(extent < 0 for extent in shape):
        raise InputError(f"{where}: shape {shown(list(shape))} has a negative size")
    if prod(shape) > MAX_ELEMENTS:
        raise InputError(f"{where}: shape {list(shape)[:8]} has more than {MAX_ELEMENTS} elements")
    return shape


def _same(inputs: list[Shape | None], attributes: Attributes) -> list[Shape]:
    return [_need(inputs, 0)]


def _need(inputs: list[Shape | None], index: int) -> Shape:
    shape = inputs[index] if index < len(inputs) else None
    if shape is None:
        raise Unresolved(f"input {index} is missing")
    return shape


def _normed(inputs: list[Shape | None], attributes: Attributes) -> list[Shape]:
    shape = _need(inputs, 0)
    return [shape, shape[:-1], shape[:-1], shape]


def _embedded(inputs: list[Shape | None], attributes: Attributes) -> list[Shape]:
    ids = _need(inputs, 0)
    out = (*ids, _need(inputs, 2)[-1])
    return [out, ids[:1], out]


def _attention(inputs: list[Shape | None], attributes: Attributes) -> list[Shape]:
    source, weight = _need(inputs, 0), _need(inputs, 1)
    sizes = attributes.get("qkv_hidden_sizes") or (weight[1] // 3,) * 3
    heads = attributes["num_heads"]
    past = inputs[4] if len(inputs) > 4 else None
    length = source[1] + (past[3] if past else 0)
    return [(*source[:2], sizes[2]), (2, source[0], heads, length, sizes[0] // heads)]


def _multi_head(inputs: list[Shape | None], attributes: Attributes) -> list[Shape]:
    query, key, value = (_need(inputs, i) for i in range(3))
    heads = attributes["num_heads"]
    past = inputs[6] if len(inputs) > 6 else None
    length = key[-2] + (past[2] if past else 0)
    width = value[-1] * (heads if len(value) == 4 else 1)
    present = (query[0], heads, length)
    return [(*query[:2], width), (*present, query[2] // heads), (*present, width // heads)]


def _group_query(inputs: list[Shape | None], attributes: Attributes) -> list[Shape]:
    query = _need(inputs, 0)
    heads, kv_heads = attributes["num_heads"], attributes["kv_num_heads"]
    packed = len(inputs) < 2 or inputs[1] is None
    width = query[2] // (heads + 2 * kv_heads if packed else heads)
    past = inputs[3] if len(inputs) > 3 else None
    present = (query[0], kv_heads, query[1] + (past[2] if past else 0), width)
    return [(*query[:2], heads * width), present, present]


def _n_bits(inputs: list[Shape | None], attributes: Attributes) -> list[Shape]:
    return [(*_need(inputs, 0)[:-1], attributes["N"])]


def _product(inputs: list[Shape | None], attributes: Attributes) -> list[Shape]:
    left, right = _need(inputs, 0), _need(inputs, 1)
    m = left[-1] if attributes.get("transA") else left[-2]
    n = right[-2] if attributes.get("transB") else right[-1]
    outer = max((left[:-2], right[:-2]), key=lambda shape: (len(shape), prod(shape)))
    return [(*outer, m, n)]


CONTRIB: dict[str, Callable[[list[Shape | None], Attributes], list[Shape]]] = {
    **dict.fromkeys((
        "Gelu", "FastGelu", "BiasGelu", "QuickGelu", "RotaryEmbedding", "QuantizeLinear",
        "DequantizeLinear",
    ), _same),
    "SimplifiedLayerNormalization": _normed,
    "SkipLayerNormalization": _normed,
    "SkipSimplifiedLayerNormalization": _normed,
    "EmbedLayerNormalization": _embedded,
    "Attention": _attention,
    "MultiHeadAttention": _multi_head,
    "GroupQueryAttention": _group_query,
    "MatMulNBits": _n_bits,
    "FusedMatMul": _product,
    "MatMulIntegerToFloat": _product,
    "DynamicQuantizeMatMul": _product,
}  # fmt: skip
"""Shapes of the outputs of contrib operators from those of the inputs: docs/ContribOperators.md."""
