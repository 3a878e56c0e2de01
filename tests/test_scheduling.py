"""Policies: they obey the bounds of list scheduling, queues keep order, errors say what is."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator import Scenario
from simulator.demand import Demand
from simulator.engine import Plan, run
from simulator.scheduling import (
    Schedule,
    bounds_of,
    parse_schedule,
    priorities,
    queued,
    schedule_bounds,
    splits,
)
from simulator.sharing import RATE_ONE
from tests.test_invariants import demands, jobs
from tests.test_timelines import Graph, work
from workloads import InputError

LIST_POLICIES = ("graph-order", "critical-path", "longest-first")
BERT = Scenario("bert-base", "teaching", runtime="ideal", prompt=8, drop_layers="10")
SERVER = Scenario("bert-base", "amd-epyc-7763-1s", prompt=8)


@settings(max_examples=100, deadline=None)
@given(jobs(), st.integers(1, 4), st.sampled_from(LIST_POLICIES), st.data())
def test_list_schedules_of_single_cores_keep_to_grahams_bound(
    job: tuple[Graph, list[Demand]], cores: int, policy: str, data: st.DataObject
) -> None:
    graph, drawn = job
    alone = [work(data.draw(st.integers(1, 30))) for _ in drawn]
    plan = Plan(cores, 10**9, RATE_ONE, policy="dataflow")
    plan = replace(plan, priority=priorities(policy, graph.successors, alone, plan))
    bounds = bounds_of(graph.predecessors, alone, plan)
    cycles = run(graph, alone, plan).cycles
    assert bounds.holds
    assert bounds.at_once == cores
    assert bounds.lower_cycles <= cycles <= bounds.graham_cycles
    assert cycles * cores <= (2 * cores - 1) * bounds.lower_cycles


@settings(max_examples=100, deadline=None)
@given(jobs(), st.sampled_from(LIST_POLICIES), st.sampled_from(["none", "asynchronous"]))
def test_every_priority_obeys_the_rules_of_the_engine(
    job: tuple[Graph, list[Demand]], policy: str, host: str
) -> None:
    graph, moments = job
    plan = Plan(3, 10**9, RATE_ONE, policy="dataflow", host=host, queue_depth=2)  # type: ignore[arg-type]
    plan = replace(plan, priority=priorities(policy, graph.successors, moments, plan))
    trace = run(graph, moments, plan)
    assert bounds_of(graph.predecessors, moments, plan).lower_cycles <= trace.cycles
    for i, before in enumerate(graph.predecessors):
        assert trace.ready[i] == max((trace.retired[p] for p in before), default=0)
        assert max(trace.ready[i], trace.dispatched[i]) <= trace.issued[i] < trace.retired[i]


@settings(max_examples=100, deadline=None)
@given(jobs())
def test_equal_priorities_are_graph_order(job: tuple[Graph, list[Demand]]) -> None:
    graph, moments = job
    plan = Plan(2, 10**9, RATE_ONE, policy="dataflow")
    same = run(graph, moments, replace(plan, priority=[0] * len(moments)))
    assert same == run(graph, moments, plan)


@settings(max_examples=100, deadline=None)
@given(jobs(), st.integers(1, 4), demands)
def test_a_queue_keeps_graph_order_and_there_are_no_more_than_asked_for(
    job: tuple[Graph, list[Demand]], count: int, one: Demand
) -> None:
    graph, moments = job
    with_queues = Graph(tuple(queued(graph.predecessors, [1] * len(moments), count)))
    plan = Plan(8, 10**9, RATE_ONE, policy="dataflow")
    trace = run(with_queues, [replace(one, cores=1)] * len(moments), plan)
    for before, after in zip(graph.predecessors, with_queues.predecessors, strict=True):
        assert set(before) <= set(after)
        assert len(after) <= len(before) + 1
    at = sorted({*trace.issued})
    for cycle in at:
        running = sum(a <= cycle < b for a, b in zip(trace.issued, trace.retired, strict=True))
        assert running <= count


def test_one_queue_is_in_order() -> None:
    one = replace(BERT, policy="streams:1", threads=1).run()
    assert one.cycles == replace(BERT, policy="in-order", threads=1).run().cycles
    issued = one.trace.issued
    assert list(issued) == sorted(issued)


def test_no_policy_is_the_runtimes_own() -> None:
    assert BERT.run().trace == replace(BERT, policy="graph-order").run().trace
    unfolded = replace(SERVER, fold=False)
    assert unfolded.run().trace == replace(unfolded, policy="in-order").run().trace


def test_cores_a_moment_hold_each_moment_back() -> None:
    each = replace(SERVER, cores_per_moment=16).run()
    assert max(len(cores) for cores in each.trace.cores) == 16
    assert each.cycles >= schedule_bounds(each).lower_cycles


def test_a_dispatch_on_its_own_cores_takes_as_long_where_nothing_runs_beside() -> None:
    # on one core: one at a time, and the time of each dispatch follows instead of leading
    one = replace(SERVER, threads=1)
    side, order = replace(one, cores_per_moment=1).run(), one.run()
    assert abs(side.cycles - order.cycles) <= len(order.moments)
    assert abs(side.attribution["dispatch"] - order.attribution["dispatch"]) <= len(order.moments)


def test_the_best_split_is_the_best_of_all_that_were_tried() -> None:
    prepared = replace(SERVER, threads=8, policy="best-split").prepared()
    assert prepared.schedule is not None
    (line,) = [text for text in prepared.changes if text.startswith("best split")]
    assert line == f"best split of 4: {prepared.schedule.cores_per_moment} cores a moment"
    tried = [
        replace(SERVER, threads=8, policy="critical-path", cores_per_moment=n).run().cycles
        for n in splits(8)
    ]
    assert prepared.run().cycles == min(tried)


def test_splits_are_whole_parts_of_the_cores() -> None:
    assert splits(8) == [8, 4, 2, 1]
    assert splits(12) == [12, 6, 4, 3, 2, 1]


def test_three_streams_run_query_key_and_value_side_by_side_on_a_third_of_the_cores_each() -> None:
    gpu = Scenario("bert-base", "nvidia-a100-sxm4-80gb", runtime="pytorch-cuda-graphs", prompt=8)
    taken = []
    for policy in (None, "streams:3"):
        done = replace(gpu, policy=policy).run()
        names = [f"prefill/layer.2/{name}" for name in ("query", "key", "value")]
        spans = [
            (done.trace.issued[i], done.trace.retired[i], len(done.trace.cores[i]))
            for i in range(len(done.moments))
            if done.job.flat.name(i) in names
        ]
        taken.append(max(end for _, end, _ in spans) - spans[0][0])
        assert [cores for *_, cores in spans] == ([108] * 3 if policy is None else [36] * 3)
        assert len({start for start, *_ in spans}) == (3 if policy is None else 1)
    assert taken[1] < taken[0]


@pytest.mark.parametrize(
    ("policy", "cores", "message"),
    [
        (
            "critcal-path",
            None,
            r"'critcal-path' is not known \(known: in-order, .*mean critical-path",
        ),
        ("streams", None, "expected streams:N, such as streams:4"),
        ("streams:0", None, "expected streams:N"),
        ("streams:x", None, "expected streams:N"),
        ("streams:2", 4, "each stream has its part of the cores"),
        ("best-split", 4, "finds --cores-per-moment; give one of them"),
        (None, 0, "--cores-per-moment 0: expected at least 1"),
        ("longest-first:2", None, "did you mean longest-first"),
    ],
)
def test_what_is_no_policy_is_refused(policy: str | None, cores: int | None, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_schedule(policy, cores)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"policy": "streams:3"}, "--policy streams:3: teaching has 2 cores"),
        ({"cores_per_moment": 3}, "--cores-per-moment 3: teaching has 2 cores; expected 1 to 2"),
    ],
)
def test_what_the_machine_has_not_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        replace(BERT, **changes).prepared()  # type: ignore[arg-type]


def test_streams_are_for_one_device() -> None:
    spread = Scenario("gpt2", "nvidia-a100-sxm4-80gb", prompt=8, tensor_parallel=2)
    with pytest.raises(InputError, match="streams:2: only for runs on one device"):
        replace(spread, policy="streams:2").run()
    assert replace(spread, policy="critical-path").run().cycles > 0


def test_neither_option_is_no_schedule() -> None:
    assert parse_schedule(None, None) is None
    assert parse_schedule(None, 4) == Schedule("graph-order", 4)
    assert Schedule("streams:2").streams == 2
