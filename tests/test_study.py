"""Studies as they are run: equal results however they run, nothing twice, no failure lost."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from simulator.scenario import Scenario
from simulator.study import execute, read_results, run_study, store, study_from_table
from simulator.study.bench import FAULT, FIGURES, Bench, Inputs, Keys, figures_of
from simulator.study.space import Study
from tests.test_cli import bad, good
from workloads.errors import InputError

A100 = "nvidia-a100-sxm4-80gb"
BASE: dict[str, Any] = {"workload": "gpt2", "hardware": A100, "context": 64, "dtype": "fp16"}
GRID = {"batch": [1, 2], "dram.bandwidth": ["0.5x", "1x", "2x"]}
TOML = """
[base]
workload = "gpt2"
hardware = "nvidia-a100-sxm4-80gb"
context = 64
[grid]
batch = [1, 2, 1_000_000]
"dram.bandwidth" = ["1x", "2x"]
"""


def study(grid: dict[str, Any] | None = None, **base: Any) -> Study:
    varied = GRID if grid is None else grid
    said = {key: value for key, value in (BASE | base).items() if key not in varied}
    return study_from_table({"base": said, "grid": varied})


VARIED = {
    "hardware": [A100, "amd-epyc-7763-1s", "nvidia-t4"],
    "weight_dtype": ["int8"],
    "prune_heads": [2],
    "threads": [1],
    "power_cap": ["120W"],
    "dispatch": ["0.5x"],
    "l2.capacity": ["1/2x", "1x", "3x", "1/4x"],
    "cores": [54, 216],
    "tensor_parallel": [2],
    "generate": [3],
    "activation_dtype": ["int8"],
    "matrix.fp16": ["2x"],
    "fuse": ["attention"],
}


@pytest.mark.parametrize("key", VARIED)
def test_a_bench_gives_what_a_single_run_gives(key: str) -> None:
    """Whatever was run on the bench before."""
    inside = study({"dram.bandwidth": ["1x", "2x"], key: VARIED[key]}, **_without(key))
    bench = Bench(Inputs.of(inside))
    for point in inside.points():
        scenario = inside.scenario(point)
        assert bench.figures(scenario) == single(scenario)


def _without(key: str) -> dict[str, Any]:
    machine = {"threads": "amd-epyc-7763-1s"}.get(key)
    return {"hardware": machine} if machine else {}


def single(scenario: Scenario) -> dict[str, Any]:
    try:
        return figures_of(scenario.run(), scenario)
    except ValueError as error:
        return {**dict.fromkeys(FIGURES), "error": str(error)}


def test_results_have_a_row_a_point_and_the_figures_of_its_run(tmp_path: Path) -> None:
    outcome = run_study(study(), tmp_path / "r.csv", jobs=1)
    assert (outcome.points, outcome.computed, outcome.failed) == (6, 6, 0)
    table = read_results(tmp_path / "r.csv")
    assert list(table.columns) == ["key", "batch", "dram.bandwidth", *FIGURES]
    assert list(table["batch"]) == [1, 1, 1, 2, 2, 2]
    scenario = Scenario(**BASE, batch=2, changes=("dram.bandwidth=2x",))
    run = scenario.run()
    row = table.iloc[5]
    assert row["latency_s"] == run.latency_s
    assert row["mfu"] == run.utilization["mfu"]
    # 3.4309 dollars an hour; two tokens in each latency
    assert row["dollars_per_million_tokens"] == pytest.approx(
        3.4309 / 3600 * run.latency_s / 2 * 1e6
    )


@pytest.mark.parametrize("suffix", store.KINDS)
def test_all_kinds_of_files_hold_the_same(suffix: str, tmp_path: Path) -> None:
    run_study(study(), tmp_path / f"r{suffix}", jobs=1)
    run_study(study(), tmp_path / "r.csv", jobs=1)
    one, other = read_results(tmp_path / f"r{suffix}"), read_results(tmp_path / "r.csv")
    pd.testing.assert_frame_equal(one.fillna(-1), other.fillna(-1), check_dtype=False)


def test_a_second_run_computes_nothing_and_a_larger_one_what_is_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "r.jsonl"
    run_study(study(), out, jobs=1)
    first = out.read_bytes()
    assert run_study(study({**GRID, "batch": [1, 2, 3]}), out, jobs=1).computed == 3
    monkeypatch.setattr(execute, "executed", lambda inputs, items, **_: iter(()))
    assert run_study(study(), out, jobs=1).computed == 0
    assert out.read_bytes() == first


def test_an_interrupted_study_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, out = tmp_path / "whole.csv", tmp_path / "r.csv"
    run_study(study(), whole, jobs=1)
    count = 0
    figures = Bench.figures

    def interrupted(bench: Bench, scenario: Scenario) -> dict[str, Any]:
        nonlocal count
        count += 1
        if count == 4:
            raise KeyboardInterrupt
        return figures(bench, scenario)

    monkeypatch.setattr(Bench, "figures", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_study(study(), out, jobs=1)
    assert not out.exists()
    journal = tmp_path / "r.csv.journal"
    journal.write_bytes(journal.read_bytes() + b'{"key": "cut of')  # the power went
    outcome = run_study(study(), out, jobs=1)
    assert (outcome.points, outcome.computed) == (6, 3)
    assert out.read_bytes() == whole.read_bytes()


def test_a_point_that_fails_says_why_and_does_not_stop_the_others(tmp_path: Path) -> None:
    outcome = run_study(study({"batch": [1, 10**6, 2]}), tmp_path / "r.csv", jobs=1)
    assert outcome.failed == 1
    assert "would fit" in outcome.reasons[0][0]
    table = read_results(tmp_path / "r.csv")
    assert list(table["error"].isna()) == [True, False, True]
    assert list(table["latency_s"].isna()) == [False, True, False]


def test_a_fault_of_ours_is_named_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(bench: Bench, scenario: Scenario) -> None:
        raise ZeroDivisionError("oh")

    with monkeypatch.context() as patch:
        patch.setattr(Bench, "run", fail)
        outcome = run_study(study({"batch": [1]}), tmp_path / "r.csv", jobs=1)
    assert outcome.reasons == ((f"{FAULT}ZeroDivisionError: oh", 1),)
    outcome = run_study(study({"batch": [1]}), tmp_path / "r.csv", jobs=1)
    assert (outcome.computed, outcome.failed) == (1, 0)


def test_equal_points_are_run_once(tmp_path: Path) -> None:
    table = {"base": BASE, "random": {"samples": 20, "seed": 1, "batch": [1, 2]}}
    outcome = run_study(study_from_table(table), tmp_path / "r.csv", jobs=1)
    assert (outcome.points, outcome.computed) == (20, 2)


def test_keys_are_by_content() -> None:
    plain = study({"batch": [1]})
    inputs = Inputs.of(plain)
    scenario = plain.scenario({"batch": 1})
    names = Keys(inputs)
    assert names.of(scenario) == Keys(inputs).of(replace(scenario))
    assert names.of(scenario) == names.of(replace(scenario, runtime="pytorch-eager"))
    assert names.of(scenario) != names.of(replace(scenario, batch=2))
    assert names.of(scenario) != names.of(replace(scenario, changes=("clock=1 GHz",)))
    assert names.of(scenario) != Keys(replace(inputs, code="other")).of(scenario)
    slower = inputs.profiles[A100].model_copy(update={"notes": "another file"})
    other = replace(inputs, profiles={A100: slower})
    assert names.of(scenario) != Keys(other).of(scenario)


def test_a_worker_of_another_version_is_refused() -> None:
    inputs = replace(Inputs.of(study({"batch": [1]})), code="other")
    with pytest.raises(InputError, match="another version"):
        Bench(inputs)


def test_files_that_are_not_ours_or_of_another_schema_are_refused(tmp_path: Path) -> None:
    foreign = tmp_path / "mine.csv"
    foreign.write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match="holds no results of a study"):
        run_study(study(), foreign, jobs=1)
    assert foreign.read_text() == "a,b\n1,2\n"
    old = tmp_path / "old.csv"
    old.write_text("key,moments_schema\nx,0\n")
    with pytest.raises(InputError, match=r"is of schema '0', this version writes 1; move it"):
        run_study(study(), old, jobs=1)
    journal = tmp_path / "new.csv.journal"
    journal.write_text(json.dumps({"moments_schema": 0}) + "\n")
    with pytest.raises(InputError, match=r"journal: is of schema '0'"):
        run_study(study(), tmp_path / "new.csv", jobs=1)
    journal.write_text("hello\n")
    with pytest.raises(InputError, match="is not a journal of a study"):
        run_study(study(), tmp_path / "new.csv", jobs=1)
    with pytest.raises(InputError, match=r"ends in \.parquet, \.csv, \.jsonl"):
        run_study(study(), tmp_path / "r.xlsx", jobs=1)
    with pytest.raises(InputError, match="no such file"):
        read_results(tmp_path / "none.csv")


def test_two_studies_do_not_write_one_journal(tmp_path: Path) -> None:
    pytest.importorskip("fcntl")
    with (
        store.Journal(tmp_path / "r.csv"),
        pytest.raises(InputError, match="another study is writing it"),
    ):
        run_study(study(), tmp_path / "r.csv", jobs=1)


@pytest.mark.slow
def test_many_processes_find_what_one_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_study(study(), tmp_path / "one.csv", jobs=1)
    monkeypatch.setattr(execute, "_FEW", 0)
    run_study(study(), tmp_path / "two.csv", jobs=2)
    assert (tmp_path / "one.csv").read_bytes() == (tmp_path / "two.csv").read_bytes()


def test_the_command_says_what_failed(tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text(TOML)
    out = tmp_path / "r.csv"
    result = good("study", tmp_path / "s.toml", "--out", out, "--jobs", "1")
    assert "6 points, 6 run now, 0 known or alike" in result.stderr
    assert "2 failed, each with its reason" in result.stderr
    assert len(read_results(out)) == 6
    result = good("study", tmp_path / "s.toml", "--out", out, "--jobs", "1")
    assert "6 points, 0 run now, 6 known or alike" in result.stderr
    assert "expected a number of processes" in bad("study", tmp_path / "s.toml", "--jobs", "0",
                                                   "--out", tmp_path / "n.csv")  # fmt: skip
    assert not (tmp_path / "n.csv").exists()
    assert "described in a .toml" in bad("study", tmp_path / "s.json")
