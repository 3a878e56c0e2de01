"""Another tool's predictions of the same cases, beside ours."""

from __future__ import annotations

import csv
import gzip
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from simulator.compare import statistics
from workloads.errors import InputError, nearest, shown

if TYPE_CHECKING:
    from rich.table import Table

    from simulator.compare import Comparison, Predicted, Statistics

_MAX_BYTES = 256 * 2**20
_MAX_ROWS = 2_000_000
_COLUMNS = ("case_id", "predicted_us")
_TIE = 1e-9


def read_predictions(path: str | Path) -> dict[str, float]:
    """Microseconds by case from a CSV or CSV.gz with the columns case_id and predicted_us.

    Further columns are ignored. InputError: no such file, too large, not text, a column is missing,
    a case given twice, or a time that is no number above 0, with its line.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file; expected a CSV with case_id and predicted_us")
    if path.stat().st_size > _MAX_BYTES:
        raise InputError(f"{path}: larger than {_MAX_BYTES >> 20} MiB")
    try:
        with (
            gzip.open(path, "rt", encoding="utf-8", newline="")
            if path.suffix == ".gz"
            else (path.open(encoding="utf-8", newline="")) as stream
        ):
            reader = csv.DictReader(stream)
            header = list(reader.fieldnames or [])
            for name in _COLUMNS:
                if name not in header:
                    raise InputError(
                        f"{path}: line 1: column {name!r} is missing{nearest(name, header)} "
                        f"(header: {header[:6]})"
                    )
            return dict(_rows(path, reader))
    except (UnicodeDecodeError, OSError, EOFError, csv.Error) as error:
        raise InputError(f"{path}: cannot be read as CSV text: {error}") from error


def _rows(path: Path, reader: csv.DictReader[str]) -> Iterator[tuple[str, float]]:
    seen: set[str] = set()
    for count, row in enumerate(reader):
        where = f"{path}: line {reader.line_num}"
        if count >= _MAX_ROWS:
            raise InputError(f"{where}: more than {_MAX_ROWS} rows")
        name, text = row["case_id"], row["predicted_us"]
        if name in seen:
            raise InputError(f"{where}: case_id {shown(name)} is given twice")
        seen.add(name)
        try:
            value = float(text)
        except (TypeError, ValueError):
            value = math.nan
        if not 0 < value < math.inf:
            raise InputError(f"{where}: predicted_us = {shown(text)}: expected a time above 0")
        yield name, value


@dataclass(frozen=True)
class Duel:
    """Errors of both on the same cases; whoever is nearer to the measurement wins a case."""

    ours: Statistics
    theirs: Statistics
    wins: int
    losses: int

    def as_dict(self) -> dict[str, Any]:
        return {
            "ours": self.ours.as_dict(),
            "theirs": self.theirs.as_dict(),
            "wins": self.wins,
            "losses": self.losses,
        }


@dataclass(frozen=True)
class Against:
    """Two sets of predictions of the same measured cases.

    `missing`: cases that we predict and the other does not; `unknown`: cases of the other that are
    not among ours (not in the file, skipped, or used for a fit of ours).
    """

    name: str
    common: Sequence[tuple[Predicted, float]]
    missing: Sequence[str]
    unknown: Sequence[str]

    def groups(self) -> list[tuple[str, Duel]]:
        """By operator or phase, and over all ("*")."""
        found: dict[str, list[tuple[Predicted, float]]] = {}
        for pair in self.common:
            found.setdefault(pair[0].case.what, []).append(pair)
        rows = [(what, _duel(pairs)) for what, pairs in sorted(found.items())]
        return [*rows, ("*", _duel(self.common))]

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "groups": [{"what": what, **duel.as_dict()} for what, duel in self.groups()],
            "cases": [
                {
                    "case_id": p.case.case_id,
                    "measured_us": p.case.measured_us,
                    "predicted_us": p.predicted_us,
                    "other_us": other,
                }
                for p, other in self.common
            ],
            "missing": list(self.missing),
            "unknown": list(self.unknown),
        }

    def remarks(self) -> list[str]:
        """A line each for cases that only one side has, with the first ids."""
        both = (
            (self.missing, f"predicted here, not in {self.name}"),
            (self.unknown, f"in {self.name}, not among the tested cases here"),
        )
        return [f"{len(ids)} cases {text}: {_some(ids)}" for ids, text in both if ids]


def against(comparison: Comparison, others: Mapping[str, float], name: str) -> Against:
    """Our tested cases beside predictions by case_id; InputError where they share no case."""
    tested = comparison.tested
    common = [(p, others[p.case.case_id]) for p in tested if p.case.case_id in others]
    if not common:
        raise InputError(
            f"{name}: none of its {len(others):,} case_ids is among the {len(tested):,} cases that "
            "are predicted here; is it for another case file?"
        )
    ours = {p.case.case_id for p in tested}
    return Against(
        name,
        common,
        [p.case.case_id for p in tested if p.case.case_id not in others],
        [case_id for case_id in others if case_id not in ours],
    )


def _duel(pairs: Sequence[tuple[Predicted, float]]) -> Duel:
    ours = [p.error for p, _ in pairs]
    theirs = [other / p.case.measured_us - 1 for p, other in pairs]
    nearer = [abs(b) - abs(a) for a, b in zip(ours, theirs, strict=True)]
    wins = sum(gap > _TIE for gap in nearer)
    losses = sum(gap < -_TIE for gap in nearer)
    return Duel(statistics(ours), statistics(theirs), wins, losses)


def _some(ids: Sequence[str], most: int = 5) -> str:
    more = f" and {len(ids) - most} more" if len(ids) > most else ""
    return ", ".join(name[:40] for name in ids[:most]) + more


def against_table(found: Against) -> Table:
    """Errors of both in percent and how often each is nearer, by operator or phase."""
    from rich.table import Table

    result = Table(title=f"Here against {found.name}: the same cases")
    result.add_column("operator or phase")
    for heading in (
        "cases", "mean %", "theirs", "median %", "theirs", "bias %", "theirs", "wins", "losses"
    ):  # fmt: skip
        result.add_column(heading, justify="right")
    for what, duel in found.groups():
        a, b = duel.ours, duel.theirs
        figures = (a.mape, b.mape, a.median_ape, b.median_ape)
        result.add_row(
            what, f"{a.n:,}", *(f"{100 * x:.1f}" for x in figures),
            f"{100 * a.bias:+.1f}", f"{100 * b.bias:+.1f}", f"{duel.wins:,}", f"{duel.losses:,}",
        )  # fmt: skip
    return result
