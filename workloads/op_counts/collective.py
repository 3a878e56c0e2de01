"""Collectives: what several devices exchange, and the arithmetic of their reductions."""

from __future__ import annotations

from typing import get_args

from workloads.moment import (
    DTYPE_BITS,
    CollectiveKind,
    CollectiveShape,
    Dtype,
    Moment,
    OperationCounts,
    Stage,
    Tensor,
)
from workloads.op_counts.common import check_positive

COLLECTIVES: tuple[CollectiveKind, ...] = get_args(CollectiveKind)

_REDUCES = ("all_reduce", "reduce_scatter")


def sent_bytes(shape: CollectiveShape) -> int:
    """Bytes that one rank must send at least, rounded up; nothing for a single rank.

    all_reduce 2 (p - 1) / p of the tensor (Patarasuk and Yuan 2009: no algorithm on point-to-point
    links sends less); all_gather, reduce_scatter and all_to_all (p - 1) / p; send_recv all of it.
    """
    if shape.ranks == 1:
        return 0
    if shape.kind == "send_recv":
        return shape.bytes
    times = 2 if shape.kind == "all_reduce" else 1
    return -(-times * (shape.ranks - 1) * shape.bytes // shape.ranks)


def collective(
    name: str,
    stage: Stage,
    *,
    shape: CollectiveShape,
    dtype: Dtype,
    source: str = "input",
    target: str = "output",
    group: str = "",
) -> Moment:
    """One rank's part of a collective, with the bytes that its memory gives and takes.

    A reduction over p ranks is (p - 1) additions per element; shared among the ranks, that is
    (p - 1) / p vector ops per element of the tensor and rank. The others have no arithmetic.
    ValueError for an unknown kind, a size below 1, ranks that the nodes do not divide, or a
    send_recv among more than two.
    """
    if shape.kind not in COLLECTIVES:
        raise ValueError(f"no formula for {shape.kind!r}; there are {', '.join(COLLECTIVES)}")
    check_positive(bytes=shape.bytes, ranks=shape.ranks, nodes=shape.nodes)
    if shape.ranks % shape.nodes:
        raise ValueError(f"ranks = {shape.ranks} is not a multiple of nodes = {shape.nodes}")
    if shape.kind == "send_recv" and shape.ranks > 2:
        raise ValueError(f"ranks = {shape.ranks}: send_recv joins two")
    operations = 0
    if shape.kind in _REDUCES:
        elements = -(-shape.bytes * 8 // DTYPE_BITS[dtype])
        operations = -(-elements * (shape.ranks - 1) // shape.ranks)
    part = -(-shape.bytes // shape.ranks)
    return Moment(
        name,
        shape.kind,
        stage,
        shape,
        dtype,
        OperationCounts(vector_ops=operations),
        (Tensor(source, part if shape.kind == "all_gather" else shape.bytes, "activation"),),
        (Tensor(target, part if shape.kind == "reduce_scatter" else shape.bytes, "activation"),),
        group=group,
    )
