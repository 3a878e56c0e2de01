"""Reads the description of a study from TOML and refuses what cannot be meant, before any run."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args

from simulator.scenario import Scenario
from simulator.study.check import check_study
from simulator.study.space import (
    COMPARE,
    FIELDS,
    Axis,
    Point,
    Span,
    Study,
    Value,
    Where,
    split_number,
)
from workloads.errors import InputError, nearest, shown
from workloads.files import read_table

_TABLES = ("base", "grid", "list", "random", "where")
_SPAN = ("from", "to", "steps", "scale")
_WHERE = re.compile(r"^\s*([\w.]+)\s*(<=|>=|==|!=|<|>)\s*(\S.*?)\s*$")
_MOST_STEPS = 100_000


def read_study(path: str | Path) -> Study:
    """The study that a TOML file describes; see study_from_table. InputError, ProfileError."""
    path = Path(path)
    if path.suffix != ".toml":
        raise InputError(f"{path}: a study is described in a .toml file")
    return study_from_table(read_table(path), str(path))


def study_from_table(table: Mapping[str, Any], where: str = "study") -> Study:
    """A study from tables as in a file, checked: names exist, values fit, points are left.

    [base] holds what all points have. Then one of: [grid] with a list of values or a span for each
    key, [[list]] with one table a point, or [random] with `samples`, `seed` and the keys. A span is
    {from, to, steps, scale = "log"}, its ends with units or as factors ("0.5x"). Keys are options
    of `moments run` (prompt, batch, weight_dtype, ...) or figures as for --set ("dram.bandwidth").
    `where` lists conditions such as "batch <= 64". `where` the argument: the file, for messages.
    """
    _known(table, _TABLES, where)
    base = _flat(_table(table.get("base", {}), f"{where}: base"))
    changes = _changes(base.pop("set", []), where)
    for key in base:
        _value(base[key], f"{where}: base.{key}")
    designs = [name for name in ("grid", "list", "random") if name in table]
    if len(designs) > 1:
        raise InputError(f"{where}: [{designs[0]}] and [{designs[1]}]: a study has one of them")
    rows: tuple[Point, ...] = ()
    axes: dict[str, Axis] = {}
    samples = seed = 0
    design: Any = designs[0] if designs else "list"
    if design == "list":
        rows = _rows(table.get("list", [{}]), where)
    else:
        entries = dict(_table(table[design], f"{where}: {design}"))
        if design == "random":
            samples = _count(entries.pop("samples", None), f"{where}: random.samples", 1)
            seed = _count(entries.pop("seed", 0), f"{where}: random.seed", 0)
        axes = {k: _axis(v, f"{where}: {design}.{k}", design) for k, v in _flat(entries).items()}
    conditions = _conditions(table.get("where", []), where)
    study = Study(base, axes, design, rows, samples, seed, conditions, changes)
    _check_keys(study, where)
    check_study(study, where)
    return study


def _known(table: Mapping[str, Any], known: Sequence[str], where: str) -> None:
    for key in table:
        if key not in known:
            raise InputError(
                f"{where}: {shown(key)} is not known{nearest(key, known)}; expected "
                f"{', '.join(known)}"
            )


def _table(value: object, where: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise InputError(f"{where} = {shown(str(value))}: expected a table")
    return value


def _flat(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """dram.bandwidth = ... without quotes is a table in a table: one key again."""
    found: dict[str, Any] = {}
    for key, value in table.items():
        if isinstance(value, Mapping) and "from" not in value and "to" not in value:
            found |= _flat(value, f"{prefix}{key}.")
        else:
            found[prefix + key] = value
    return found


def _value(value: object, where: str) -> Value:
    if not isinstance(value, str | int | float | bool) or len(str(value)) > 200:
        raise InputError(f"{where} = {shown(str(value))}: expected a number, a text or true, false")
    return value


def _changes(value: object, where: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise InputError(f'{where}: base.set: expected a list such as ["dram.bandwidth=2x"]')
    return tuple(value)


def _count(value: object, where: str, least: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value < 2**63:
        raise InputError(f"{where} = {shown(str(value))}: expected a whole number from {least} on")
    return value


def _rows(value: object, where: str) -> tuple[Point, ...]:
    if not isinstance(value, list) or not value:
        raise InputError(f"{where}: list: expected one or more tables [[list]]")
    rows = [_flat(_table(row, f"{where}: list[{i}]")) for i, row in enumerate(value)]
    for i, row in enumerate(rows):
        for key in row:
            _value(row[key], f"{where}: list[{i}].{key}")
    return tuple(rows)


def _axis(value: object, where: str, design: str) -> Axis:
    if isinstance(value, list):
        if not value:
            raise InputError(f"{where} = []: no values, so the study would have no points")
        values = tuple(_value(entry, where) for entry in value)
        if len(set(map(str, values))) < len(values):
            raise InputError(f"{where}: a value is there twice")
        return values
    if isinstance(value, Mapping):
        return _span(value, where, design)
    raise InputError(
        f"{where} = {shown(str(value))}: expected a list of values or a span, such as "
        '{ from = "0.5x", to = "4x", steps = 8 }; what does not vary belongs into [base]'
    )


def _span(table: Mapping[str, Any], where: str, design: str) -> Span:
    _known(table, _SPAN, where)
    ends = [split_number(str(table.get(name))) for name in ("from", "to")]
    if ends[0] is None or ends[1] is None:
        raise InputError(f'{where}: expected numbers at both ends, as from = "0.5x", to = "4x"')
    (first, unit), (last, other) = ends[0], ends[1]
    if unit != other:
        raise InputError(f"{where}: from is in {unit or 'no unit'!r}, to in {other or 'none'!r}")
    if not first < last:
        raise InputError(f"{where}: from = {first:g} is not below to = {last:g}")
    scale = table.get("scale", "linear")
    if scale not in ("linear", "log"):
        raise InputError(f"{where}.scale = {shown(str(scale))}: expected linear or log")
    if scale == "log" and first <= 0:
        raise InputError(f"{where}: a log scale begins above 0, not at {first:g}")
    if design == "random" and "steps" in table:
        raise InputError(f"{where}.steps: a random design draws anywhere; steps are for [grid]")
    steps = None
    if design == "grid":
        steps = _count(table.get("steps"), f"{where}.steps", 2)
        if steps > _MOST_STEPS:
            raise InputError(f"{where}.steps = {steps}: expected at most {_MOST_STEPS:,}")
    whole = isinstance(table["from"], int) and isinstance(table["to"], int)
    return Span(first, last, unit, steps, scale == "log", whole)


def _conditions(value: object, where: str) -> tuple[Where, ...]:
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise InputError(f'{where}: where: expected a list such as ["batch <= 64"]')
    found = []
    for text in value:
        match = _WHERE.match(text)
        if match is None:
            raise InputError(
                f"{where}: where {shown(text)}: expected KEY, one of {' '.join(COMPARE)}, and a "
                "value or a key"
            )
        found.append(Where(text, *match.groups()))
    return tuple(found)


def _check_keys(study: Study, where: str) -> None:
    """Keys are there once, options have values of their type, conditions speak of known keys."""
    types = {field.name: str(field.type) for field in fields(Scenario)}
    for key in study.varied:
        if key in study.base:
            raise InputError(f"{where}: {key} varies and is in [base] too; keep one of them")
    for key in (*study.base, *study.varied):
        if key in ("changes", "probe", "dims"):
            raise InputError(f"{where}: {key} cannot be said in a study")
        if key in FIELDS:
            for value in study.values(key):
                _check_type(key, value, types[key], where)
    _check_conditions(study, where)
    for key in ("workload", "hardware"):
        rows_lack = study.design == "list" and not all(key in row for row in study.rows)
        if key not in study.base and (key not in study.varied or rows_lack):
            raise InputError(f"{where}: {key} is missing: give it in [base] or let it vary")
    keys = (*study.base, *study.varied)
    if {"prompt", "context"} <= set(keys) and study.design != "list":
        raise InputError(f"{where}: prompt and context: a run has one of them")


def _check_conditions(study: Study, where: str) -> None:
    keys = (*study.base, *study.varied)
    for condition in study.where:
        if condition.left not in keys:
            near = nearest(condition.left, keys)
            raise InputError(
                f"{where}: where {shown(condition.text)}: {condition.left!r} is no key of this "
                f"study{near}; it has {', '.join(keys)}"
            )


_TYPES: dict[str, type] = {"int": int, "float": float, "str": str, "bool": bool}
_WORDS = {"int": "a whole number", "float": "a number", "str": "a text", "bool": "true or false"}


def _check_type(key: str, value: Value, annotation: str, where: str) -> None:
    """`annotation` of the field: plain types, None, or the name of a choice among texts."""
    from workloads.choose import Sampling
    from workloads.transforms.loading import Origin

    choices = {"Sampling": get_args(Sampling), "Origin": get_args(Origin)}
    names = [name.strip() for name in annotation.split("|") if name.strip() != "None"]
    for name in names:
        if name in choices and value not in choices[name]:
            raise InputError(
                f"{where}: {key} = {shown(str(value))}: expected {', '.join(choices[name])}"
                f"{nearest(str(value), choices[name])}"
            )
    kinds = {_TYPES.get(name, str) for name in names}
    kinds |= {int} if float in kinds else set()
    if type(value) not in kinds:
        expected = " or ".join(_WORDS.get(name, "a text") for name in names)
        raise InputError(f"{where}: {key} = {shown(str(value))}: expected {expected}")
