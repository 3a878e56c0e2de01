"""Which formula counts which ATen operator, by its name without overload and trailing "_"."""

from __future__ import annotations

from math import prod

from workloads.importers.operators import attention, formulas, products
from workloads.importers.operators.formulas import move, pointwise, reduce
from workloads.importers.operators.values import Node
from workloads.importers.operators.work import Answer, Formula, View


def _norm_axes(node: Node) -> int:
    return -len(tuple(node.attributes["normalized_shape"]))


def _layer_norm(node: Node) -> Answer:
    return formulas.layer_norm(node, _norm_axes(node))


def _rms_norm(node: Node) -> Answer:
    return formulas.rms_norm(node, _norm_axes(node))


def _group_norm(node: Node) -> Answer:
    groups = node.attributes.get("num_groups", node.attributes.get("group"))
    return formulas.group_norm(node, int(groups))


def _embedding(node: Node) -> Answer:
    return formulas.gather(node, 0, 1)


def _index(node: Node) -> Answer:
    return formulas.gather(node, 0, 1) if node.input(1) is not None else View()


def _contiguous(node: Node) -> Answer:
    return View() if node.free else move("contiguous")(node)


def _products(node: Node) -> Answer:
    left, right = node.need(0), node.need(1)
    if len(left.shape) == len(right.shape) == 1:
        return pointwise("dot", vector=2 * prod(left.shape))(node)
    return products.matmul(node)


_VIEWS = (
    "view", "_unsafe_view", "transpose", "permute", "t", "unsqueeze", "squeeze", "expand",
    "expand_as", "select", "slice", "split", "split_with_sizes", "chunk", "unbind", "detach",
    "alias", "dropout", "feature_dropout", "native_dropout", "view_as", "movedim", "swapaxes",
    "narrow", "unfold", "diagonal", "as_strided", "flatten_view", "getitem", "lift_fresh_copy",
    "broadcast_to", "unflatten", "numpy_T", "mT", "item", "_local_scalar_dense", "sym_size",
)  # fmt: skip
_MAYBE_COPIES = ("reshape", "flatten", "contiguous", "clone", "ravel")
_FILLS = (
    "zeros", "ones", "full", "empty", "zeros_like", "ones_like", "full_like", "empty_like",
    "new_zeros", "new_ones", "new_full", "arange", "scalar_tensor", "eye", "linspace", "new_empty",
    "fill", "zero",
)  # fmt: skip
_POINTWISE: dict[str, tuple[int, int]] = {
    **dict.fromkeys((
        "neg", "abs", "floor", "ceil", "round", "sign", "logical_not", "bitwise_not", "eq", "ne",
        "lt", "le", "gt", "ge", "where", "masked_fill", "isnan", "isinf", "clamp", "clamp_min",
        "clamp_max", "clip", "logical_and", "logical_or", "logical_xor", "bitwise_and",
        "bitwise_or", "bitwise_xor", "__and__", "__or__", "__xor__", "maximum", "minimum", "min",
        "max", "sub", "rsub", "tril", "triu", "diff", "trunc", "prelu", "nan_to_num",
    ), (1, 0)),
    **dict.fromkeys((
        "erf", "exp", "exp2", "log", "log2", "sqrt", "rsqrt", "reciprocal", "sin", "cos", "div",
        "true_divide", "pow", "atan", "expm1", "log1p",
    ), (0, 1)),
    "floor_divide": (1, 1),
    "remainder": (2, 1),
    "fmod": (2, 1),
    "sigmoid": (2, 2),
    "softplus": (1, 2),
    "elu": (2, 1),
    "mish": (2, 4),
    "leaky_relu": (2, 0),
    "hardtanh": (2, 0),
    "hardswish": (5, 0),
    "hardsigmoid": (4, 0),
    "square": (1, 0),
    "addcmul": (3, 0),
    "cumsum": (1, 0),
    "batch_norm": (2, 0),
    "lerp": (3, 0),
}  # fmt: skip
_WORDS = {
    "neg": "negate", "div": "divide", "true_divide": "divide", "pow": "power", "sub": "subtract",
    "square": "power", "__and__": "and", "__or__": "or",
}  # fmt: skip

TABLE: dict[str, Formula] = {
    **dict.fromkeys(_VIEWS, formulas.view),
    **dict.fromkeys(_MAYBE_COPIES, _contiguous),
    **dict.fromkeys(_FILLS, formulas.fill),
    **{name: pointwise(_WORDS.get(name, name), vector=vector, special=special)
       for name, (vector, special) in _POINTWISE.items()},
    "add": formulas.add,
    "mul": formulas.multiply,
    "relu": formulas.activation("relu"),
    "tanh": formulas.activation("tanh"),
    "silu": formulas.activation("silu"),
    "gelu": formulas.gelu,
    "to": formulas.cast,
    "_to_copy": formulas.cast,
    "type_as": formulas.cast,
    "copy": move("copy"),
    "linear": products.linear,
    "addmm": products.addmm,
    "mm": products.matmul,
    "bmm": products.matmul,
    "matmul": _products,
    "baddbmm": products.baddbmm,
    "einsum": products.einsum,
    "conv1d": products.convolution,
    "conv2d": products.convolution,
    "conv3d": products.convolution,
    "convolution": products.convolution,
    "conv_transpose1d": products.transposed_convolution,
    "conv_transpose2d": products.transposed_convolution,
    "softmax": formulas.softmax,
    "_softmax": formulas.softmax,
    "_safe_softmax": formulas.softmax,
    "log_softmax": formulas.softmax,
    "_log_softmax": formulas.softmax,
    "layer_norm": _layer_norm,
    "native_layer_norm": _layer_norm,
    "rms_norm": _rms_norm,
    "group_norm": _group_norm,
    "native_group_norm": _group_norm,
    "_native_batch_norm_legit_no_training": formulas.batch_norm,
    "mean": reduce("mean", special=1),
    "sum": reduce("sum"),
    "amax": reduce("max"),
    "amin": reduce("min"),
    "any": reduce("max"),
    "all": reduce("min"),
    "prod": reduce("prod"),
    "var": reduce("var", vector=3, special=1),
    "std": reduce("var", vector=3, special=2),
    "norm": reduce("norm", vector=2, special=1),
    "linalg_vector_norm": reduce("norm", vector=2, special=1),
    "argmax": formulas.top_k,
    "argmin": formulas.top_k,
    "topk": formulas.top_k,
    "sort": formulas.top_k,
    "embedding": _embedding,
    "gather": _embedding,
    "index_select": _embedding,
    "index": _index,
    **dict.fromkeys((
        "scatter", "index_put", "index_copy", "index_add", "slice_scatter", "select_scatter",
        "masked_scatter", "scatter_add",
    ), formulas.scatter),
    **{name: move(name) for name in (
        "stack", "pad", "constant_pad_nd", "roll", "flip", "repeat", "repeat_interleave",
        "pixel_shuffle", "upsample_nearest2d", "upsample_bilinear2d", "upsample_bicubic2d",
        "hstack", "one_hot",
    )},
    "cat": move("concat"),
    "avg_pool1d": formulas.pool,
    "avg_pool2d": formulas.pool,
    "max_pool2d": formulas.pool,
    "adaptive_avg_pool2d": formulas.pool,
    "_adaptive_avg_pool2d": formulas.pool,
    "adaptive_avg_pool1d": formulas.pool,
    "scaled_dot_product_attention": attention.scaled_dot_product,
    "_scaled_dot_product_flash_attention_for_cpu": attention.scaled_dot_product,
}  # fmt: skip
