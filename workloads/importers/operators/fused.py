"""Formulas of fused and quantized operators: ONNX's own and those of ONNX Runtime's contrib domain.

Definitions: docs/ContribOperators.md of ONNX Runtime; QLinearMatMul, MatMulInteger, QuantizeLinear,
DequantizeLinear and DynamicQuantizeLinear of the ONNX specification.
"""

from __future__ import annotations

from dataclasses import replace
from math import prod

from workloads import op_counts
from workloads.importers.operators.formulas import activation, pointwise
from workloads.importers.operators.products import convolution, product
from workloads.importers.operators.values import Node
from workloads.importers.operators.work import (
    STAGE,
    Answer,
    Read,
    View,
    Work,
    dtype_of,
    float_dtype,
)
from workloads.moment import Dtype, OperationCounts


def skip_norm(node: Node, *, centred: bool) -> Answer:
    """The sum of input and skip (and a bias), and its norm, which may both be outputs."""
    source = node.need(0)
    columns = source.shape[-1]
    rows = source.elements // columns
    formula = op_counts.layer_norm if centred else op_counts.rms_norm
    moment = formula("norm", STAGE, rows=rows, columns=columns, dtype=dtype_of(node))
    bias = node.input(4 if centred else 3) is not None
    counts = moment.counts + OperationCounts(vector_ops=(1 + bias) * source.elements)
    written = (0, 3) if len(node.outputs) > 3 and node.outputs[3].name else (0,)
    op = "layer_norm" if centred else "rms_norm"
    return Work(op, replace(moment, counts=counts), writes=written)


def embed_norm(node: Node) -> Answer:
    """com.microsoft.EmbedLayerNormalization: rows of up to three tables, their sum and norm."""
    out = node.out
    columns = out.shape[-1]
    rows = out.elements // columns
    moment = op_counts.layer_norm("norm", STAGE, rows=rows, columns=columns, dtype=dtype_of(node))
    tables = [i for i in (2, 3, 4) if node.input(i) is not None]
    counts = moment.counts + OperationCounts(vector_ops=(len(tables) - 1) * out.elements)
    reads = [Read(i, min(node.need(i).bytes, out.bytes)) for i in tables]
    reads += [Read(i) for i in (0, 1, 5, 6) if node.input(i) is not None]
    return Work("layer_norm", replace(moment, counts=counts), reads, (0,))


def bias_gelu(node: Node) -> Answer:
    """gelu(x + bias), by erf."""
    return _with_bias(node, "gelu")


def fast_gelu(node: Node) -> Answer:
    """The tanh form, with a bias where there is one."""
    return _with_bias(node, "gelu_tanh")


def _with_bias(node: Node, function: op_counts.Activation) -> Answer:
    work = activation(function)(node)
    if node.input(1) is None or not isinstance(work, Work):
        return work
    counts = work.moment.counts + OperationCounts(vector_ops=node.out.elements)
    return replace(work, moment=replace(work.moment, counts=counts))


quick_gelu = pointwise("silu", vector=3, special=2)
"""x * sigmoid(1.702 x): as SiLU and a multiply."""


def fused_matmul(node: Node) -> Answer:
    """A product whose sides may be transposed; scaling by alpha is part of it."""
    left, right = node.need(0), node.need(1)
    k = left.shape[-2] if node.attributes.get("transA") else left.shape[-1]
    n = right.shape[-2] if node.attributes.get("transB") else right.shape[-1]
    m = node.out.shape[-2] if len(node.out.shape) > 1 else 1
    batch = node.out.elements // (m * n)
    if right.fixed and prod(right.shape[:-2]) == 1:
        moment = op_counts.linear(
            "linear", STAGE, m=batch * m, n=n, k=k, dtype=dtype_of(node), bias=False
        )
        return Work("linear", moment)
    return Work("matmul", product(node, batch, m, n, k))


def n_bits(node: Node) -> Answer:
    """com.microsoft.MatMulNBits: rows times a matrix stored in 2 to 8 bits, in blocks of K."""
    source = node.need(0)
    n, k = int(node.attributes["N"]), int(node.attributes["K"])
    bits = int(node.attributes.get("bits", 4))
    moment = op_counts.linear(
        "linear", STAGE, m=source.elements // k, n=n, k=k, dtype=dtype_of(node),
        weight_dtype="int4" if bits <= 4 else "int8", bias=node.input(5) is not None,
    )  # fmt: skip
    return Work("linear", moment)


def integer_matmul(node: Node, right: int, *, bias: int | None = None) -> Answer:
    """A product of 8-bit integers, summed in 32 bits; scales and zero points are read, not counted.

    What remains to be done with the sums (a scale, a bias) costs one vector operation each.
    """
    left, matrix = node.need(0), node.need(right)
    k, n = left.shape[-1], matrix.shape[-1]
    dtype: Dtype = "int8"
    finished = int(node.out.dtype in ("fp32", "fp16", "bf16", "int8"))
    biased = int(bias is not None and node.input(bias) is not None)
    extra = OperationCounts(vector_ops=(finished + biased) * node.out.elements)
    if matrix.fixed and prod(matrix.shape[:-2]) == 1:
        moment = op_counts.linear("linear", STAGE, m=left.elements // k, n=n, k=k, dtype=dtype,
                                  bias=False)  # fmt: skip
        return Work("linear", replace(moment, counts=moment.counts + extra))
    m = left.shape[-2]
    moment = product(node, node.out.elements // (m * n), m, n, k)
    return Work("matmul", replace(moment, dtype=dtype, counts=moment.counts + extra))


def dynamic_matmul(node: Node) -> Answer:
    """com.microsoft.DynamicQuantizeMatMul: the float rows are quantized first, then multiplied."""
    work = integer_matmul(node, 1, bias=4)
    if not isinstance(work, Work):
        raise TypeError("a product is one moment")
    more = OperationCounts(vector_ops=4 * node.need(0).elements)
    return replace(work, moment=replace(work.moment, counts=work.moment.counts + more))


def integer_convolution(node: Node) -> Answer:
    """QLinearConv (x, scale, zero, w, scale, zero, scale, zero, bias) and ConvInteger (x, w)."""
    weight = 3 if node.op.endswith("QLinearConv") else 1
    plain = replace(node, inputs=(node.input(0), node.input(weight), node.input(8)))
    work = convolution(plain)
    if not isinstance(work, Work):
        raise TypeError("a convolution is one moment")
    return replace(work, moment=replace(work.moment, dtype="int8"), reads=None)


def dequantize(node: Node) -> Answer:
    """(x - zero) * scale: free for a stored weight, which its product unpacks as it reads it."""
    return View() if node.need(0).fixed else pointwise("dequantize", vector=2)(node)


quantize = pointwise("quantize", vector=4)
"""round(x / scale) + zero, clipped at both ends; the division by a constant is a multiply."""


def dynamic_quantize(node: Node) -> Answer:
    """Minimum and maximum of all values, then `quantize`: 2 + 4 operations a value."""
    moment = op_counts.pointwise(
        "quantize", STAGE, elements=node.need(0).elements, dtype=float_dtype(node.need(0)),
        vector=6, special=0,
    )  # fmt: skip
    return Work("quantize", moment)
