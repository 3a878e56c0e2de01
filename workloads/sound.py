"""From samples of sound to positions: wav2vec 2.0 (arXiv:2006.11477, section 2).

Convolutions without padding, a norm, a projection, and positions from one wide convolution in
groups. The weight norm of the latter is taken as folded into its weights, as at inference.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from workloads import op_counts
from workloads.moment import Moment
from workloads.op_counts.common import tensor
from workloads.step import Step, norm, projection

if TYPE_CHECKING:
    from workloads.model import Model


def filter_lengths(model: Model, positions: int) -> list[int]:
    """Samples, then the outputs of each convolution: the fewest that give so many positions."""
    lengths = [positions]
    for _, kernel, stride in reversed(model.filters):
        lengths.append((lengths[-1] - 1) * stride + kernel)
    return lengths[::-1]


def sound_rows(model: Model, step: Step) -> list[Moment]:
    """Convolutions, projection and positions, up to their sum."""
    moments, source = _filters(model, step)
    width = model.filters[-1][0]
    last = step.rows * model.hidden
    return [
        *moments,
        norm(model, step, "feature_norm", "initialise", source, "features", columns=width),
        projection(step, "feature_projection", "initialise", (width, model.hidden), True,
                   "features", "feature_rows"),
        # padding to both sides gives one position more than is kept if the kernel is even
        op_counts.convolution(
            "position_convolution", "initialise", inputs=step.rows,
            outputs=step.batch * (step.tokens + (model.position_kernel + 1) % 2),
            kernel=model.position_kernel, k=model.hidden, n=model.hidden, dtype=step.dtype,
            weight_dtype=step.weight_dtype, groups=model.position_groups, source="feature_rows",
            target="position_products",
        ),
        op_counts.activation(
            "position_activation", "initialise", function=model.activation, elements=last,
            dtype=step.dtype, source="position_products", target="position_rows",
            group="epilogue",
        ),
        op_counts.add(
            "add_position", "initialise", elements=last, dtype=step.dtype,
            sources=("feature_rows", "position_rows"), target="with_position",
            group="residual_norm",
        ),
    ]  # fmt: skip


def _filters(model: Model, step: Step) -> tuple[list[Moment], str]:
    """Each convolution with its norm, where it has one, and its activation; the last name."""
    lengths = filter_lengths(model, step.tokens)
    moments: list[Moment] = []
    source, channels = "samples", 1
    for i, (width, kernel, _) in enumerate(model.filters):
        name, length = f"filter_{i + 1}", lengths[i + 1]
        moments.append(
            op_counts.convolution(
                name, "initialise", outputs=step.batch * length, inputs=step.batch * lengths[i],
                kernel=kernel, k=channels, n=width, dtype=step.dtype,
                weight_dtype=step.weight_dtype, bias=model.filter_bias, source=source,
                target=f"{name}_rows",
            )
        )  # fmt: skip
        source, channels = f"{name}_rows", width
        if model.filter_norm == "each" or i == 0:
            moments.append(_filter_norm(model, step, name, length, width))
            source = f"{name}_normalized"
        moments.append(
            op_counts.activation(
                f"{name}_activation", "initialise", function=model.activation,
                elements=step.batch * length * width, dtype=step.dtype, source=source,
                target=f"{name}_activated",
                group="" if source.endswith("normalized") else "epilogue",
            )
        )  # fmt: skip
        source = f"{name}_activated"
    return moments, source


def _filter_norm(model: Model, step: Step, name: str, length: int, width: int) -> Moment:
    """Of each position over its channels, or ("first") of each channel over all positions."""
    rows, columns = step.batch * length, width
    if model.filter_norm == "first":
        rows, columns = step.batch * width, length
    made = op_counts.layer_norm(
        f"{name}_norm", "initialise", rows=rows, columns=columns, dtype=step.dtype,
        source=f"{name}_rows", target=f"{name}_normalized",
    )  # fmt: skip
    weights = tensor(f"{name}_norm.weight", 2 * width, step.dtype, "weight")
    return replace(made, reads=(made.reads[0], weights))


def sound_parameters(model: Model) -> tuple[int, int]:
    """Trained values from the samples to the positions added; of these, in matrices."""
    matrices = rest = 0
    channels = 1
    for i, (width, kernel, _) in enumerate(model.filters):
        matrices += channels * kernel * width
        rest += width * model.filter_bias
        rest += 2 * width * (model.filter_norm == "each" or i == 0)
        channels = width
    matrices += channels * model.hidden
    rest += 2 * channels + model.hidden
    # its weight norm has a length for each place in the kernel
    matrices += model.position_kernel * model.hidden**2 // model.position_groups
    rest += model.position_kernel + model.hidden
    return matrices + rest, matrices
