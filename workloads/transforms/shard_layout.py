"""How each tensor of a segment lies on the ranks: whole, split by heads or columns, a partial sum.

Found by trying: every product with weights is first taken to be split by columns; where its result
then meets an operation that needs all of it, the product is done whole by every rank instead.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from workloads.moment import AttentionShape, MatmulShape, RowShape

if TYPE_CHECKING:
    from workloads.moment import Moment, Segment

Role = Literal["columns", "rows", "table", "apart", "sum", "whole"]
"""What a rank does of a moment: its columns or rows of the weights, its rows of a table, the part
of the work that belongs to its heads or columns, a sum of partial sums, or all of it."""

_ELEMENTWISE = (
    *("gelu", "gelu_tanh", "silu", "relu", "tanh", "add", "multiply", "rope"),
    *("cache_append", "copy"),
)


@dataclass(frozen=True)
class Split:
    """A tensor of which each rank has a part.

    `atoms`: what is divided (heads, columns). `rows`: of the product that wrote it. `sources`:
    positions of the products whose columns were split.
    """

    atoms: int
    rows: int
    sources: frozenset[int]


@dataclass(frozen=True)
class Layout:
    """What becomes of a segment.

    A role for each moment; atoms of the tensors that are split; `partial`: tensors that are partial
    sums when written; `gathered`: split tensors that somebody needs whole (logits); `heads`: the
    fewest that any attention has (0: none).
    """

    roles: tuple[Role, ...]
    atoms: dict[str, int]
    partial: frozenset[str]
    gathered: frozenset[str]
    heads: int


def find_layout(segment: Segment, kept: frozenset[str], ranks: int) -> Layout:
    """The layout of a segment; `kept`: tensors that other segments read, which must be whole.

    Products with fewer columns than `ranks` are not split, but for keys and values.
    """
    whole: frozenset[int] = frozenset()
    while True:
        attempt = _Attempt(segment, kept, whole, ranks)
        refused = attempt.run()
        if not refused:
            return attempt.layout()
        whole |= refused


class _Attempt:
    """One pass through the moments, with the products at `whole` done by every rank."""

    def __init__(
        self, segment: Segment, kept: frozenset[str], whole: frozenset[int], ranks: int
    ) -> None:
        self._moments = segment.moments
        self._kept = kept
        self._whole = whole
        self._ranks = ranks
        self._split: dict[str, Split] = {}
        self._partial: set[str] = set()
        self._gathered: set[str] = set()
        self._roles: list[Role] = []
        shapes = [m.attention for m in self._moments if m.attention is not None]
        shapes += [m.shape for m in self._moments if isinstance(m.shape, AttentionShape)]
        self._shape = shapes[0] if shapes else None
        self._heads = min((s.heads for s in shapes), default=0)

    def layout(self) -> Layout:
        return Layout(
            tuple(self._roles),
            {name: split.atoms for name, split in self._split.items()},
            frozenset(self._partial),
            frozenset(self._gathered),
            self._heads,
        )

    def run(self) -> frozenset[int]:
        """Products that must be whole after all; none when everything fits."""
        for position, moment in enumerate(self._moments):
            taken = [self._split[t.name] for t in moment.reads if t.name in self._split]
            sources = frozenset().union(*(split.sources for split in taken))
            role = self._role(position, moment, taken)
            if role is None:
                return sources
            self._roles.append(role)
            if role in ("rows", "table", "sum"):
                self._partial.update(t.name for t in moment.writes)
            if role in ("columns", "apart"):
                made = sources or frozenset({position})
                if any(t.name in self._kept for t in moment.writes):
                    return made
                split = self._made(moment, taken, made)
                self._split.update({t.name: split for t in moment.writes})
        return self._unused()

    def _made(self, moment: Moment, taken: list[Split], sources: frozenset[int]) -> Split:
        if taken:
            return Split(max(split.atoms for split in taken), taken[0].rows, sources)
        shape = moment.shape
        rows = shape.m * shape.batch if isinstance(shape, MatmulShape) else 0
        return Split(self._atoms(moment), rows, sources)

    def _unused(self) -> frozenset[int]:
        """Columns that no product takes in would have to be gathered: only logits are worth it."""
        used: set[int] = set()
        for moment, role in zip(self._moments, self._roles, strict=True):
            for tensor in moment.reads if role == "rows" else ():
                if tensor.name in self._split:
                    used |= self._split[tensor.name].sources
        return frozenset(
            position
            for position, role in enumerate(self._roles)
            if role == "columns" and position not in used and not _is_head(self._moments[position])
        )

    def _role(self, position: int, moment: Moment, taken: list[Split]) -> Role | None:
        """None: this moment needs whole what is split."""
        if moment.kind == "embedding" and moment.name == "token_embedding":
            return "table"
        weighted = any(t.name.endswith(".weight") for t in moment.reads)
        if moment.kind == "matmul" and weighted and moment.group != "per_head":
            if taken:
                return "rows"
            return "whole" if position in self._whole or not self._atoms(moment) else "columns"
        if taken:
            return self._with_split(moment, taken)
        return "sum" if self._adds_partial(moment) else "whole"

    def _with_split(self, moment: Moment, taken: list[Split]) -> Role | None:
        if moment.group in ("core", "per_head") or moment.kind in (*_ELEMENTWISE, "attention"):
            return "apart"
        if isinstance(moment.shape, RowShape) and moment.kind in ("layer_norm", "rms_norm"):
            # a norm of each head by itself, or of all of them, whose squares are exchanged
            by_head = moment.shape.rows > taken[0].rows
            return "apart" if by_head or taken[0].atoms == self._heads else None
        if all(_is_head(self._moments[i]) for split in taken for i in split.sources):
            self._gathered |= {t.name for t in moment.reads if t.name in self._split}
            return "whole"
        return None

    def _adds_partial(self, moment: Moment) -> bool:
        """A sum of partial sums, or one of them with small factors, is a partial sum itself."""
        if moment.kind not in ("add", "multiply"):
            return False
        size = sum(t.bytes for t in moment.writes)
        partial = any(t.name in self._partial for t in moment.reads)
        return partial and all(4 * t.bytes <= size or t.name in self._partial for t in moment.reads)

    def _atoms(self, moment: Moment) -> int:
        """Into how many pieces the columns of a product may be cut; 0: not at all."""
        shape = moment.shape
        if not isinstance(shape, MatmulShape):
            return 0
        if _is_head(moment) or moment.stage == "feed_forward":
            return shape.n if shape.n >= self._ranks else 0
        # latent rows are common to all heads, as are the rows that modulate a layer
        common = moment.name.endswith("_down") or moment.group == "whole"
        if moment.stage != "attention" or self._shape is None or common:
            return 0
        of_keys = moment.name.rpartition("_")[2] in ("key", "value")
        heads = self._shape.kv_heads if of_keys else self._shape.heads
        return heads if shape.n % heads == 0 else 0


def _is_head(moment: Moment) -> bool:
    return moment.name == "lm_head"
