"""Shipped calibrations: kernel classes fitted to a few measured cases of one machine and library."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError

from hardware_profiles.errors import ProfileError
from hardware_profiles.schema import KernelClass, KernelName, Sourced, Table

FOLDER = Path(__file__).parent / "calibrations"
_MAX_BYTES = 2**20

Quantiles = tuple[float, float, float]


class Residuals(Table):
    """log(predicted / measured) of the cases that were not fitted: 10 %, 50 % and 90 % points.

    `up_to_us`: of those measured below so many microseconds (none: all the longer ones).
    """

    up_to_us: Annotated[float, Field(gt=0)] | None = None
    cases: Annotated[int, Field(ge=1)]
    log_quantiles: Quantiles


class Calibration(Sourced):
    """One kernel class on one machine with one library, for operands of so many bits.

    `fitted`: identifiers of the cases that it was fitted to; `held_out`: how many were left;
    `error`: mean absolute relative error on those, or on the fitted ones where none was left.
    """

    kernel: KernelName
    library: str
    bits: tuple[int, ...]
    date: str
    fitted: tuple[str, ...]
    held_out: Annotated[int, Field(ge=0)]
    error: Annotated[float, Field(ge=0)]
    not_identified: tuple[str, ...] = ()
    residuals: tuple[Residuals, ...] = ()
    parameters: KernelClass


class CalibrationFile(Table):
    """All calibrations of a machine."""

    machine: str
    kernels: str | None = None
    """The machine's generation, whose other machines use these where they have none."""
    calibration: tuple[Calibration, ...]


def read_calibrations(path: Path) -> CalibrationFile:
    """A calibration file, checked. Raises ProfileError with one line that names file and key."""
    if not path.is_file():
        raise ProfileError(f"{path}: no such file of calibrations")
    if path.stat().st_size > _MAX_BYTES:
        raise ProfileError(f"{path}: larger than {_MAX_BYTES >> 20} MiB")
    try:
        table: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
        for entry in table.get("calibration", []):
            entry.setdefault("parameters", {}).setdefault("source", entry.get("source"))
        return CalibrationFile.model_validate(table)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise ProfileError(f"{path}: {key}: {first['msg']} (got {first['input']!r})") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, AttributeError) as error:
        raise ProfileError(f"{path}: not a valid file of calibrations: {error}") from error


@cache
def shipped() -> Mapping[str, CalibrationFile]:
    """The shipped calibrations by machine."""
    found = (read_calibrations(path) for path in sorted(FOLDER.glob("*.toml")))
    return {file.machine: file for file in found}


def calibration_of(
    machine: str, generation: str | None, name: KernelName, bits: int, library: str = ""
) -> Calibration | None:
    """The calibration that serves a kernel class best; None where there is none.

    The machine's own before those of its generation; of the library asked for before any other,
    and in the order of the file; for operands of so many bits only.
    """
    own = shipped().get(machine)
    files = [own] if own is not None else []
    if generation is not None:
        files += [
            f for key, f in shipped().items() if f.kernels == generation and key != machine
        ]
    fitting = [
        entry
        for file in files
        for entry in file.calibration
        if entry.kernel == name and bits in entry.bits
    ]
    return min(fitting, key=lambda entry: entry.library != library, default=None)
