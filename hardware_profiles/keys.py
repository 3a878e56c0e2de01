"""Keys of a table and what they hold, by walking its schema: units, counts, choices."""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel

from hardware_profiles.units import Unit

_ABOUT = ("name", "title", "kind", "notes", "source", "what")
"""Keys that say what a table is about; no figure and no choice."""


@dataclass(frozen=True)
class Leaf:
    """What one key holds: a quantity in `unit`, or a value of `base` (int, float, bool, str)."""

    base: type
    unit: str | None = None
    choices: tuple[str, ...] = ()

    @property
    def is_number(self) -> bool:
        return self.base in (int, float)


def find(table: type[BaseModel], path: tuple[str, ...], value: object) -> Leaf | None:
    """What the key at `path` of such a table holds; None where there is no such key.

    `value`: the table itself (or None). Entries of a mapping of figures may be new, as a dtype of a
    width; entries of a mapping of tables must be there, as a memory level.
    """
    head, rest = path[0], path[1:]
    name = field_names(table).get(head)
    if name is None or head in _ABOUT:
        return None
    return _within(_type_of(table, name), rest, getattr(value, name, None))


def leaf_at(table: type[BaseModel], path: tuple[str, ...], value: object) -> Leaf:
    """As `find`, for a path that is known to be one; KeyError where it is not."""
    leaf = find(table, path, value)
    if leaf is None:
        raise KeyError(".".join(path))
    return leaf


def leaves(table: type[BaseModel], value: object) -> Iterator[tuple[str, ...]]:
    """The paths of all keys of `value` that `find` knows, those without a value included."""
    for name, field in table.model_fields.items():
        key = field.alias or name
        if key not in _ABOUT:
            inner = getattr(value, name, None)
            for rest in _below(_type_of(table, name), inner):
                yield (key, *rest)


def get(value: object, path: tuple[str, ...]) -> Any:
    """The value at `path`, None where there is none."""
    for part in path:
        if isinstance(value, Mapping):
            value = value.get(part)
        elif isinstance(value, BaseModel):
            name = field_names(type(value)).get(part)
            value = None if name is None else getattr(value, name)
        else:
            return None
    return value


def put(value: Any, path: tuple[str, ...], new: object, table: type[BaseModel]) -> Any:
    """`value`, a `table`, with `new` at `path`; not validated. A table that is missing is made."""
    name = field_names(table).get(path[0])
    if name is None:
        raise KeyError(".".join(path))
    kind = _type_of(table, name)
    if value is None:
        value = table.model_construct(source="given by hand for a what-if")
    changed = _put_within(getattr(value, name, None), kind, path[1:], new)
    return value.model_copy(update={name: changed})


def _put_within(value: Any, kind: _Type, path: tuple[str, ...], new: object) -> Any:
    if not path:
        return new
    if kind.table is not None:
        return put(value, path, new, kind.table)
    if kind.values is None:
        raise KeyError(".".join(path))
    entries = dict(value or {})
    entries[path[0]] = _put_within(entries.get(path[0]), kind.values, path[1:], new)
    return entries


@cache
def field_names(table: type[BaseModel]) -> Mapping[str, str]:
    """Names of fields by what files call them."""
    return {field.alias or name: name for name, field in table.model_fields.items()}


@cache
def _type_of(table: type[BaseModel], name: str) -> _Type:
    field = table.model_fields[name]
    return _Type.of(field.annotation, field.metadata)


@dataclass(frozen=True)
class _Type:
    """An annotation taken apart: a table, a mapping to `values`, or a leaf."""

    table: type[BaseModel] | None = None
    values: _Type | None = None
    leaf: Leaf | None = None

    @staticmethod
    def of(annotation: Any, metadata: Any = ()) -> _Type:
        unit = next((m.name for m in metadata if isinstance(m, Unit)), None)
        while True:
            more = getattr(annotation, "__metadata__", ())
            unit = unit or next((m.name for m in more if isinstance(m, Unit)), None)
            origin, arguments = get_origin(annotation), get_args(annotation)
            if origin in (Union, types.UnionType):
                annotation = next(a for a in arguments if a is not type(None))
            elif more:
                annotation = annotation.__origin__
            else:
                break
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            return _Type(table=annotation)
        if origin is Literal:
            return _Type(leaf=Leaf(str, choices=tuple(map(str, arguments))))
        if isinstance(origin, type) and issubclass(origin, Mapping):
            return _Type(values=_Type.of(arguments[1]))
        base = annotation if annotation in (int, float, bool, str) else None
        return _Type(leaf=Leaf(base, unit) if base is not None else None)


def _within(kind: _Type, path: tuple[str, ...], value: object) -> Leaf | None:
    if not path:
        return kind.leaf
    if kind.table is not None:
        return find(kind.table, path, value)
    if kind.values is None:
        return None
    entry = value.get(path[0]) if isinstance(value, Mapping) else None
    if entry is None and kind.values.leaf is None:
        return None
    return _within(kind.values, path[1:], entry)


def _below(kind: _Type, value: object) -> Iterator[tuple[str, ...]]:
    if kind.table is not None:
        yield from leaves(kind.table, value)
    elif kind.values is not None and isinstance(value, Mapping):
        for key, entry in value.items():
            yield from ((str(key), *rest) for rest in _below(kind.values, entry))
    elif kind.leaf is not None:
        yield ()
