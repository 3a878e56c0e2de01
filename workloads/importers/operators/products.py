"""Formulas of matrix products and convolutions, as they stand in a graph."""

from __future__ import annotations

from dataclasses import replace
from math import prod

from workloads import op_counts
from workloads.importers.operators.values import Node, Value
from workloads.importers.operators.work import STAGE, Answer, Read, Work, dtype_of
from workloads.moment import Dtype, MatmulShape, Moment


def _linear(node: Node, m: int, n: int, k: int, weight: Value, bias: bool) -> Moment:
    return op_counts.linear("linear", STAGE, m=m, n=n, k=k, dtype=dtype_of(node),
                            weight_dtype=_stored(weight, dtype_of(node)), bias=bias)  # fmt: skip


def _stored(weight: Value, dtype: Dtype) -> str:
    return weight.dtype if weight.dtype in ("int8", "int4", "fp8", "fp16", "bf16") else dtype


def linear(node: Node) -> Answer:
    """Rows times a stored matrix (n x k), with a bias where there is one."""
    source, weight = node.need(0), node.need(1)
    k = source.shape[-1]
    n = weight.elements // k
    bias = node.input(2) is not None
    return Work("linear", _linear(node, source.elements // k, n, k, weight, bias))


def addmm(node: Node) -> Answer:
    """bias + rows times matrix."""
    source, matrix = node.need(1), node.need(2)
    k, n = source.shape[-1], matrix.shape[-1]
    moment = _linear(node, source.elements // k, n, k, matrix, bias=True)
    return Work("linear", moment, reads=(Read(1), Read(2), Read(0)))


def gemm(node: Node) -> Answer:
    """alpha A B + beta C, each of A and B transposed where an attribute says so."""
    left, right = node.need(0), node.need(1)
    m, k = reversed(left.shape) if node.attributes.get("transA") else left.shape
    n = right.shape[0] if node.attributes.get("transB") else right.shape[1]
    return Work("linear", _linear(node, m, n, k, right, node.input(2) is not None))


def matmul(node: Node) -> Answer:
    """The last two axes multiplied, all others side by side.

    A right side that is fixed and has no batch of its own makes it a linear layer on all rows.
    """
    left, right = node.need(0), node.need(1)
    k = left.shape[-1]
    if right.fixed and prod(right.shape[:-2]) == 1:
        n = right.shape[-1] if len(right.shape) > 1 else 1
        return Work("linear", _linear(node, left.elements // k, n, k, right, bias=False),
                    reads=(Read(0), Read(1)))  # fmt: skip
    m = left.shape[-2] if len(left.shape) > 1 else 1
    n = right.shape[-1] if len(right.shape) > 1 else 1
    batch = node.out.elements // (m * n)
    return Work("matmul", product(node, batch, m, n, k), reads=(Read(0), Read(1)))


def product(node: Node, batch: int, m: int, n: int, k: int) -> Moment:
    """`batch` products as one moment that no transform splits: its pieces are not heads yet."""
    moment = op_counts.matmul("matmul", STAGE, batch=batch, m=m, n=n, k=k, dtype=dtype_of(node))
    return replace(moment, parts=1)


def baddbmm(node: Node) -> Answer:
    """A batched product with a sum: one add an output."""
    left, right = node.need(1), node.need(2)
    batch, m, k = left.shape
    moment = product(node, batch, m, right.shape[-1], k)
    counts = replace(moment.counts, vector_ops=node.out.elements)
    return Work("matmul", replace(moment, counts=counts), reads=(Read(1), Read(2), Read(0)))


def einsum(node: Node) -> Answer:
    """Two operands: letters that both have and the result has not are summed over."""
    equation = str(node.attributes.get("equation", "")).replace(" ", "")
    terms, _, result = equation.partition("->")
    letters = terms.split(",")
    if len(letters) != 2 or not result or "." in equation:
        raise ValueError(f"{node.op}: only two operands with an explicit result: {equation!r}")
    left, right = node.need(0), node.need(1)
    size = {**dict(zip(letters[0], left.shape, strict=True)),
            **dict(zip(letters[1], right.shape, strict=True))}  # fmt: skip
    one, two = (set(term) for term in letters)
    shape = MatmulShape(
        batch=prod(size[x] for x in one & two & set(result)),
        m=prod(size[x] for x in one - two),
        n=prod(size[x] for x in two - one),
        k=prod(size[x] for x in (one & two) - set(result)),
    )
    return Work("matmul", product(node, shape.batch, shape.m, shape.n, shape.k))


def convolution(node: Node) -> Answer:
    """A convolution of one, two or three axes as the product that it is, with its real bytes."""
    if node.attributes.get("transposed"):
        return transposed_convolution(node)
    source, weight = node.need(0), node.need(1)
    groups = int(node.attributes.get("group", node.attributes.get("groups", 1)))
    n, kernel = weight.shape[0], prod(weight.shape[2:])
    channels = source.shape[1]
    moment = op_counts.convolution(
        "convolution", STAGE, outputs=node.out.elements // n,
        inputs=source.elements // channels, kernel=kernel, n=n, k=channels, groups=groups,
        dtype=dtype_of(node), weight_dtype=_stored(weight, dtype_of(node)),
        bias=node.input(2) is not None,
    )  # fmt: skip
    return Work("linear", moment)


def transposed_convolution(node: Node) -> Answer:
    """Each input position adds to `kernel` output positions: macs = inputs n kernel k / groups."""
    source, weight = node.need(0), node.need(1)
    groups = int(node.attributes.get("group", node.attributes.get("groups", 1)))
    channels, kernel = source.shape[1], prod(weight.shape[2:])
    n = weight.shape[1] * groups
    inputs = source.elements // channels
    moment = op_counts.convolution(
        "convolution", STAGE, outputs=inputs, inputs=inputs, kernel=kernel, n=n, k=channels,
        groups=groups, dtype=dtype_of(node), weight_dtype=_stored(weight, dtype_of(node)),
        bias=node.input(2) is not None,
    )  # fmt: skip
    return Work("linear", moment)
