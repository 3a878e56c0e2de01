"""Searches: the Pareto set of a space, and what it would take to meet a target."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hardware_profiles.errors import ProfileError
from simulator.scenario import Scenario
from simulator.study import Study, study_from_table
from simulator.study.columns import Target
from simulator.study.search import search
from simulator.study.take import least_changes
from tests.test_cli import bad, good
from workloads.errors import InputError

A100 = "nvidia-a100-sxm4-80gb"
BASE: dict[str, Any] = {
    "workload": "gpt2",
    "hardware": A100,
    "context": 64,
    "runtime": "pytorch-cuda-graphs",
    "dtype": "fp16",
}
GRID = {"batch": [1, 2, 4, 8], "dram.bandwidth": ["1x", "2x", "4x"]}
SPACE = {"samples": 1, "batch": {"from": 1, "to": 64},
         "dram.bandwidth": {"from": "0.5x", "to": "4x", "scale": "log"}}  # fmt: skip


def study(**tables: Any) -> Study:
    return study_from_table({"base": BASE, **tables})


def test_a_small_space_is_tried_whole() -> None:
    found = search(study(grid=GRID), ["latency", "cost"])
    assert found.notes[0] == "all 12 points were tried"
    assert [(row["batch"], row["dram.bandwidth"]) for row in found.front] == [
        (1, "4x"), (2, "4x"), (4, "4x"), (8, "4x"),
    ]  # fmt: skip
    latencies = [row["latency_s"] for row in found.front]
    assert latencies == sorted(latencies)


def test_targets_bound_the_search() -> None:
    free = search(study(grid=GRID), ["-throughput"]).front
    assert [row["batch"] for row in free] == [8]
    limit = free[0]["latency_s"] * 0.999
    target = Target.parse(f"latency<{limit:.9f}")
    bound = search(study(grid=GRID), ["-throughput"], [target]).front
    assert bound[0]["latency_s"] < limit
    assert bound[0]["batch"] < 8
    with pytest.raises(InputError, match=r"none of the 12 points tried meets latency<1e-9"):
        search(study(grid=GRID), ["latency"], [Target.parse("latency<1e-9")])


@pytest.mark.parametrize(
    ("subject", "message"),
    [
        ("ttft_ms<200", "no point tried has ttft_s, to meet ttft_ms<200: a first token needs a pr"),
        ("area<900", "no point tried has die_area_mm2, to meet area<900: it is not known of these"),
    ],
)
def test_a_figure_that_no_point_has_is_named(subject: str, message: str) -> None:
    inside = study_from_table(
        {"base": {**BASE, "hardware": "amd-mi300x"}, "grid": {"batch": [1, 2]}}
    )
    with pytest.raises(InputError, match=message):
        search(inside, ["latency"], [Target.parse(subject)])


def test_a_large_space_is_sampled_and_goes_on_from_its_storage(tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    store = tmp_path / "s.db"
    first = search(study(random=SPACE), ["latency", "cost"], trials=12, storage=store)
    assert first.notes[0] == "12 points of the space were tried"
    second = search(study(random=SPACE), ["latency", "cost"], trials=16, storage=store)
    assert second.notes[0] == "16 points of the space were tried, 12 of them before"
    for row in first.front:  # what was found stays found, or is beaten
        assert any(
            better["latency_s"] <= row["latency_s"]
            and better["dollars_per_million_tokens"] <= row["dollars_per_million_tokens"]
            for better in second.front
        )
    (tmp_path / "no.db").write_text("I am not a database at all")
    with pytest.raises(InputError, match="is no SQLite file"):
        search(study(random=SPACE), ["latency"], trials=3, storage=tmp_path / "no.db")


def test_the_least_change_meets_the_target_and_less_does_not() -> None:
    start = Scenario(**BASE).run()
    target = Target.parse(f"latency_us<{start.latency_s * 0.95e6:.3f}")
    (taken,) = least_changes(study(), [target], ["dram.bandwidth"])
    assert taken.factor is not None
    assert taken.factor > 1

    def latency(factor: float) -> float:
        return Scenario(**BASE, changes=(f"dram.bandwidth={factor:.6f}x",)).run().latency_s

    assert latency(taken.factor) == taken.figures["latency_s"] < target.limit
    assert latency(taken.factor / 1.002) >= target.limit


def test_a_price_that_is_low_enough_is_found_in_proportion() -> None:
    start = Scenario(**BASE).run()
    cost = 1e6 * 3.4309 / 3600 * start.latency_s  # dollars per million tokens, one a run
    (taken,) = least_changes(study(), [Target.parse(f"cost<{cost / 2:.9f}")], ["price"])
    assert taken.factor == pytest.approx(0.5, rel=2e-3)
    assert float(taken.after or 0) == pytest.approx(3.4309 / 2, rel=2e-3)


def test_why_a_change_is_not_enough_is_said() -> None:
    target = Target.parse("latency_us<10")
    price, clock, dispatch = least_changes(study(), [target], ["price", "clock", "dispatch"])
    assert price.reason == "this figure has no part in it"
    assert "above 10 GHz" in clock.reason
    assert dispatch.factor is None
    (met,) = least_changes(study(), [Target.parse("latency<1")], ["clock"])
    assert met.factor == 1.0


def test_whole_figures_stay_whole() -> None:
    start = Scenario(**BASE).run()
    target = Target.parse(f"latency_us<{start.latency_s * 0.99e6:.3f}")
    (taken,) = least_changes(study(), [target], ["cores"])
    if taken.factor is not None:
        assert str(taken.after).isdigit()


def test_what_take_cannot_start_from_is_refused() -> None:
    target = Target.parse("latency<1")
    with pytest.raises(InputError, match="give one --subject"):
        least_changes(study(), [], ["clock"])
    with pytest.raises(InputError, match=r"but batch, dram\.bandwidth vary"):
        least_changes(study(grid=GRID), [target], ["clock"])
    with pytest.raises(ProfileError, match="nearest: clock"):
        least_changes(study(), [target], ["clok"])
    with pytest.raises(InputError, match="is no number of this machine"):
        least_changes(study(), [target], ["runtime.host.launch"])


def test_the_command_shows_tables(tmp_path: Path) -> None:
    path = tmp_path / "s.toml"
    path.write_text("[base]\n" + "".join(f'{k} = "{v}"\n' for k, v in BASE.items())
                    .replace('"64"', "64"))  # fmt: skip
    out = tmp_path / "t.csv"
    result = good("search", path, "--subject", "latency<1", "--take", "clock", "--out", out)
    assert "latency_s" in result.stdout
    assert out.exists()
    assert "something that varies" in bad("search", path, "--minimize", "latency")
    assert "give --minimize FIGURES" in bad("search", path)
    path.write_text(path.read_text() + "[grid]\nbatch = [1, 2]\n")
    result = good("search", path, "--minimize", "latency,cost")
    assert "all 2 points were tried" in result.stderr
    assert 'did you mean "latency"' in bad("search", path, "--minimize", "latncy")
