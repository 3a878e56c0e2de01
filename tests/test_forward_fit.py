"""Fitting the scales of whole passes: a known truth is found again, with cases left to judge it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from simulator import forward_calibration
from simulator.cases import Case
from simulator.forward_calibration import ForwardScales
from simulator.forward_fit import MOST_CASES, Group, fit_all, fit_machine, groups, write
from simulator.forward_solve import Solver, Timed
from simulator.predict import Predictor

TRUTH = ForwardScales(rate={"fp16": 0.7}, bandwidth=1.0, fixed=1.5, source="set for a test")
START = ForwardScales(source="set for a test")


def case(number: int, hardware: str = "nvidia-a30", runtime: str = "tvm") -> Case:
    sizes = {"batch": 2 ** (number % 7), "prompt": 64 + 16 * (number // 7)}
    return Case(
        case_id=f"{hardware}-{number:03d}", hardware=hardware, devices=1, runtime=runtime,
        workload="bert-base", what="prefill", dtype="fp16", weight_dtype="fp16", sizes=sizes,
        measured_us=1.0, source="made for a test", conditions="",
    )  # fmt: skip


def measured(cases: list[Case], predictor: Predictor, truth: ForwardScales) -> list[Case]:
    """The cases as a machine with these scales would have been timed."""
    return [replace(c, measured_us=predictor.predict(c, truth) * 1e6) for c in cases]


def timed(cases: list[Case], predictor: Predictor) -> list[Timed]:
    return [Timed(case, predictor.trial(case)) for case in cases]


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return Predictor(mode="zero-shot")


def test_a_fit_sees_at_most_so_many_cases_of_a_kind_always_the_same(predictor: Predictor) -> None:
    cases = [case(n) for n in range(60)]
    group = groups(cases, predictor)[0]
    assert len(group.fitted) == MOST_CASES
    assert len(group.others) == 60 - MOST_CASES
    again = groups(list(reversed(cases)), predictor)[0]
    assert [t.case for t in again.fitted] == [t.case for t in group.fitted]
    few = groups(cases[:3], predictor)[0]
    assert (len(few.fitted), len(few.others)) == (2, 1)


def test_a_fit_sees_its_share_of_each_model(predictor: Predictor) -> None:
    rare = [replace(case(n), case_id=f"rare-{n}", workload="bert-large") for n in range(20)]
    group = groups([*(case(n) for n in range(40)), *rare], predictor)[0]
    assert len(group.fitted) == MOST_CASES
    assert sum(timed.case.workload == "bert-large" for timed in group.fitted) == MOST_CASES // 3


def test_a_fit_finds_the_scales_that_made_the_measurements(predictor: Predictor) -> None:
    cases = timed(measured([case(n) for n in range(14)], predictor, TRUTH), predictor)
    group = Group("tvm", "nvidia-a30", 1, tuple(cases[::2]), tuple(cases[1::2]))
    before = [abs(one.log_error(START)) for one in group.others]
    found = fit_machine(group, START, Solver())
    after = [abs(one.log_error(found)) for one in group.others]
    assert min(before) > 0.1
    assert max(after) < 0.03
    assert found.rate["fp16"] == pytest.approx(0.7, rel=0.1)
    assert found.held_out == 7
    assert found.log_residuals is not None
    assert set(found.fitted_on) == {one.case.case_id for one in group.fitted}


def test_a_fit_near_its_result_runs_each_case_only_there(predictor: Predictor) -> None:
    cases = timed(measured([case(n) for n in range(6)], predictor, TRUTH), predictor)
    solver = Solver()
    all_of_it = solver.fit(cases, START)
    near = Solver().fit(cases, START, near=all_of_it)
    assert near.rate["fp16"] == pytest.approx(all_of_it.rate["fp16"], rel=0.02)
    assert near.fixed == pytest.approx(all_of_it.fixed, rel=0.05)


def test_what_a_runtime_has_in_common_is_fitted_without_the_machine_it_is_judged_on(
    predictor: Predictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cases = [case(n, hw) for hw in ("nvidia-a30", "nvidia-l4") for n in (0, 2, 4, 6)]
    cases = measured(cases, predictor, TRUTH)
    plain = [abs(one.log_error(None)) for one in timed(cases, predictor)]
    cases += [replace(case(0, "amd-ryzen-9-7950x"), dtype="fp32", weight_dtype="fp32")]
    table = fit_all(cases, predictor)["tvm"]
    assert set(table) == {
        "any gpu", "any gpu without nvidia-a30", "any gpu without nvidia-l4", "nvidia-a30",
        "nvidia-l4", "any cpu", "amd-ryzen-9-7950x",
    }  # fmt: skip
    assert table["any cpu"].rate == {}  # one machine says nothing of others
    assert table["any gpu"].held_out == 8
    points = table["any gpu"].log_residuals
    assert points is not None
    assert max(map(abs, points)) < min(plain)
    assert abs(points[1]) < min(plain) / 4

    (path,) = write({"tvm": table}, tmp_path)
    monkeypatch.setattr(forward_calibration, "FOLDER", path.parent)
    read = forward_calibration.forward_calibrations.__wrapped__("tvm")
    assert read == {key: scales.model_copy() for key, scales in table.items()}
