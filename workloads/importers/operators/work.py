"""What a formula answers: the moments of one operator, with stand-ins for its tensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from workloads.importers.operators.values import FLOATS, Node, Value
from workloads.moment import Dtype, Moment, Stage, Tensor

STAGE: Stage = "feed_forward"
"""Until it is known to which part of the model an operator belongs."""


@dataclass(frozen=True, slots=True)
class Read:
    """An input by its number; `bytes` where less than the whole of it is read."""

    index: int
    bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Work:
    """One moment of an operator: kind, shape and counts of `moment`, tensors as listed.

    `op` is the operation in words common to all sources ("add", "linear", "erf"). `reads` and
    `writes` are inputs and outputs by number, or tensors inside the operator; None: all of them.
    """

    op: str
    moment: Moment
    reads: Sequence[Read | Tensor] | None = None
    writes: Sequence[int | Tensor] | None = None


@dataclass(frozen=True, slots=True)
class View:
    """No moment: every output is another look at the first input (or at input `of`)."""

    of: int = 0


Answer: TypeAlias = Work | View | list[Work]
Formula: TypeAlias = Callable[[Node], Answer]


def float_dtype(*values: Value | None) -> Dtype:
    """Type of the arithmetic: the first float among the values, fp32 for indices and masks.

    Integer arithmetic on positions and masks goes through the same vector lanes.
    """
    for value in values:
        if value is not None and value.dtype in FLOATS:
            return value.dtype  # type: ignore[return-value]
    return "fp32"


def dtype_of(node: Node) -> Dtype:
    """`float_dtype` of all that a node reads and writes."""
    return float_dtype(*node.outputs, *node.inputs)


def integers(value: object) -> tuple[int, ...]:
    """An attribute as a tuple of integers; ValueError where it is something else."""
    items = value if isinstance(value, list | tuple) else (value,)
    if any(isinstance(item, bool) or not isinstance(item, int) for item in items):
        raise ValueError(f"expected integers, found {value!r}")
    return tuple(items)


def axes_of(node: Node, value: object, rank: int) -> tuple[int, ...]:
    """Axes counted from the front; None means all of them."""
    if value is None:
        return tuple(range(rank))
    axes = tuple(axis + rank if axis < 0 else axis for axis in integers(value))
    if any(not 0 <= axis < max(rank, 1) for axis in axes):
        raise ValueError(f"{node.op}: axes {axes} are not within a tensor of {rank} axes")
    return axes
