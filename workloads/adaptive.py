"""Tables of tokens in clusters: adaptive embeddings (arXiv:1809.10853) as in Transformer-XL large.

The commonest tokens have the widest rows; those of each following cluster are narrower by the same
factor, and each cluster has a projection to the width of the model. Which tokens a text has is not
known, so every one is taken to be among the commonest: their rows are read, their projection is
computed, and of the logits those that every position needs. That is what most tokens cost, at the
most work for the input and the least for the output.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from workloads.model import Model


def clusters(model: Model) -> list[tuple[int, int]]:
    """Tokens and width of each cluster, from the commonest."""
    borders = [0, *model.adaptive_cutoffs, model.vocab]
    sizes = [after - before for before, after in pairwise(borders)]
    return [
        (size, max(1, model.hidden // model.adaptive_divisor**i)) for i, size in enumerate(sizes)
    ]


def table_values(model: Model) -> int:
    """The values of all clusters' rows."""
    return sum(size * width for size, width in clusters(model))


def projection_values(model: Model) -> int:
    """The values that bring the rows of all clusters to the width of the model."""
    return model.hidden * sum(width for _, width in clusters(model))
