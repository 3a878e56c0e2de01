"""Split what consists of equal, independent pieces into one moment per piece."""

from __future__ import annotations

from dataclasses import replace

from workloads.moment import (
    AttentionShape,
    CollectiveShape,
    ElementShape,
    MatmulShape,
    Moment,
    OperationCounts,
    Program,
    RowShape,
    Segment,
    Shape,
    Tensor,
)
from workloads.passes import on_steps
from workloads.transforms.rewrite import imported_names, rewrite


@on_steps
def split_heads(program: Program) -> Program:
    """Every moment with `parts` = p > 1 becomes p moments with one part each.

    Counts and bytes are conserved exactly; where p does not divide them, pieces differ by one
    unit. Query heads that share a key-value head also share its bytes evenly. Piece i of one
    moment of a group follows piece i of another with as many parts; every other reader
    follows all pieces. A piece i writes "name.i". ValueError if a tensor that is split is read by
    another segment.
    """
    crossing = imported_names(program)
    return rewrite(program, lambda segment: split_segment(segment, crossing))


def split_segment(segment: Segment, crossing: frozenset[str] = frozenset()) -> Segment:
    """`split_heads` for one segment; `crossing` names the tensors that other segments read."""
    if all(moment.parts == 1 for moment in segment.moments):
        return segment
    splitter = _Splitter(segment, crossing)
    moments: list[Moment] = []
    places: list[range] = []
    for position, moment in enumerate(segment.moments):
        pieces = splitter.pieces(position, moment)
        places.append(range(len(moments), len(moments) + len(pieces)))
        moments += pieces
    edges: list[tuple[int, int]] = []
    for producer, consumer in segment.edges:
        if splitter.paired(producer, consumer):
            edges += zip(places[producer], places[consumer], strict=True)
        else:
            edges += [(p, c) for p in places[producer] for c in places[consumer]]
    return Segment(segment.name, tuple(moments), tuple(edges))


class _Splitter:
    """The split moments of one segment and who wrote which tensor in pieces."""

    def __init__(self, segment: Segment, crossing: frozenset[str]) -> None:
        self.moments = segment.moments
        self.writer: dict[str, int] = {}
        for position, moment in enumerate(segment.moments):
            if moment.parts == 1:
                continue
            for tensor in moment.writes:
                if tensor.name in crossing:
                    raise ValueError(
                        f"segment {segment.name!r}: {tensor.name!r} is written in "
                        f"{moment.parts} parts and read by another segment as a whole"
                    )
                self.writer[tensor.name] = position

    def paired(self, producer: int, consumer: int) -> bool:
        """Whether piece i of the one follows just piece i of the other."""
        a, b = self.moments[producer], self.moments[consumer]
        return a.parts == b.parts > 1 and a.group == b.group != ""

    def pieces(self, position: int, moment: Moment) -> list[Moment]:
        if moment.parts == 1:
            reads = tuple(piece for tensor in moment.reads for piece in self._all(tensor))
            return [moment if reads == moment.reads else replace(moment, reads=reads)]
        return [self._piece(position, moment, i) for i in range(moment.parts)]

    def _all(self, tensor: Tensor) -> tuple[Tensor, ...]:
        """A tensor as a reader of the whole sees it: all pieces, if it was written in pieces."""
        if tensor.name not in self.writer:
            return (tensor,)
        parts = self.moments[self.writer[tensor.name]].parts
        return tuple(_part(tensor, i, parts, f"{tensor.name}.{i}") for i in range(parts))

    def _piece(self, position: int, moment: Moment, i: int) -> Moment:
        reads: list[Tensor] = []
        for tensor in moment.reads:
            writer = self.writer.get(tensor.name)
            if writer is None:
                reads.append(_part(tensor, i, moment.parts, tensor.name))
            elif self.paired(writer, position):
                reads.append(_part(tensor, i, moment.parts, f"{tensor.name}.{i}"))
            else:
                reads += self._all(_part(tensor, i, moment.parts, tensor.name))
        writes = tuple(_part(t, i, moment.parts, f"{t.name}.{i}") for t in moment.writes)
        return replace(
            moment,
            name=f"{moment.name}.{i}",
            shape=_part_of_shape(moment.shape, i, moment.parts),
            counts=_part_of_counts(moment.counts, i, moment.parts),
            reads=tuple(reads),
            writes=writes,
            parts=1,
            attention=_one_head(moment.attention, moment.parts),
        )


def share(total: int, i: int, parts: int) -> int:
    """The size of piece i of `parts`: they add up to `total` and differ by at most one."""
    return total * (i + 1) // parts - total * i // parts


def _part(tensor: Tensor, i: int, parts: int, name: str) -> Tensor:
    elements = share(tensor.elements, i, parts)
    return Tensor(name, share(tensor.bytes, i, parts), tensor.role, elements)


def _part_of_counts(counts: OperationCounts, i: int, parts: int) -> OperationCounts:
    return OperationCounts(
        share(counts.macs, i, parts),
        share(counts.vector_ops, i, parts),
        share(counts.special_ops, i, parts),
    )


def _one_head(shape: AttentionShape | None, parts: int) -> AttentionShape | None:
    if shape is None or parts != shape.batch * shape.heads:
        return None
    return replace(shape, batch=1, heads=1, kv_heads=1)


def _part_of_shape(shape: Shape, i: int, parts: int) -> Shape:
    """The shape of piece i: products, rows and elements are dealt out; heads are one each."""
    if isinstance(shape, AttentionShape):
        head = _one_head(shape, parts)
        if head is None:
            raise ValueError(f"{shape} cannot be split into {parts} parts, only into its heads")
        return head
    if isinstance(shape, MatmulShape):
        size, part = shape.batch, replace(shape, batch=share(shape.batch, i, parts))
        return _checked(part, size, parts)
    if isinstance(shape, RowShape):
        rows = replace(shape, rows=share(shape.rows, i, parts))
        return _checked(rows, shape.rows, parts)
    if isinstance(shape, CollectiveShape):
        raise ValueError(f"{shape} cannot be split: its ranks move it together")
    elements = ElementShape(share(shape.elements, i, parts))
    return _checked(elements, shape.elements, parts)


def _checked(part: Shape, size: int, parts: int) -> Shape:
    if size < parts:
        raise ValueError(f"{size} pieces cannot be dealt out to {parts} parts: one would be empty")
    return part
