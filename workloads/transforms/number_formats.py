"""Moments that quantize activations before linear layers, or write weights out."""

from __future__ import annotations

from dataclasses import replace

from workloads.moment import (
    Dtype,
    ElementShape,
    Moment,
    OperationCounts,
    RowShape,
    Segment,
    Tensor,
    storage_bytes,
)
from workloads.stored import SCALE_BYTES, bits_per_value, unpacking_ops
from workloads.transforms.insert import Insertion, insert
from workloads.transforms.storage import (
    SCALES,
    is_linear,
    is_matrix,
    outputs,
    product_shape,
    stored_as,
)


def quantize_activations(segment: Segment, kind: str) -> Segment:
    """Rows that linear layers read are quantized to `kind` first, once for all that read them.

    The moment reads the rows and writes them in 8 bits with one 16-bit scale a row. Per value:
    absolute, maximum, multiply, round, 4 vector operations; per row a division. The product is
    then in `kind`, with one multiplication of each output by the scale of its row. Layers whose
    weights are wider than `kind`, or that read something else than activations, stay.
    """
    moments, edges = list(segment.moments), set(segment.edges)
    names = {t.name for m in segment.moments for t in (*m.reads, *m.writes)}
    found: dict[tuple[object, ...], Insertion] = {}
    for position, moment in enumerate(segment.moments):
        sources = _sources(moment)
        if not sources or not _narrow(moment, kind):
            continue
        writers = _writers(segment, position, {t.name for t in sources})
        key = (tuple((t.name, t.elements) for t in sources), writers)
        if key not in found:
            made = _quantizing(moment, sources, kind, _free(f"{sources[0].name}_{kind}", names))
            found[key] = Insertion(made, position, writers, ())
        first = found[key]
        found[key] = replace(first, consumers=(*first.consumers, position))
        moments[position] = _in_kind(moment, len(sources), first.moment.writes[0], kind)
        others = {t.name for t in moment.reads[len(sources) :]}
        still = _writers(segment, position, others)
        edges -= {(writer, position) for writer in writers if writer not in still}
    return insert(segment, moments, edges, list(found.values())) if found else segment


def _writers(segment: Segment, position: int, names: set[str]) -> tuple[int, ...]:
    """Positions of the moments that one waits for because they write one of `names`."""
    return tuple(
        producer
        for producer, consumer in segment.edges
        if consumer == position and any(t.name in names for t in segment.moments[producer].writes)
    )


def _sources(moment: Moment) -> tuple[Tensor, ...]:
    """What a linear layer multiplies: all that it reads before its first weight."""
    if not is_linear(moment):
        return ()
    first = next(i for i, tensor in enumerate(moment.reads) if tensor.role == "weight")
    sources = moment.reads[:first]
    return sources if all(t.role == "activation" and t.elements for t in sources) else ()


def _narrow(moment: Moment, kind: str) -> bool:
    # the scales of a block may take another bit or two
    bits = bits_per_value(stored_as(moment).values)
    return moment.dtype != kind and bits <= bits_per_value(kind) + 1


def _rows(moment: Moment, sources: tuple[Tensor, ...]) -> RowShape:
    elements = sum(t.elements for t in sources)
    rows = max(1, elements // product_shape(moment).k)
    return RowShape(rows, -(-elements // rows))


def _free(name: str, taken: set[str]) -> str:
    free, number = name, 1
    while free in taken:
        number += 1
        free = f"{name}_{number}"
    taken.add(free)
    return free


def _quantizing(moment: Moment, sources: tuple[Tensor, ...], kind: str, name: str) -> Moment:
    shape = _rows(moment, sources)
    elements = sum(t.elements for t in sources)
    written = storage_bytes(elements, kind) + SCALE_BYTES * shape.rows
    return Moment(
        f"quantize_{name.removesuffix(f'_{kind}')}",
        "quantize",
        moment.stage,
        shape,
        moment.dtype,
        OperationCounts(vector_ops=4 * elements, special_ops=shape.rows),
        sources,
        (Tensor(name, written, "activation", elements),),
    )


def _in_kind(moment: Moment, sources: int, rows: Tensor, kind: str) -> Moment:
    narrow: Dtype = "int8" if kind == "int8" else "fp8"
    return replace(
        moment,
        dtype=narrow,
        reads=(rows, *moment.reads[sources:]),
        counts=moment.counts + OperationCounts(vector_ops=outputs(moment)),
    )


def dequantize_weights(segment: Segment) -> Segment:
    """A moment before each product with quantized weights that writes them out.

    It reads values and scales as stored and writes the type of the arithmetic, with
    `unpacking_ops` vector operations a value. The product reads what was written, and its outputs
    need no scales any more. Zeros that are left out in storage are written out too.
    """
    moments = list(segment.moments)
    insertions: list[Insertion] = []
    for position, moment in enumerate(segment.moments):
        stored = stored_as(moment)
        if not is_linear(moment) or stored.values == moment.dtype:
            continue
        matrices = [t for t in moment.reads if is_matrix(t)]
        packed = tuple(t for t in moment.reads if is_matrix(t) or t.name.endswith(SCALES))
        plain = {t.name: _written(t, moment.dtype) for t in matrices}
        elements = sum(t.elements for t in matrices)
        made = Moment(
            f"dequantize_{moment.name}",
            "dequantize",
            moment.stage,
            ElementShape(elements),
            moment.dtype,
            OperationCounts(vector_ops=unpacking_ops(stored.values) * elements),
            packed,
            tuple(plain.values()),
        )
        kept = (t for t in moment.reads if not t.name.endswith(SCALES))
        scaled = outputs(moment) if stored.channels else 0
        moments[position] = replace(
            moment,
            reads=tuple(plain.get(t.name, t) for t in kept),
            weight_dtype=moment.dtype,
            sparsity=stored.sparsity and replace(stored.sparsity, storage="none"),
            counts=moment.counts + OperationCounts(vector_ops=-scaled),
        )
        insertions.append(Insertion(made, position, (), (position,)))
    return insert(segment, moments, segment.edges, insertions) if insertions else segment


def _written(tensor: Tensor, dtype: Dtype) -> Tensor:
    size = storage_bytes(tensor.elements, dtype)
    return Tensor(f"{tensor.name}.unpacked", size, "activation", tensor.elements)
