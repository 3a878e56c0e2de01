"""A residual network of convolutions (ResNet, arXiv:1512.03385) that reads an image for an encoder.

Blocks of three convolutions (1 x 1, 3 x 3, 1 x 1) around which the input is added; the first of a
stage halves the sides, but not in the first stage. A convolution is the matrix product that it is:
its weights, its input and its output move once, padding is computed too. Norms of batches are
frozen, a product and a sum of each value; their constants are not among the trained values.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from workloads import op_counts
from workloads.moment import Moment, Repeat, Segment, Tensor
from workloads.step import Step, projection

if TYPE_CHECKING:
    from workloads.model import Model

_REDUCTION = 4
"""A block is this much narrower inside (table 1)."""

Sides = tuple[int, int]


def _half(sides: Sides) -> Sides:
    """What a stride of 2 leaves, with padding as these networks have it."""
    return (sides[0] + 1) // 2, (sides[1] + 1) // 2


def feature_sides(image: int, width: int, stages: int) -> Sides:
    """Height and width of what the last stage gives: stem and pool halve, each later stage too."""
    sides = (image, width)
    for _ in range(stages + 1):
        sides = _half(sides)
    return sides


def backbone_repeats(model: Model, step: Step) -> list[Repeat]:
    """From "pixels" to "hidden", the rows of the last stage."""
    backbone = model.backbone
    if backbone is None:
        return []
    sides = (model.image, model.image_width or model.image)
    found = [Repeat(_stem(model, step, sides))]
    sides, channels = _half(_half(sides)), backbone.stem
    for number, (width, depth) in enumerate(zip(backbone.widths, backbone.depths, strict=True)):
        after = _half(sides) if number else sides
        name = f"backbone{number + 1}"
        first = _block(
            step, name, (channels, width), (sides, after), opens=channels != width or number > 0
        )
        found.append(Repeat(first, 1, 0))
        if depth > 1:
            others = _block(step, name, (width, width), (after, after), opens=False)
            found.append(Repeat(others, depth - 1, 1))
        sides, channels = after, width
    return found


def input_projection(model: Model, step: Step) -> list[Moment]:
    """To the width of the encoder, and the sines of all positions for its layers."""
    backbone = model.backbone
    width = backbone.widths[-1] if backbone else model.hidden
    made = projection(
        step, "input_projection", "initialise", (width, model.hidden), True, "hidden",
        "projected_rows",
    )  # fmt: skip
    # a sine or cosine of each value: as many special functions as tanh
    sines = op_counts.activation(
        "position_sines", "initialise", function="tanh", elements=step.rows * model.hidden,
        dtype=step.dtype, source="pixel_mask", target="spatial_positions",
    )  # fmt: skip
    return [replace(sines, reads=(replace(sines.reads[0], role="input"),)), made]


def _stem(model: Model, step: Step, sides: Sides) -> Segment:
    stem = model.backbone.stem if model.backbone else 0
    after = _half(sides)
    pooled = _half(after)
    moments = _convolution(
        step, "stem", (model.channels, stem), (sides, after), 7, "pixels", "stem_active"
    )
    moments[0] = replace(
        moments[0], reads=(replace(moments[0].reads[0], role="input"), *moments[0].reads[1:])
    )
    pool = op_counts.max_pool(
        "pool", "initialise", outputs=step.batch * pooled[0] * pooled[1],
        inputs=step.batch * after[0] * after[1], window=9, columns=stem, dtype=step.dtype,
        source="stem_active", target="hidden",
    )  # fmt: skip
    return Segment.from_moments("backbone_stem", [*moments, pool])


def _block(
    step: Step, name: str, widths: tuple[int, int], sides: tuple[Sides, Sides], *, opens: bool
) -> Segment:
    """One block, from "hidden" to "hidden"; the one that opens a stage projects what it adds."""
    inner = widths[1] // _REDUCTION
    before, after = sides
    moments = [
        *_convolution(step, "reduce", (widths[0], inner), (before, before), 1, "hidden", "reduced"),
        *_convolution(step, "middle", (inner, inner), sides, 3, "reduced", "filtered"),
        *_convolution(step, "widen", (inner, widths[1]), (after, after), 1, "filtered", "widened",
                      active=False),
    ]  # fmt: skip
    around = "hidden"
    if opens:
        around = "shortcut_rows"
        # with a stride of 2 it reads every second position
        moments += _convolution(
            step, "shortcut", widths, (after, after), 1, "hidden", around, active=False
        )
    elements = step.batch * after[0] * after[1] * widths[1]
    moments += [
        op_counts.add(
            "residual", "initialise", elements=elements, dtype=step.dtype,
            sources=(around, "widened"), target="residual_sum",
        ),
        op_counts.activation(
            "activation", "initialise", function="relu", elements=elements, dtype=step.dtype,
            source="residual_sum", target="hidden",
        ),
    ]  # fmt: skip
    return Segment.from_moments(name, moments)


def _convolution(
    step: Step,
    name: str,
    widths: tuple[int, int],
    sides: tuple[Sides, Sides],
    side: int,
    source: str,
    target: str,
    *,
    active: bool = True,
) -> list[Moment]:
    """A convolution of `side` x `side` without bias, its frozen norm, and a ReLU if `active`."""
    (height, width), (rows, columns) = sides
    outputs = step.batch * rows * columns
    elements = outputs * widths[1]
    moments = [
        op_counts.convolution(
            name, "initialise", outputs=outputs, inputs=step.batch * height * width,
            kernel=side * side, k=widths[0], n=widths[1], dtype=step.dtype,
            weight_dtype=step.weight_dtype, bias=False, source=source, target=f"{name}_rows",
        ),
        op_counts.multiply(
            f"{name}_scale", "initialise", elements=elements, second_elements=widths[1],
            dtype=step.dtype, sources=(f"{name}_rows", f"{name}_scale.constants"),
            target=f"{name}_scaled", group="epilogue",
        ),
        op_counts.add(
            f"{name}_shift", "initialise", elements=elements, second_elements=widths[1],
            dtype=step.dtype, sources=(f"{name}_scaled", f"{name}_shift.constants"),
            target=f"{name}_normalized" if active else target, group="epilogue",
        ),
    ]  # fmt: skip
    moments[1:] = [replace(m, reads=(m.reads[0], _constant(m))) for m in moments[1:]]
    if active:
        moments.append(
            op_counts.activation(
                f"{name}_activation", "initialise", function="relu", elements=elements,
                dtype=step.dtype, source=f"{name}_normalized", target=target, group="epilogue",
            )
        )  # fmt: skip
    return moments


def _constant(moment: Moment) -> Tensor:
    return replace(moment.reads[1], role="weight")


def backbone_matrices(model: Model) -> int:
    """The values in all convolutions and in the projection of their result."""
    backbone = model.backbone
    if backbone is None:
        return 0
    channels = backbone.stem
    total = 49 * model.channels * channels
    for number, (width, depth) in enumerate(zip(backbone.widths, backbone.depths, strict=True)):
        inner = width // _REDUCTION
        if channels != width or number:
            total += channels * width
        for _ in range(depth):
            total += channels * inner + 9 * inner**2 + inner * width
            channels = width
    return total + channels * model.hidden
