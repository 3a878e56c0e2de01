"""Formulas that all sources share: elementwise, rows, moves, look-ups. Shapes in, moments out."""

from __future__ import annotations

from math import prod

from workloads import op_counts
from workloads.importers.operators.values import Node, Value
from workloads.importers.operators.work import (
    STAGE,
    Answer,
    Formula,
    Read,
    View,
    Work,
    axes_of,
    dtype_of,
)


def view(node: Node) -> Answer:
    """Another look at the same bytes."""
    return View()


def pointwise(op: str, *, vector: int = 0, special: int = 0) -> Formula:
    """So many operations for each element of the output."""

    def formula(node: Node) -> Answer:
        moment = op_counts.pointwise(
            op, STAGE, elements=node.out.elements, dtype=dtype_of(node), vector=vector,
            special=special,
        )  # fmt: skip
        return Work(op, moment)

    return formula


def sum_of(node: Node) -> Answer:
    """The sum of all inputs, one add for each beyond the first."""
    terms = max(1, len([value for value in node.inputs if value is not None]) - 1)
    moment = op_counts.pointwise(
        "add", STAGE, elements=node.out.elements, dtype=dtype_of(node), vector=terms, special=0
    )
    return Work("add", moment)


def add(node: Node) -> Answer:
    """Two tensors, or a tensor and a number."""
    elements = node.out.elements
    return Work("add", op_counts.add("add", STAGE, elements=elements, dtype=dtype_of(node)))


def multiply(node: Node) -> Answer:
    """As `add`."""
    elements = node.out.elements
    moment = op_counts.multiply("multiply", STAGE, elements=elements, dtype=dtype_of(node))
    return Work("multiply", moment)


def activation(function: op_counts.Activation) -> Formula:
    """One of the activations that op_counts knows."""

    def formula(node: Node) -> Answer:
        moment = op_counts.activation(
            function, STAGE, function=function, elements=node.out.elements, dtype=dtype_of(node)
        )
        return Work(function, moment)

    return formula


def gelu(node: Node) -> Answer:
    """By erf or, where the attribute says so, by tanh."""
    approximate = node.attributes.get("approximate", "none")
    if approximate not in ("none", "tanh"):
        raise ValueError(f"{node.op}: approximate = {approximate!r} is not known")
    return activation("gelu_tanh" if approximate == "tanh" else "gelu")(node)


def cast(node: Node) -> Answer:
    """A conversion: bytes in and out, unless the type stays the same."""
    return View() if node.need(0).dtype == node.out.dtype else _moved("cast", node)


def move(op: str) -> Formula:
    """Bytes from one place to another: each input read once, each output written."""
    return lambda node: _moved(op, node)


def _moved(op: str, node: Node) -> Work:
    elements = sum(value.elements for value in node.outputs)
    return Work(op, op_counts.copy(op, STAGE, elements=elements, dtype=dtype_of(node)))


def part(op: str) -> Formula:
    """A part of the first input is copied: as many bytes are read as written."""

    def formula(node: Node) -> Answer:
        work = _moved(op, node)
        size = sum(value.bytes for value in node.outputs)
        return Work(op, work.moment, reads=(Read(0, size),))

    return formula


def expand(node: Node) -> Answer:
    """Repetition along axes: the source read once, the whole written."""
    if node.need(0).shape == node.out.shape:
        return View()
    return Work("expand", _moved("expand", node).moment, reads=(Read(0),))


def fill(node: Node) -> Answer:
    """Values made from nothing, such as a tensor of zeros: written, nothing read."""
    return Work("fill", _moved("fill", node).moment, reads=())


