"""Programs as files: JSON with a version, checked when read, the same moments both ways."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import ValidationError

from workloads.errors import InputError, shown
from workloads.files import read_table
from workloads.moment import (
    AttentionShape,
    ElementShape,
    Footprint,
    MatmulShape,
    Moment,
    OperationCounts,
    Pass,
    Program,
    Repeat,
    RowShape,
    Segment,
    Shape,
    Tensor,
)
from workloads.program_schema import FORMAT, MAX_BYTES, VERSION, FileData, MomentData

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
        read = FileData.model_validate_json(_json(table))
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


def _program(read: FileData) -> Program:
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
            step.chosen,
        )
        for step in read.passes
    )
    needs = read.footprint
    footprint = Footprint(needs.weight_bytes, needs.kv_cache_bytes, needs.activation_bytes)
    return Program(
        read.workload, passes, read.batch, read.dtype, footprint, notes=tuple(read.notes)
    )


def _moment(read: MomentData) -> Moment:
    attention = None if read.attention is None else _shape(read.attention)
    return Moment(
        read.name,
        read.kind,
        read.stage,
        _shape(read.shape),
        read.dtype,
        OperationCounts(**read.counts.model_dump()),
        tuple(Tensor(t.name, t.bytes, t.role, t.elements) for t in read.reads),
        tuple(Tensor(t.name, t.bytes, t.role, t.elements) for t in read.writes),
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

    InputError for a program that transforms have changed (fused, spread): files hold
    programs as they are before a machine and its runtime are known.
    """
    from dataclasses import asdict

    if program.layout.devices > 1:
        raise InputError(
            f"{program.workload}: spread over {program.layout.devices} devices; write the program "
            "before it is spread"
        )
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
                "context": step.context, "chosen": step.chosen,
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

    if moment.fused or moment.sparsity is not None or type(moment.shape) not in _TYPES:
        raise InputError(
            f"moment {shown(moment.name)}: fused and pruned moments and collectives are not "
            "written to files; write the program before it is transformed"
        )
    table = asdict(moment)
    del table["fused"], table["sparsity"]
    for tensor in (*table["reads"], *table["writes"]):
        if not tensor["elements"]:
            del tensor["elements"]
    for key in ("shape", "attention"):
        if table[key] is not None:
            table[key] = {"type": _TYPES[type(getattr(moment, key))], **table[key]}
    defaults = {"parts": 1, "group": "", "attention": None, "weight_dtype": ""}
    return {key: value for key, value in table.items() if defaults.get(key, ...) != value}
