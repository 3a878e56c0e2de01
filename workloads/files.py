"""Reading of what users hand in: bounded, and every failure one clear InputError."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

from workloads.errors import InputError, shown

MAX_BYTES = 1 << 20  # a model's config is a few KiB


def read_table(path: Path, limit: int = MAX_BYTES) -> dict[str, Any]:
    """The table in a .json or .toml file of at most `limit` bytes, 1 MiB where nothing is said.

    InputError: not a readable file, too large, not UTF-8, broken or too deeply nested JSON or
    TOML, NaN or infinity, a key given twice, not a table at the top.
    """
    text = _read_text(path, limit)
    try:
        table = tomllib.loads(text) if path.suffix == ".toml" else _parse_json(text)
    except RecursionError:
        raise InputError(f"{path}: nested too deeply to be a model's config") from None
    except ValueError as error:
        kind = "TOML" if path.suffix == ".toml" else "JSON"
        raise InputError(f"{path}: not valid {kind}: {error}") from None
    if not isinstance(table, dict):
        raise InputError(f"{path}: expected a table of keys and values, found {shown(table)}")
    return table


def _read_text(path: Path, limit: int) -> str:
    try:
        problem = ""
        if not path.is_file():  # a device or a pipe might never end
            problem = "is not a file" if path.exists() else "there is no such file"
        else:
            with path.open("rb") as file:
                data = file.read(limit + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        problem = f"cannot be read ({error})"
    if problem:
        raise InputError(f"{shown(str(path), limit=200)[1:-1]}: {problem}")
    if len(data) > limit:
        raise InputError(
            f"{path}: larger than {limit} bytes; is it the weights instead of config.json?"
        )
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text (byte {error.start})") from None


def _parse_json(text: str) -> object:
    def refuse(constant: str) -> object:
        raise ValueError(f"{constant} is not a number that a config can hold")

    def unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
        table: dict[str, object] = {}
        for key, value in pairs:
            if key in table:
                raise ValueError(f"the key {shown(key)} is given twice")
            table[key] = value
        return table

    return json.loads(text, parse_constant=refuse, object_pairs_hook=unique)
