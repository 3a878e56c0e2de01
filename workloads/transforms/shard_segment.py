"""One segment as one rank runs it: its part of every moment, and the collectives between them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from workloads.moment import (
    AttentionShape,
    CollectiveKind,
    CollectiveShape,
    ElementShape,
    MatmulShape,
    Moment,
    OperationCounts,
    RowShape,
    Segment,
    Shape,
    Tensor,
)
from workloads.op_counts import collective
from workloads.transforms.parts import Part
from workloads.transforms.shard_layout import Layout, Role

_ROW_WISE = ("add", "layer_norm", "rms_norm")
"""What sequence parallelism does on a part of the rows, between the split products."""


def shard_segment(
    segment: Segment, layout: Layout, part: Part, *, sequence: bool, whole_experts: bool
) -> Segment:
    """See workloads.transforms.shard_tensors; `layout` is that of the segment."""
    shard = _Shard(layout, part, sequence=sequence, whole_experts=whole_experts)
    moments: list[Moment] = []
    for moment, role in zip(segment.moments, layout.roles, strict=True):
        moments += shard.taken(moment, role)
    moments += shard.left()
    return Segment.from_moments(segment.name, moments)


@dataclass
class _Shard:
    layout: Layout
    part: Part
    sequence: bool
    whole_experts: bool

    def __post_init__(self) -> None:
        self._waiting: dict[str, tuple[Tensor, Moment]] = {}  # partial sums not yet reduced
        self._summed: set[str] = set()
        self._gathered: set[str] = set()
        self._by_rows: set[str] = set()  # tensors of which this rank has a part of the rows

    def taken(self, moment: Moment, role: Role) -> Iterator[Moment]:
        """The collectives that a moment needs first, then this rank's part of it."""
        by_rows = self.sequence and role == "whole" and moment.kind in _ROW_WISE
        reads = []
        for tensor in moment.reads:
            read = tensor
            if tensor.name in self._waiting and role != "sum":
                yield from self._reduced(tensor.name)
            elif tensor.name in self._waiting:
                self._summed.add(tensor.name)
                read = replace(tensor, name=_partial(tensor.name))
            if tensor.name in self.layout.gathered:
                yield from self._gather(tensor, moment)
            if self.sequence and not by_rows and self._lies_by_rows(tensor, moment):
                yield from self._gather(tensor, moment)
                read = replace(read, name=_whole(tensor.name))
            reads.append(read)
        mine = replace(moment, reads=tuple(reads))
        if by_rows:
            self._by_rows.update(t.name for t in moment.writes)
            yield _rows_of(mine, self.part)
            return
        mine = self._mine(mine, role)
        if role in ("rows", "table", "sum"):
            self._waiting.update({t.name: (t, moment) for t in mine.writes})
            writes = tuple(replace(t, name=_partial(t.name)) for t in mine.writes)
            mine = replace(mine, writes=writes)
        if any(t.name in self.layout.gathered for t in mine.writes):
            writes = tuple(replace(t, name=_partial(t.name)) for t in mine.writes)
            mine = replace(mine, writes=writes)
        yield mine

    def left(self) -> Iterator[Moment]:
        """What nobody here has taken in is for others: it is reduced at the end."""
        for name in [name for name in self._waiting if name not in self._summed]:
            yield from self._reduced(name)

    def _lies_by_rows(self, tensor: Tensor, moment: Moment) -> bool:
        """The residual stream between segments lies by rows as well."""
        written_here = tensor.name in self._by_rows
        return written_here or (tensor.role == "activation" and tensor.name in ("hidden", "encoded")
                                and moment.kind == "matmul")  # fmt: skip

    def _reduced(self, name: str) -> Iterator[Moment]:
        tensor, moment = self._waiting.pop(name)
        kind: CollectiveKind = "reduce_scatter" if self.sequence else "all_reduce"
        if self.sequence:
            self._by_rows.add(name)
        yield self._collective(kind, tensor, moment, (_partial(name), name))

    def _gather(self, tensor: Tensor, moment: Moment) -> Iterator[Moment]:
        name = tensor.name
        if name in self._gathered:
            return
        self._gathered.add(name)
        names = (_partial(name), name) if name in self.layout.gathered else (name, _whole(name))
        yield self._collective("all_gather", tensor, moment, names)

    def _collective(
        self, kind: CollectiveKind, tensor: Tensor, moment: Moment, names: tuple[str, str]
    ) -> Moment:
        shape = CollectiveShape(kind, max(1, tensor.bytes), self.part.ranks)
        return collective(
            f"{tensor.name}_{kind}", moment.stage, shape=shape, dtype=moment.dtype,
            source=names[0], target=names[1],
        )  # fmt: skip

    def _mine(self, moment: Moment, role: Role) -> Moment:
        if role == "columns":
            return self._columns(moment)
        if role == "rows":
            return self._rows(moment)
        if role == "table":
            return self._table(moment)
        return self._apart(moment) if role == "apart" else moment

    def _atoms(self, tensors: tuple[Tensor, ...]) -> int:
        return max((self.layout.atoms.get(t.name, 0) for t in tensors), default=0)

    def _sized(self, tensor: Tensor) -> Tensor:
        """This rank's part of a tensor that is split."""
        atoms = self.layout.atoms.get(tensor.name)
        return tensor if atoms is None else self._scaled(tensor, atoms)

    def _scaled(self, tensor: Tensor, atoms: int) -> Tensor:
        of = self.part.of
        return replace(tensor, bytes=of(tensor.bytes, atoms), elements=of(tensor.elements, atoms))

    def _evenly(self, tensor: Tensor) -> Tensor:
        of = self.part.evenly
        return replace(tensor, bytes=of(tensor.bytes), elements=of(tensor.elements))

    def _counts(self, moment: Moment, atoms: int) -> OperationCounts:
        counts, of = moment.counts, self.part.of
        return OperationCounts(
            of(counts.macs, atoms), of(counts.vector_ops, atoms), of(counts.special_ops, atoms)
        )

    def _columns(self, moment: Moment) -> Moment:
        atoms = self._atoms(moment.writes)
        reads = tuple(self._scaled(t, atoms) if t.role == "weight" else t for t in moment.reads)
        shape = moment.shape
        if isinstance(shape, MatmulShape) and self._is_whole_expert(moment):
            shape = replace(shape, batch=max(1, self.part.evenly(shape.batch)))
            reads = tuple(self._evenly(t) if t.role != "weight" else t for t in reads)
        elif isinstance(shape, MatmulShape):
            shape = replace(shape, n=shape.n // atoms * self.part.count(atoms))
        writes = tuple(self._sized(t) for t in moment.writes)
        counts = self._counts(moment, atoms)
        return replace(moment, shape=shape, counts=counts, reads=reads, writes=writes)

    def _is_whole_expert(self, moment: Moment) -> bool:
        return self.whole_experts and moment.name.startswith("expert_")

    def _rows(self, moment: Moment) -> Moment:
        """Rows of the weights; the bias is added by the first rank."""
        atoms = self._atoms(moment.reads)
        first = self.part.rank == 0
        reads = []
        for tensor in moment.reads:
            if tensor.name.endswith(".bias"):
                reads += [tensor] if first else []
            elif tensor.name.endswith(".scales"):  # one for each output, of which all have all
                reads.append(tensor)
            elif tensor.role == "weight":
                reads.append(self._scaled(tensor, atoms))
            else:
                reads.append(self._sized(tensor))
        shape = moment.shape
        if isinstance(shape, MatmulShape) and self._is_whole_expert(moment):
            shape = replace(shape, batch=max(1, self.part.evenly(shape.batch)))
        elif isinstance(shape, MatmulShape):
            shape = replace(shape, k=shape.k // atoms * self.part.count(atoms))
        counts = moment.counts
        vector = counts.vector_ops if first else 0
        counts = OperationCounts(self.part.of(counts.macs, atoms), vector, counts.special_ops)
        return replace(moment, shape=shape, counts=counts, reads=tuple(reads))

    def _table(self, moment: Moment) -> Moment:
        """Of the rows that are looked up, those in this rank's part of the table."""
        reads = tuple(self._evenly(t) if t.role == "weight" else t for t in moment.reads)
        return replace(moment, reads=reads)

    def _apart(self, moment: Moment) -> Moment:
        atoms = self._atoms(moment.writes) or self._atoms(moment.reads)
        shape = self._shape_apart(moment.shape, atoms)
        attention = moment.attention
        return replace(
            moment,
            shape=shape,
            counts=self._counts(moment, atoms),
            reads=tuple(
                # each head has weights of its own
                self._scaled(t, atoms)
                if t.role == "weight" and moment.group == "per_head"
                else self._sized(t)
                for t in moment.reads
            ),
            writes=tuple(self._sized(t) for t in moment.writes),
            parts=max(1, self.part.of(moment.parts, atoms)) if moment.parts > 1 else 1,
            attention=None if attention is None else self._heads_of(attention),
        )

    def _heads_of(self, shape: AttentionShape) -> AttentionShape:
        count = self.part.count
        return replace(shape, heads=count(shape.heads), kv_heads=count(shape.kv_heads))

    def _shape_apart(self, shape: Shape, atoms: int) -> Shape:
        of = self.part.of
        if isinstance(shape, AttentionShape):
            return self._heads_of(shape)
        if isinstance(shape, MatmulShape):
            return replace(shape, batch=max(1, of(shape.batch, atoms)))
        if isinstance(shape, ElementShape):
            return ElementShape(max(1, of(shape.elements, atoms)))
        if isinstance(shape, RowShape):
            # rows of the heads, or (a norm over all of them) a part of each row
            if shape.rows % atoms == 0 and shape.rows >= atoms:
                return RowShape(max(1, of(shape.rows, atoms)), shape.columns)
            return RowShape(shape.rows, max(1, of(shape.columns, atoms)))
        return shape


def _partial(name: str) -> str:
    return f"{name}.part"


def _whole(name: str) -> str:
    return f"{name}.whole"


def _rows_of(moment: Moment, part: Part) -> Moment:
    """A moment on this rank's part of the rows; weights (gains, biases) are read whole."""
    of = part.evenly
    counts = moment.counts
    shape = moment.shape
    if isinstance(shape, RowShape):
        shape = RowShape(max(1, of(shape.rows)), shape.columns)
    elif isinstance(shape, ElementShape):
        shape = ElementShape(max(1, of(shape.elements)))

    def sized(tensors: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return tuple(
            t if t.role == "weight" else replace(t, bytes=of(t.bytes), elements=of(t.elements))
            for t in tensors
        )

    return replace(
        moment,
        shape=shape,
        counts=OperationCounts(of(counts.macs), of(counts.vector_ops), of(counts.special_ops)),
        reads=sized(moment.reads),
        writes=sized(moment.writes),
    )
