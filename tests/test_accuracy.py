"""The accuracy gate: a regression fails, an improvement passes, what is missing is said."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import accuracy as gate
from benchmarks.accuracy import Accuracy, accuracy, keep, main, read_kept, worse
from simulator.forward_groups import ON_GPU
from tests.test_cases import FORWARD_HEADER, MATMUL, OPERATOR_HEADER, PREFILL, written

GEMM = "BF16/FP16 GEMM on A100, H100, L40S"
GOOD = Accuracy(cases=100, mean=0.10, median=0.08, p90=0.2, bias=0.01, inside=0.8)


def lines(now: Accuracy | None, group: str = GEMM, before: Accuracy = GOOD) -> list[str]:
    found = {"zero-shot": {} if now is None else {group: now}}
    return list(worse(found, {"zero-shot": {group: before}}))


def test_as_good_or_better_passes() -> None:
    assert lines(GOOD) == []
    assert lines(replace(GOOD, mean=0.02, median=0.01, cases=200, inside=0.75)) == []
    assert lines(replace(GOOD, mean=0.109, median=0.5)) == []  # operators go by their mean


def test_a_worse_mean_fails_and_names_group_and_figures() -> None:
    (line,) = lines(replace(GOOD, mean=0.12))
    assert line == f"{GEMM}, zero-shot: mean error 10.0 % kept, 12.0 % found"


def test_whole_passes_go_by_their_median() -> None:
    assert lines(replace(GOOD, mean=0.9), ON_GPU) == []
    (line,) = lines(replace(GOOD, median=0.1), ON_GPU)
    assert line == f"{ON_GPU}, zero-shot: median error 8.0 % kept, 10.0 % found"


def test_a_missing_group_and_fewer_cases_fail() -> None:
    assert lines(None) == [f"{GEMM}, zero-shot: 100 cases kept, none found"]
    assert list(worse({}, {"calibrated": {GEMM: GOOD}})) == [
        f"{GEMM}, calibrated: 100 cases kept, none found"
    ]
    assert lines(replace(GOOD, cases=98)) == [f"{GEMM}, zero-shot: 100 cases kept, 98 found"]


def test_intervals_that_hold_too_few_or_too_many_fail() -> None:
    for inside in (0.69, 0.91):
        (line,) = lines(replace(GOOD, inside=inside))
        assert line.startswith(f"{GEMM}, zero-shot: 80.0 % inside their intervals kept, ")
    outside = replace(GOOD, inside=0.92)
    assert lines(replace(GOOD, inside=0.925), before=outside) == []  # it was there already
    assert len(lines(replace(GOOD, inside=0.94), before=outside)) == 1
    assert lines(replace(GOOD, inside=0.85), before=outside) == []


def test_what_is_kept_is_read_back(tmp_path: Path) -> None:
    found = {"zero-shot": {GEMM: GOOD, "collectives": replace(GOOD, mean=0.3)}}
    keep(found, tmp_path / "kept.toml")
    assert read_kept(tmp_path / "kept.toml") == found


def folder_of(tmp_path: Path, measured_us: float) -> Path:
    """Measurements of one product and one pass; the product took so long."""
    written(
        tmp_path, OPERATOR_HEADER + MATMUL.replace("5.5,", f"{measured_us},"), "operators.csv.gz"
    )
    written(tmp_path, FORWARD_HEADER + PREFILL, "forward.csv.gz")
    for name in ("operators", "forward"):  # read as they are: the suffix says they are compressed
        import gzip

        path = tmp_path / f"{name}.csv.gz"
        path.write_bytes(gzip.compress(path.read_bytes()))
    return tmp_path


def test_the_groups_of_a_folder(tmp_path: Path) -> None:
    found = accuracy("zero-shot", folder_of(tmp_path, 5.5))
    assert list(found) == [GEMM, "all operators", ON_GPU, "all whole passes"]
    assert found[GEMM].cases == 1
    assert found[GEMM].mean == found[GEMM].median == abs(found[GEMM].bias)


def test_a_planted_regression_fails_and_an_improvement_passes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The measured time stands for a worse or a better prediction of the same case."""
    monkeypatch.setattr(gate, "KEPT", tmp_path / "kept.toml")
    monkeypatch.setattr(gate, "read_kept", lambda: read_kept(tmp_path / "kept.toml"))
    monkeypatch.setattr(gate, "keep", lambda found: keep(found, tmp_path / "kept.toml"))
    monkeypatch.setattr(gate, "_in_both_modes", lambda at: {"zero-shot": accuracy("zero-shot", at)})
    assert main(["--keep", str(folder_of(tmp_path, 8.0))]) == 0
    assert main([str(tmp_path)]) == 0
    assert "WORSE" not in capsys.readouterr().out
    assert main([str(folder_of(tmp_path, 12.0))]) == 1
    assert f"WORSE: {GEMM}, zero-shot: mean error" in capsys.readouterr().out
    assert main([str(folder_of(tmp_path, 6.0))]) == 0


def test_no_measurements_is_said_aloud(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "nowhere")]) == 0
    assert "ACCURACY NOT CHECKED: no measurements in" in capsys.readouterr().out


def test_a_broken_file_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "forward.csv.gz").write_bytes(b"not compressed")
    assert main([str(tmp_path)]) == 2
    assert "forward.csv.gz: cannot be read as CSV text" in capsys.readouterr().err


def test_what_the_repository_keeps_has_both_modes_and_sane_figures() -> None:
    kept = read_kept()
    assert set(kept) == {"calibrated", "zero-shot"}
    for groups in kept.values():
        assert {GEMM, "FP8 GEMM", "collectives", ON_GPU, "all operators"} <= set(groups)
        for figures in groups.values():
            assert 0 < figures.median < figures.p90
            assert 0.5 < figures.inside < 1
