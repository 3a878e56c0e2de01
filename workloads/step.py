"""What is asked of one forward pass, and the two operations that every block uses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from workloads import op_counts
from workloads.moment import Dtype, Moment, Stage

if TYPE_CHECKING:
    from workloads.model import Model


@dataclass(frozen=True, slots=True)
class Step:
    """`tokens` new positions in each of `batch` sequences, `context` positions cached before them.

    Weight matrices are stored as `weight_dtype`; tables, norms and biases as `dtype`, which is
    also the type of the arithmetic and of the activations. The decoder of an encoder-decoder reads
    `source` positions of its encoder; `crosses`: it reads them for the first time, so that their
    keys and values must be computed. `absorbs`: latent attention works on the cached rows, into
    which queries are brought, instead of expanding them. With beam search `batch` counts beams,
    `beams` of them a sequence, whose caches are gathered from `gathers` rows a sequence first (0:
    not at all).
    """

    batch: int
    tokens: int
    context: int
    dtype: Dtype
    weight_dtype: str
    source: int = 0
    crosses: bool = False
    absorbs: bool = False
    beams: int = 1
    gathers: int = 0

    @property
    def rows(self) -> int:
        """Rows of the matrices that a layer works on."""
        return self.batch * self.tokens


def norm(
    model: Model,
    step: Step,
    name: str,
    stage: Stage,
    source: str,
    target: str,
    group: str = "",
    *,
    rows: int | None = None,
    columns: int | None = None,
) -> Moment:
    """The model's norm on every row of `source`, or on `rows` of another width."""
    formula = op_counts.layer_norm if model.norm == "layer_norm" else op_counts.rms_norm
    return formula(
        name,
        stage,
        rows=step.rows if rows is None else rows,
        columns=model.hidden if columns is None else columns,
        dtype=step.dtype,
        source=source,
        target=target,
        group=group,
    )


def projection(
    step: Step,
    name: str,
    stage: Stage,
    widths: tuple[int, int],
    bias: bool,
    source: str,
    target: str,
    group: str = "",
    rows: int | None = None,
) -> Moment:
    """A linear layer on every row of `source`; `widths` are those of its input and output."""
    return op_counts.linear(
        name,
        stage,
        m=step.rows if rows is None else rows,
        k=widths[0],
        n=widths[1],
        dtype=step.dtype,
        weight_dtype=step.weight_dtype,
        bias=bias,
        source=source,
        target=target,
        group=group,
    )
