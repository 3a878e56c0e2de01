"""Makes the shipped figures of kernels again from public measurements: `make calibrations`.

Writes hardware_profiles/kernels/gpu.toml (what to expect of any GPU, and again without each die)
and hardware_profiles/calibrations/MACHINE.toml, which is what `moments calibrate` writes.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from hardware_profiles import ProfileError, load_profile
from hardware_profiles.calibrations import FOLDER as CALIBRATIONS
from hardware_profiles.expected import FOLDER as KERNELS
from hardware_profiles.expected import die_of
from hardware_profiles.loader import dump_tables
from simulator.calibrate import calibrate_cases
from simulator.calibrate.cases import single_operators
from simulator.calibrate.observe import Observation, observations
from simulator.calibrate.zero_shot import CASES_A_STACK, NOT_LEARNT, all_expected
from simulator.cases import Case, read_cases
from simulator.output import whole_file
from workloads import InputError

_LEAST_CASES = 50
"""Machines with fewer cases get no file."""


def expected_toml(seen: list[Observation]) -> str:
    """kernels/gpu.toml from the observations of all measured GPUs."""
    note = (
        "fitted to the public operator cases of all measured GPUs since Volta, at most "
        f"{CASES_A_STACK} of each machine, library and width"
    )
    dies = sorted({die_of(one.profile).die for one in seen} - {"", *NOT_LEARNT})
    without: dict[str, Any] = {}
    for die in dies:
        print(f"expected kernels without {die}", file=sys.stderr)
        without[die] = _sourced(all_expected(seen, without=die), f"{note}, but none of {die}")
    tables = {"all": _sourced(all_expected(seen), note), "without": without}
    return f"# What to expect of any GPU; see hardware_profiles/expected.py.\n{dump_tables(tables)}"


def _sourced(found: dict[str, dict[str, float]], note: str) -> dict[str, Any]:
    return {name: {**values, "source": note} for name, values in found.items()}


def write_expected(cases: dict[str, list[Case]]) -> None:
    """Fit what to expect of any GPU and write it."""
    seen: list[Observation] = []
    for machine, own in cases.items():
        seen += observations(single_operators(own), load_profile(machine))[0]
    _write(KERNELS / "gpu.toml", expected_toml(seen))


def write_calibrations(cases: dict[str, list[Case]]) -> None:
    """Calibrate every GPU with cases enough and write its file."""
    for machine, own in cases.items():
        if len(own) >= _LEAST_CASES:
            try:
                found = calibrate_cases(own, load_profile(machine))
            except InputError as error:
                print(error, file=sys.stderr)
                continue
            _write(CALIBRATIONS / f"{machine}.toml", found.toml())


def _write(path: Path, text: str) -> None:
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    print(f"wrote {path}", file=sys.stderr)


def gpu_cases(path: str) -> dict[str, list[Case]]:
    """The cases of each GPU with a profile, by machine, in the order of their names."""
    found: dict[str, list[Case]] = {}
    for case in read_cases(path):
        found.setdefault(case.hardware, []).append(case)
    kept = {}
    for machine in sorted(found):
        try:
            if load_profile(machine).kind == "gpu":
                kept[machine] = found[machine]
        except ProfileError as error:
            print(error, file=sys.stderr)
    return kept


if __name__ == "__main__":
    by_machine = gpu_cases(sys.argv[1])
    if "--calibrations-only" not in sys.argv[2:]:
        write_expected(by_machine)
    write_calibrations(by_machine)
