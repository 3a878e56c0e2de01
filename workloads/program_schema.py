"""What a file with a program looks like: its keys, their types and their bounds."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, model_validator

from workloads.errors import shown
from workloads.moment import DTYPE_BITS, WEIGHT_FORMAT_BYTES, Dtype, Kind, Role, Stage

FORMAT = "moments program"
VERSION = 1
MAX_BYTES = 64 << 20
MAX_MOMENTS = 5_000_000
"""Moments of a program, every repetition counted: more than any engine run would end with."""

CountData: TypeAlias = Annotated[int, Field(ge=0, lt=1 << 62)]
SizeData: TypeAlias = Annotated[int, Field(ge=1, lt=1 << 50)]
NameData: TypeAlias = Annotated[str, Field(min_length=1, max_length=500)]


class TableData(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class MatmulData(TableData):
    type: Literal["matmul"]
    batch: SizeData
    m: SizeData
    n: SizeData
    k: SizeData


class AttentionData(TableData):
    type: Literal["attention"]
    batch: SizeData
    heads: SizeData
    kv_heads: SizeData
    head_dim: SizeData
    q_len: SizeData
    kv_len: SizeData
    causal: bool
    window: SizeData | None = None
    value_dim: CountData = 0
    packed: CountData = 0
    divided: bool = False


class RowsData(TableData):
    type: Literal["rows"]
    rows: SizeData
    columns: SizeData


class ElementsData(TableData):
    type: Literal["elements"]
    elements: SizeData


ShapeData: TypeAlias = Annotated[
    MatmulData | AttentionData | RowsData | ElementsData, Field(discriminator="type")
]


class TensorData(TableData):
    name: NameData
    bytes: CountData
    role: Role
    elements: CountData = 0


class CountsData(TableData):
    macs: CountData = 0
    vector_ops: CountData = 0
    special_ops: CountData = 0


class MomentData(TableData):
    name: NameData
    kind: Kind
    stage: Stage
    shape: ShapeData
    dtype: Dtype
    counts: CountsData
    reads: list[TensorData]
    writes: list[TensorData]
    parts: SizeData = 1
    group: Annotated[str, Field(max_length=100)] = ""
    attention: AttentionData | None = None
    weight_dtype: str = ""

    @model_validator(mode="after")
    def _goes_together(self) -> MomentData:
        wanted = {"matmul": "matmul", "attention": "attention"}.get(self.kind)
        if wanted is not None and self.shape.type != wanted:
            raise ValueError(f"a {self.kind} has a shape of type {wanted}, not {self.shape.type}")
        if self.weight_dtype not in ("", *DTYPE_BITS, *WEIGHT_FORMAT_BYTES):
            raise ValueError(f"weight_dtype = {shown(self.weight_dtype)} is no known format")
        return self


class SegmentData(TableData):
    name: NameData
    moments: Annotated[list[MomentData], Field(min_length=1)]
    edges: list[tuple[int, int]]


class RepeatData(TableData):
    segment: CountData
    count: Annotated[int, Field(ge=1, le=MAX_MOMENTS)] = 1
    first: CountData | None = None


class PassData(TableData):
    name: NameData
    phase: Literal["prefill", "decode", "operator"]
    tokens: SizeData
    context: CountData
    repeats: Annotated[list[RepeatData], Field(min_length=1)]
    chosen: CountData = 0


class FootprintData(TableData):
    weight_bytes: CountData
    kv_cache_bytes: CountData
    activation_bytes: CountData


class FileData(TableData):
    format: Literal["moments program"]
    version: Literal[1]
    workload: NameData
    batch: SizeData
    dtype: Dtype
    notes: list[Annotated[str, Field(max_length=2000)]] = []
    footprint: FootprintData
    segments: Annotated[list[SegmentData], Field(min_length=1)]
    passes: Annotated[list[PassData], Field(min_length=1)]

    @model_validator(mode="after")
    def _bounded(self) -> FileData:
        total = 0
        for step in self.passes:
            for repeat in step.repeats:
                if repeat.segment >= len(self.segments):
                    raise ValueError(
                        f"segment {repeat.segment} is repeated, but there are {len(self.segments)}"
                    )
                total += repeat.count * len(self.segments[repeat.segment].moments)
        if total > MAX_MOMENTS:
            raise ValueError(f"{total} moments in all; at most {MAX_MOMENTS} are run")
        return self
