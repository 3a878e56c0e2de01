"""Calibration of a CUDA GPU: a known machine's kernels are found again, files load, refusals."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from hardware_profiles import load_profile
from hardware_profiles.expected import expected_kernel
from hardware_profiles.lint import lint
from hardware_profiles.schema import KernelClass
from simulator import simulate
from simulator.calibrate.observe import observe, stacked
from simulator.calibrate_cuda import CudaCalibration, calibrate_cuda, write_files
from simulator.calibrate_cuda.design import cases
from simulator.calibrate_cuda.device import Properties
from simulator.calibrate_cuda.machine import Copies, bundled_like, made_profile
from simulator.cases import read_cases
from simulator.cli import app
from simulator.runtime import load_runtime
from tests.fake_cuda import FakeTorch
from workloads import InputError, compile_forward, load_model

pytest.importorskip("scipy")

A30 = load_profile("nvidia-a30")
DEVICE = SimpleNamespace(name="NVIDIA A30", multi_processor_count=56, total_memory=24 * 2**30,
                         L2_cache_size=24 * 2**20, major=8, minor=0)  # fmt: skip
FOUND = Properties("NVIDIA A30", 56, 24 * 2**30, 24 * 2**20, (8, 0), 1_440_000_000)
BLANK = cases("nvidia-a30", ("fp32",), "known")[0]
PLANTED = {"arithmetic": 0.8, "bandwidth": 0.9, "latency_s": 1.3}
"""What the known machine's kernels are, times what is expected of it."""
SMALLEST_S = 2e-6


@cache
def kernel(name: str, bits: int) -> KernelClass:
    expected = expected_kernel(A30, name, bits / 8)  # type: ignore[arg-type]
    changed = {key: getattr(expected, key) * factor for key, factor in PLANTED.items()}
    return expected.model_copy(update=changed)


def known_s(what: str, dtype: str, sizes: dict[str, int]) -> float:
    if what == "copy":
        size = 4 * sizes["elements"]
        return 1e-6 + 2 * size / (2.5e12 if size <= 6 * 2**20 else 0.8e12)
    if sizes.get("m") == 2 or sizes.get("elements") == 2 or sizes.get("q_len") == 2:
        return SMALLEST_S  # a call that shows what the host takes
    return known_case_s(what, dtype, tuple(sizes.items()))


@cache
def known_case_s(what: str, dtype: str, sizes: tuple[tuple[str, int], ...]) -> float:
    case = replace(BLANK, what=what, dtype=dtype, weight_dtype=dtype, sizes=dict(sizes))
    seen = observe(case, A30)
    return float(stacked([seen]).predicted_s(kernel(seen.kernel, seen.bits))[0])


@pytest.fixture(scope="module")
def found() -> CudaCalibration:
    return calibrate_cuda(FakeTorch(DEVICE, known_s))


def test_the_kernels_of_a_known_machine_are_found_again(found: CudaCalibration) -> None:
    assert found.base == "nvidia-a30"
    assert found.made is None
    kinds = {(one.calibration.kernel, one.calibration.bits): one for one in found.calibrated.kinds}
    assert {"matmul", "attention", "decode_attention", "row", "element"} <= {k for k, _ in kinds}
    for one in kinds.values():
        assert one.fitted_error < 0.02, one.calibration.kernel
        assert one.before > 2 * one.fitted_error, one.calibration.kernel
    product = kinds["matmul", 16].calibration
    assert product.arithmetic == pytest.approx(kernel("matmul", 16).arithmetic, rel=0.05)
    assert product.bandwidth == pytest.approx(kernel("matmul", 16).bandwidth, rel=0.05)
    assert product.latency_s == pytest.approx(kernel("matmul", 16).latency_s, rel=0.1)
    assert not found.left_out


def test_the_smallest_kernel_and_copies_are_as_they_were(found: CudaCalibration) -> None:
    assert found.empty_s == pytest.approx(SMALLEST_S)
    assert found.copies.rate(2**28, 2**40) == pytest.approx(0.8e12, rel=0.01)
    assert found.copies.rate(0, 6 * 2**20) == pytest.approx(2.5e12, rel=0.25)  # 1 us a launch
    assert set(found.dispatch) >= {"linear", "attention", "layer_norm", "add"}


