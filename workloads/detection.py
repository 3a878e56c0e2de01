"""Objects in images: rows that stand for objects, and the heads that give each a class and a box.

DETR (arXiv:2005.12872) asks with trained queries in a decoder, YOLOS (arXiv:2106.00666) with tokens
behind the patches of a ViT. Matching with annotations and the choice of boxes are not counted.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from workloads import op_counts
from workloads.moment import Moment, Repeat, Segment
from workloads.step import Step, projection

if TYPE_CHECKING:
    from workloads.model import Model

_BOX_LAYERS = 3
_BOX = 4
"""Centre, width and height."""

OBJECTS = "object_positions"
SPACE = "spatial_positions"


def query_rows(model: Model, step: Step) -> list[Moment]:
    """The trained queries, which the layers of the decoder add, and the zeros it starts from."""
    elements = step.rows * model.hidden
    look_up = op_counts.embedding(
        "object_queries", rows=step.tokens, columns=model.hidden, dtype=step.dtype, source=None,
        target=OBJECTS,
    )  # fmt: skip
    zeros = op_counts.copy(
        "zeros", "initialise", elements=elements, dtype=step.dtype, target="hidden"
    )
    repeated = replace(look_up.writes[0], bytes=zeros.writes[0].bytes)
    return [replace(look_up, writes=(repeated,)), replace(zeros, reads=())]


def placed(model: Model, step: Step, name: str, source: str, rows: int, width: int) -> Moment:
    """What queries or keys are projected from: `source` with its positions added."""
    positions = SPACE if name == "cross_key" or model.encoder is None else OBJECTS
    return op_counts.add(
        f"{name}_positions", "attention", elements=rows * width, dtype=step.dtype,
        sources=(source, positions), target=f"{name}_placed",
    )  # fmt: skip


def with_layer_positions(model: Model, step: Step, layers: list[Repeat]) -> list[Repeat]:
    """The layers, to the result of each of which but the last trained positions are added."""
    (plain,) = layers
    elements = step.tokens * model.hidden
    *before, last = plain.segment.moments
    moved = Segment.from_moments(
        plain.segment.name,
        [
            *before,
            replace(last, writes=(replace(last.writes[0], name="unplaced"),)),
            op_counts.embedding(
                "layer_position", "feed_forward", rows=step.tokens, columns=model.hidden,
                dtype=step.dtype, source=None, target="layer_position_rows",
            ),
            op_counts.add(
                "add_layer_position", "feed_forward", elements=step.rows * model.hidden,
                second_elements=elements, dtype=step.dtype,
                sources=("unplaced", "layer_position_rows"), target="hidden",
            ),
        ],
    )  # fmt: skip
    last_layer = replace(plain, count=1, first=plain.count - 1)
    if plain.count == 1:
        return [last_layer]
    return [Repeat(moved, plain.count - 1, 0), last_layer]


def detector(model: Model, step: Step, source: str) -> list[Moment]:
    """A class and a box for each query: layers with a ReLU between, a sigmoid on the box."""
    rows = step.batch * model.queries
    moments: list[Moment] = []
    if model.family == "encoder":
        moments.append(
            op_counts.copy(
                "object_rows", "output", elements=rows * model.hidden, dtype=step.dtype,
                source=source, target="objects",
            )
        )  # fmt: skip
        source = "objects"
    moments += _layers(model, step, "class", model.class_layers, model.classes, source, "logits")
    moments += _layers(model, step, "box", _BOX_LAYERS, _BOX, source, "raw_boxes")
    # 1 / (1 + exp(-x)) costs what x / (1 + exp(-x)) does
    moments.append(
        op_counts.activation(
            "box_sigmoid", "output", function="silu", elements=rows * _BOX, dtype=step.dtype,
            source="raw_boxes", target="boxes", group="epilogue",
        )
    )  # fmt: skip
    return moments


def _layers(
    model: Model, step: Step, name: str, layers: int, last: int, source: str, target: str
) -> list[Moment]:
    rows, width = step.batch * model.queries, model.hidden
    moments = []
    for i in range(1, layers):
        moments += [
            projection(step, f"{name}_{i}", "output", (width, width), True, source,
                       f"{name}_rows_{i}", rows=rows),
            op_counts.activation(
                f"{name}_relu_{i}", "output", function="relu", elements=rows * width,
                dtype=step.dtype, source=f"{name}_rows_{i}", target=f"{name}_active_{i}",
                group="epilogue",
            ),
        ]  # fmt: skip
        source = f"{name}_active_{i}"
    final = projection(
        step, f"{name}_{layers}", "output", (width, last), True, source, target, rows=rows
    )
    return [*moments, final]


def detector_parameters(model: Model) -> tuple[int, int]:
    """Trained values of both heads; of these, in matrices."""
    inner = model.class_layers - 1 + _BOX_LAYERS - 1
    matrices = inner * model.hidden**2 + model.hidden * (model.classes + _BOX)
    return matrices + inner * model.hidden + model.classes + _BOX, matrices
