"""Sizes that a model may have, and the small tables inside its table."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

# Bounds far beyond any model that has been built: what exceeds them is a slip, and would only
# make the compiler run for ever.
Layers = Annotated[int, Field(ge=1, le=10_000)]
Width = Annotated[int, Field(ge=1, le=4_194_304)]
Vocabulary = Annotated[int, Field(ge=0, le=100_000_000)]
Positions = Annotated[int, Field(ge=1, le=1_000_000_000)]
Count = Annotated[int, Field(ge=0, le=4_194_304)]
Filter = tuple[Width, Layers, Layers]
"""Of samples of sound: width, kernel and stride of a convolution."""


class Task(BaseModel):
    """One more head on a trunk that several tasks share: `classes` of a sequence or of `every`
    position, after a dense layer and its tanh where it has a `pooler` of its own.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: Annotated[str, Field(min_length=1, max_length=40, pattern=r"^[a-z][a-z0-9_]*$")]
    classes: Annotated[int, Field(ge=1, le=100_000_000)]
    every: bool = False
    pooler: bool = False
    bias: bool = True


class Backbone(BaseModel):
    """A residual network before an encoder: channels of the stem, then of its stages and how many
    blocks each has.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    stem: Width
    widths: Annotated[tuple[Width, ...], Field(min_length=1, max_length=8)]
    depths: Annotated[tuple[Annotated[int, Field(ge=1, le=1000)], ...], Field(max_length=8)]
