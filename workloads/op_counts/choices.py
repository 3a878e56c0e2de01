"""Choosing tokens from rows of logits: partial sorts, thresholds, log-probabilities, draws."""

from __future__ import annotations

from math import ceil, log

from workloads.moment import (
    Dtype,
    ElementShape,
    Moment,
    OperationCounts,
    RowShape,
    Tensor,
)
from workloads.op_counts.common import check_positive, tensor
from workloads.op_counts.moves import TOKEN_BYTES


def selection_compares(columns: int, chosen: int) -> int:
    """Compares to find the `chosen` largest of `columns` values in random order, on average.

    Each value is compared with the smallest of those kept; chosen (1 + ln(columns / chosen)) of
    them get in, each at the cost of a binary search. All of them (a sort): columns x log2(columns).
    """
    check_positive(columns=columns, chosen=chosen)
    if chosen >= columns:
        return columns * max(1, (columns - 1).bit_length())
    enter = ceil(chosen * (1 + log(columns / chosen)))
    return columns + enter * chosen.bit_length()


def partial_sort(
    name: str,
    *,
    rows: int,
    columns: int,
    chosen: int,
    dtype: Dtype,
    source: str = "logits",
    target: str = "largest",
) -> Moment:
    """The `chosen` largest of each row's columns in order, with their places: see above.

    Reads each row once, however many passes a kernel makes; writes values and 8-byte places.
    """
    compares = selection_compares(columns, chosen)
    kept = min(chosen, columns)
    found = tensor(target, rows * kept, dtype)
    return Moment(
        name,
        "top_k",
        "decode",
        RowShape(rows, columns),
        dtype,
        OperationCounts(vector_ops=rows * compares),
        (tensor(source, rows * columns, dtype),),
        (Tensor(target, found.bytes + rows * kept * TOKEN_BYTES, "activation"),),
    )


def log_softmax(
    name: str,
    *,
    rows: int,
    columns: int,
    dtype: Dtype,
    source: str = "logits",
    target: str = "log_probabilities",
) -> Moment:
    """x - max - log(sum(exp(x - max))): 4 vector ops and an exp a value, a logarithm a row."""
    check_positive(rows=rows, columns=columns)
    elements = rows * columns
    return Moment(
        name,
        "softmax",
        "decode",
        RowShape(rows, columns),
        dtype,
        OperationCounts(vector_ops=4 * elements, special_ops=elements + rows),
        (tensor(source, elements, dtype),),
        (tensor(target, elements, dtype),),
    )


def threshold(
    name: str, *, rows: int, columns: int, dtype: Dtype, source: str, bound: Tensor, target: str
) -> Moment:
    """What is below the bound becomes -infinity: a compare and a choice a value."""
    check_positive(rows=rows, columns=columns)
    elements = rows * columns
    return Moment(
        name,
        "add",
        "decode",
        ElementShape(elements),
        dtype,
        OperationCounts(vector_ops=2 * elements),
        (tensor(source, elements, dtype), bound),
        (tensor(target, elements, dtype),),
    )


def cumulative(
    name: str, *, rows: int, columns: int, dtype: Dtype, source: str, target: str
) -> Moment:
    """The running sum of each row, compared with a bound: an add and a compare a value."""
    check_positive(rows=rows, columns=columns)
    elements = rows * columns
    return Moment(
        name,
        "add",
        "decode",
        RowShape(rows, columns),
        dtype,
        OperationCounts(vector_ops=2 * elements),
        (tensor(source, elements, dtype),),
        (tensor(target, elements, dtype),),
    )


def draw(
    name: str,
    *,
    rows: int,
    columns: int,
    dtype: Dtype,
    source: str = "probabilities",
    target: str = "tokens",
) -> Moment:
    """One token a row at random: the largest of p / e, e an exponential random number a value.

    A compare, a logarithm and a division a value; the random bits themselves are not counted.
    """
    check_positive(rows=rows, columns=columns)
    elements = rows * columns
    return Moment(
        name,
        "sample",
        "decode",
        RowShape(rows, columns),
        dtype,
        OperationCounts(vector_ops=elements, special_ops=2 * elements),
        (tensor(source, elements, dtype),),
        (Tensor(target, rows * TOKEN_BYTES, "activation"),),
    )


def select_beams(
    name: str, *, rows: int, candidates: int, beams: int, dtype: Dtype, source: str
) -> Moment:
    """The `beams` best of each row's `candidates` that have not ended, their tokens and origins.

    A compare a candidate. Writes "tokens" and "beam_indices", 8 bytes each a beam.
    """
    check_positive(rows=rows, candidates=candidates, beams=beams)
    values = tensor(source, rows * candidates, dtype)
    places = rows * candidates * TOKEN_BYTES
    size = rows * beams * TOKEN_BYTES
    return Moment(
        name,
        "sample",
        "decode",
        RowShape(rows, candidates),
        dtype,
        OperationCounts(vector_ops=rows * candidates),
        (Tensor(source, values.bytes + places, "activation"),),
        (Tensor("tokens", size, "activation"), Tensor("beam_indices", size, "activation")),
    )


def lookup(name: str, *, rows: int, known: int, width: int, drafts: int, dtype: Dtype) -> Moment:
    """Where the last `width` of `known` tokens stood before: a compare each; `drafts` are copied.

    Reads the known tokens and writes those that followed there ("tokens").
    """
    check_positive(rows=rows, known=known, width=width, drafts=drafts)
    return Moment(
        name,
        "sample",
        "decode",
        RowShape(rows, known),
        dtype,
        OperationCounts(vector_ops=rows * known * width),
        (
            Tensor("known_tokens", rows * known * TOKEN_BYTES, "input"),
            Tensor("tokens", rows * TOKEN_BYTES, "activation"),
        ),
        (Tensor("tokens", rows * drafts * TOKEN_BYTES, "activation"),),
    )
