"""The weight matrices of a whole model, as far as their storage goes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from workloads.moment import MatmulShape, Moment, Repeat, Segment
from workloads.output import head_width
from workloads.parameters import matrix_parameters, stored_layers
from workloads.step import Step

if TYPE_CHECKING:
    from workloads.model import Model


@dataclass(frozen=True, slots=True)
class Matrices:
    """Some weight matrices together: values, output channels, how many matrices."""

    elements: int = 0
    rows: int = 0
    count: int = 0

    def __add__(self, other: Matrices) -> Matrices:
        return Matrices(
            self.elements + other.elements, self.rows + other.rows, self.count + other.count
        )


def head_matrix(model: Model) -> Matrices:
    """The matrix that gives the logits of a language model's tokens, tied or not."""
    if model.head not in ("lm", "mlm"):
        return Matrices()
    return Matrices(head_width(model) * model.vocab, model.vocab, 1)


def body_matrices(model: Model) -> Matrices:
    """All that `matrix_parameters` counts but `head_matrix`: layers, input, pooler, classifiers.

    Rows and matrices are those that a compiled layer multiplies with, all experts of it and each
    layer that is stored.
    """
    elements = matrix_parameters(model)
    if not model.tied_embeddings:
        elements -= head_matrix(model).elements
    found = list(_products(model))
    rows = sum(count * _rows(model, moment) for count, moment in found)
    number = sum(count * _number(model, moment) for count, moment in found)
    return Matrices(elements, rows, number)


def _products(model: Model) -> Iterator[tuple[int, Moment]]:
    """(how many of it are stored, a linear layer), the head left out."""
    for count, segment in _segments(model):
        seen: set[str] = set()  # two products may share a matrix
        for moment in segment.moments:
            names = {t.name for t in moment.reads if t.name.endswith(".weight")}
            if moment.weight_dtype and moment.name != "lm_head" and not names & seen:
                seen |= names
                yield count, moment
    if model.encoder is not None:
        yield from _products(model.encoder)


def _segments(model: Model) -> Iterator[tuple[int, Segment]]:
    from workloads.backbone import backbone_repeats
    from workloads.blocks import layer_segment
    from workloads.disentangled import beside_first_layer
    from workloads.embed import embed_segment
    from workloads.output import output_segment
    from workloads.stages import stage_repeats

    step = Step(1, 1, 0, "fp16", "fp16", source=1, crosses=model.encoder is not None)
    if model.input != "tokens":
        step = Step(1, model.max_positions, 0, "fp16", "fp16")
    if model.depths:
        repeats, model, step = stage_repeats(model, step, body_only=False)
        yield from ((repeat.count, repeat.segment) for repeat in repeats)
    else:
        yield from ((repeat.count, repeat.segment) for repeat in backbone_repeats(model, step))
        yield 1, embed_segment(model, step)
        layers = [
            Repeat(layer_segment(model, step, kind), count)
            for kind, count in stored_layers(model).items()
        ]
        if model.convolution_kernel:
            layers = beside_first_layer(model, step, layers)
        yield from ((repeat.count, repeat.segment) for repeat in layers)
    last = output_segment(model, step, "all", sampled=False)
    if last is not None:
        yield 1, last


def _rows(model: Model, moment: Moment) -> int:
    return _width(moment) * _number(model, moment)


def _number(model: Model, moment: Moment) -> int:
    return model.experts if moment.name.startswith("expert_") else 1


def _width(moment: Moment) -> int:
    """Output channels of one matrix; a grouped convolution has those of all its groups."""
    shape = moment.shape
    if not isinstance(shape, MatmulShape):
        raise TypeError(f"{moment.name}: a linear layer without the shape of a product: {shape}")
    return shape.n if moment.name.startswith("expert_") else shape.batch * shape.n
