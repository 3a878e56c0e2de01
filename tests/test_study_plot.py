"""Pictures of results: what is drawn, and what cannot be."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from simulator.study import read_results, run_study, study_from_table
from simulator.study.plot import KINDS, Kind, plot_results
from tests.test_cli import bad, good
from workloads.errors import InputError


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = {"workload": "gpt2", "hardware": "nvidia-a100-sxm4-80gb", "context": 64}
    grid = {"batch": [1, 2, 10**6], "dram.bandwidth": ["1/64x", "1x", "2x"]}
    path = tmp_path_factory.mktemp("plots") / "r.csv"
    run_study(study_from_table({"base": base, "grid": grid}), path, jobs=1)
    return path


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_every_kind_is_drawn(kind: Kind, suffix: str, results: Path, tmp_path: Path) -> None:
    y = {"heatmap": "batch", "lines": "latency_ms", "pareto": "cost"}[kind]
    x = "latency" if kind == "pareto" else "dram.bandwidth"
    by = None if kind == "heatmap" else "batch"
    out = tmp_path / f"p{suffix}"
    plot_results(read_results(results), out, kind, x, y, by=by, title="gpt2")
    assert out.stat().st_size > 5_000


def test_lines_break_where_another_cause_binds(results: Path, tmp_path: Path) -> None:
    table = read_results(results)
    plot_results(table, tmp_path / "p.svg", "lines", "dram.bandwidth", "latency_ms", by="batch")
    causes = table[table["batch"] == 1]["bound"]
    first, later = causes.iloc[0], causes.iloc[-1]
    assert first == "memory" != later  # at 1/64 of the bandwidth, and at twice of it
    drawn = (tmp_path / "p.svg").read_text()
    assert f"from here: {later}" in drawn
    assert "from here: memory" not in drawn


def test_what_cannot_be_drawn_is_refused(results: Path, tmp_path: Path) -> None:
    table, out = read_results(results), tmp_path / "p.png"
    with pytest.raises(InputError, match=r'-x .batsch.: is no column.*did you mean "batch"'):
        plot_results(table, out, "lines", "batsch", "latency_s")
    with pytest.raises(InputError, match="needs numbers to colour"):
        plot_results(table, out, "heatmap", "batch", "dram.bandwidth", by="bound")
    with pytest.raises(InputError, match="none of the 3 points ran"):
        plot_results(table[table["batch"] == 10**6], out, "lines", "batch", "latency_s")
    many = pd.concat([table.assign(key=i, batch=i, error=None) for i in range(20)])
    with pytest.raises(InputError, match="20 values; expected at most 12 lines"):
        plot_results(many, out, "lines", "dram.bandwidth", "latency_s", by="batch")
    with pytest.raises(InputError, match="not a known format"):
        plot_results(table, tmp_path / "p.bmp", "lines", "batch", "latency_s")
    assert not list(tmp_path.iterdir())


def test_the_command_draws(results: Path, tmp_path: Path) -> None:
    out = tmp_path / "p.png"
    axes = ("-x", "batch", "-y", "cost", "--out", out)
    assert f"wrote {out}" in good("plot", results, "--kind", "lines", *axes).stderr
    assert 'did you mean "pareto"' in bad("plot", results, "--kind", "paretto", *axes)
