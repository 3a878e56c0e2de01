"""Reading of traces, which are strangers' data: bounded, event by event, one clear error each."""

from __future__ import annotations

import gzip
import json
import math
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeGuard

from workloads.errors import InputError, shown

MAX_BYTES = 512 * 2**20
MAX_EVENTS = 5_000_000
_SPACE = re.compile(r"[ \t\r\n]*")
_EVENTS = re.compile(r'"traceEvents"\s*:\s*\[')
_FORMATS = "a trace of torch.profiler or ONNX Runtime, or the output of llama-bench -o json"


def read_events(path: str | Path) -> Iterator[dict[str, Any]]:
    """The objects of the list at the top, or of that under "traceEvents", of a .json or .json.gz.

    One at a time, so that memory holds the text and what the caller keeps. What follows the list
    is not read. InputError: no such file, larger than 512 MiB (unpacked, too), not UTF-8, no such
    list, broken, cut off or too deeply nested JSON, or more than 5 million events.
    """
    path = Path(path)
    text = _text(path)
    start = _SPACE.match(text, 0).end()  # type: ignore[union-attr]
    if text[start : start + 1] == "{":
        found = _EVENTS.search(text, start)
        if found is None:
            raise InputError(f'{path}: has no list "traceEvents"; expected {_FORMATS}')
        start = found.end() - 1
    if text[start : start + 1] != "[":
        raise InputError(
            f"{path}: starts with {shown(text[start : start + 20])}; expected {_FORMATS}"
        )
    return _objects(path, text, start + 1)


def _objects(path: Path, text: str, at: int) -> Iterator[dict[str, Any]]:
    decode = json.JSONDecoder().raw_decode
    for count in range(MAX_EVENTS + 1):
        at = _SPACE.match(text, at).end()  # type: ignore[union-attr]
        if text[at : at + 1] == "]":
            return
        if count:
            if text[at : at + 1] != ",":
                raise InputError(f"{path}: event {count}: the list is cut off or broken here")
            at = _SPACE.match(text, at + 1).end()  # type: ignore[union-attr]
        try:
            event, at = decode(text, at)
        except RecursionError:
            raise InputError(f"{path}: event {count}: nested too deeply to be a trace") from None
        except ValueError as error:
            raise InputError(f"{path}: event {count}: not valid JSON: {error}") from None
        if not isinstance(event, dict):
            raise InputError(f"{path}: event {count}: expected an object, found {shown(event)}")
        yield event
    raise InputError(f"{path}: more than {MAX_EVENTS:,} events; profile a single pass")


def _text(path: Path) -> str:
    if not path.is_file():
        raise InputError(f"{path}: {'is not a file' if path.exists() else 'there is no such file'}")
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path}: cannot be read: {error}") from None
    if len(data) > MAX_BYTES:
        raise InputError(f"{path}: larger than {MAX_BYTES >> 20} MiB; profile a single pass")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text (byte {error.start})") from None


def span_ns(path: str | Path, event: dict[str, Any]) -> tuple[int, int]:
    """Start and duration of a complete event, whose "ts" and "dur" are microseconds."""
    start, duration = (_microseconds(path, event, key) for key in ("ts", "dur"))
    return round(start * 1000), round((start + duration) * 1000) - round(start * 1000)


def _microseconds(path: str | Path, event: dict[str, Any], key: str) -> float:
    value = event.get(key)
    if not is_number(value) or abs(value) > 1e15 or (key == "dur" and value < 0):
        name = shown(event.get("name"))
        raise InputError(f"{path}: event {name}: {key} = {shown(value)}: expected microseconds")
    return value


def is_number(value: object) -> TypeGuard[float]:
    """Whether it is a finite number; true and false are none."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and math.isfinite(value)  # type: ignore[arg-type]


def dims_lists(value: object) -> list[list[int]]:
    """Shapes of inputs as lists of whole numbers; what is something else is an empty shape."""
    if not isinstance(value, list):
        return []
    return [_dims(item) for item in value]


def _dims(value: object) -> list[int]:
    if not isinstance(value, list):
        return []
    fine = all(isinstance(v, int) and not isinstance(v, bool) and 0 <= v < 2**48 for v in value)
    return list(value) if fine else []
