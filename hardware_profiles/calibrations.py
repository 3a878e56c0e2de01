"""Shipped calibrations: kernels fitted to a few measured cases of one machine and library."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from pydantic import ValidationError

from hardware_profiles.errors import ProfileError
from hardware_profiles.schema import Calibration, KernelName, Profile
from hardware_profiles.tables import Table

FOLDER = Path(__file__).parent / "calibrations"


class CalibrationFile(Table):
    """What `moments calibrate` writes: a profile that extends the machine by its calibrations."""

    extends: str
    name: str
    title: str
    kernels: str | None = None
    calibration: Mapping[str, Calibration]


def read_calibrations(path: Path) -> CalibrationFile:
    """A shipped calibration file. Raises ProfileError with one line that names file and key."""
    try:
        return CalibrationFile.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise ProfileError(f"{path.name}: {key}: {first['msg']}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ProfileError(f"{path.name}: not valid TOML: {error}") from error


@cache
def shipped() -> Mapping[str, CalibrationFile]:
    """The shipped calibrations by machine."""
    found = (read_calibrations(path) for path in sorted(FOLDER.glob("*.toml")))
    return {file.extends: file for file in found}


def calibration_of(
    profile: Profile, name: KernelName, bits: int, library: str = ""
) -> Calibration | None:
    """The calibration that serves a kernel class best; None where there is none.

    The profile's own tables before those shipped for the machine, before those of machines of its
    generation; among these the library asked for, then the one with the most cases.
    """
    own = shipped().get(profile.name)
    tiers = [[profile.calibration], [] if own is None else [own.calibration]]
    if profile.kernels is not None:
        files = shipped().items()
        tiers.append([f.calibration for key, f in files if f.kernels == profile.kernels])
    for tier in tiers:
        fitting = [
            entry
            for tables in tier
            for entry in tables.values()
            if entry.kernel == name and entry.bits == bits
        ]
        if fitting:
            return max(fitting, key=lambda entry: (entry.library == library, entry.held_out))
    return None
