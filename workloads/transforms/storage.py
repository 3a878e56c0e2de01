"""Store the weight matrices of a program otherwise: another format, fewer values, or both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from workloads.errors import InputError
from workloads.matrices import Matrices, body_matrices, head_matrix
from workloads.moment import MatmulShape, Moment, OperationCounts, Program, Segment, Tensor
from workloads.output import TIED_HEAD
from workloads.passes import on_steps
from workloads.stored import SCALE_BYTES, Stored
from workloads.transforms.rewrite import distinct_segments, rewrite

if TYPE_CHECKING:
    from workloads.model import Model

SCALES = ".scales"
"""End of the name of a tensor of scales of channels."""

HEAD = "lm_head"

Change = Callable[[Stored], Stored]


def is_linear(moment: Moment) -> bool:
    """Whether it multiplies with a weight matrix that is stored."""
    return moment.kind == "matmul" and any(is_matrix(tensor) for tensor in moment.reads)


def is_matrix(tensor: Tensor) -> bool:
    """Whether a tensor that a linear layer reads is its matrix, not a bias or scales."""
    return tensor.role == "weight" and tensor.name.endswith(".weight") and tensor.elements > 0


def stored_as(moment: Moment) -> Stored:
    """How the matrices that a linear layer reads are stored."""
    channels = any(tensor.name.endswith(SCALES) for tensor in moment.reads)
    return Stored(moment.weight_dtype or moment.dtype, channels, moment.sparsity)


def is_chosen(moment: Moment, head: bool | None) -> bool:
    """Whether a linear layer is among those to change; `head` as `store` takes it."""
    if not is_linear(moment):
        return False
    if moment.name != HEAD:
        return True
    return moment.group != TIED_HEAD if head is None else head


@on_steps
def store(program: Program, model: Model, change: Change, head: bool | None) -> Program:
    """The program with its weight matrices stored as `change` says.

    `head`: also the matrix that gives the logits; None: unless it is the table of embeddings.
    Reads of weights and the footprint follow, the latter for the whole of `model`, of which a
    program may read a part (the experts that are chosen, the body alone). Scales of channels are
    one more tensor and one multiplication of each output. All else is as before.
    """
    linear = [m for s in distinct_segments(program) for m in s.moments if is_chosen(m, head)]
    if not linear:
        raise InputError(
            f"{program.workload}: no linear layer reads a weight matrix whose storage could be "
            "changed; were they written out (dequantize) before?"
        )
    body = [m for m in linear if m.name != HEAD] or linear

    def restore(segment: Segment) -> Segment:
        moments = tuple(
            _restored(m, change(stored_as(m))) if is_chosen(m, head) else m for m in segment.moments
        )
        return Segment(segment.name, moments, segment.edges)

    last = [m for m in linear if m.name == HEAD] or body
    grown = _growth(model, change, stored_as(body[0]), stored_as(last[0]), head)
    changed = rewrite(program, restore)
    needs = program.footprint
    return replace(changed, footprint=replace(needs, weight_bytes=needs.weight_bytes + grown))


def _growth(model: Model, change: Change, body: Stored, last: Stored, head: bool | None) -> int:
    """Bytes that the weights of the whole model gain.

    What is stored alike is rounded up as one, as the compiler does. A head that is the table of
    embeddings becomes a matrix of its own beside the table.
    """
    matrices = body_matrices(model)
    if not (head or (head is None and not model.tied_embeddings)):
        return _difference(matrices, body, change)
    own = head_matrix(model)
    if model.tied_embeddings:
        new = change(last).total_bytes(own.elements, own.rows, own.count)
        return _difference(matrices, body, change) + new
    if body == last:
        return _difference(matrices + own, body, change)
    return _difference(matrices, body, change) + _difference(own, last, change)


def _difference(matrices: Matrices, before: Stored, change: Change) -> int:
    sizes = (matrices.elements, matrices.rows, matrices.count)
    return change(before).total_bytes(*sizes) - before.total_bytes(*sizes)


def _restored(moment: Moment, stored: Stored) -> Moment:
    """A linear layer whose matrices are stored otherwise."""
    shape = product_shape(moment)
    had_scales = stored_as(moment).channels
    reads: list[Tensor] = []
    for tensor in moment.reads:
        if tensor.name.endswith(SCALES):
            continue
        if not is_matrix(tensor):
            reads.append(tensor)
            continue
        rows = -(-tensor.elements // shape.k)
        reads.append(replace(tensor, bytes=stored.value_bytes(tensor.elements, rows)))
        if stored.channels:
            name = tensor.name.removesuffix(".weight") + SCALES
            reads.append(Tensor(name, SCALE_BYTES * rows, "weight", rows))
    rescaled = outputs(moment) * (int(stored.channels) - int(had_scales))
    # a head that was the table of embeddings is one of its own from here on
    group = "" if moment.group == TIED_HEAD else moment.group
    return replace(
        moment,
        reads=tuple(reads),
        counts=moment.counts + OperationCounts(vector_ops=rescaled),
        weight_dtype=stored.values,
        sparsity=stored.sparsity,
        group=group,
    )


def product_shape(moment: Moment) -> MatmulShape:
    """The shape of a linear layer; ValueError where it has that of something else."""
    if not isinstance(moment.shape, MatmulShape):
        raise ValueError(f"{moment.name}: a linear layer, but its shape is {moment.shape}")
    return moment.shape


def outputs(moment: Moment) -> int:
    """Values that a product gives, before anything that is fused with it."""
    return moment.counts.macs // product_shape(moment).k
