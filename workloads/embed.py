"""The first segment of a forward pass: from tokens, pixels or sound to the residual stream."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from workloads import op_counts
from workloads.backbone import input_projection
from workloads.condition import condition
from workloads.detection import query_rows
from workloads.disentangled import distance_rows
from workloads.moment import Moment, Segment
from workloads.op_counts.common import tensor
from workloads.sound import sound_rows
from workloads.step import Step, norm, projection

if TYPE_CHECKING:
    from workloads.model import Model


def table_width(model: Model) -> int:
    """Width of the table of tokens."""
    return model.embedding_width or model.hidden


def embed_segment(model: Model, step: Step) -> Segment:
    """Look-ups (or the projection of patches, or convolutions), their sums, scale and norm."""
    start = _STARTS[model.input]
    if model.queries and model.family != "encoder":
        return Segment.from_moments("embed", query_rows(model, step))
    moments = start(model, step)
    if model.embedding_scale:
        moments.append(_scale(model, step, moments[-1].writes[0].name))
    if model.projection == "tokens" or model.adaptive_divisor:
        moments.append(_project(model, step, moments[-1].writes[0].name, bias=False))
    moments += _terms(model, step, moments[-1].writes[0].name)
    latest = moments[-1].writes[0].name
    if model.embedding_norm:
        moments.append(
            norm(model, step, "embedding_norm", "initialise", latest, "normalized_embedding",
                 "residual_norm", columns=_sum_width(model))
        )  # fmt: skip
    if model.projection == "sum":
        moments.append(_project(model, step, moments[-1].writes[0].name, bias=True))
    last = moments[-1]
    moments[-1] = replace(last, writes=(replace(last.writes[0], name="hidden"),))
    if model.positions == "bias":
        moments.append(_position_bias(model, step))
    if model.positions == "disentangled":
        moments.append(distance_rows(model, step))
    if model.modulation:
        moments += condition(model, step)
    return Segment.from_moments("embed", moments)


def _sum_width(model: Model) -> int:
    """Width of the rows that are added up and normalized."""
    return table_width(model) if model.projection == "sum" else model.hidden


def _terms(model: Model, step: Step, latest: str) -> list[Moment]:
    """Token types and positions: looked up, then added one after another."""
    width = _sum_width(model)
    terms: list[tuple[str, int, str | None]] = []
    if model.token_types:
        terms.append(("token_type", step.rows, "token_types"))
    if model.positions in ("learned", "sinusoidal") and model.class_positions:
        # positions are the same in every sequence: looked up once, added to each
        terms.append(("position", step.tokens, None))
    moments = [
        op_counts.embedding(
            f"{term}_embedding", rows=rows, columns=width, dtype=step.dtype, source=source,
            target=f"{term}_rows",
        )
        for term, rows, source in terms
    ]  # fmt: skip
    for term, rows, _ in terms:
        moments.append(
            op_counts.add(
                f"add_{term}", "initialise", elements=step.rows * width,
                second_elements=rows * width, dtype=step.dtype, sources=(latest, f"{term}_rows"),
                target=f"with_{term}", group="residual_norm",
            )
        )  # fmt: skip
        latest = f"with_{term}"
    return moments


def _tokens(model: Model, step: Step) -> list[Moment]:
    width = table_width(model)
    return [
        op_counts.embedding(
            "token_embedding", rows=step.rows, columns=width, dtype=step.dtype, target="token_rows"
        )
    ]


def _scale(model: Model, step: Step, source: str) -> Moment:
    elements = step.rows * table_width(model)
    return op_counts.multiply(
        "embedding_scale", "initialise", elements=elements, second_elements=1, dtype=step.dtype,
        sources=(source, "scale.weight"), target="scaled_rows",
    )  # fmt: skip


def _project(model: Model, step: Step, source: str, bias: bool) -> Moment:
    widths = (table_width(model), model.hidden)
    return projection(
        step, "embedding_projection", "initialise", widths, bias, source, "projected_rows"
    )


def _position_bias(model: Model, step: Step) -> Moment:
    """One value a head for each query and key, from a small table of distances (T5)."""
    pairs = step.tokens * (step.context + step.tokens)
    moment = op_counts.embedding(
        "position_bias", rows=pairs, columns=model.heads, dtype=step.dtype, source=None,
        target="position_bias",
    )  # fmt: skip
    table = tensor("position_bias.table", model.relative_buckets * model.heads, step.dtype)
    return replace(moment, reads=(replace(table, role="weight"),))


def _patches(model: Model, step: Step) -> list[Moment]:
    """Patches times a matrix (a convolution whose stride is its width), behind class tokens."""
    patches = op_counts.linear(
        "patch_projection",
        "initialise",
        m=step.batch * (step.tokens - model.class_tokens),
        k=model.channels * model.patch**2,
        n=model.hidden,
        dtype=step.dtype,
        weight_dtype=step.weight_dtype,
        source="pixels",
        target="patch_rows",
    )
    moments = [patches]
    if not model.class_positions:
        moments += _patch_positions(model, step)
    if not model.class_tokens:
        return moments
    joined = op_counts.copy(
        "class_token",
        "initialise",
        elements=step.rows * model.hidden,
        dtype=step.dtype,
        source=moments[-1].writes[0].name,
        target="with_class_token",
    )
    return [*moments, joined]


def _patch_positions(model: Model, step: Step) -> list[Moment]:
    """Positions of the patches alone, before the class token stands beside them."""
    rows = step.tokens - model.class_tokens
    elements = rows * model.hidden
    return [
        op_counts.embedding(
            "position_embedding", rows=rows, columns=model.hidden, dtype=step.dtype, source=None,
            target="position_rows",
        ),
        op_counts.add(
            "add_position", "initialise", elements=step.batch * elements,
            second_elements=elements, dtype=step.dtype, sources=("patch_rows", "position_rows"),
            target="with_position",
        ),
    ]  # fmt: skip


def _mel(model: Model, step: Step) -> list[Moment]:
    """Two convolutions over 3 frames, each with a GELU; the second takes every second frame."""
    frames = 2 * step.rows
    moments, source = [], "mel_bands"
    for name, width, rows in (("1", model.channels, frames), ("2", model.hidden, step.rows)):
        moments.append(
            op_counts.convolution(
                f"convolution_{name}", "initialise", outputs=rows, inputs=frames, kernel=3,
                k=width, n=model.hidden, dtype=step.dtype, weight_dtype=step.weight_dtype,
                source=source, target=f"convolution_{name}_rows",
            )
        )  # fmt: skip
        source = f"convolution_{name}_activated"
        moments.append(
            op_counts.activation(
                f"convolution_{name}_activation", "initialise", function="gelu",
                elements=rows * model.hidden, dtype=step.dtype,
                source=f"convolution_{name}_rows", target=source, group="epilogue",
            )
        )  # fmt: skip
    return moments


_STARTS: dict[str, Callable[[Model, Step], list[Moment]]] = {
    "tokens": _tokens,
    "patches": _patches,
    "mel": _mel,
    "sound": sound_rows,
    "features": input_projection,
}
