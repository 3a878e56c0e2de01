"""One layer of a model, as a segment.

Within a segment each tensor name is written once; "hidden" is the residual stream that a segment
takes over from the one before it and hands on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from workloads import op_counts
from workloads.attention import attention_block
from workloads.cross import cross_block
from workloads.denoise import modulated_layer
from workloads.feed_forward import expert_feed_forward, feed_forward
from workloads.layers import LayerKind
from workloads.moment import Moment, Segment, Stage
from workloads.step import Step, norm

if TYPE_CHECKING:
    from workloads.model import Model

Body = Callable[[str, str], list[Moment]]
"""From the name of the rows that a sub-block reads to its moments, which write the second name."""


def layer_segment(model: Model, step: Step, kind: LayerKind) -> Segment:
    """One block, from "hidden" to "hidden"."""
    if model.modulation:
        return modulated_layer(model, step)
    moments = _parallel(model, step, kind) if model.parallel_block else _serial(model, step, kind)
    return Segment.from_moments("layer", moments)


def _bodies(model: Model, step: Step, kind: LayerKind) -> list[tuple[str, Stage, Body]]:
    """The sub-blocks of a layer in order: name, stage, and how the moments are made."""

    def attend(source: str, target: str) -> list[Moment]:
        return attention_block(model, step, kind, source, target)

    def cross(source: str, target: str) -> list[Moment]:
        return cross_block(model, step, source, target)

    def feed(source: str, target: str) -> list[Moment]:
        make = expert_feed_forward if kind.experts else feed_forward
        return make(model, step, source, target)

    found: list[tuple[str, Stage, Body]] = [("attention", "attention", attend)]
    if model.encoder is not None:
        found.append(("cross", "attention", cross))
    return [*found, ("feed_forward", "feed_forward", feed)]


_RESULT = {"attention": "attended", "cross": "crossed", "feed_forward": "hidden"}


def _serial(model: Model, step: Step, kind: LayerKind) -> list[Moment]:
    """One sub-block after another, each with its residual and its norm before or behind."""
    moments: list[Moment] = []
    source = "hidden"
    for part, stage, body in _bodies(model, step, kind):
        moments += _sub_block(model, step, part, stage, body, source)
        source = _RESULT[part]
    return moments


def _sub_block(
    model: Model, step: Step, part: str, stage: Stage, body: Body, source: str
) -> list[Moment]:
    """One sub-block with its residual, from `source` to the name that the next one reads."""
    position = model.norm_position
    moments: list[Moment] = []
    read = source
    if position in ("pre", "both"):
        read = f"{part}_input"
        moments.append(norm(model, step, f"{part}_norm", stage, source, read, "residual_norm"))
    rows = f"{part}_rows"
    if model.layer_scale:
        moments += [*body(read, f"{part}_raw"), _scaled(model, step, part, stage)]
    elif position in ("pre", "post"):
        moments += body(read, rows)
    else:
        # the result is normalized by itself, before the sum: nothing to fuse it with
        name = f"{part}_norm" if position == "output" else f"{part}_output_norm"
        moments += body(read, f"{part}_raw")
        moments.append(norm(model, step, name, stage, f"{part}_raw", rows, ""))
    result = _RESULT[part]
    total = f"{part}_sum" if position == "post" else result
    moments.append(_residual(model, step, part, stage, (source, rows), total))
    if position == "post":
        moments.append(norm(model, step, f"{part}_norm", stage, total, result, "residual_norm"))
    return moments


def _scaled(model: Model, step: Step, part: str, stage: Stage) -> Moment:
    """The result of a sub-block times a weight for each column."""
    scaled = op_counts.multiply(
        f"{part}_scale", stage, elements=step.rows * model.hidden, second_elements=model.hidden,
        dtype=step.dtype, sources=(f"{part}_raw", f"{part}_scale.weight"), target=f"{part}_rows",
    )  # fmt: skip
    return replace(scaled, reads=(scaled.reads[0], replace(scaled.reads[1], role="weight")))


def _parallel(model: Model, step: Step, kind: LayerKind) -> list[Moment]:
    stage: Stage = "attention"
    group = "residual_norm"
    moments = [norm(model, step, "attention_norm", stage, "hidden", "attention_input", group)]
    source = "attention_input"
    if not model.shared_norm:
        source = "feed_forward_input"
        moments.append(norm(model, step, "feed_forward_norm", "feed_forward", "hidden", source, ""))
    return [
        *moments,
        *attention_block(model, step, kind, "attention_input", "attention_rows"),
        *feed_forward(model, step, source),
        _residual(
            model, step, "parallel", "feed_forward", ("attention_rows", "feed_forward_rows"), "both"
        ),
        _residual(model, step, "feed_forward", "feed_forward", ("hidden", "both"), "hidden"),
    ]


def _residual(
    model: Model, step: Step, part: str, stage: Stage, sources: tuple[str, str], target: str
) -> Moment:
    return op_counts.add(
        f"{part}_residual",
        stage,
        elements=step.rows * model.hidden,
        dtype=step.dtype,
        sources=sources,
        target=target,
        group="residual_norm",
    )