def gather(node: Node, table: int = 0, index: int = 1) -> Answer:
    """Rows of a table, or values, chosen by numbers: the bytes that come out, and the numbers."""
    source, numbers = node.need(table), node.need(index)
    columns = max(1, source.elements // max(1, source.shape[0])) if source.shape else 1
    out = node.out.elements
    columns = columns if out % columns == 0 else 1
    moment = op_counts.embedding(
        "gather", STAGE, rows=out // columns, columns=columns, dtype=dtype_of(node)
    )
    bits = source.bytes / source.elements if source.elements else 0
    size = min(source.bytes, int(out * bits))
    return Work("gather", moment, reads=(Read(index, numbers.bytes), Read(table, size)))


def scatter(node: Node) -> Answer:
    """New values written into a copy of the first input."""
    return _moved("scatter", node)


def _rows(value: Value, axes: tuple[int, ...]) -> tuple[int, int]:
    """(rows, columns) when the given axes are the columns."""
    columns = prod(value.shape[axis] for axis in axes)
    return max(1, value.elements // max(1, columns)), columns


def softmax(node: Node) -> Answer:
    """Over one axis: the last, or that of the attribute (axis, dim)."""
    axis = node.attributes.get("axis", node.attributes.get("dim", -1))
    source = node.need(0)
    rows, columns = _rows(source, axes_of(node, axis, len(source.shape)))
    moment = op_counts.softmax("softmax", STAGE, rows=rows, columns=columns, dtype=dtype_of(node))
    return Work("softmax", moment)


def reduce(op: str, *, special: int = 0, vector: int = 1) -> Formula:
    """`vector` operations for each element read, `special` for each that is written."""

    def formula(node: Node) -> Answer:
        source = node.need(0)
        rows = max(1, node.out.elements)
        moment = op_counts.reduction(
            op, STAGE, rows=rows, columns=max(1, source.elements // rows), dtype=dtype_of(node),
            vector=vector, special=special,
        )  # fmt: skip
        return Work(op, moment, reads=(Read(0),))

    return formula


def layer_norm(node: Node, first_axis: int) -> Answer:
    """Mean and variance over the axes from `first_axis` on; only the first output is stored."""
    source = node.need(0)
    axes = tuple(range(axes_of(node, first_axis, len(source.shape))[0], len(source.shape)))
    rows, columns = _rows(source, axes)
    moment = op_counts.layer_norm("norm", STAGE, rows=rows, columns=columns, dtype=dtype_of(node))
    return Work("layer_norm", moment, writes=(0,))


def rms_norm(node: Node, first_axis: int) -> Answer:
    """As `layer_norm`, without the mean."""
    source = node.need(0)
    axes = tuple(range(axes_of(node, first_axis, len(source.shape))[0], len(source.shape)))
    rows, columns = _rows(source, axes)
    moment = op_counts.rms_norm("norm", STAGE, rows=rows, columns=columns, dtype=dtype_of(node))
    return Work("rms_norm", moment, writes=(0,))


def group_norm(node: Node, groups: int) -> Answer:
    """Each group of channels of each sample is one row; gain and bias are per channel."""
    source = node.need(0)
    if len(source.shape) < 2 or groups < 1 or source.shape[1] % groups:
        raise ValueError(f"{groups} groups do not divide a tensor of shape {source.shape}")
    rows = source.shape[0] * groups
    moment = op_counts.layer_norm(
        "norm", STAGE, rows=rows, columns=source.elements // rows, dtype=dtype_of(node)
    )
    return Work("group_norm", moment, writes=(0,))


def batch_norm(node: Node) -> Answer:
    """In inference a multiply and an add for each value: statistics are weights."""
    moment = op_counts.pointwise(
        "batch_norm", STAGE, elements=node.out.elements, dtype=dtype_of(node), vector=2, special=0
    )
    return Work("batch_norm", moment, writes=(0,))


def top_k(node: Node) -> Answer:
    """The largest of each row, one compare a column and choice; ArgMax chooses one."""
    source = node.need(0)
    axis = node.attributes.get("axis", node.attributes.get("dim", -1))
    # over everything: one row
    axes = axes_of(node, axis, len(source.shape))
    rows, columns = _rows(source, axes)
    chosen = max(1, node.out.elements // rows)
    moment = op_counts.top_k(
        "top_k", STAGE, rows=rows, columns=columns, chosen=chosen, dtype=dtype_of(node)
    )
    return Work("top_k", moment, reads=(Read(0),))


def pool(node: Node) -> Answer:
    """Windows over positions: an operation for each element of each window."""
    kernel = node.attributes.get("kernel_shape", node.attributes.get("kernel_size"))
    if kernel is None:  # global or adaptive: every position is in one window
        each = max(1, node.need(0).elements // max(1, node.out.elements))
    else:
        sizes = kernel if isinstance(kernel, list | tuple) else (kernel,)
        rank = len(node.need(0).shape) - 2
        each = prod(sizes) if len(sizes) == rank else prod(sizes) ** rank
    moment = op_counts.pointwise(
        "pool", STAGE, elements=node.out.elements, dtype=dtype_of(node), vector=each, special=0
    )
    return Work("pool", moment, writes=(0,))
