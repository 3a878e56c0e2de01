"""Properties of every run on random graphs: bounds, accounts that add up, equal traces."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.attribution import attribute, core_account, moment_core_cycles
from simulator.bounds import busiest_resource_cycles, critical_path_cycles
from simulator.demand import Demand
from simulator.engine import Plan, run
from simulator.engine.columns import Columns
from simulator.engine.dataflow import Dataflow
from simulator.engine.places import Places
from simulator.engine.stream import Stream
from simulator.sharing import RATE_ONE
from simulator.trace import Place
from tests.test_timelines import Graph

demands = st.builds(
    lambda units, unit_cycles, cores, moved, cap, latency, overlap, dispatch: Demand(
        units=units,
        unit_cycles=unit_cycles,
        cores=cores,
        memory_bytes=moved,
        memory_cap=cap,
        serial=(("latency", latency), ("overlap", overlap)),
        dispatch_cycles=dispatch,
    ),
    st.integers(1, 6),
    st.integers(0, 20),
    st.integers(1, 4),
    st.integers(0, 30),
    st.sampled_from([0, RATE_ONE // 3, 5 * RATE_ONE]),
    st.integers(0, 5),
    st.integers(0, 3),
    st.integers(0, 9),
)
plans = st.builds(
    lambda cores, rate, policy, host, host_hz, depth, waits: Plan(
        core_count=cores,
        clock_hz=10**9,
        memory_rate=rate,
        policy=policy,
        host=host,
        host_clock_hz=host_hz,
        queue_depth=depth,
        waits_before=frozenset(waits),
    ),
    st.integers(1, 4),
    st.integers(RATE_ONE // 7, 3 * RATE_ONE),
    st.sampled_from(["stream", "dataflow"]),
    st.sampled_from(["none", "asynchronous", "synchronous"]),
    st.sampled_from([10**9, 7 * 10**8, 3 * 10**9]),
    st.integers(1, 5),
    st.lists(st.integers(1, 10), max_size=2),
)


@st.composite
def jobs(draw: st.DrawFn) -> tuple[Graph, list[Demand]]:
    count = draw(st.integers(1, 14))
    edges = tuple(
        tuple(sorted(draw(st.sets(st.integers(0, i - 1), max_size=3)))) if i else ()
        for i in range(count)
    )
    return Graph(edges), [draw(demands) for _ in range(count)]


@settings(max_examples=300, deadline=None)
@given(jobs(), plans)
def test_every_run_obeys_the_rules(job: tuple[Graph, list[Demand]], plan: Plan) -> None:
    graph, work = job
    trace = run(graph, work, plan)
    assert run(graph, work, plan) == trace  # two runs give equal traces
    for i, before in enumerate(graph.predecessors):
        assert trace.ready[i] == max((trace.retired[p] for p in before), default=0)
        assert trace.ready[i] <= trace.issued[i] < trace.retired[i]
        assert trace.dispatched[i] <= trace.issued[i]
        assert len(set(trace.cores[i])) == len(trace.cores[i]) <= work[i].cores
    assert trace.cycles == max(trace.retired)


@settings(max_examples=200, deadline=None)
@given(jobs(), plans)
def test_machines_made_for_one_device_do_what_the_general_one_does(
    job: tuple[Graph, list[Demand]], plan: Plan
) -> None:
    graph, work = job
    in_order = plan.policy == "stream"
    place = Place("device", 0, "device", plan.core_count, plan.memory_rate, in_order)
    general = run(graph, work, replace(plan, places=(place,), home=[0] * len(work)))
    trace = run(graph, work, plan)
    for column in ("ready", "dispatched", "issued", "retired", "cores", "dispatch_cycles"):
        assert getattr(trace, column) == getattr(general, column), column


@pytest.mark.parametrize("kind", [Stream, Dataflow, Places])
def test_no_cycle_takes_two_events(kind: type[Stream | Dataflow | Places]) -> None:
    """One for each in which a moment retires, and none for the ends of flows or for dispatch."""
    edges = tuple(tuple(p for p in (i - 1, i - 4) if p >= 0 and i % 3) for i in range(60))
    work = [Demand(2, 5 + i % 7, 2, 40 + i, 0, (("latency", i % 5),), 3 * i) for i in range(60)]
    columns = Columns(len(work))
    plan = Plan(4, 10**9, 9 * RATE_ONE, policy="dataflow", host="asynchronous")
    machine = kind(Graph(edges), work, plan, columns)
    machine.start()
    events = 0
    while machine.environment.peek() < math.inf:
        machine.environment.step()
        events += 1
    assert min(columns.retired) > 0
    assert events == len(set(columns.retired))


@settings(max_examples=200, deadline=None)
@given(jobs(), plans)
def test_no_run_beats_its_bounds(job: tuple[Graph, list[Demand]], plan: Plan) -> None:
    graph, work = job
    cycles = run(graph, work, plan).cycles
    assert critical_path_cycles(graph.predecessors, work, plan) <= cycles
    for resource, bound in busiest_resource_cycles(work, plan).items():
        assert bound <= cycles, resource


@settings(max_examples=200, deadline=None)
@given(jobs(), plans)
def test_every_cycle_has_one_cause(job: tuple[Graph, list[Demand]], plan: Plan) -> None:
    graph, work = job
    trace = run(graph, work, plan)
    total = attribute(trace)
    assert sum(total.by_cause.values()) == plan.core_count * trace.cycles
    assert min(total.by_cause.values()) >= 0
    assert sum(total.latency_cycles().values()) == trace.cycles
    for i in range(len(trace)):
        held = len(trace.cores[i]) * (trace.retired[i] - trace.issued[i])
        assert sum(n for _, n in moment_core_cycles(trace, i)) == held
    account = core_account(trace)
    assert account.busy + account.stalled + account.idle == plan.core_count * trace.cycles


@settings(max_examples=150, deadline=None)
@given(jobs(), plans)
def test_no_core_serves_two_moments_and_no_memory_runs_too_fast(
    job: tuple[Graph, list[Demand]], plan: Plan
) -> None:
    graph, work = job
    trace = run(graph, work, plan)
    by_core: dict[int, list[tuple[int, int]]] = {}
    for i in range(len(trace)):
        for core in trace.cores[i]:
            assert 0 <= core < plan.core_count
            by_core.setdefault(core, []).append((trace.issued[i], trace.retired[i]))
    for held in by_core.values():
        held.sort()
        assert all(a[1] <= b[0] for a, b in pairwise(held))
    moved = sum(d.memory_bytes for d in work) * RATE_ONE
    assert moved <= plan.memory_rate * trace.cycles


@settings(max_examples=150, deadline=None)
@given(jobs(), st.integers(2, 4))
def test_a_faster_machine_is_never_slower_in_order(
    job: tuple[Graph, list[Demand]], factor: int
) -> None:
    """True of single-stream runs; list scheduling has Graham's anomalies."""
    graph, work = job
    slow = Plan(1, 10**9, RATE_ONE, host="asynchronous")
    fast = Plan(1, 10**9, factor * RATE_ONE, host="asynchronous")
    assert run(graph, work, fast).cycles <= run(graph, work, slow).cycles
