"""What the tables of every input file share: strict keys, frozen values, a source."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

Source = Annotated[str, StringConstraints(strip_whitespace=True, min_length=8)]
Count = Annotated[int, Field(gt=0, le=10_000_000, strict=True)]


class Table(BaseModel):
    """A table of a profile: unknown keys are errors, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Sourced(Table):
    """A table with numbers, which must say where they come from."""

    source: Source
