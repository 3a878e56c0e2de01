"""Shipped calibrations: few cases, honest residuals, and which one serves a machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from hardware_profiles import ProfileError, load_profile
from hardware_profiles.calibrations import calibration_of, read_calibrations, shipped
from hardware_profiles.schema import Calibration, Profile
from simulator.calibrate.design import CASES_A_KIND

ENTRIES = [
    pytest.param(machine, key, id=f"{machine}-{key}")
    for machine, file in shipped().items()
    for key in file.calibration
]


@pytest.mark.parametrize(("machine", "key"), ENTRIES)
def test_a_shipped_calibration(machine: str, key: str) -> None:
    entry = shipped()[machine].calibration[key]
    assert load_profile(machine).kernels == shipped()[machine].kernels
    assert 0 < len(set(entry.fitted)) == len(entry.fitted) <= CASES_A_KIND
    assert machine in entry.source
    rows = (entry.residual_q10, entry.residual_q50, entry.residual_q90)
    assert {len(row) for row in rows} == {len(entry.residual_up_to_us) + 1}
    assert all(low <= middle <= high for low, middle, high in zip(*rows, strict=True))
    assert list(entry.residual_up_to_us) == sorted(set(entry.residual_up_to_us))


def made_up(name: str, library: str, held_out: int, **more: object) -> Calibration:
    table = {
        "kernel": name, "library": library, "bits": 16, "date": "2020-01-01", "fitted": ["x"],
        "held_out": held_out, "error": 0.1, "latency": "1 us", "arithmetic": 0.5,
        "bandwidth": 0.5, "source": "made up for a test",
    }  # fmt: skip
    return Calibration.model_validate(table | more)


def extended(profile: Profile, **calibration: Calibration) -> Profile:
    return profile.model_copy(update={"calibration": calibration})


def test_which_calibration_serves() -> None:
    a100 = load_profile("nvidia-a100-sxm4-80gb")
    vidur = calibration_of(a100, "matmul", 16, "vidur")
    other = calibration_of(a100, "matmul", 16, "no such library")
    assert vidur is not None
    assert other is not None
    assert (vidur.library, other.library) == ("vidur", "aiconfigurator-core")  # most cases
    assert calibration_of(a100, "matmul", 8) is None
    # a sibling of the die lends what the machine has not
    pcie = calibration_of(load_profile("nvidia-a100-pcie-80gb"), "matmul", 16)
    assert pcie is not None
    assert "nvidia-a100-sxm4-80gb" in pcie.source
    assert calibration_of(load_profile("amd-mi300x"), "matmul", 16) is None


def test_the_profiles_own_come_first() -> None:
    a100 = load_profile("nvidia-a100-sxm4-80gb")
    mine = made_up("matmul", "mine", 0)
    assert calibration_of(extended(a100, x=mine), "matmul", 16, "vidur") == mine
    wide = made_up("matmul", "mine", 0, bits=32)
    assert calibration_of(extended(a100, x=wide), "matmul", 16, "vidur") != wide


def test_a_broken_file_names_file_and_key(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text('extends = "a"\nname = "b"\n', encoding="utf-8")
    with pytest.raises(ProfileError, match=r"x\.toml: title: Field required"):
        read_calibrations(path)
    path.write_text("extends = ", encoding="utf-8")
    with pytest.raises(ProfileError, match=r"x\.toml: not valid TOML"):
        read_calibrations(path)
