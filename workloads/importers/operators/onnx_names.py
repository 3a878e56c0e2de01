"""Which formula counts which ONNX operator; contrib operators are "com.microsoft.Name"."""

from __future__ import annotations

from functools import partial

from workloads.importers.operators import attention, formulas, fused, products
from workloads.importers.operators.formulas import move, part, pointwise, reduce
from workloads.importers.operators.values import Node
from workloads.importers.operators.work import Answer, Formula, View


def _layer_norm(node: Node) -> Answer:
    return formulas.layer_norm(node, int(node.attributes.get("axis", -1)))


def _rms_norm(node: Node) -> Answer:
    return formulas.rms_norm(node, int(node.attributes.get("axis", -1)))


def _group_norm(node: Node) -> Answer:
    return formulas.group_norm(node, int(node.attributes["num_groups"]))


def _instance_norm(node: Node) -> Answer:
    return formulas.group_norm(node, node.need(0).shape[1])


def _transpose(node: Node) -> Answer:
    """A copy in another layout; of a weight a view, since products read it in any layout."""
    return View() if node.need(0).fixed else move("transpose")(node)


_VIEWS = (
    "Identity", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Dropout", "Shape", "Size",
    "Constant",
)  # fmt: skip

_POINTWISE: dict[str, tuple[int, int]] = {
    # operator: (vector, special) operations for each element of the output
    **dict.fromkeys((
        "Neg", "Abs", "Floor", "Ceil", "Round", "Sign", "Not", "And", "Or", "Xor", "Equal",
        "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Where", "IsNaN", "IsInf", "Clip",
        "BitShift", "BitwiseAnd", "BitwiseOr", "BitwiseNot", "PRelu",
    ), (1, 0)),
    "LeakyRelu": (2, 0),
    "HardSigmoid": (4, 0),
    "HardSwish": (5, 0),
    "ThresholdedRelu": (1, 0),
    **dict.fromkeys((
        "Erf", "Exp", "Log", "Sqrt", "Reciprocal", "Sin", "Cos", "Atan", "Div",
    ), (0, 1)),
    "Sigmoid": (2, 2),
    "Softplus": (1, 2),
    "Elu": (2, 1),
    "Selu": (3, 1),
    "Celu": (3, 1),
    "Mish": (2, 4),
    "Softsign": (2, 1),
    "Mod": (2, 1),
    "Pow": (0, 1),
}  # fmt: skip

_WORDS = {
    "Neg": "negate", "Div": "divide", "Reciprocal": "reciprocal", "Pow": "power", "Erf": "erf",
    "Sqrt": "sqrt", "Sigmoid": "sigmoid", "Where": "where", "IsNaN": "isnan", "Exp": "exp",
}  # fmt: skip

TABLE: dict[str, Formula] = {
    **dict.fromkeys(_VIEWS, formulas.view),
    **{name: pointwise(_WORDS.get(name, name), vector=vector, special=special)
       for name, (vector, special) in _POINTWISE.items()},
    "Add": formulas.add,
    "Sub": pointwise("subtract", vector=1),
    "Mul": formulas.multiply,
    **dict.fromkeys(("Sum", "Max", "Min", "Mean"), formulas.sum_of),
    "Relu": formulas.activation("relu"),
    "Tanh": formulas.activation("tanh"),
    "Swish": formulas.activation("silu"),
    "Gelu": formulas.gelu,
    "Cast": formulas.cast,
    "CastLike": formulas.cast,
    "MatMul": products.matmul,
    "Gemm": products.gemm,
    "Einsum": products.einsum,
    "Conv": products.convolution,
    "ConvTranspose": products.transposed_convolution,
    "Softmax": formulas.softmax,
    "LogSoftmax": formulas.softmax,
    "LayerNormalization": _layer_norm,
    "SimplifiedLayerNormalization": _rms_norm,
    "RMSNormalization": _rms_norm,
    "GroupNormalization": _group_norm,
    "InstanceNormalization": _instance_norm,
    "BatchNormalization": formulas.batch_norm,
    "LpNormalization": lambda node: formulas.rms_norm(node, int(node.attributes.get("axis", -1))),
    **{name: reduce(word) for name, word in (
        ("ReduceSum", "sum"), ("ReduceMax", "max"), ("ReduceMin", "min"), ("ReduceProd", "prod"),
        ("ReduceL1", "sum"),
    )},
    "ReduceMean": reduce("mean", special=1),
    "ReduceL2": reduce("norm", vector=2, special=1),
    "ReduceSumSquare": reduce("sum_square", vector=2),
    "ReduceLogSumExp": reduce("sum", vector=3, special=1),
    "CumSum": pointwise("cumsum", vector=1),
    "ArgMax": formulas.top_k,
    "ArgMin": formulas.top_k,
    "TopK": formulas.top_k,
    **dict.fromkeys((
        "MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "LpPool",
    ), formulas.pool),
    "Gather": formulas.gather,
    "GatherElements": formulas.gather,
    "GatherND": formulas.gather,
    **dict.fromkeys(("ScatterND", "ScatterElements", "TensorScatter"), formulas.scatter),
    **{name: move(name.lower()) for name in (
        "Concat", "Pad", "Tile", "DepthToSpace", "SpaceToDepth", "Resize", "Trilu",
        "ReverseSequence", "NonZero", "Compress",
    )},
    "Transpose": _transpose,
    "Slice": part("slice"),
    "Split": move("split"),
    "Expand": formulas.expand,
    **dict.fromkeys(("ConstantOfShape", "Range", "EyeLike"), formulas.fill),
    "OneHot": move("one_hot"),
    "Attention": attention.onnx_attention,
    "RotaryEmbedding": attention.rotary,
    "QuantizeLinear": fused.quantize,
    "DequantizeLinear": fused.dequantize,
    "DynamicQuantizeLinear": fused.dynamic_quantize,
    "MatMulInteger": partial(fused.integer_matmul, right=1),
    "QLinearMatMul": partial(fused.integer_matmul, right=3),
    "QLinearConv": fused.integer_convolution,
    "ConvInteger": fused.integer_convolution,
    "com.microsoft.Attention": attention.contrib_attention,
    "com.microsoft.MultiHeadAttention": attention.multi_head,
    "com.microsoft.GroupQueryAttention": attention.group_query,
    "com.microsoft.RotaryEmbedding": attention.rotary,
    "com.microsoft.SkipLayerNormalization": partial(fused.skip_norm, centred=True),
    "com.microsoft.SkipSimplifiedLayerNormalization": partial(fused.skip_norm, centred=False),
    "com.microsoft.SimplifiedLayerNormalization": _rms_norm,
    "com.microsoft.EmbedLayerNormalization": fused.embed_norm,
    "com.microsoft.Gelu": formulas.gelu,
    "com.microsoft.FastGelu": fused.fast_gelu,
    "com.microsoft.BiasGelu": fused.bias_gelu,
    "com.microsoft.QuickGelu": fused.quick_gelu,
    "com.microsoft.FusedMatMul": fused.fused_matmul,
    "com.microsoft.MatMulNBits": fused.n_bits,
    "com.microsoft.MatMulIntegerToFloat": partial(fused.integer_matmul, right=1, bias=6),
    "com.microsoft.DynamicQuantizeMatMul": fused.dynamic_matmul,
    "com.microsoft.QuantizeLinear": fused.quantize,
    "com.microsoft.DequantizeLinear": fused.dequantize,
}  # fmt: skip
