"""Finds figures of a profile that cannot be, or hardly: recomputed peaks, slips of units, order."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hardware_profiles.lint_checks import Doubt, doubts
from hardware_profiles.loader import dotted, read_tables, reason

_PROBLEM = re.compile(r"^(?P<key>[\w.]+) = (?P<value>'[^']*'|\S+?),? (?P<rest>.*)$")
_ESTIMATED = ("estimated", "assumed")


@dataclass(frozen=True)
class Finding:
    """One figure in doubt: where it stands, what it says, what was expected, the likely slip."""

    file: str
    key: str
    value: str
    expected: str
    slip: str


@dataclass(frozen=True)
class Report:
    """What was found in one profile. `estimated`: tables whose source says so, of `tables`."""

    name: str
    findings: tuple[Finding, ...]
    estimated: int
    tables: int


def lint(name_or_path: str | Path) -> Report:
    """Check the profile of that bundled name or .toml file beyond what loading it checks.

    What loading would refuse is a finding here. ProfileError for a file that cannot be read at all,
    or is no TOML.
    """
    from pydantic import ValidationError

    from hardware_profiles.schema import Profile

    files, data = read_tables(name_or_path)
    try:
        found = [*_slips_of_units(data), *doubts(Profile.model_validate(data))]
    except ValidationError as error:
        found = list(_refused(error))
    sources = list(_sources(data, ()))
    found += [_vague(key, text) for key, text in sources if _is_vague(text)]
    return Report(
        name=str(data.get("name", files[0])),
        findings=tuple(Finding(files[0], *_cells(doubt)) for doubt in found),
        estimated=sum(any(word in text for word in _ESTIMATED) for _, text in sources),
        tables=len(sources),
    )


def _cells(doubt: Doubt) -> tuple[str, str, str, str]:
    return doubt.key, doubt.value, doubt.expected, doubt.slip


def _refused(error: Any) -> Iterator[Doubt]:
    """What validation says, taken apart into the columns of the table."""
    for detail in error.errors(include_url=False):
        location = tuple(str(part) for part in detail["loc"] if part != "[key]")
        text = reason(detail["type"], detail["msg"], detail["input"], location)
        value = detail["input"] if isinstance(detail["input"], str | int | float) else ""
        match = _PROBLEM.match(text) if not location else None
        key, value = (
            (match["key"], match["value"].strip("'")) if match else (dotted(location), value)
        )
        expected, _, slip = (match["rest"] if match else text).partition("; ")
        yield Doubt(key, str(value)[:60], expected, slip)


_VAGUE = re.compile(
    "a|and|by|data|datasheet|sheet|docs|documentation|estimated?|from|google|guess|https?|i|"
    "information|internet|known|manual|online|page|public|specs?|specifications?|table|tbd|the|"
    "todo|unknown|vendor|web|website|wikipedia|www"
)
"""Words that do not tell one document from another."""


def _sources(table: Mapping[str, Any], at: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """(key, text) of every source of nested tables."""
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from _sources(value, (*at, key))
        elif key == "source" and isinstance(value, str):
            yield dotted((*at, key)), value


def _is_vague(source: str) -> bool:
    """Whether nothing in it tells which document, or how it was estimated."""
    words = re.findall(r"[a-z0-9]+", source.lower())
    return len(source) < 12 or not [word for word in words if not _VAGUE.fullmatch(word)]


def _vague(key: str, source: str) -> Doubt:
    return Doubt(key, source[:60], "the document and the place in it, or how it was estimated", "")


def _slips_of_units(data: Mapping[str, Any]) -> Iterator[Doubt]:
    """Spellings that are read, but that nobody quotes the figure in."""
    memory = data["memory"]
    for name, level in memory.items():
        for key in ("bandwidth", "bandwidth_per_core"):
            text = level.get(key, "")
            if re.search(r"[KMGT]iB/s$", text):
                meant = text.replace("iB/s", "B/s").replace("KB", "kB")
                yield Doubt(
                    f"memory.{name}.{key}", text, meant, "bandwidths are quoted in powers of ten"
                )
