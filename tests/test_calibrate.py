"""Calibration: what made the cases is found again from few; flat directions are said."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from benchmarks.calibrations import SHIPPED_CASES
from hardware_profiles import load_profile
from hardware_profiles.calibrations import FOLDER, shipped
from hardware_profiles.efficiency import efficiency_of
from hardware_profiles.schema import KernelClass, Profile
from simulator.calibrate import Calibrated, calibrate_cases
from simulator.calibrate.design import chosen
from simulator.calibrate.fit import fitted
from simulator.calibrate.observe import observations, observe, stacked
from simulator.calibrate.parameters import Free
from simulator.calibrate.result import residuals_of
from simulator.cases import Case, read_cases
from simulator.cli import app
from simulator.predict import Predictor
from tests.test_cases import MATMUL, OPERATOR_HEADER, written
from workloads import InputError

pytest.importorskip("scipy")

MEASUREMENTS = Path(__file__).parents[2] / "shared" / "measurements" / "operators.csv.gz"
A30 = load_profile("nvidia-a30")
COLUMNS = OPERATOR_HEADER.strip().split(",")


def case(index: int, **more: Any) -> Case:
    given: dict[str, Any] = {
        "case_id": f"c{index}", "hardware": A30.name, "devices": 1, "runtime": "kernel",
        "workload": "", "what": "matmul", "dtype": "fp16", "weight_dtype": "fp16",
        "sizes": {"batch": 1, "m": 8, "n": 16, "k": 32}, "measured_us": 5.0,
        "source": "somebody 1.0", "conditions": "",
    }  # fmt: skip
    return Case(**{**given, **more})


def products(count: int, kernel: KernelClass | None = None) -> list[Case]:
    """Products of random sizes, measured as the formula has them with `kernel`."""
    random = np.random.default_rng(3)
    sizes = (2 ** random.uniform(4, 13, (count, 3))).astype(int).tolist()
    cases = [
        case(i, sizes={"batch": 1, "m": m, "n": n, "k": k}) for i, (m, n, k) in enumerate(sizes)
    ]
    if kernel is None:
        return cases
    seen, left = observations(cases, A30)
    assert not left
    times = stacked(seen).predicted_s(kernel) * 1e6
    return [
        case(i, sizes=c.sizes, measured_us=t)
        for i, (c, t) in enumerate(zip(cases, times.tolist(), strict=True))
    ]


def machine_that_made_them() -> KernelClass:
    base = efficiency_of(A30, "matmul", mode="zero-shot")
    changes = {"latency_s": 4e-6, "arithmetic": 0.6, "bandwidth": 0.7, "wave": 0.8}
    return base.model_copy(update=changes)


@pytest.fixture(scope="module")
def found() -> Calibrated:
    return calibrate_cases(products(200, machine_that_made_them()), A30, date="2026-01-01")


def test_a_fit_to_few_cases_predicts_the_others(found: Calibrated) -> None:
    (kind,) = found.kinds
    assert (kind.cases, len(kind.calibration.fitted), kind.calibration.held_out) == (200, 24, 176)
    assert kind.before > 0.12
    assert kind.held_out_error is not None
    assert kind.held_out_error < 0.03
    assert kind.calibration.latency_s == pytest.approx(4e-6, rel=0.1)
    made_with = machine_that_made_them()
    sustained = kind.calibration.arithmetic * kind.calibration.sustained
    assert sustained == pytest.approx(made_with.arithmetic * made_with.sustained, rel=0.1)


def test_what_the_cases_do_not_tell_is_named(found: Calibrated) -> None:
    named = set(found.kinds[0].calibration.not_identified)
    assert "latency" not in named
    assert named <= {key.removesuffix("_s") for key in KernelClass.model_fields}
    few = calibrate_cases(products(6, machine_that_made_them()), A30)
    assert len(few.kinds[0].calibration.not_identified) > len(named)


def test_the_file_is_a_machine(found: Calibrated, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(found.toml(), encoding="utf-8")
    loaded = load_profile(path)
    assert isinstance(loaded, Profile)
    kernel = efficiency_of(loaded, "matmul", "bf16")
    assert kernel == found.kinds[0].calibration
    assert "24 of 200 cases on nvidia-a30 of somebody 1.0" in kernel.source
    assert tomllib.loads(found.toml())["extends"] == A30.name
    assert calibrate_cases(
        products(200, machine_that_made_them()), A30, date="2026-01-01"
    ).toml() == found.toml()  # fmt: skip


def test_the_choice_of_cases_does_not_look_at_their_times() -> None:
    seen, _ = observations(products(100), A30)
    expected_s = stacked(seen).predicted_s(machine_that_made_them()).tolist()
    indices = chosen(seen, expected_s)
    assert 20 < len(indices) <= 24
    slower, _ = observations([case(i, sizes=o.case.sizes, measured_us=9e9 / (i + 1))
                              for i, o in enumerate(seen)], A30)  # fmt: skip
    assert chosen(slower, expected_s) == indices
    # and they are spread: of both the fastest and the slowest third, some
    order = sorted(range(100), key=lambda i: expected_s[i])
    places = [order.index(i) for i in indices]
    assert min(sum(p < 33 for p in places), sum(p > 66 for p in places)) >= 4


def test_equal_work_counts_once() -> None:
    seen, _ = observations([case(i) for i in range(5)], A30)
    assert len(chosen(seen, [1.0] * 5)) == 1


def test_an_observation_is_the_prediction_without_its_kernel() -> None:
    """The formula over arrays and the engine agree, to the cycles that are rounded up."""
    predictor = Predictor(mode="zero-shot")
    for more in (
        {},
        {"runtime": "pytorch-eager"},
        {"what": "softmax", "sizes": {"m": 64, "n": 4096}},
        {"what": "add", "sizes": {"elements": 10**6}},
        {"what": "attention", "sizes": {"batch": 2, "heads": 8, "kv_heads": 2, "head_dim": 64,
                                        "q_len": 300, "kv_len": 300, "causal": 1}},
        {"what": "attention", "sizes": {"batch": 2, "heads": 8, "kv_heads": 2, "head_dim": 64,
                                        "q_len": 1, "kv_len": 900, "causal": 1}},
    ):  # fmt: skip
        one = observe(case(0, **more), A30)
        kernel = efficiency_of(A30, one.kernel, "fp16", mode="zero-shot")
        seconds = float(stacked([one]).predicted_s(kernel)[0])
        assert seconds == pytest.approx(predictor.latency_s(one.case), abs=4 / A30.clock.burst_hz)


def test_a_flat_direction_is_not_identified() -> None:
    free = {"a": Free(0.5, 0.1, 10), "b": Free(0.5, 0.1, 10)}
    x = np.array([0.0, 0.1, 0.3])
    fit = fitted(
        free, {"a": 1, "b": 1}, lambda v: np.log(v["a"]) - x + 0 * v["b"], expectation=0.001
    )
    assert fit.values["a"] == pytest.approx(np.exp(0.13), rel=0.05)
    assert fit.values["b"] == 1
    assert fit.not_identified == ("b",)


def test_whole_cycles_do_not_freeze_a_parameter() -> None:
    measured = 3000.0

    def residuals(values: Any) -> np.ndarray:
        # a prediction in whole cycles does not answer to a relative step from a start at 0
        return np.full(3, np.log(np.round(1000 * values["x"]) / measured))

    found = fitted({"x": Free(0.5, 0.1, 10.0)}, {"x": 1.0}, residuals, expectation=1e-3)
    assert found.values["x"] == pytest.approx(3.0, rel=0.01)


def test_residuals_by_size() -> None:
    errors, sizes = np.linspace(-0.5, 0.5, 90), np.arange(1.0, 91.0)
    found = residuals_of(errors, sizes)
    assert len(found["residual_up_to_us"]) == 2
    assert found["residual_q50"][1] == pytest.approx(0, abs=0.01)
    few = residuals_of(errors[:10], sizes[:10])
    assert few["residual_up_to_us"] == ()
    assert few["residual_q10"][0] == pytest.approx(np.quantile(errors[:10], 0.1), abs=1e-3)


def test_what_cannot_be_calibrated_is_said() -> None:
    with pytest.raises(InputError, match="is a cpu: only kernels of GPUs"):
        calibrate_cases([case(0)], load_profile("teaching"))
    with pytest.raises(InputError, match=r"none of the 3 cases can be used.*at least 6 needed"):
        calibrate_cases([case(i) for i in range(3)], A30)
    with pytest.raises(InputError, match="the first reason: not an operator on one device"):
        calibrate_cases([case(0, devices=2)], A30)


def test_without_scipy_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("simulator.calibrate.cases.find_spec", lambda name: None)
    with pytest.raises(InputError, match="needs SciPy"):
        calibrate_cases([case(0)], A30)


def csv_of(cases: list[Case]) -> str:
    lines = [OPERATOR_HEADER]
    for c in cases:
        row = {"case_id": c.case_id, "hardware": c.hardware, "devices": "1", "op": c.what,
               "runtime": c.runtime, "dtype": c.dtype, "measured_us": f"{c.measured_us:.6g}",
               "source": c.source, **{k: str(v) for k, v in c.sizes.items()}}  # fmt: skip
        lines.append(",".join(row.get(name, "") for name in COLUMNS) + "\n")
    return "".join(lines)


def test_the_command(tmp_path: Path) -> None:
    path = written(tmp_path, csv_of(products(60, machine_that_made_them())) + MATMUL)
    out = tmp_path / "a30.toml"
    result = CliRunner().invoke(
        app, ["calibrate", str(path), "--on", "nvidia-a30", "--out", str(out)]
    )
    assert result.exit_code == 0, result.output
    for words in ("matmul", "before", "these cases say little about", "left out 1: measured on"):
        assert words in result.output
    run = CliRunner().invoke(app, ["run", "bert-base", "--on", str(out), "--prompt", "8"])
    assert run.exit_code == 0, run.output
    again = tmp_path / "again.toml"
    result = CliRunner().invoke(
        app, ["calibrate", str(path), "--on", str(out), "--out", str(again)]
    )
    assert result.exit_code == 0, result.output
    assert load_profile(again).cores == A30.cores


def test_the_command_refuses_early(tmp_path: Path) -> None:
    path = written(tmp_path, OPERATOR_HEADER + MATMUL)
    result = CliRunner().invoke(app, ["calibrate", str(path), "--on", "nvidia-a31"])
    assert result.exit_code == 2
    result = CliRunner().invoke(
        app, ["calibrate", str(path), "--on", "nvidia-a30", "--out", str(tmp_path)]
    )
    assert result.exit_code == 2
    assert "is a folder" in result.output


@pytest.mark.slow
@pytest.mark.parametrize("machine", ["nvidia-l40s", "nvidia-t4", "nvidia-rtx-4090"])
def test_shipped_files_are_what_the_command_writes(machine: str) -> None:
    if not MEASUREMENTS.is_file():
        pytest.skip(f"no measured cases at {MEASUREMENTS}")
    cases = [c for c in read_cases(MEASUREMENTS) if c.hardware == machine]
    date = next(iter(shipped()[machine].calibration.values())).date
    text = calibrate_cases(cases, load_profile(machine), least=SHIPPED_CASES, date=date).toml()
    assert text == (FOLDER / f"{machine}.toml").read_text(encoding="utf-8")
