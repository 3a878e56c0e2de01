"""Scales of whole passes: which apply, and what each of them multiplies."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from hardware_profiles import load_profile
from hardware_profiles.efficiency import usual_efficiency
from hardware_profiles.schema import Profile
from simulator import forward_calibration, simulate
from simulator.forward_calibration import (
    ForwardScales,
    calibrated_profile,
    calibrated_runtime,
    forward_scales,
    machine_key,
)
from simulator.runtime import Runtime, load_runtime
from workloads import compile_forward, load_model

BY_HAND = ForwardScales(
    rate={"fp16": 0.5, "int8": 2.0}, bandwidth=0.8, fixed=3.0, host=2.0, source="set for a test"
)
NONE = ForwardScales(source="set for a test")

FILE = """
["any gpu"]
fixed = 2.0
source = "written for a test"

["any gpu without nvidia-t4"]
fixed = 3.0
source = "written for a test"

["nvidia-t4"]
fixed = 4.0
source = "written for a test"

["nvidia-t4 x2"]
fixed = 5.0
source = "written for a test"
"""


@pytest.fixture
def on_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tensorrt.toml").write_text(FILE, encoding="utf-8")
    monkeypatch.setattr(forward_calibration, "FOLDER", tmp_path)
    forward_calibration.forward_calibrations.cache_clear()
    monkeypatch.setattr(
        forward_calibration,
        "forward_calibrations",
        forward_calibration.forward_calibrations.__wrapped__,
    )


@pytest.mark.usefixtures("on_file")
def test_what_was_fitted_to_a_machine_wins_unless_nothing_of_it_may_be_used() -> None:
    t4, a10 = load_profile("nvidia-t4"), load_profile("nvidia-a10")
    cases = [
        (t4, 1, "calibrated", 4.0),
        (t4, 2, "calibrated", 5.0),
        (t4, 8, "calibrated", 4.0),
        (t4, 1, "zero-shot", 3.0),
        (a10, 1, "calibrated", 2.0),
        (a10, 1, "zero-shot", 2.0),
    ]
    for profile, devices, mode, fixed in cases:
        scales = forward_scales("tensorrt", profile, devices, mode)  # type: ignore[arg-type]
        assert scales is not None
        assert scales.fixed == fixed
    assert forward_scales("tensorrt", load_profile("amd-epyc-7742-1s")) is None
    assert forward_scales("vllm", t4) is None


def test_keys_of_machines_count_their_devices() -> None:
    assert machine_key("nvidia-t4", 1) == "nvidia-t4"
    assert machine_key("nvidia-t4", 4) == "nvidia-t4 x4"


def test_a_type_that_was_not_fitted_has_the_mean_rate_of_the_others() -> None:
    assert BY_HAND.rate_of("fp16") == 0.5
    assert BY_HAND.rate_of("fp32") == pytest.approx(1.0)  # square root of 0.5 x 2
    assert NONE.rate_of("fp32") == 1.0


def calibrated(
    profile: Profile, runtime: Runtime, scales: ForwardScales, dtype: str
) -> tuple[Profile, Runtime]:
    """Both as simulate takes them with these scales."""
    return (
        calibrated_profile(profile, scales, dtype),
        calibrated_runtime(runtime, profile.kind, scales, dtype),
    )


def test_scales_must_be_positive_and_have_a_source() -> None:
    with pytest.raises(ValidationError, match="bandwidth"):
        ForwardScales(bandwidth=0.0, source="set for a test")
    with pytest.raises(ValidationError, match="source"):
        ForwardScales()  # type: ignore[call-arg]


def test_scales_multiply_kernels_and_dispatch_of_a_gpu() -> None:
    profile, runtime = load_profile("nvidia-t4"), load_runtime("pytorch-eager")
    machine, software = calibrated(profile, runtime, BY_HAND, "fp16")
    before, after = usual_efficiency(profile, "matmul"), usual_efficiency(machine, "matmul")
    assert after.arithmetic == pytest.approx(before.arithmetic * 0.5)
    assert after.bandwidth == pytest.approx(before.bandwidth * 0.8)
    assert after.latency_s == pytest.approx(before.latency_s * 3)
    assert runtime.gpu is not None
    assert runtime.gpu.host is not None
    assert software.gpu is not None
    assert software.gpu.host is not None
    assert software.gpu.host.moment_s == pytest.approx(2 * runtime.gpu.host.moment_s)
    assert software.gpu.host.per_pass_s == pytest.approx(2 * runtime.gpu.host.per_pass_s)


def test_a_rate_counts_where_the_power_limit_sets_the_pace() -> None:
    profile = load_profile("nvidia-t4")
    machine, _ = calibrated(profile, load_runtime("tensorrt"), BY_HAND, "fp16")
    assert profile.power is not None
    assert profile.power.energy is not None
    assert machine.power is not None
    assert machine.power.energy is not None
    before, after = profile.power.energy.matrix, machine.power.energy.matrix
    assert after["fp16"] == pytest.approx(2 * before["fp16"])


def test_scales_multiply_what_a_cpu_library_costs() -> None:
    profile, runtime = load_profile("amd-ryzen-9-7950x"), load_runtime("llama.cpp")
    _, software = calibrated(profile, runtime, BY_HAND, "fp16")
    assert runtime.cpu is not None
    assert runtime.cpu.library is not None
    assert software.cpu is not None
    assert software.cpu.library is not None
    before, after = runtime.cpu.library, software.cpu.library
    assert before.dot_share is not None
    assert after.dot_share == pytest.approx(before.dot_share * 0.5)
    assert after.fork_join_s == pytest.approx(before.fork_join_s * 3)
    assert after.unpack_cycles_per_weight["q8_0"] == pytest.approx(
        before.unpack_cycles_per_weight["q8_0"] * 2
    )


@pytest.mark.parametrize("name", ["nvidia-a30", "amd-ryzen-9-7950x"])
def test_scales_of_one_change_nothing_and_less_of_anything_is_slower(name: str) -> None:
    profile, runtime = load_profile(name), load_runtime("onnxruntime")
    program = compile_forward(load_model("bert-base"), batch=4, prompt=128, dtype="fp32")

    def latency_s(scales: ForwardScales) -> float:
        return simulate(program, *calibrated(profile, runtime, scales, "fp32")).latency_s

    plain = simulate(program, profile, runtime).latency_s
    assert latency_s(NONE) == plain
    for slower in ({"rate": {"fp32": 0.5}}, {"bandwidth": 0.2}, {"fixed": 20.0}, {"host": 20.0}):
        scales = NONE.model_copy(update=slower)
        assert latency_s(scales) > plain, slower


def test_every_file_can_be_read_and_names_what_exists() -> None:
    from hardware_profiles import list_profiles
    from simulator.protocol import UNKNOWN_RUNTIME
    from simulator.runtime import list_runtimes

    for path in sorted(forward_calibration.FOLDER.glob("*.toml")):
        assert path.stem in (*list_runtimes(), UNKNOWN_RUNTIME)
        for key, scales in forward_calibration.forward_calibrations(path.stem).items():
            machine = key.split(" without ")[-1].split(" x")[0]
            assert machine in list_profiles() or machine in ("any gpu", "any cpu"), key
            if scales.log_residuals is not None:
                assert list(scales.log_residuals) == sorted(scales.log_residuals)