def test_the_files_load_and_predict(found: CudaCalibration, tmp_path: Path) -> None:
    profile_path, runtime_path, cases_path = write_files(found, tmp_path)
    profile, runtime = load_profile(str(profile_path)), load_runtime(str(runtime_path))
    assert profile.cores.count == 56
    host = runtime.on("gpu").host
    assert host is not None
    assert host.moment_s == pytest.approx(found.dispatch["add"], rel=1e-3)
    program = compile_forward(load_model("bert-base"), prompt=8, dtype="fp16")
    assert simulate(program, profile, runtime).latency_s > 0
    read = read_cases(cases_path)
    assert [one.sizes for one in read] == [dict(one.sizes) for one in found.cases]
    assert read[0].measured_us == pytest.approx(found.cases[0].measured_us, rel=1e-3)


def test_a_machine_that_is_not_bundled_is_made_from_its_like(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    products = [one for one in cases("gpu", ("fp16",), "known") if one.what == "matmul"]
    monkeypatch.setattr("simulator.calibrate_cuda.calibrate.cases", lambda *_: products)
    other = SimpleNamespace(**{**vars(DEVICE), "name": "NVIDIA Q7", "multi_processor_count": 48})
    found = calibrate_cuda(FakeTorch(other, known_s))
    base_path, profile_path, *_ = write_files(found, tmp_path)
    assert not lint(str(base_path)).findings
    profile = load_profile(str(profile_path))
    assert (profile.cores.count, profile.name) == (48, "gpu-calibrated")
    assert profile.memory["dram"].bandwidth_bytes_per_s == pytest.approx(0.8e12, rel=0.01)
    assert profile.memory["l2"].capacity_bytes == 24 * 2**20


@pytest.mark.parametrize(
    ("name", "cores", "gib", "machine"),
    [
        ("NVIDIA A100-SXM4-80GB", 108, 79.3, "nvidia-a100-sxm4-80gb"),
        ("NVIDIA A100 80GB PCIe", 108, 79.3, "nvidia-a100-pcie-80gb"),
        ("NVIDIA H100 80GB HBM3", 132, 79.6, "nvidia-h100-sxm5-80gb"),
        ("Tesla V100-SXM2-16GB", 80, 15.8, "nvidia-v100-sxm2-16gb"),
        ("NVIDIA GeForce RTX 4090", 128, 23.6, "nvidia-rtx-4090"),
        ("Tesla T4", 40, 14.6, "nvidia-t4"),
        ("NVIDIA A30", 55, 24, None),
        ("NVIDIA Z9", 56, 24, None),
    ],
)
def test_a_bundled_machine_is_known_by_its_name(
    name: str, cores: int, gib: float, machine: str | None
) -> None:
    properties = Properties(name, cores, int(gib * 2**30), 0, (8, 0), None)
    assert bundled_like(properties) == machine


def test_an_unknown_generation_is_refused() -> None:
    with pytest.raises(InputError, match=r"compute capability 3\.5.*name a profile with --on"):
        made_profile(replace(FOUND, capability=(3, 5)), Copies({}), "")


def test_without_a_gpu_there_is_nothing_to_measure() -> None:
    with pytest.raises(InputError, match=r"no CUDA GPU: PyTorch 0\.fake sees none here"):
        calibrate_cuda(FakeTorch(None, known_s))


def test_the_command_refuses_in_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(
        "simulator.calibrate_cuda.calibrate._torch", lambda: FakeTorch(None, known_s)
    )
    folder = tmp_path / "out"
    result = CliRunner().invoke(app, ["calibrate", "--device", "cuda", "--out", str(folder)])
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
    assert "no CUDA GPU" in result.stderr
    assert not list(tmp_path.rglob("*.toml"))
    other = CliRunner().invoke(app, ["calibrate", "--device", "gpu"])
    assert other.exit_code == 2
    assert "unknown device 'gpu' (known: cuda)" in other.stderr
    both = CliRunner().invoke(app, ["calibrate", "--host", "--device", "cuda"])
    assert both.exit_code == 2
    assert "leave out CASES and --host" in both.stderr
