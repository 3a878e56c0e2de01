"""Programs as files: JSON with a version, checked when read, the same moments both ways."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from workloads.errors import InputError, shown
from workloads.files import read_table
from workloads.moment import (
    DTYPE_BITS,
    WEIGHT_FORMAT_BYTES,
    AttentionShape,
    Dtype,
    ElementShape,
    Footprint,
    Kind,
    MatmulShape,
    Moment,
    OperationCounts,
    Pass,
    Program,
    Repeat,
    Role,
    RowShape,
    Segment,
    Shape,
    Stage,
    Tensor,
)

FORMAT = "moments program"
VERSION = 1
MAX_BYTES = 64 << 20
MAX_MOMENTS = 5_000_000
"""Moments of a program, every repetition counted: more than any engine run would end with."""

_Count: TypeAlias = Annotated[int, Field(ge=0, lt=1 << 62)]
_Size: TypeAlias = Annotated[int, Field(ge=1, lt=1 << 50)]
_Name: TypeAlias = Annotated[str, Field(min_length=1, max_length=500)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class _Matmul(_Table):
    type: Literal["matmul"]
    batch: _Size
    m: _Size
    n: _Size
    k: _Size


class _Attention(_Table):
    type: Literal["attention"]
    batch: _Size
    heads: _Size
    kv_heads: _Size
    head_dim: _Size
    q_len: _Size
    kv_len: _Size
    causal: bool
    window: _Size | None = None
    value_dim: _Count = 0


class _Rows(_Table):
    type: Literal["rows"]
    rows: _Size
    columns: _Size


class _Elements(_Table):
    type: Literal["elements"]
    elements: _Size


_Shape: TypeAlias = Annotated[
    _Matmul | _Attention | _Rows | _Elements, Field(discriminator="type")
]


class _Tensor(_Table):
    name: _Name
    bytes: _Count
    role: Role


class _Counts(_Table):
    macs: _Count = 0
    vector_ops: _Count = 0
    special_ops: _Count = 0


class _Moment(_Table):
    name: _Name
    kind: Kind
    stage: Stage
    shape: _Shape
    dtype: Dtype
    counts: _Counts
    reads: list[_Tensor]
    writes: list[_Tensor]
    parts: _Size = 1
    group: Annotated[str, Field(max_length=100)] = ""
    attention: _Attention | None = None
    weight_dtype: str = ""

    @model_validator(mode="after")
    def _goes_together(self) -> _Moment:
        wanted = {"matmul": "matmul", "attention": "attention"}.get(self.kind)
        if wanted is not None and self.shape.type != wanted:
            raise ValueError(f"a {self.kind} has a shape of type {wanted}, not {self.shape.type}")
        if self.weight_dtype not in ("", *DTYPE_BITS, *WEIGHT_FORMAT_BYTES):
            raise ValueError(f"weight_dtype = {shown(self.weight_dtype)} is no known format")
        return self


class _Segment(_Table):
    name: _Name
    moments: Annotated[list[_Moment], Field(min_length=1)]
    edges: list[tuple[int, int]]


class _Repeat(_Table):
    segment: _Count
    count: Annotated[int, Field(ge=1, le=MAX_MOMENTS)] = 1
    first: _Count | None = None


class _Pass(_Table):
    name: _Name
    phase: Literal["prefill", "decode", "operator"]
    tokens: _Size
    context: _Count
    repeats: Annotated[list[_Repeat], Field(min_length=1)]


class _Footprint(_Table):
    weight_bytes: _Count
    kv_cache_bytes: _Count
    activation_bytes: _Count


class _File(_Table):
    format: Literal["moments program"]
    version: Literal[1]
    workload: _Name
    batch: _Size
    dtype: Dtype
    notes: list[Annotated[str, Field(max_length=2000)]] = []
    footprint: _Footprint
    segments: Annotated[list[_Segment], Field(min_length=1)]
    passes: Annotated[list[_Pass], Field(min_length=1)]

    @model_validator(mode="after")
    def _bounded(self) -> _File:
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


_SHAPES: dict[str, type[Any]] = {
    "matmul": MatmulShape,
    "attention": AttentionShape,
    "rows": RowShape,
    "elements": ElementShape,
}
_TYPES = {shape: name for name, shape in _SHAPES.items()}


def is_program(table: dict[str, Any]) -> bool:
    """Whether a table read from a file is a program, by its first key."""
    return table.get("format") == FORMAT


def load_program(path: str | Path) -> Program:
    """The program in a file that `moments import` or `program_table` wrote.

    InputError: not readable or above 64 MiB, not JSON, another format or version, a key or value
    that does not fit, edges that do not go forward.
    """
    table = read_table(Path(path), MAX_BYTES)
    if not is_program(table):
        raise InputError(f'{path}: not a program: expected "format": "{FORMAT}"')
    return program_from_table(table, str(path))


def program_from_table(table: dict[str, Any], where: str) -> Program:
    """The program that a table holds; `where` names it in errors, as for `load_program`."""
    if table.get("version") != VERSION:
        raise InputError(
            f"{where}: version = {shown(table.get('version'))}: this release reads version "
            f"{VERSION}; import the model again"
        )
    try:
        # lax in one thing: JSON has lists where the schema says tuples
        read = _File.model_validate_json(_json(table))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        message = first["msg"].removeprefix("Value error, ")
        raise InputError(f"{where}: {key}: {message} (found {shown(first['input'])})") from error
    try:
        return _program(read)
    except ValueError as error:
        raise InputError(f"{where}: {error}") from error


def _json(table: dict[str, Any]) -> str:
    import json

    return json.dumps(table)


def _program(read: _File) -> Program:
    segments = [
        Segment(s.name, tuple(_moment(m) for m in s.moments), tuple(s.edges)) for s in read.segments
    ]
    passes = tuple(
        Pass(
            step.name,
            step.phase,
            step.tokens,
            step.context,
            tuple(Repeat(segments[r.segment], r.count, r.first) for r in step.repeats),
        )
        for step in read.passes
    )
    needs = read.footprint
    footprint = Footprint(needs.weight_bytes, needs.kv_cache_bytes, needs.activation_bytes)
    return Program(read.workload, passes, read.batch, read.dtype, footprint, tuple(read.notes))


def _moment(read: _Moment) -> Moment:
    attention = None if read.attention is None else _shape(read.attention)
    return Moment(
        read.name,
        read.kind,
        read.stage,
        _shape(read.shape),
        read.dtype,
        OperationCounts(**read.counts.model_dump()),
        tuple(Tensor(t.name, t.bytes, t.role) for t in read.reads),
        tuple(Tensor(t.name, t.bytes, t.role) for t in read.writes),
        parts=read.parts,
        group=read.group,
        attention=attention if isinstance(attention, AttentionShape) else None,
        weight_dtype=read.weight_dtype,
    )


def _shape(read: Any) -> Shape:
    values = read.model_dump()
    shape: Shape = _SHAPES[values.pop("type")](**values)
    return shape


def program_table(program: Program) -> dict[str, Any]:
    """A program as plain data, ready for JSON; `load_program` reads it back equal.

    InputError for a program that transforms have changed (fused moments, collectives): files hold
    programs as they are before a machine and its runtime are known.
    """
    from dataclasses import asdict

    numbers: dict[int, int] = {}
    segments: list[dict[str, Any]] = []
    for step in program.passes:
        for repeat in step.repeats:
            if id(repeat.segment) not in numbers:
                numbers[id(repeat.segment)] = len(segments)
                segments.append(_segment_table(repeat.segment))
    return {
        "format": FORMAT,
        "version": VERSION,
        "workload": program.workload,
        "batch": program.batch,
        "dtype": program.dtype,
        "notes": list(program.notes),
        "footprint": asdict(program.footprint),
        "segments": segments,
        "passes": [
            {
                "name": step.name, "phase": step.phase, "tokens": step.tokens,
                "context": step.context,
                "repeats": [
                    {"segment": numbers[id(r.segment)], "count": r.count, "first": r.first}
                    for r in step.repeats
                ],
            }
            for step in program.passes
        ],
    }  # fmt: skip


def _segment_table(segment: Segment) -> dict[str, Any]:
    moments = [_moment_table(moment) for moment in segment.moments]
    return {"name": segment.name, "moments": moments, "edges": [list(e) for e in segment.edges]}


def _moment_table(moment: Moment) -> dict[str, Any]:
    from dataclasses import asdict

    if moment.fused or type(moment.shape) not in _TYPES:
        raise InputError(
            f"moment {shown(moment.name)}: fused moments and collectives are not written to files; "
            "write the program before it is transformed"
        )
    table = asdict(moment)
    del table["fused"]
    for key in ("shape", "attention"):
        if table[key] is not None:
            table[key] = {"type": _TYPES[type(getattr(moment, key))], **table[key]}
    defaults = {"parts": 1, "group": "", "attention": None, "weight_dtype": ""}
    return {key: value for key, value in table.items() if defaults.get(key, ...) != value}


