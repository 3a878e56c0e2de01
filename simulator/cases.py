"""Measured cases: CSV or CSV.gz rows of operators and of forward passes, read and checked."""

from __future__ import annotations

import csv
import gzip
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from workloads.errors import InputError, nearest, shown

_MAX_FILE_BYTES = 256 * 2**20
_MAX_ROWS = 2_000_000

COMMON = ("case_id", "hardware", "devices", "runtime", "dtype")
OPERATOR = (*COMMON, "op", "measured_us")
FORWARD = (*COMMON, "workload", "phase", "batch", "measured_ms")

OPERATOR_SIZES: Mapping[str, tuple[str, ...]] = {
    "matmul": ("batch", "m", "n", "k"),
    "attention": ("batch", "heads", "kv_heads", "head_dim", "q_len", "kv_len", "causal"),
    "layer_norm": ("m", "n"),
    "rms_norm": ("m", "n"),
    "softmax": ("m", "n"),
    "embedding": ("m", "n"),
    "gelu": ("elements",),
    "relu": ("elements",),
    "add": ("elements",),
    "multiply": ("elements",),
    "all_reduce": ("bytes",),
    "all_gather": ("bytes",),
    "reduce_scatter": ("bytes",),
    "all_to_all": ("bytes",),
    "send_recv": ("bytes",),
}
"""Operators that a case may name, and the columns that give their size."""

PHASES: Mapping[str, tuple[str, ...]] = {
    "prefill": ("prompt",),
    "decode": ("context",),
    "generate": ("prompt", "generate"),
    "decode_mean": ("prompt", "generate"),
}
"""Phases of a forward case, and the columns that give their lengths."""

_MAY_BE_ZERO = ("causal", "prompt", "context", "generate")


@dataclass(frozen=True, slots=True)
class Case:
    """One real measurement with everything needed to predict it.

    `what` is the operator or the phase, `workload` is empty for operators. `sizes` holds the
    columns that belong to it. `conditions` is everything else the source says. `spread`: largest
    over smallest time where the source gives the median of several (1: it does not).
    """

    case_id: str
    hardware: str
    devices: int
    runtime: str
    workload: str
    what: str
    dtype: str
    weight_dtype: str
    sizes: Mapping[str, int]
    measured_us: float
    source: str
    conditions: str
    spread: float = 1.0


def read_cases(path: str | Path) -> list[Case]:
    """Every case of a file; the header decides whether it holds operators or forward passes.

    Raises InputError for a file that is missing, too large or not text, a header that lacks
    columns, and a broken row, with its line number.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file; expected a CSV or CSV.gz file of measured cases")
    if path.stat().st_size > _MAX_FILE_BYTES:
        raise InputError(f"{path}: larger than {_MAX_FILE_BYTES >> 20} MiB")
    try:
        with _open(path) as stream:
            return list(_rows(path, stream))
    except (UnicodeDecodeError, OSError, EOFError) as error:
        raise InputError(f"{path}: cannot be read as CSV text: {error}") from error


def _open(path: Path) -> TextIO:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8", newline="")
    return path.open(encoding="utf-8", newline="")


def _rows(path: Path, stream: TextIO) -> Iterator[Case]:
    reader = csv.DictReader(stream, restkey="")
    header = reader.fieldnames or []
    needed = OPERATOR if "op" in header else FORWARD
    missing = [name for name in needed if name not in header]
    if missing:
        raise InputError(f"{path}: line 1: column {missing[0]!r} is missing (header: {header[:6]})")
    try:
        for count, row in enumerate(reader):
            where = f"{path}: line {reader.line_num}"
            if count >= _MAX_ROWS:
                raise InputError(f"{where}: more than {_MAX_ROWS} rows")
            if "" in row or None in row.values():
                raise InputError(f"{where}: expected {len(header)} columns")
            yield _case(where, row)
    except csv.Error as error:
        raise InputError(f"{path}: line {reader.line_num}: {error}") from error


def _case(where: str, row: Mapping[str, str]) -> Case:
    what = row["op"] if "op" in row else row["phase"]
    known = OPERATOR_SIZES if "op" in row else PHASES
    key = "op" if "op" in row else "phase"
    if what not in known:
        raise InputError(
            f"{where}: {key} = {shown(what)} is not one of {', '.join(known)}{nearest(what, known)}"
        )
    sizes = {name: _whole(where, row, name) for name in known[what]}
    if key == "phase":
        sizes["batch"] = _whole(where, row, "batch")
        for name in ("context", "tensor_parallel", "pipeline_parallel"):
            if row.get(name):
                sizes[name] = _whole(where, row, name)
    scale = ("measured_us", 1.0) if "op" in row else ("measured_ms", 1000.0)
    return Case(
        case_id=row["case_id"],
        hardware=row["hardware"],
        devices=_whole(where, row, "devices"),
        runtime=row["runtime"],
        workload=row.get("workload", ""),
        what=what,
        dtype=row["dtype"],
        weight_dtype=row.get("weight_dtype") or row["dtype"],
        sizes=sizes,
        measured_us=_measured(where, row, scale[0]) * scale[1],
        source=row.get("source", ""),
        conditions=row.get("conditions", ""),
        spread=_measured(where, row, "spread") if row.get("spread") else 1.0,
    )


def _whole(where: str, row: Mapping[str, str], name: str) -> int:
    text = row.get(name, "")
    low = 0 if name in _MAY_BE_ZERO else 1
    if not text.isascii() or not text.isdigit() or len(text) > 15 or int(text) < low:
        raise InputError(
            f"{where}: {name} = {shown(text)}: expected a whole number of at least {low}"
        )
    return int(text)


def _measured(where: str, row: Mapping[str, str], name: str) -> float:
    try:
        value = float(row[name])
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise InputError(f"{where}: {name} = {shown(row[name])}: expected a time above 0")
    return value


def read_workload_table(path: str | Path) -> dict[str, dict[str, Any]]:
    """Architectures by name from a workloads.json; InputError where it is not a table of tables."""
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file; expected a JSON table of workloads")
    if path.stat().st_size > 2**24:
        raise InputError(f"{path}: larger than 16 MiB")
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not valid JSON: {error}") from error
    if not isinstance(table, dict) or not all(isinstance(v, dict) for v in table.values()):
        raise InputError(f"{path}: expected a JSON table of workloads, each a table of numbers")
    return table
