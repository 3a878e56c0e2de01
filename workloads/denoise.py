"""Diffusion with a Transformer: DiT (arXiv:2212.09748, section 3.2, adaLN-Zero).

A step, its noise level and the class of the image become one row, from which each layer computes
what its norms are scaled and shifted by and its results are multiplied with. One pass takes away
some noise; an image needs many. Not counted: the decoder of a VAE that makes pixels of the result.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from workloads import op_counts
from workloads.attention import attention_block
from workloads.feed_forward import feed_forward
from workloads.layers import LayerKind
from workloads.moment import Moment, Segment, Stage
from workloads.op_counts.common import tensor
from workloads.step import Step, projection

if TYPE_CHECKING:
    from workloads.model import Model

_EVERYWHERE = LayerKind(None, False)


def modulated_layer(model: Model, step: Step) -> Segment:
    """One block, from "hidden" to "hidden"."""

    def attend(source: str, target: str) -> list[Moment]:
        return attention_block(model, step, _EVERYWHERE, source, target)

    def feed(source: str, target: str) -> list[Moment]:
        return feed_forward(model, step, source, target)

    return Segment.from_moments(
        "layer",
        [
            *_modulation(model, step, "attention", 6),
            *_half(model, step, "attention", "attention", attend, ("hidden", "attended")),
            *_half(model, step, "feed_forward", "feed_forward", feed, ("attended", "hidden")),
        ],
    )


def _modulation(model: Model, step: Step, stage: Stage, parts: int) -> list[Moment]:
    """`parts` rows for each image from its condition."""
    width = model.hidden
    return [
        op_counts.activation("condition_activation", stage, function="silu",
                             elements=step.batch * width, dtype=step.dtype, source="condition",
                             target="condition_active"),
        projection(step, "modulation", stage, (width, parts * width), True, "condition_active",
                   "modulation", "whole", rows=step.batch),
    ]  # fmt: skip


def _modulated(model: Model, step: Step, part: str, stage: Stage, source: str) -> list[Moment]:
    """The norm of `source` without weights, scaled and shifted by rows of its image."""
    elements, rows = step.rows * model.hidden, step.batch * model.hidden
    return [
        op_counts.layer_norm(f"{part}_norm", stage, rows=step.rows, columns=model.hidden,
                             dtype=step.dtype, source=source, target=f"{part}_normalized",
                             affine=False),
        op_counts.multiply(f"{part}_scale", stage, elements=elements, second_elements=rows,
                           dtype=step.dtype, sources=(f"{part}_normalized", "modulation"),
                           target=f"{part}_scaled"),
        op_counts.add(f"{part}_shift", stage, elements=elements, second_elements=rows,
                      dtype=step.dtype, sources=(f"{part}_scaled", "modulation"),
                      target=f"{part}_input"),
    ]  # fmt: skip


def _half(
    model: Model,
    step: Step,
    part: str,
    stage: Stage,
    body: Callable[[str, str], list[Moment]],
    names: tuple[str, str],
) -> list[Moment]:
    """A sub-block with its norm before it and its gate behind, then the sum."""
    elements, rows = step.rows * model.hidden, step.batch * model.hidden
    return [
        *_modulated(model, step, part, stage, names[0]),
        *body(f"{part}_input", f"{part}_rows"),
        op_counts.multiply(f"{part}_gate", stage, elements=elements, second_elements=rows,
                           dtype=step.dtype, sources=(f"{part}_rows", "modulation"),
                           target=f"{part}_gated"),
        op_counts.add(f"{part}_residual", stage, elements=elements, dtype=step.dtype,
                      sources=(names[0], f"{part}_gated"), target=names[1]),
    ]  # fmt: skip


def denoised(model: Model, step: Step) -> Segment:
    """The last norm and projection, guidance, and the image with some noise less.

    Of what is predicted (noise and its variance for every value) the sampler here uses the noise:
    the next image is a weighted sum of it and of the last (DDIM, arXiv:2010.02502, equation 12).
    """
    width = patch_width(model)
    values = step.rows * width // 2
    moments = [
        *_modulation(model, step, "output", 2),
        *_modulated(model, step, "output", "output", "hidden"),
        projection(step, "output_projection", "output", (model.hidden, width), True,
                   "output_input", "predicted"),
        op_counts.copy("unpatch", "output", elements=values, dtype=step.dtype, source="predicted",
                       target="noise"),
    ]  # fmt: skip
    source = "noise"
    if model.guidance:
        # each image is there twice, with its class and without
        values //= 2
        moments.append(
            op_counts.weighted_sum("guidance", "decode", rows=values, terms=2, columns=1,
                                   dtype=step.dtype, sources=(source, "guidance_weights"),
                                   target="guided")
        )  # fmt: skip
        source = "guided"
    moments.append(
        op_counts.weighted_sum("less_noise", "decode", rows=values, terms=2, columns=1,
                               dtype=step.dtype, sources=(source, "step_weights"),
                               target="pixels")
    )  # fmt: skip
    two = tensor("weights", 2, step.dtype, "input")
    return Segment.from_moments(
        "output", [replace(m, reads=(m.reads[0], two)) if m.stage == "decode" else m
                   for m in moments],
    )  # fmt: skip


def patch_width(model: Model) -> int:
    """Values predicted for one patch: noise and variance of each of its own."""
    return 2 * model.channels * model.patch**2


def denoiser_parameters(model: Model) -> tuple[int, int]:
    """Trained values of the output; of these, in matrices."""
    width, last = model.hidden, patch_width(model)
    matrices = 2 * width**2 + width * last
    return matrices + 2 * width + last, matrices
