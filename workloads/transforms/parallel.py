"""Spreads a program over devices in all ways at once: experts, tensors, layers, the batch."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from workloads.errors import InputError
from workloads.passes import written_out
from workloads.transforms.experts import spread_experts
from workloads.transforms.pipeline import pipeline
from workloads.transforms.shard import shard_tensors

if TYPE_CHECKING:
    from workloads.moment import Parallel, Program


def batch_of_part(batch: int, layout: Parallel) -> int:
    """Sequences of one part of the batch: that of a replica (the fullest) and a micro-batch.

    InputError where the micro-batches of a replica would not be equal.
    """
    replica = -(-batch // layout.data)
    if replica % layout.micro_batches:
        raise InputError(
            f"micro_batches = {layout.micro_batches}: a replica's batch of {replica} cannot be cut"
            " into so many equal parts"
        )
    return replica // layout.micro_batches


def spread(program: Program, layout: Parallel, *, sequence: bool = False) -> Program:
    """One rank of each pipeline stage of `program`, compiled for `batch_of_part` sequences.

    Experts are spread over the tensor ranks (which all have the same rows and add up their
    results) or over the replicas (whose rows travel to the experts and back, by all-to-all).
    InputError: what the program or the layout does not allow.
    """
    _check(program, layout)
    if layout.devices > 1:
        program = written_out(program)
    over_replicas = layout.expert > 1 and layout.expert == layout.data and layout.tensor == 1
    if over_replicas:
        program = spread_experts(program, layout.expert)
    whole = layout.expert > 1 and not over_replicas
    program = shard_tensors(program, layout.tensor, sequence=sequence, expert_parallel=whole)
    program = pipeline(program, layout.pipeline, micro_batches=layout.micro_batches)
    return replace(program, layout=layout)


def _check(program: Program, layout: Parallel) -> None:
    for name in ("tensor", "pipeline", "data", "expert", "micro_batches"):
        value = getattr(layout, name)
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 65_536:
            raise InputError(
                f"{name} parallel = {value!r}: expected a whole number from 1 to 65536"
            )
    if layout.micro_batches > 1 and layout.pipeline == 1:
        raise InputError(
            f"micro_batches = {layout.micro_batches} without pipeline stages: they would only run"
            " one after another"
        )
    if layout.expert == 1:
        return
    if layout.expert not in (layout.tensor, layout.data) or min(layout.tensor, layout.data) > 1:
        raise InputError(
            f"expert parallel = {layout.expert} with tensor = {layout.tensor} and data ="
            f" {layout.data}: experts are spread over the tensor ranks (expert = tensor, data = 1)"
            " or over the replicas (expert = data, tensor = 1)"
        )
    if not any(m.name == "router" for i in program.instances() for m in i.segment.moments):
        raise InputError(
            f"{program.workload}: expert parallel over {layout.expert}, but it has no experts"
        )
