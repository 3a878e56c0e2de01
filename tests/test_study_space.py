"""Studies as they are described: their points, and what is refused before anything runs."""

from __future__ import annotations

import tomllib
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardware_profiles.errors import ProfileError
from simulator.study import Span, Study, study_from_table
from simulator.study.columns import Target, figure, numbers_of
from simulator.study.execute import check_size
from simulator.study.pareto import pareto_front
from simulator.study.space import magnitude
from workloads.errors import InputError

BASE = {"workload": "gpt2", "hardware": "nvidia-a100-sxm4-80gb", "context": 64}


def study(text: str, **base: Any) -> Study:
    return study_from_table({"base": {**BASE, **base}, **tomllib.loads(text)}, "s.toml")


def refused(text: str, **base: Any) -> str:
    with pytest.raises((InputError, ProfileError)) as raised:
        study(text, **base)
    message = str(raised.value)
    assert message.startswith("s.toml: ")
    assert "\n" not in message
    return message


def test_a_grid_has_every_combination_in_order() -> None:
    found = study('[grid]\nbatch = [1, 4]\ndram.bandwidth = ["1x", "2x"]')
    assert found.points() == [
        {"batch": 1, "dram.bandwidth": "1x"},
        {"batch": 1, "dram.bandwidth": "2x"},
        {"batch": 4, "dram.bandwidth": "1x"},
        {"batch": 4, "dram.bandwidth": "2x"},
    ]
    scenario = found.scenario(found.points()[3])
    assert (scenario.batch, scenario.context, scenario.changes) == (4, 64, ("dram.bandwidth=2x",))


def test_a_list_has_its_rows() -> None:
    found = study('[[list]]\nbatch = 2\n[[list]]\nbatch = 3\n"clock" = "1 GHz"')
    assert found.points() == [{"batch": 2}, {"batch": 3, "clock": "1 GHz"}]
    assert found.varied == ("batch", "clock")


def test_spans_are_placed_by_factors_or_evenly() -> None:
    assert Span(0.5, 4, "x", 4, log=True).values() == ("0.5x", "1x", "2x", "4x")
    assert Span(1, 2, "TB/s", 3).values() == ("1 TB/s", "1.5 TB/s", "2 TB/s")
    assert Span(1, 4, steps=9, whole=True).values() == (1, 2, 3, 4)  # equal ones once


def test_a_random_design_is_that_of_its_seed_and_grows_at_its_end() -> None:
    text = '[random]\nsamples = {}\nseed = 3\nbatch = [1, 2]\nclock = {{from="1 GHz", to="2 GHz"}}'
    ten, five = study(text.format(10)).points(), study(text.format(5)).points()
    assert ten[:5] == five
    assert ten == study(text.format(10)).points()
    assert len({point["clock"] for point in ten}) == 10
    assert ten != study(text.format(10).replace("seed = 3", "seed = 4")).points()


def test_conditions_leave_points_out() -> None:
    found = study('where = ["batch <= 4", "clock > 1.2 GHz"]\n'
                  '[grid]\nbatch = [1, 4, 16]\nclock = ["1 GHz", "1300 MHz"]')  # fmt: skip
    assert found.points() == [{"batch": n, "clock": "1300 MHz"} for n in (1, 4)]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[grid]\nbatsch = [1]", "'batsch' is not known"),
        ("[grid]\nbatsch = [1]", 'or the option "batch"'),
        ('[grid]\n"dram.bandwith" = ["2x"]', "nearest: memory.dram.bandwidth"),
        ('[grid]\n"dram.bandwidth" = ["2 cows"]', "unit 'cows' is not one of"),
        ('[grid]\nhardware = ["a100"]', "hardware varies and is in [base] too"),
        ("[grid]\nbatch = []", "no values, so the study would have no points"),
        ("[grid]\nbatch = [1, 1]", "a value is there twice"),
        ("[grid]\nbatch = 3", "expected a list of values or a span"),
        ('[grid]\nbatch = ["many"]', "batch = 'many': expected a whole number"),
        ("[grid]\nbatch = [1.5]", "expected a whole number"),
        ("[grid]\nprobe = [true]", "probe cannot be said in a study"),
        ("[grid]\nprompt = [1]", "prompt and context: a run has one of them"),
        ("[grid]\nbatch = [1]\n[random]\nsamples = 1", "[grid] and [random]: a study has one"),
        ("[gird]\nbatch = [1]", 'did you mean "grid"'),
        ("[grid]\nbatch = {from = 4, to = 1, steps = 2}", "from = 4 is not below to = 1"),
        ("[grid]\nbatch = {from = 1, to = 4}", "batch.steps = 'None': expected a whole number"),
        ('[grid]\nclock = {from = "1 GHz", to = "2 MHz", steps = 2}', "from is in 'GHz'"),
        ("[grid]\nbatch = {from = 1, to = 4, stops = 2}", 'did you mean "steps"'),
        ('[grid]\nbatch = {from = 1, to = 4, steps = 2, scale = "cubic"}', "linear or log"),
        ("[random]\nsamples = 0\nbatch = [1]", "random.samples = '0'"),
        ('where = ["batch"]\n[grid]\nbatch = [1]', "expected KEY, one of"),
        ('where = ["bach <= 2"]\n[grid]\nbatch = [1]', 'did you mean "batch"'),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused(text: str, reason: str) -> None:
    assert reason in refused(text)


