"""Disentangled attention of DeBERTa (arXiv:2006.03654, section 3.1; arXiv:2111.09543 for v3).

A score is the product of two contents, plus that of a query with the projected row of its distance
to the key (c2p), plus that of a key with the projected row of its distance to the query (p2c). Each
product is computed with all rows of the table of distances, from which those of a pair are then
picked. Rows are projected anew in every layer and pass, as the published module does.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from workloads import op_counts
from workloads.moment import Moment, Repeat, Segment, Tensor
from workloads.op_counts.common import tensor
from workloads.step import Step, norm, projection

if TYPE_CHECKING:
    from workloads.model import Model

_OF_CONTENT = {"c2p": ("query", "key"), "p2c": ("key", "query")}
"""Product: the content, and what the rows of distances are projected to."""


def looked_at(model: Model, tokens: int) -> int:
    """Rows of the table that take part: all, or those of distances that occur (DeBERTa v1)."""
    return min(model.relative_buckets, 2 * tokens) if model.short_span else model.relative_buckets


def distance_rows(model: Model, step: Step) -> Moment:
    """The table of distances as all layers read it, normalized where the model does so."""
    if not model.relative_norm:
        return op_counts.embedding(
            "distance_embedding", rows=looked_at(model, step.tokens), columns=model.hidden,
            dtype=step.dtype, source=None, target="distances",
        )  # fmt: skip
    made = norm(
        model, step, "distance_norm", "initialise", "distance_embedding.table", "distances",
        rows=model.relative_buckets,
    )  # fmt: skip
    return replace(made, reads=(replace(made.reads[0], role="weight"), *made.reads[1:]))


def distance_scores(model: Model, step: Step) -> list[Moment]:
    """From "query" and "key" to what each product adds to the scores."""
    rows, width = looked_at(model, step.tokens), model.heads * model.head_dim
    parts = step.batch * model.heads
    moments: list[Moment] = []
    for product in model.position_products:
        content, other = _OF_CONTENT[product]
        moments += [
            _projected(model, step, other, rows),
            _product(model, step, product, (content, f"position_{other}"), rows * width),
            # each pair's distance is picked from its row
            op_counts.copy(
                f"{product}_gather", "attention", elements=parts * step.tokens**2,
                dtype=step.dtype, source=f"{product}_products", target=f"{product}_scores",
            ),
        ]  # fmt: skip
    return moments


def _projected(model: Model, step: Step, other: str, rows: int) -> Moment:
    """The rows of distances as keys or queries, with weights of their own or those of contents."""
    name = f"position_{other}"
    bias = model.qkv_bias and (other != "key" or model.key_bias)
    widths = (model.hidden, model.heads * model.head_dim)
    made = projection(step, name, "attention", widths, bias, "distances", name, rows=rows)
    if not model.shared_position_keys:
        return made
    shared = (
        replace(t, name=t.name.removeprefix("position_")) if t.role == "weight" else t
        for t in made.reads
    )
    return replace(made, reads=tuple(shared))


def _product(
    model: Model, step: Step, name: str, sources: tuple[str, str], elements: int
) -> Moment:
    """Contents times rows of distances, which are the same for all sequences."""
    made = op_counts.matmul(
        name, "attention", batch=step.batch * model.heads, m=step.tokens,
        n=elements // (model.heads * model.head_dim), k=model.head_dim, dtype=step.dtype,
        left=sources[0], right=sources[1], target=f"{name}_products",
    )  # fmt: skip
    rows = tensor(sources[1], elements, step.dtype)
    return replace(made, reads=(made.reads[0], rows), parts=1, group="per_head")


def added_scores(model: Model, step: Step) -> list[Tensor]:
    """What the softmax reads beside the scores of contents."""
    elements = step.batch * model.heads * step.tokens**2
    return [tensor(f"{name}_scores", elements, step.dtype) for name in model.position_products]


def disentangled_parameters(model: Model) -> tuple[int, int]:
    """Trained values of one layer's projections of distances; of these, in matrices."""
    if model.shared_position_keys:
        return 0, 0
    width = model.heads * model.head_dim
    biased = {"c2p": model.key_bias, "p2c": True}
    matrices = len(model.position_products) * model.hidden * width
    biases = sum(width for name in model.position_products if model.qkv_bias and biased[name])
    return matrices + biases, matrices


def beside_first_layer(model: Model, step: Step, layers: list[Repeat]) -> list[Repeat]:
    """The layers, with a convolution of the embeddings added to what the first one gives (v2).

    The activation is counted as the model's; its norm follows the sum.
    """
    first, *others = layers
    convolved = op_counts.convolution(
        "convolution", "attention", outputs=step.rows, inputs=step.rows,
        kernel=model.convolution_kernel, k=model.hidden, n=model.hidden, dtype=step.dtype,
        weight_dtype=step.weight_dtype, target="convolved", source="hidden",
    )  # fmt: skip
    active = op_counts.activation(
        "convolution_activation", "attention", function=model.convolution_activation,
        elements=step.rows * model.hidden, dtype=step.dtype, source="convolved",
        target="convolution_rows", group="epilogue",
    )  # fmt: skip
    both = op_counts.add(
        "convolution_residual", "attention", elements=step.rows * model.hidden, dtype=step.dtype,
        sources=("hidden", "convolution_rows"), target="with_convolution", group="residual_norm",
    )  # fmt: skip
    made = norm(
        model, step, "convolution_norm", "attention", "with_convolution", "hidden",
        "residual_norm",
    )  # fmt: skip
    rest = [replace(first, count=first.count - 1, first=1)] if first.count > 1 else []
    return [
        Repeat(Segment.from_moments("convolution", [convolved, active])),
        replace(first, count=1, first=0),
        Repeat(Segment.from_moments("convolution_sum", [both, made])),
        *rest,
        *others,
    ]
