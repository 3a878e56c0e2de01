"""What an image is made from: the row of its noise level and class (DiT, arXiv:2212.09748)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from workloads import op_counts
from workloads.moment import Moment
from workloads.op_counts.common import tensor
from workloads.step import Step, projection

if TYPE_CHECKING:
    from workloads.model import Model

FREQUENCIES = 256
"""Sines of the noise level that its embedding starts from (facebookresearch/DiT, models.py)."""


def condition(model: Model, step: Step) -> list[Moment]:
    """The row of each image: two layers on sines of its noise level, plus that of its class."""
    rows, width = step.batch, model.hidden
    sines = op_counts.activation(
        "noise_sines", "initialise", function="tanh", elements=rows * FREQUENCIES,
        dtype=step.dtype, source="noise_level", target="sines",
    )  # fmt: skip
    level = tensor("noise_level", rows, step.dtype, "input")
    return [
        replace(sines, reads=(level,)),
        projection(step, "noise_1", "initialise", (FREQUENCIES, width), True, "sines", "noise_rows",
                   rows=rows),
        op_counts.activation("noise_activation", "initialise", function="silu",
                             elements=rows * width, dtype=step.dtype, source="noise_rows",
                             target="noise_active", group="epilogue"),
        projection(step, "noise_2", "initialise", (width, width), True, "noise_active",
                   "noise_row", rows=rows),
        op_counts.embedding("label_embedding", rows=rows, columns=width, dtype=step.dtype,
                            source="labels", target="label_row"),
        op_counts.add("add_label", "initialise", elements=rows * width, dtype=step.dtype,
                      sources=("noise_row", "label_row"), target="condition"),
    ]  # fmt: skip


def condition_parameters(model: Model) -> tuple[int, int]:
    """Trained values of `condition`; of these, in matrices."""
    width = model.hidden
    matrices = FREQUENCIES * width + width**2
    return matrices + 2 * width + model.labels * width, matrices
