"""Why: elasticities of toys are known, the critical path has every cycle, differences add up."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise, permutations
from math import log
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from simulator import Scenario
from simulator.cli import app
from simulator.demand import Demand
from simulator.engine import Plan, run
from simulator.explain.critical_path import critical_path, path_steps
from simulator.explain.difference import both_prepared, explain_difference, seconds_of
from simulator.explain.elasticity import more_cores_note, sensitivities
from simulator.explain.hybrids import MOST_GROUPS, groups_between, hybrid
from simulator.explain.plots import draw_roofline, draw_tornado, draw_waterfall
from simulator.explain.policies import policy_runs
from simulator.explain.roofline import roofline
from simulator.explain.shapley import coalitions, shapley_values, whole_parts
from simulator.explain.views import difference_json
from simulator.look import seconds_text
from tests.test_invariants import jobs, plans
from tests.test_timelines import STREAM, TEACHING, Graph, work
from workloads import InputError

A100, H100 = "nvidia-a100-sxm4-80gb", "nvidia-h100-sxm5-80gb"
TOY = Scenario("bert-base", "teaching", runtime="ideal", prompt=4, threads=1, drop_layers="11")
GRAPHS = Scenario("bert-base", A100, runtime="pytorch-cuda-graphs", prompt=64)


def elasticities(scenario: Scenario) -> dict[str, float]:
    prepared = scenario.prepared()
    return {s.parameter.key: s.elasticity for s in sensitivities(prepared, prepared.run())}


def test_a_run_bound_by_bandwidth_follows_the_bandwidth_alone() -> None:
    # 10 kB/cycle of arithmetic against 1 byte: every moment waits for its bytes
    wide = ("matrix=100000x", "vector=100000x", "special=100000x")
    found = elasticities(replace(TOY, changes=wide))
    assert found.pop("dram.bandwidth") == pytest.approx(-1, abs=1e-3)
    assert found.pop("clock") == pytest.approx(0, abs=1e-3)
    assert found == pytest.approx(dict.fromkeys(found, 0), abs=1e-3)
    assert {"cores", "matrix", "vector", "special"} == set(found)


def test_a_run_bound_by_one_core_follows_the_clock() -> None:
    found = elasticities(replace(TOY, changes=("dram.bandwidth=90000x",)))
    assert found["clock"] == pytest.approx(-1, abs=1e-3)
    assert found["dram.bandwidth"] == pytest.approx(0, abs=1e-3)


def test_elasticities_of_rates_and_times_add_up_to_one_second_a_second() -> None:
    """Everything twice as fast takes half the time: the degrees of freedom sum to -1.

    Of an eager run on a GPU without caches that matter: clock and DRAM are rates, fixed times of
    kernels, of dispatch and of launches are times; kernels' other times are a small rest.
    """
    found = elasticities(replace(GRAPHS, runtime="pytorch-eager"))
    times = ("dispatch", "runtime.host.launch", "runtime.latency_scale")
    rates = found["clock"] + found["dram.bandwidth"] - sum(found.get(key, 0.0) for key in times)
    assert rates == pytest.approx(-1, abs=0.02)


def test_break_even_is_where_the_elasticity_has_halved_and_the_limit_is_what_remains() -> None:
    prepared = replace(GRAPHS, context=512, prompt=None, workload="gpt2", generate=1).prepared()
    result = prepared.run()
    found = {s.parameter.key: s for s in sensitivities(prepared, result)}
    fixed = found["runtime.latency_scale"]
    # latency = rest + scale x fixed: the elasticity is the share of the fixed part
    share = fixed.elasticity
    assert fixed.limit_s == pytest.approx((1 - share) * result.latency_s, rel=0.01)
    assert fixed.break_even is not None
    around = [
        replace(prepared.scenario, changes=(f"runtime.latency_scale={scale:.6f}x",)).run()
        for scale in (0.9 * fixed.break_even, 1.1 * fixed.break_even)
    ]
    there = log(around[1].latency_s / around[0].latency_s) / log(1.1 / 0.9)
    assert there == pytest.approx(share / 2, rel=0.05)
    assert fixed.doubled_s > result.latency_s > fixed.halved_s
    assert found["dram.bandwidth"].limit_cause == "latency"


def test_that_more_cores_are_slower_is_laid_to_the_cache_that_they_divide() -> None:
    scenario = Scenario("llama-3-8b", A100, prompt=128, drop_layers="31")
    prepared = scenario.prepared()
    result = prepared.run()
    found = sensitivities(prepared, result)
    (cores,) = [s for s in found if s.parameter.key == "cores"]
    assert cores.limit_s > result.latency_s
    text = more_cores_note(prepared, result, found)
    assert "cores divide the bandwidth of L2" in text
    count, factor = 16_308, 151  # the most that is tried, of 108
    fed = replace(scenario, changes=(f"cores={count}", f"l2.bandwidth={factor}x")).run()
    assert f"{count:,} of them" in text
    assert f"and {seconds_text(fed.latency_s)} with" in text
    toy = TOY.prepared()
    assert more_cores_note(toy, toy.run(), sensitivities(toy, toy.run())) == ""


def test_cores_are_changed_by_whole_ones() -> None:
    prepared = replace(TOY, threads=2, changes=("dram.bandwidth=90000x",)).prepared()
    found = {s.parameter.key: s for s in sensitivities(prepared, prepared.run())}
    assert (found["cores"].halved_factor, found["cores"].doubled_factor) == (0.5, 2.0)
    assert found["cores"].elasticity < 0
    one = TOY.prepared()
    (cores,) = [s for s in sensitivities(one, one.run()) if s.parameter.key == "cores"]
    assert cores.halved_factor == 1.0
    assert cores.halved_s == one.run().latency_s


# --- the critical path -----------------------------------------------------------------------


def test_the_path_of_a_fork_goes_through_its_longer_arm() -> None:
    graph = Graph(((), (0,), (0,), (1, 2)))
    trace = run(graph, [work(2), work(3), work(5), work(1)], TEACHING)
    steps = path_steps(trace, graph.predecessors)
    assert [(s.index, s.start, s.end) for s in steps] == [(0, 0, 2), (2, 2, 7), (3, 7, 8)]
    assert [s.after for s in steps] == ["start", "dependency", "dependency"]


def test_the_path_goes_through_the_core_that_a_moment_waited_for() -> None:
    graph = Graph(((), (), ()))
    trace = run(graph, [work(4), work(2), work(3)], TEACHING)
    steps = path_steps(trace, graph.predecessors)
    assert [(s.index, s.start, s.end, s.after) for s in steps] == [
        (1, 0, 2, "start"),
        (2, 2, 5, "cores"),
    ]


def test_the_path_of_a_slow_host_is_its_dispatches() -> None:
    graph = Graph(((), (), ()))
    plan = replace(STREAM, host="asynchronous", launch_cycles=4)
    trace = run(graph, [work(2, dispatch_cycles=5)] * 3, plan)
    steps = path_steps(trace, graph.predecessors)
    # dispatches 0-5, 5-10, 10-15, launch 15-19, m2 19-21
    assert [(s.what, s.index, s.start, s.end) for s in steps] == [
        ("dispatch", 0, 0, 5),
        ("dispatch", 1, 5, 10),
        ("dispatch", 2, 10, 15),
        ("launch", 2, 15, 19),
        ("run", 2, 19, 21),
    ]


@settings(max_examples=150, deadline=None)
@given(jobs(), plans)
def test_every_cycle_of_a_run_is_on_its_path_once(
    job: tuple[Graph, list[Demand]], plan: Plan
) -> None:
    graph, moments = job
    trace = run(graph, moments, plan)
    steps = path_steps(trace, graph.predecessors)
    assert steps[0].start == 0
    assert steps[-1].end == trace.cycles
    assert all(a.end == b.start for a, b in pairwise(steps))
    for step in steps:
        assert step.start <= step.end
        if step.what == "run":
            assert (step.start, step.end) == (trace.issued[step.index], trace.retired[step.index])


@pytest.mark.parametrize("more", [{}, {"tensor_parallel": 2}, {"runtime": "pytorch-eager"}])
def test_stages_and_kinds_of_the_path_add_up(more: dict[str, object]) -> None:
    result = replace(GRAPHS, **more).run()  # type: ignore[arg-type]
    path = critical_path(result)
    for part in (path.by_stage, path.by_kind, path.by_wait):
        assert sum(part.values()) == result.cycles


# --- Shapley values --------------------------------------------------------------------------


games = st.integers(1, 4).flatmap(
    lambda n: st.tuples(st.just(n), st.lists(st.fractions(-9, 9), min_size=2**n, max_size=2**n))
)


@given(games)
def test_shapley_values_are_means_over_all_orders_and_add_up(
    game: tuple[int, list[Fraction]],
) -> None:
    count, worths = game
    worth = dict(zip(coalitions(count), worths, strict=True))
    values = shapley_values(count, worth.__getitem__)
    assert sum(values) == worth[frozenset(range(count))] - worth[frozenset()]
    orders = list(permutations(range(count)))
    for change in range(count):
        gains = []
        for order in orders:
            before = frozenset(order[: order.index(change)])
            gains.append(worth[before | {change}] - worth[before])
        assert values[change] == sum(gains) / len(orders)


def test_equals_get_equal_parts_and_a_dummy_nothing() -> None:
    # 0 and 1 only act together, 2 never does, 3 adds 5 whatever else
    def worth(members: frozenset[int]) -> Fraction:
        return Fraction(7 * ({0, 1} <= members) + 5 * (3 in members))

    assert shapley_values(4, worth) == [Fraction(7, 2), Fraction(7, 2), 0, 5]


@given(st.lists(st.fractions(-1000, 1000), min_size=1, max_size=8))
def test_rounded_parts_add_up_and_none_is_off_by_one(parts: list[Fraction]) -> None:
    total = round(sum(parts))
    found = whole_parts(parts, total)
    assert sum(found) == total
    assert all(abs(whole - part) <= 1 for whole, part in zip(found, parts, strict=True))


# --- differences -----------------------------------------------------------------------------


PAIRS = [
    (GRAPHS, H100, None),
    (Scenario("gpt2", "amd-epyc-7763-1s", prompt=16), "nvidia-l4", None),
    (GRAPHS, None, "pytorch-eager"),
    (Scenario("gpt2", A100, prompt=16, tensor_parallel=2), H100, "tensorrt-llm"),
]


@pytest.mark.parametrize(("scenario", "against", "runtime"), PAIRS)
def test_the_bars_add_up_exactly_from_one_run_to_the_other(
    scenario: Scenario, against: str | None, runtime: str | None
) -> None:
    a, b = both_prepared(scenario, against, runtime)
    found = explain_difference(a, b)
    assert found.before_s == seconds_of(a.run())
    assert found.after_s == seconds_of(b.run())
    assert found.before_s + sum(part.value_s for part in found.parts) == found.after_s
    data = difference_json(found)
    assert data["before_ps"] + sum(p["value_ps"] for p in data["parts"]) == data["after_ps"]
    assert found.simulations == 2 ** len(found.parts) <= 2**MOST_GROUPS


def test_the_way_back_has_the_same_bars_upside_down() -> None:
    a, b = both_prepared(replace(GRAPHS, dtype="fp16"), H100, None)
    there = {part.name: part.value_s for part in explain_difference(a, b).parts}
    back = {part.name: part.value_s for part in explain_difference(b, a).parts}
    assert back == {name: -value for name, value in there.items()}


def test_a_table_that_both_have_is_no_bar_and_one_that_does_not_matter_is_zero() -> None:
    a = replace(GRAPHS, dtype="fp16").prepared()
    b = replace(GRAPHS, dtype="fp16", changes=("dram.bandwidth=2x", "l1.bandwidth=2x")).prepared()
    found = {part.name: part.value_s for part in explain_difference(a, b).parts}
    assert set(found) == {"DRAM", "caches"}
    assert found["caches"] == 0 > found["DRAM"]


def test_a_hybrid_of_nothing_and_of_everything_are_the_two() -> None:
    a, b = both_prepared(GRAPHS, H100, None)
    groups = groups_between(a, b)
    assert hybrid(a, b, []).run().trace == a.run().trace
    assert hybrid(a, b, groups).run().trace == b.run().trace


@pytest.mark.parametrize("runtime", [None, "pytorch-cuda-graphs"])
def test_two_equal_machines_have_no_difference(runtime: str | None) -> None:
    with pytest.raises(
        InputError, match="do not differ: there is nothing to explain; give another"
    ):
        explain_difference(*both_prepared(GRAPHS, A100, runtime))


def test_something_to_compare_with_is_needed() -> None:
    with pytest.raises(InputError, match="give --against MACHINE or --against-runtime RUNTIME"):
        both_prepared(GRAPHS, None, None)


# --- pictures, policies and the command ------------------------------------------------------


def test_points_stay_below_their_roofs_and_shares_add_up() -> None:
    result = GRAPHS.run()
    found = roofline(result)
    shares = sum(point.time_share for point in found.points)
    assert shares + found.moving_share == pytest.approx(1)
    highest = max(found.roofs.flops_per_s.values())
    fastest = max(found.roofs.bytes_per_s.values())
    for point in found.points:
        assert point.flops_per_s <= 1.001 * min(highest, fastest * point.intensity)
    flops = sum(p.flops for p in found.points)
    assert flops >= result.program.matrix_flops


def test_every_picture_is_drawn(tmp_path: Path) -> None:
    prepared = TOY.prepared()
    result = prepared.run()
    found = sensitivities(prepared, result)
    files = [
        draw_tornado(result, found, tmp_path / "t.png"),
        draw_tornado(result, [], tmp_path / "none.png"),
        draw_roofline(result, roofline(result), tmp_path / "r.png"),
        draw_waterfall(
            explain_difference(*both_prepared(GRAPHS, None, "pytorch-eager")), tmp_path / "w.png"
        ),
    ]
    assert all(file.read_bytes().startswith(b"\x89PNG") for file in files)


def test_every_policy_is_run_beside_its_bounds() -> None:
    found = policy_runs(TOY.prepared())
    assert [one.name for one in found] == [
        *(None, "in-order", "graph-order", "critical-path", "longest-first"),
        "best split: 1 cores a moment",
    ]
    assert all(one.bounds.lower_cycles <= one.run.cycles for one in found)
    # the moments share one memory, so Graham's conditions do not hold
    assert not any(one.bounds.holds for one in found)


def good(*arguments: object) -> str:
    result = CliRunner().invoke(app, ["explain", *map(str, arguments)])
    assert result.exit_code == 0, result.output
    return result.stdout


def bad(*arguments: object) -> str:
    result = CliRunner().invoke(app, ["explain", *map(str, arguments)])
    assert result.exit_code == 2
    assert result.stdout == ""
    (line,) = [x for x in result.stderr.splitlines() if not x.startswith("note: ")]
    return line


MACHINE = ("bert-base", "--on", A100, "--prompt", "16")


def test_the_command_shows_and_writes_sensitivities(tmp_path: Path) -> None:
    text = good(*MACHINE, "--tornado", tmp_path / "t.svg", "--json", tmp_path / "e.json")
    assert "dispatch cost" in text
    assert "critical path" in text
    data = json.loads((tmp_path / "e.json").read_text(encoding="utf-8"))
    assert sum(data["critical_path"]["by_stage_cycles"].values()) == data["cycles"]
    assert (tmp_path / "t.svg").exists()
    assert json.loads(good(*MACHINE, "--json", "-"))["parameters"][0]["key"] == "dispatch"


@pytest.mark.parametrize(
    ("options", "latency"),
    [
        (("--kv-dtype", "fp8", "--generate", "2"), {"kv_dtype": "fp8", "generate": 2}),
        (("--fuse", "qkv", "--drop-layers", "10"), {"fuse": "qkv", "drop_layers": "10"}),
        (("--power-cap", "200W"), {"power_cap": "200W"}),
        (("--draft", "lookup", "--generate", "3"), {"draft": "lookup", "generate": 3}),
        (("--cold", "host", "--no-fold"), {"cold": "host", "fold": False}),
    ],
)
def test_what_is_explained_is_the_run_that_was_asked_for(
    options: tuple[str, ...], latency: dict[str, Any]
) -> None:
    data = json.loads(good("gpt2", "--on", A100, "--prompt", "16", *options, "--json", "-"))
    expected = Scenario("gpt2", A100, prompt=16, **latency).run()
    assert data["latency_s"] == expected.latency_s


def test_what_does_not_go_is_named_as_for_a_run() -> None:
    assert "--draft and --beams" in bad(*MACHINE, "--beams", "2", "--draft", "gpt2")


def test_the_command_shows_and_writes_a_difference(tmp_path: Path) -> None:
    text = good(*MACHINE, "--against", H100, "--waterfall", tmp_path / "w.png")
    assert "they add up exactly" in text
    assert (tmp_path / "w.png").exists()
    data = json.loads(good(*MACHINE, "--against-runtime", "tensorrt", "--json", "-"))
    assert data["runtimes"] == ["pytorch-eager", "tensorrt"]


def test_the_command_compares_policies() -> None:
    text = good("bert-base", "--on", "teaching", "--runtime", "ideal", "--prompt", 2, "--policies")
    assert "longest-first" in text
    assert "Graham" in text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--against", A100), "do not differ: there is nothing to explain"),
        (("--against", "nvidia-h100"), "is not known; nearest: "),
        (("--policy", "critical"), "did you mean critical-path?"),
        (("--waterfall", "w.png"), "--waterfall shows a difference; give --against"),
        (("--against", H100, "--tornado", "t.png"), "--tornado and --roofline show one run"),
        (("--tornado", "t.png", "--roofline", "t.png"), "t.png: given for two outputs"),
        (("--tornado", "t.gif"), "'.gif' is not a known format"),
        (("--policies", "--policy", "in-order"), "--policies compares all of them"),
    ],
)
def test_what_does_not_go_together_is_one_line(options: tuple[str, ...], message: str) -> None:
    line = bad(*MACHINE, *options)
    assert line.startswith("moments: error: ")
    assert message in line
