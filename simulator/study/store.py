"""Results on disk: a journal that grows while a study runs, and the file of results at its end."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TextIO

from simulator.output import whole_file
from simulator.study.bench import FAULT
from simulator.study.columns import NUMBERS
from workloads.errors import InputError, shown

if TYPE_CHECKING:
    import pandas as pd

SCHEMA = 1
"""Of the columns; one more whenever one changes its name or its meaning."""

KINDS = (".parquet", ".csv", ".jsonl")
_MARK = "moments_schema"


class Journal:
    """Figures by key, one JSON text a line, appended as they come.

    What an interrupted study has found is there when the file is opened again; a last line that was
    cut off is dropped. Beside the results, under their name and ".journal".
    """

    def __init__(self, results: Path) -> None:
        self.path = results.with_name(results.name + ".journal")
        self.known: dict[str, dict[str, Any]] = {}
        self._file: TextIO | None = None

    def __enter__(self) -> Journal:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.touch()
            self._file = self.path.open("r+", encoding="utf-8")
        except OSError as error:
            raise InputError(f"{self.path}: cannot be written: {error.strerror}") from None
        try:
            self._lock()
            end = self._read()
            self._file.seek(end)
            self._file.truncate()
            if not end:
                self._write([json.dumps({_MARK: SCHEMA})])
        except BaseException:
            self._file.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._file is not None:
            self._file.close()

    def add(self, found: Sequence[tuple[str, dict[str, Any]]]) -> None:
        """Keep figures, on disk when this returns; faults are kept for this time only."""
        self.known.update(found)
        lasting = [pair for pair in found if not str(pair[1]["error"]).startswith(FAULT)]
        self._write([json.dumps({"key": key, "figures": figures}) for key, figures in lasting])

    def _write(self, lines: Iterable[str]) -> None:
        if self._file is None:
            raise RuntimeError("the journal is not open")
        self._file.write("".join(line + "\n" for line in lines))
        self._file.flush()
        os.fsync(self._file.fileno())

    def _lock(self) -> None:
        """Two studies must not write one journal; where the system has no locks, nothing."""
        try:
            import fcntl
        except ImportError:
            return
        if self._file is not None:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise InputError(f"{self.path}: another study is writing it") from None

    def _read(self) -> int:
        """Take in what is there; how many bytes of it are whole lines."""
        end = 0
        try:
            with self.path.open("rb") as file:
                for number, line in enumerate(file):
                    if not line.endswith(b"\n"):
                        break
                    self._take(number, json.loads(line))
                    end += len(line)
        except (OSError, ValueError, KeyError, TypeError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(
                f"{self.path}: is not a journal of a study ({error}); move it away to begin anew"
            ) from None
        return end

    def _take(self, number: int, entry: dict[str, Any]) -> None:
        if number:
            self.known[entry["key"]] = entry["figures"]
        elif entry[_MARK] != SCHEMA:
            raise InputError(_other_schema(self.path, entry[_MARK]))


def check_results(path: str | Path) -> Path:
    """`path`, where results may be written: a known kind, not over a file that is no results."""
    from simulator.output import check_target

    target = check_target(path)
    if target.suffix not in KINDS:
        raise InputError(f"{target}: expected a file that ends in {', '.join(KINDS)}")
    if target.suffix == ".parquet":
        _need_pyarrow(target)
    if target.exists():
        read_results(target)
    return target


def write_results(path: Path, columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
    """Replace the file of results in one step; the schema's number is a column."""
    import pandas as pd

    table = pd.DataFrame.from_records(rows, columns=list(columns))
    for name in table.columns:
        if name in NUMBERS and table[name].isna().any():
            table[name] = table[name].astype(float)
        kinds = {type(value) for value in table[name] if value is not None}
        if not kinds <= {int, float} and len(kinds) > 1:  # a parquet column has one type
            table[name] = [None if value is None else str(value) for value in table[name]]
    table[_MARK] = SCHEMA
    with whole_file(path) as temporary:
        if path.suffix == ".parquet":
            table.to_parquet(temporary, index=False)
        elif path.suffix == ".csv":
            table.to_csv(temporary, index=False)
        else:
            table.to_json(temporary, orient="records", lines=True)


def read_results(path: str | Path) -> pd.DataFrame:
    """The table of a study's results, one row a point; see simulator.study.bench.FIGURES.

    InputError: not there, not such a file, or one with another schema.
    """
    import pandas as pd

    path = Path(path)
    if path.suffix not in KINDS:
        raise InputError(f"{path}: expected results of a study, in {', '.join(KINDS)}")
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        if path.suffix == ".parquet":
            _need_pyarrow(path)
            table = pd.read_parquet(path)
        elif path.suffix == ".csv":
            table = pd.read_csv(path, low_memory=False)
        else:
            table = pd.read_json(path, orient="records", lines=True)
    except (ValueError, OSError, pd.errors.ParserError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: cannot be read as results of a study: {error}") from None
    if _MARK not in table.columns:
        raise InputError(f"{path}: holds no results of a study; choose another name for the output")
    for schema in table[_MARK].unique():
        if schema != SCHEMA:
            raise InputError(_other_schema(path, schema))
    return table.drop(columns=_MARK)


def _other_schema(path: Path, schema: object) -> str:
    return (
        f"{path}: is of schema {shown(str(schema))}, this version writes {SCHEMA}; move it and its "
        "journal away and run the study again"
    )


def _need_pyarrow(path: Path) -> None:
    from importlib.util import find_spec

    if find_spec("pyarrow") is None:
        raise InputError(
            f"{path}: parquet needs pyarrow: pip install 'transformer-moments[study]', or write "
            ".csv or .jsonl"
        )
