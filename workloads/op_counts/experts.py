"""A linear layer of which each row goes through some of many weights: a mixture of experts."""

from __future__ import annotations

from math import ceil, expm1, log1p

from workloads.moment import Dtype, MatmulShape, Moment, OperationCounts, Stage, Tensor
from workloads.op_counts.common import check_positive, tensor


def loaded_experts(tokens: int, experts: int, chosen: int) -> float:
    """Expected number of experts that at least one of `tokens` chooses: N (1 - ((N - k) / N)^B).

    Each token chooses `chosen` different ones, every set equally likely, and none knows of the
    others: a router as balanced as training wants it.
    """
    check_positive(tokens=tokens, experts=experts, chosen=chosen)
    if chosen >= experts:
        return float(experts)
    return -experts * expm1(tokens * log1p(-chosen / experts))


def expert_linear(
    name: str,
    stage: Stage,
    *,
    tokens: int,
    experts: int,
    chosen: int,
    n: int,
    k: int,
    dtype: Dtype,
    weight_dtype: str | None = None,
    bias: bool = False,
    source: str = "input",
    target: str = "output",
    group: str = "",
) -> Moment:
    """Each of `tokens` x `chosen` rows of k times the (k x n) weight of its expert.

    macs = tokens chosen n k exactly. Weights (and biases) of the experts that are expected to be
    loaded are read, rounded to whole bytes; the shape is that of as many equal products, rounded
    up. An expert that nobody chooses costs nothing.
    """
    check_positive(tokens=tokens, n=n, k=k)
    rows = tokens * chosen
    loaded = loaded_experts(tokens, experts, chosen)
    products = max(1, round(loaded))

    def part(suffix: str, elements: int, kind: str) -> Tensor:
        values = max(1, round(experts * elements * loaded / experts))
        return tensor(f"{name}.{suffix}", values, kind, "weight")

    reads = [tensor(source, rows * k, dtype), part("weight", n * k, weight_dtype or dtype)]
    if bias:
        reads.append(part("bias", n, dtype))
    return Moment(
        name,
        "matmul",
        stage,
        MatmulShape(products, ceil(rows / products), n, k),
        dtype,
        OperationCounts(macs=rows * n * k, vector_ops=rows * n if bias else 0),
        tuple(reads),
        (tensor(target, rows * n, dtype),),
        group=group,
        weight_dtype=weight_dtype or dtype,
    )