def test_names_that_do_not_exist_are_refused_with_near_ones() -> None:
    with pytest.raises(InputError, match="did you mean"):
        study("[grid]\nbatch = [1]", workload="gpt3")
    with pytest.raises(ProfileError, match="nearest: nvidia-a100"):
        study("[grid]\nbatch = [1]", hardware="nvidia-a100")
    with pytest.raises(InputError, match="did you mean 'pytorch-eager'"):
        study("[grid]\nbatch = [1]", runtime="pytorch-eagr")
    with pytest.raises(InputError, match="hardware is missing"):
        study_from_table({"base": {"workload": "gpt2"}, "grid": {"batch": [1]}})


def test_a_key_that_one_machine_has_may_vary() -> None:
    names = '["apple-m4-max-cpu", "nvidia-a100-sxm4-80gb"]'
    base = {"workload": "gpt2", "context": 64}
    table = tomllib.loads(f'[grid]\nhardware = {names}\n"matrix.fp16" = ["2x"]')
    assert len(study_from_table({"base": base, **table}).points()) == 2


def test_conditions_that_contradict_leave_nothing() -> None:
    found = study('where = ["batch < 2", "batch > 3"]\n[grid]\nbatch = [1, 2, 4]')
    with pytest.raises(InputError, match="no point meets 'batch < 2', 'batch > 3'"):
        found.points()
    found = study('where = ["batch > 3"]\n[random]\nsamples = 2\nbatch = {from = 1, to = 3}')
    with pytest.raises(InputError, match="they contradict each other or the values"):
        found.points()


def test_more_than_a_million_points_need_a_yes() -> None:
    found = study("[random]\nsamples = 1_000_001\nbatch = [1, 2]")
    with pytest.raises(InputError, match=r"1,000,001 points, more than 1,000,000.*--yes"):
        check_size(found, yes=False)
    check_size(found, yes=True)


def test_magnitudes_are_in_base_units() -> None:
    values = ("1.5 TB/s", "2x", "1/2x", "+10%", 64, "2 us", "40 MiB")
    assert numbers_of(values) == pytest.approx([1.5e12, 2, 0.5, 1.1, 64, 2e-6, 40 * 2**20])
    assert magnitude("bf16x") is None
    assert numbers_of(["2x", "pytorch"]) is None


def test_targets_are_in_the_unit_of_their_column() -> None:
    target = Target.parse("ttft_ms<200")
    assert (target.column, target.limit) == ("ttft_s", 0.2)
    assert target.excess({"ttft_s": 0.3}) == pytest.approx(0.5)
    assert not target.met({"ttft_s": None})
    assert Target.parse("throughput>=100").met({"tokens_per_s": 100.0})
    assert figure("cost", "-y") == ("dollars_per_million_tokens", 1.0)
    with pytest.raises(InputError, match='did you mean "latency"'):
        Target.parse("latncy<2")
    with pytest.raises(InputError, match="expected FIGURE<NUMBER"):
        Target.parse("latency<soon")


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=40))
def test_the_pareto_front_is_what_nobody_beats(points: list[tuple[int, int]]) -> None:
    table = pd.DataFrame(points, columns=["a", "b"])
    front = set(pareto_front(table, ["a"], ["b"]).itertuples(index=False, name=None))
    beaten = {
        (a, b) for a, b in points if any(c <= a and d >= b and (c, d) != (a, b) for c, d in points)
    }
    assert front == set(points) - beaten


def test_the_pareto_front_leaves_out_what_is_not_known() -> None:
    table = pd.DataFrame({"a": [1.0, np.nan, 2.0], "b": [5.0, 0.0, 4.0]})
    assert list(pareto_front(table, ["a", "b"]).index) == [0, 2]
