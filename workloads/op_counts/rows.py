"""Operations on rows: softmax and the norms."""

from __future__ import annotations

from dataclasses import replace

from workloads.moment import Dtype, Kind, Moment, OperationCounts, RowShape, Stage
from workloads.op_counts.common import check_positive, tensor


def softmax_counts(rows: int, columns: int, *, scaled: bool, masked: bool) -> OperationCounts:
    """Per element: compare (maximum), subtract, add (sum), with exp and a division; + scale, mask.

    vector_ops = 3 (+ 1 scaled) (+ 1 masked), special_ops = 2, each times rows x columns.
    """
    check_positive(rows=rows, columns=columns)
    vector = 3 + int(scaled) + int(masked)
    return OperationCounts(vector_ops=vector * rows * columns, special_ops=2 * rows * columns)


def layer_norm_counts(rows: int, columns: int, *, affine: bool = True) -> OperationCounts:
    """(x - mean) rsqrt(variance + eps) gain + bias.

    Per element 7 vector: add (sum), subtract, multiply (square), add (sum), multiply (rsqrt),
    multiply (gain), add (bias), the last two only if `affine`. Per row 1 vector (eps) and 3 special
    (two divisions, rsqrt).
    """
    check_positive(rows=rows, columns=columns)
    each = 7 if affine else 5
    return OperationCounts(vector_ops=rows * (each * columns + 1), special_ops=3 * rows)


def rms_norm_counts(rows: int, columns: int) -> OperationCounts:
    """x rsqrt(mean(x^2) + eps) gain.

    Per element 4 vector: multiply (square), add (sum), multiply (rsqrt), multiply (gain). Per row
    1 vector (eps) and 2 special (division, rsqrt).
    """
    check_positive(rows=rows, columns=columns)
    return OperationCounts(vector_ops=rows * (4 * columns + 1), special_ops=2 * rows)


def _rows(
    name: str,
    kind: Kind,
    stage: Stage,
    shape: RowShape,
    dtype: Dtype,
    counts: OperationCounts,
    weights: int,
    source: str,
    target: str,
    group: str,
) -> Moment:
    elements = shape.rows * shape.columns
    reads = [tensor(source, elements, dtype)]
    if weights:
        reads.append(tensor(f"{name}.weight", weights, dtype, "weight"))
    writes = (tensor(target, elements, dtype),)
    return Moment(name, kind, stage, shape, dtype, counts, tuple(reads), writes, group=group)


def softmax(
    name: str,
    stage: Stage,
    *,
    rows: int,
    columns: int,
    dtype: Dtype,
    source: str = "input",
    target: str = "output",
    group: str = "",
) -> Moment:
    """Softmax over each row, without scale or mask: see `softmax_counts`."""
    counts = softmax_counts(rows, columns, scaled=False, masked=False)
    shape = RowShape(rows, columns)
    return _rows(name, "softmax", stage, shape, dtype, counts, 0, source, target, group)


def layer_norm(
    name: str,
    stage: Stage,
    *,
    rows: int,
    columns: int,
    dtype: Dtype,
    source: str = "input",
    target: str = "output",
    group: str = "",
    affine: bool = True,
) -> Moment:
    """Layer norm of each row, if `affine` with a gain and a bias: see `layer_norm_counts`."""
    counts = layer_norm_counts(rows, columns, affine=affine)
    shape = RowShape(rows, columns)
    weights = 2 * columns if affine else 0
    return _rows(name, "layer_norm", stage, shape, dtype, counts, weights, source, target, group)


def rms_norm(
    name: str,
    stage: Stage,
    *,
    rows: int,
    columns: int,
    dtype: Dtype,
    source: str = "input",
    target: str = "output",
    group: str = "",
) -> Moment:
    """RMS norm of each row with a gain of `columns`: see `rms_norm_counts`."""
    counts = rms_norm_counts(rows, columns)
    shape = RowShape(rows, columns)
    return _rows(name, "rms_norm", stage, shape, dtype, counts, columns, source, target, group)


def mean_rows(
    name: str,
    stage: Stage,
    *,
    rows: int,
    terms: int,
    columns: int,
    dtype: Dtype,
    source: str = "input",
    target: str = "output",
) -> Moment:
    """Each of `rows` is the mean of `terms` rows: an add a value, and one division a column."""
    check_positive(rows=rows, terms=terms, columns=columns)
    elements = rows * terms * columns
    return Moment(
        name,
        "add",
        stage,
        RowShape(rows * terms, columns),
        dtype,
        OperationCounts(vector_ops=elements, special_ops=rows * columns),
        (tensor(source, elements, dtype),),
        (tensor(target, rows * columns, dtype),),
    )


def max_pool(
    name: str,
    stage: Stage,
    *,
    outputs: int,
    inputs: int,
    window: int,
    columns: int,
    dtype: Dtype,
    source: str = "input",
    target: str = "output",
) -> Moment:
    """Each of `outputs` rows is the largest of `window` rows of `inputs`: window - 1 compares.

    vector_ops = (window - 1) outputs columns; padding is compared too, the input is read once.
    """
    check_positive(outputs=outputs, inputs=inputs, window=window, columns=columns)
    return Moment(
        name,
        "add",
        stage,
        RowShape(outputs, columns),
        dtype,
        OperationCounts(vector_ops=(window - 1) * outputs * columns),
        (tensor(source, inputs * columns, dtype),),
        (tensor(target, outputs * columns, dtype),),
    )


def reduction(
    name: str,
    stage: Stage,
    *,
    rows: int,
    columns: int,
    dtype: Dtype,
    vector: int = 1,
    special: int = 0,
    source: str = "input",
    target: str = "output",
) -> Moment:
    """One value from each row: `vector` operations a value read, `special` a value written.

    A sum or a maximum is vector = 1; a mean has special = 1 (its division) besides.
    """
    check_positive(rows=rows, columns=columns)
    shape = RowShape(rows, columns)
    moment = _rows(name, "add", stage, shape, dtype, OperationCounts(), 0, source, target, "")
    counts = OperationCounts(vector_ops=vector * rows * columns, special_ops=special * rows)
    return replace(moment, counts=counts, writes=(tensor(target, rows, dtype),))
