"""Operations on each element alone: activations, sums, products, rotary positions."""

from __future__ import annotations

from typing import Literal, get_args

from workloads.moment import Dtype, ElementShape, Kind, Moment, OperationCounts, Stage
from workloads.op_counts.common import check_positive, tensor

Activation = Literal["gelu", "gelu_tanh", "silu", "relu", "tanh"]
ACTIVATIONS: tuple[Activation, ...] = get_args(Activation)

# (kind, vector ops, special ops) per element
_ACTIVATION_COSTS: dict[Activation, tuple[Kind, int, int]] = {
    # 0.5 x (1 + erf(x / sqrt 2)): three multiplies, one add; erf
    "gelu": ("gelu", 4, 1),
    # 0.5 x (1 + tanh(c (x + 0.044715 x^3))): six multiplies, two adds; tanh
    "gelu_tanh": ("gelu_tanh", 8, 1),
    # x / (1 + exp(-x)): negate, add; exp, division
    "silu": ("silu", 2, 2),
    # max(x, 0): compare
    "relu": ("relu", 1, 0),
    "tanh": ("tanh", 0, 1),
}


def activation(
    name: str,
    stage: Stage,
    *,
    function: Activation,
    elements: int,
    dtype: Dtype,
    source: str = "input",
    target: str = "output",
    group: str = "",
) -> Moment:
    """`function` of each element. Per element (vector, special):

    gelu (erf form) 4, 1; gelu_tanh 8, 1; silu 2, 2; relu 1, 0; tanh 0, 1. An unknown function
    raises ValueError.
    """
    check_positive(elements=elements)
    if function not in _ACTIVATION_COSTS:
        raise ValueError(
            f"no formula for the activation {function!r}; there are {', '.join(ACTIVATIONS)}"
        )
    kind, vector, special = _ACTIVATION_COSTS[function]
    return Moment(
        name,
        kind,
        stage,
        ElementShape(elements),
        dtype,
        OperationCounts(vector_ops=vector * elements, special_ops=special * elements),
        (tensor(source, elements, dtype),),
        (tensor(target, elements, dtype),),
        group=group,
    )


def _binary(
    name: str,
    kind: Kind,
    stage: Stage,
    elements: int,
    second_elements: int | None,
    dtype: Dtype,
    sources: tuple[str, str],
    target: str,
    group: str,
) -> Moment:
    second = elements if second_elements is None else second_elements
    check_positive(elements=elements, second_elements=second)
    return Moment(
        name,
        kind,
        stage,
        ElementShape(elements),
        dtype,
        OperationCounts(vector_ops=elements),
        (tensor(sources[0], elements, dtype), tensor(sources[1], second, dtype)),
        (tensor(target, elements, dtype),),
        group=group,
    )


def add(
    name: str,
    stage: Stage,
    *,
    elements: int,
    dtype: Dtype,
    second_elements: int | None = None,
    sources: tuple[str, str] = ("left", "right"),
    target: str = "output",
    group: str = "",
) -> Moment:
    """Sum of two tensors, 1 vector op per element of the output.

    `second_elements` is smaller than `elements` where the second is broadcast.
    """
    return _binary(name, "add", stage, elements, second_elements, dtype, sources, target, group)


def multiply(
    name: str,
    stage: Stage,
    *,
    elements: int,
    dtype: Dtype,
    second_elements: int | None = None,
    sources: tuple[str, str] = ("left", "right"),
    target: str = "output",
    group: str = "",
) -> Moment:
    """Product of two tensors by element: as `add`."""
    return _binary(
        name, "multiply", stage, elements, second_elements, dtype, sources, target, group
    )


def pointwise(
    name: str,
    stage: Stage,
    *,
    elements: int,
    dtype: Dtype,
    vector: int,
    special: int,
    source: str = "input",
    target: str = "output",
) -> Moment:
    """A function of each element with so many vector and special operations: sqrt, where, clip.

    It counts as the kind "multiply": one loop over the elements. One that does neither raises
    ValueError, since a move of bytes is a copy.
    """
    check_positive(elements=elements, operations=vector + special)
    return Moment(
        name,
        "multiply",
        stage,
        ElementShape(elements),
        dtype,
        OperationCounts(vector_ops=vector * elements, special_ops=special * elements),
        (tensor(source, elements, dtype),),
        (tensor(target, elements, dtype),),
    )


def weighted_sum(
    name: str,
    stage: Stage,
    *,
    rows: int,
    terms: int,
    columns: int,
    dtype: Dtype,
    sources: tuple[str, str] = ("terms", "weights"),
    target: str = "output",
) -> Moment:
    """Each of `rows` is the sum of `terms` rows times a weight each: 2 vector ops per term's value.

    One multiply and one add for each of rows x terms x columns.
    """
    check_positive(rows=rows, terms=terms, columns=columns)
    summed = rows * terms * columns
    return Moment(
        name,
        "add",
        stage,
        ElementShape(rows * columns),
        dtype,
        OperationCounts(vector_ops=2 * summed),
        (tensor(sources[0], summed, dtype), tensor(sources[1], rows * terms, dtype)),
        (tensor(target, rows * columns, dtype),),
    )


def capped(
    name: str,
    stage: Stage,
    *,
    elements: int,
    dtype: Dtype,
    source: str = "input",
    target: str = "output",
) -> Moment:
    """cap * tanh(x / cap) of each element: 2 vector ops (multiplies) and 1 special."""
    check_positive(elements=elements)
    return Moment(
        name,
        "tanh",
        stage,
        ElementShape(elements),
        dtype,
        OperationCounts(vector_ops=2 * elements, special_ops=elements),
        (tensor(source, elements, dtype),),
        (tensor(target, elements, dtype),),
        group="epilogue",
    )


def rope(
    name: str,
    stage: Stage = "attention",
    *,
    tokens: int,
    heads: int,
    head_dim: int,
    rotary_dim: int,
    dtype: Dtype,
    positions: int | None = None,
    source: str = "input",
    target: str = "output",
    group: str = "",
) -> Moment:
    """Rotary positions on `tokens` x `heads` vectors, the first `rotary_dim` of each head rotated.

    x cos + rotate(x) sin: 3 vector ops per rotated element. All head_dim elements are read and
    written; the sines and cosines come from a table made when the model was loaded, of which
    `positions` rows (default `tokens`) of 2 x rotary_dim / 2 values are read. The computation of
    that table is not modelled.
    """
    check_positive(tokens=tokens, heads=heads, head_dim=head_dim, rotary_dim=rotary_dim)
    if rotary_dim > head_dim:
        raise ValueError(f"rotary_dim = {rotary_dim} is greater than head_dim = {head_dim}")
    elements = tokens * heads * head_dim
    table = (tokens if positions is None else positions) * rotary_dim
    return Moment(
        name,
        "rope",
        stage,
        ElementShape(elements),
        dtype,
        OperationCounts(vector_ops=3 * tokens * heads * rotary_dim),
        (tensor(source, elements, dtype), tensor("rotary_table", table, dtype, "weight")),
        (tensor(target, elements, dtype),),
        group=group,
    )
