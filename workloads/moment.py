"""The words of a workload: tensors, operation counts, moments, segments, passes, programs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from workloads.dtypes import DTYPE_BITS as DTYPE_BITS
from workloads.dtypes import WEIGHT_FORMAT_BYTES as WEIGHT_FORMAT_BYTES
from workloads.dtypes import Dtype as Dtype
from workloads.dtypes import storage_bytes as storage_bytes
from workloads.extent import ONE_DEVICE
from workloads.extent import Footprint as Footprint
from workloads.extent import Parallel as Parallel
from workloads.growing import changes
from workloads.kinds import STAGES as STAGES
from workloads.kinds import Kind as Kind
from workloads.kinds import Role as Role
from workloads.kinds import Stage as Stage
from workloads.shapes import AttentionShape as AttentionShape
from workloads.shapes import CollectiveKind as CollectiveKind
from workloads.shapes import CollectiveShape as CollectiveShape
from workloads.shapes import ElementShape as ElementShape
from workloads.shapes import MatmulShape as MatmulShape
from workloads.shapes import RowShape as RowShape
from workloads.shapes import Shape as Shape

if TYPE_CHECKING:
    import networkx as nx

    from workloads.stored import Sparsity


@dataclass(frozen=True, slots=True)
class Tensor:
    """A named value as one moment sees it.

    `bytes` is what this moment touches, which may be a part of the whole (one head's slice, one
    appended position). Weights and caches belong to one instance of a segment; activations and
    inputs are found by name in the moments and segments that came before. `elements` says how
    many values these bytes hold, for a transform that stores them otherwise (0: not known).
    """

    name: str
    bytes: int
    role: Role
    elements: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class OperationCounts:
    """Hardware-independent work of a moment.

    `macs`: multiply-accumulates of matrix products (2 FLOPs each). `vector_ops`: elementwise
    operations (add, multiply, compare, convert). `special_ops`: exp, rsqrt, tanh, erf, division.
    """

    macs: int = 0
    vector_ops: int = 0
    special_ops: int = 0

    def __add__(self, other: OperationCounts) -> OperationCounts:
        return OperationCounts(
            self.macs + other.macs,
            self.vector_ops + other.vector_ops,
            self.special_ops + other.special_ops,
        )


@dataclass(frozen=True, slots=True)
class Moment:
    """One independent step of inference: one operation on tensors, with its operation counts.

    `dtype` is the type of the arithmetic. `parts` is how many equal, independent pieces the moment
    consists of (batch x heads for the core of attention, else 1); `split_heads` turns it into that
    many moments. `group` names the construct that the moment belongs to, so that a transform may
    fuse what belongs together ("qkv", "core", "gate_up"; "per_head": products of each head by
    itself; "whole": no device may have a part of it; empty: nothing). `fused` lists the
    kinds of the moments that a transform merged into this one, in order. `attention` is the call
    that a moment of the group "core" is a step of. `weight_dtype` is the type or format in which
    the weight of a linear layer is stored (empty: no weight matrix), `sparsity` which part of it
    is not zero; `counts` are those of the dense product.
    """

    name: str
    kind: Kind
    stage: Stage
    shape: Shape
    dtype: Dtype
    counts: OperationCounts
    reads: tuple[Tensor, ...]
    writes: tuple[Tensor, ...]
    parts: int = 1
    group: str = ""
    fused: tuple[Kind, ...] = ()
    attention: AttentionShape | None = None
    weight_dtype: str = ""
    sparsity: Sparsity | None = None

    @property
    def effective_macs(self) -> int:
        """Multiply-accumulates with a weight that is not zero; what a machine does is its own."""
        return self.counts.macs if self.sparsity is None else self.sparsity.kept(self.counts.macs)

    @property
    def read_bytes(self) -> int:
        return sum(t.bytes for t in self.reads)

    @property
    def write_bytes(self) -> int:
        return sum(t.bytes for t in self.writes)


@dataclass(frozen=True)
class Segment:
    """A small DAG of moments that repeats, such as one layer.

    `moments` are in graph order: an edge (producer, consumer) of positions always has
    producer < consumer.
    """

    name: str
    moments: tuple[Moment, ...]
    edges: tuple[tuple[int, int], ...]

    def __post_init__(self) -> None:
        for producer, consumer in self.edges:
            if not 0 <= producer < consumer < len(self.moments):
                raise ValueError(
                    f"segment {self.name!r}: edge ({producer}, {consumer}) does not go forward "
                    f"among {len(self.moments)} moments"
                )

    @classmethod
    def from_moments(cls, name: str, moments: Iterable[Moment]) -> Segment:
        """Derive the edges from tensors: a reader follows the latest writer of each name."""
        ordered = tuple(moments)
        writer: dict[str, int] = {}
        edges: list[tuple[int, int]] = []
        for position, moment in enumerate(ordered):
            producers = {writer[t.name] for t in moment.reads if t.name in writer}
            edges.extend((producer, position) for producer in sorted(producers))
            for tensor in moment.writes:
                writer[tensor.name] = position
        return cls(name, ordered, tuple(edges))

    @cached_property
    def producers(self) -> tuple[tuple[int, ...], ...]:
        """For each moment the positions of those that it follows."""
        found: list[list[int]] = [[] for _ in self.moments]
        for producer, consumer in self.edges:
            found[consumer].append(producer)
        return tuple(map(tuple, found))

    @cached_property
    def changing(self) -> tuple[int, ...]:
        """Positions of the moments with numbers that grow, in a template of many passes."""
        return tuple([i for i, moment in enumerate(self.moments) if changes(moment)])

    @cached_property
    def imports(self) -> tuple[tuple[str, int], ...]:
        """(tensor, position) of each activation or input that comes from an earlier segment."""
        written: set[str] = set()
        found: list[tuple[str, int]] = []
        for position, moment in enumerate(self.moments):
            for tensor in moment.reads:
                if tensor.role in ("activation", "input") and tensor.name not in written:
                    found.append((tensor.name, position))
            written.update(t.name for t in moment.writes)
        return tuple(found)

    @cached_property
    def exports(self) -> dict[str, int]:
        """Tensor name -> position of its last writer here."""
        return {t.name: i for i, m in enumerate(self.moments) for t in m.writes}


@dataclass(frozen=True)
class Repeat:
    """`count` instances of a segment, one after another.

    They are numbered from `first`; without one, from 0, and a single instance has no number.
    `device`: where they run, among several. `part`: which part of the batch they work on (a name;
    empty: all of it); parts see nothing of each other but the weights.
    """

    segment: Segment
    count: int = 1
    first: int | None = None
    device: int = 0
    part: str = ""


@dataclass(frozen=True)
class Pass:
    """One forward pass, or ("operator") one operator by itself.

    `tokens`: query tokens a sequence; `context`: tokens cached before it; `chosen`: tokens that it
    adds to each sequence's output.
    """

    name: str
    phase: Literal["prefill", "decode", "operator"]
    tokens: int
    context: int
    repeats: tuple[Repeat, ...]
    chosen: int = 0

    @property
    def moment_count(self) -> int:
        return sum(r.count * len(r.segment.moments) for r in self.repeats)

    @property
    def counts(self) -> OperationCounts:
        total = OperationCounts()
        for repeat in self.repeats:
            one = OperationCounts()
            for moment in repeat.segment.moments:
                one += moment.counts
            total += OperationCounts(
                one.macs * repeat.count,
                one.vector_ops * repeat.count,
                one.special_ops * repeat.count,
            )
        return total


@dataclass(frozen=True)
class Instance:
    """One instance of a segment in a program: where it starts and how its moments are named.

    `storage` names the place of its weights, which is the same in every pass and for every part of
    the batch; with `part` that of its caches.
    """

    prefix: str
    segment: Segment
    pass_index: int
    first: int
    storage: str = ""
    device: int = 0
    part: str = ""


@dataclass(frozen=True)
class Program:
    """Passes that run one after another, and what they need in memory.

    `passes` may be a workloads.passes.Passes, which makes single passes when they are asked for.

    With several devices (`layout`) counts and footprint are those of the ranks that are simulated:
    the footprint of the fullest one, the counts of one of each pipeline stage.

    `notes` are remarks on how it was made that whoever reads its figures should know.
    """

    workload: str
    passes: Sequence[Pass]
    batch: int
    dtype: Dtype
    footprint: Footprint
    layout: Parallel = ONE_DEVICE
    notes: tuple[str, ...] = ()

    @property
    def moment_count(self) -> int:
        from workloads.passes import counted

        return sum(step.moment_count * count for step, count in counted(self.passes))

    @property
    def counts(self) -> OperationCounts:
        from workloads.passes import counts_of

        return counts_of(self.passes)

    @property
    def matrix_flops(self) -> int:
        """2 x MACs of all matrix products, as torch.utils.flop_counter counts them."""
        return 2 * self.counts.macs

    def instances(self) -> Iterator[Instance]:
        """Every instance of every segment, in graph order."""
        first = 0
        for pass_index, step in enumerate(self.passes):
            for repeat in step.repeats:
                numbered = repeat.count > 1 or repeat.first is not None
                for i in range(repeat.first or 0, (repeat.first or 0) + repeat.count):
                    suffix = f".{i}" if numbered else ""
                    storage = f"{repeat.segment.name}{suffix}/"
                    part = f"{repeat.part}/" if repeat.part else ""
                    yield Instance(
                        f"{step.name}/{part}{storage}", repeat.segment, pass_index, first,
                        storage, repeat.device, part,
                    )  # fmt: skip
                    first += len(repeat.segment.moments)

    @property
    def graph(self) -> nx.DiGraph[str]:
        """The whole DAG: nodes are full names and carry `moment`; every segment written out."""
        from workloads.graph import to_networkx

        return to_networkx(self)
