"""Hand-drawn timelines on tiny machines: does the engine do what its rules say?"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest

from simulator.demand import Demand
from simulator.engine import BlockedError, Plan, run
from simulator.scheduling import priorities, queued
from simulator.sharing import RATE_ONE, share_rate
from simulator.trace import Trace


@dataclass(frozen=True)
class Graph:
    """Edges by hand: predecessors of each moment."""

    predecessors: tuple[tuple[int, ...], ...]

    @property
    def successors(self) -> list[tuple[int, ...]]:
        found: list[list[int]] = [[] for _ in self.predecessors]
        for consumer, producers in enumerate(self.predecessors):
            for producer in producers:
                found[producer].append(consumer)
        return [tuple(following) for following in found]

    def name(self, index: int) -> str:
        return f"m{index}"


def work(cycles: int, units: int = 1, cores: int = 1, **more: Any) -> Demand:
    return Demand(units=units, unit_cycles=cycles, cores=cores, **more)


def spans(trace: Trace) -> list[tuple[int, int, tuple[int, ...]]]:
    return list(zip(trace.issued, trace.retired, trace.cores, strict=True))


TEACHING = Plan(core_count=2, clock_hz=10**9, memory_rate=RATE_ONE, policy="dataflow")
STREAM = Plan(core_count=2, clock_hz=10**9, memory_rate=RATE_ONE)


def test_one_moment() -> None:
    trace = run(Graph(((),)), [work(5)], TEACHING)
    # core 0: |m0..| until 5
    assert spans(trace) == [(0, 5, (0,))]
    assert trace.cycles == 5


def test_a_moment_without_work_still_takes_one_cycle() -> None:
    assert run(Graph(((),)), [work(0)], TEACHING).retired == [1]


def test_chain() -> None:
    trace = run(Graph(((), (0,), (1,))), [work(3), work(4), work(2)], TEACHING)
    # core 0: m0 0-3, m1 3-7, m2 7-9: core 1 idle, nothing is ready
    assert spans(trace) == [(0, 3, (0,)), (3, 7, (0,)), (7, 9, (0,))]
    assert trace.ready == [0, 3, 7]


def test_fork_and_join() -> None:
    trace = run(Graph(((), (0,), (0,), (1, 2))), [work(2), work(3), work(5), work(1)], TEACHING)
    # core 0: m0 0-2, m1 2-5, then m3 at 7; core 1: m2 2-7. The join waits for the later.
    assert spans(trace) == [(0, 2, (0,)), (2, 5, (0,)), (2, 7, (1,)), (7, 8, (0,))]


def test_more_ready_moments_than_cores_go_in_graph_order() -> None:
    trace = run(Graph(((), (), ())), [work(4), work(2), work(3)], TEACHING)
    # core 0: m0 0-4; core 1: m1 0-2, m2 2-5
    assert spans(trace) == [(0, 4, (0,)), (0, 2, (1,)), (2, 5, (1,))]


def test_work_units_go_in_waves() -> None:
    trace = run(Graph(((),)), [work(4, units=5, cores=2)], TEACHING)
    # 5 units on 2 cores: 3 waves of 4 cycles, one core idle in the last
    assert spans(trace) == [(0, 12, (0, 1))]


def test_two_flows_share_the_bandwidth() -> None:
    trace = run(Graph(((), ())), [work(1, memory_bytes=10), work(1, memory_bytes=4)], TEACHING)
    # both at 1/2 byte per cycle: m1 done at 8 (4 bytes); m0 has 10 - 4 = 6 left, alone: 8 + 6
    assert trace.retired == [14, 8]


def test_a_flow_that_starts_later_slows_the_first() -> None:
    demands = [work(0, memory_bytes=10), work(4), work(0, memory_bytes=3)]
    trace = run(Graph(((), (), (1,))), demands, TEACHING)
    # m0 alone until 4 (6 left), then shared at 1/2 with m2: m2 takes 6, until 10; m0 has 3 left
    assert trace.retired == [13, 4, 10]


def test_a_capped_flow_leaves_its_rest_to_the_other() -> None:
    demands = [work(0, memory_bytes=6, memory_cap=RATE_ONE // 4), work(0, memory_bytes=6)]
    trace = run(Graph(((), ())), demands, TEACHING)
    # m0 at its cap of 1/4 takes 24; m1 gets 3/4 and takes 8
    assert trace.retired == [24, 8]


def test_compute_and_memory_run_side_by_side_and_serial_cycles_follow() -> None:
    demand = work(9, memory_bytes=5, serial=(("latency", 3), ("fork_join", 1)))
    assert run(Graph(((),)), [demand], TEACHING).retired == [13]
    demand = work(5, memory_bytes=9, serial=(("latency", 3),))
    assert run(Graph(((),)), [demand], TEACHING).retired == [12]


def test_simultaneous_events_retire_before_they_issue() -> None:
    demands = [work(3), work(3), work(2), work(1)]
    trace = run(Graph(((), (), (0,), (1,))), demands, TEACHING)
    # m0 and m1 retire in cycle 3; both successors see both cores free in that same cycle
    assert spans(trace) == [(0, 3, (0,)), (0, 3, (1,)), (3, 5, (0,)), (3, 4, (1,))]


def test_stream_is_in_order_with_the_whole_device() -> None:
    demands = [work(4, units=2, cores=2), work(3, units=1, cores=2), work(2, units=2, cores=2)]
    trace = run(Graph(((), (), ())), demands, STREAM)
    assert spans(trace) == [(0, 4, (0, 1)), (4, 7, (0,)), (7, 9, (0, 1))]


def test_dispatch_bound_stream() -> None:
    plan = Plan(2, 10**9, RATE_ONE, host="asynchronous", host_clock_hz=10**9)
    trace = run(Graph(((), (0,), (1,))), [work(2, dispatch_cycles=5)] * 3, plan)
    # host: 0-5, 5-10, 10-15; device: 5-7, 10-12, 15-17, idle in between
    assert trace.dispatched == [5, 10, 15]
    assert spans(trace) == [(5, 7, (0,)), (10, 12, (0,)), (15, 17, (0,))]


def test_device_bound_stream() -> None:
    plan = Plan(2, 10**9, RATE_ONE, host="asynchronous", host_clock_hz=10**9)
    trace = run(Graph(((), (0,), (1,))), [work(7, dispatch_cycles=2)] * 3, plan)
    # host runs ahead: 2, 4, 6; device: 2-9, 9-16, 16-23
    assert trace.dispatched == [2, 4, 6]
    assert [s[:2] for s in spans(trace)] == [(2, 9), (9, 16), (16, 23)]


def test_synchronous_host_adds_up() -> None:
    plan = Plan(2, 10**9, RATE_ONE, host="synchronous", host_clock_hz=10**9)
    trace = run(Graph(((), (0,))), [work(7, dispatch_cycles=2)] * 2, plan)
    assert [s[:2] for s in spans(trace)] == [(2, 9), (11, 18)]


def test_host_has_its_own_clock() -> None:
    plan = Plan(2, 10**9, RATE_ONE, host="asynchronous", host_clock_hz=3 * 10**9)
    trace = run(Graph(((), ())), [work(1, dispatch_cycles=4)] * 2, plan)
    # 4 host cycles are 1.33 device cycles, 8 are 2.67: rounded up
    assert trace.dispatched == [2, 3]


def test_host_waits_when_the_queue_is_full() -> None:
    plan = Plan(2, 10**9, RATE_ONE, host="asynchronous", host_clock_hz=10**9, queue_depth=1)
    trace = run(Graph(((), (), ())), [work(10, dispatch_cycles=1)] * 3, plan)
    # m1 may be dispatched when m0 has retired (11), and so on
    assert trace.dispatched == [1, 12, 23]


def test_host_waits_for_the_token() -> None:
    plan = Plan(
        2, 10**9, RATE_ONE, host="asynchronous", host_clock_hz=10**9, waits_before=frozenset({1})
    )
    trace = run(Graph(((), (0,))), [work(10, dispatch_cycles=3)] * 2, plan)
    assert [s[:2] for s in spans(trace)] == [(3, 13), (16, 26)]


@pytest.mark.parametrize("policy", ["stream", "dataflow"])
def test_dataflow_with_dispatch_equals_stream_for_a_chain(policy: str) -> None:
    plan = Plan(2, 10**9, RATE_ONE, policy=policy, host="asynchronous", host_clock_hz=10**9)  # type: ignore[arg-type]
    trace = run(Graph(((), (0,), (1,))), [work(2, dispatch_cycles=5)] * 3, plan)
    assert trace.retired == [7, 12, 17]


def test_dataflow_dispatch_keeps_graph_order() -> None:
    plan = Plan(2, 10**9, RATE_ONE, policy="dataflow", host="asynchronous", host_clock_hz=10**9)
    trace = run(Graph(((), (), ())), [work(10, dispatch_cycles=4)] * 3, plan)
    # dispatched 4, 8, 12; cores free again at 14 and 18
    assert spans(trace) == [(4, 14, (0,)), (8, 18, (1,)), (14, 24, (0,))]


def test_an_empty_program_takes_no_time() -> None:
    assert run(Graph(()), [], TEACHING).cycles == 0


@pytest.mark.parametrize("plan", [TEACHING, STREAM])
def test_a_cycle_is_named(plan: Plan) -> None:
    with pytest.raises(BlockedError, match=r"2 moments can never run: m1: waits for m2; m2"):
        run(Graph(((), (2,), (1,))), [work(1)] * 3, plan)


@pytest.mark.parametrize("policy", ["stream", "dataflow"])
def test_no_bandwidth_is_named(policy: str) -> None:
    plan = Plan(2, 10**9, 0, policy=policy)  # type: ignore[arg-type]
    with pytest.raises(BlockedError, match=r"m0: its memory traffic never ends"):
        run(Graph(((),)), [work(1, memory_bytes=1)], plan)


def test_no_free_core_is_named() -> None:
    plan = Plan(0, 10**9, RATE_ONE, policy="dataflow")
    with pytest.raises(BlockedError, match=r"m0: no core ever became free"):
        run(Graph(((),)), [work(1)], plan)


@pytest.mark.parametrize(
    ("caps", "total", "rates"),
    [
        ([], 9, []),
        ([0, 0], 9, [4, 4]),
        ([2, 0], 10, [2, 8]),
        ([2, 100, 0], 12, [2, 5, 5]),
        ([1, 1], 10, [1, 1]),
    ],
)
def test_progressive_filling(caps: list[int], total: int, rates: list[int]) -> None:
    assert share_rate(caps, total) == rates


@pytest.mark.parametrize("wrong", [{"units": 0}, {"cores": 0}, {"cycles": -1}])
def test_a_demand_must_make_sense(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="a demand"):
        work(**({"cycles": 1} | wrong))


def test_a_launch_takes_its_time_while_the_host_goes_on() -> None:
    plan = Plan(2, 10**9, RATE_ONE, host="asynchronous", host_clock_hz=10**9, launch_cycles=7)
    trace = run(Graph(((), ())), [work(2, dispatch_cycles=3)] * 2, plan)
    # host: 0-3, 3-6; arrivals 10 and 13
    assert trace.dispatched == [10, 13]
    assert [s[:2] for s in spans(trace)] == [(10, 12), (13, 15)]
    assert [trace.dispatch_span(i) for i in (0, 1)] == [(0, 3), (3, 6)]


def ordered(policy: str, graph: Graph, demands: list[Demand]) -> Trace:
    plan = replace(TEACHING, priority=priorities(policy, graph.successors, demands, TEACHING))
    return run(graph, demands, plan)


def test_longest_first_leaves_the_short_ones_to_fill_the_end() -> None:
    graph, demands = Graph(((), (), ())), [work(2), work(3), work(5)]
    # graph order: m0 0-2, m1 0-3, m2 2-7
    assert ordered("graph-order", graph, demands).retired == [2, 3, 7]
    # core 0: m2 0-5; core 1: m1 0-3, m0 3-5
    assert ordered("longest-first", graph, demands).retired == [5, 3, 5]


def test_the_critical_path_goes_before_a_longer_moment() -> None:
    graph, demands = Graph(((), (), (), (2,))), [work(4), work(4), work(3), work(6)]
    # m2 is the shortest, but m3 waits for it: 9 cycles to the end, against 4
    trace = ordered("critical-path", graph, demands)
    # core 0: m2 0-3, m3 3-9; core 1: m0 0-4, m1 4-8
    assert trace.retired == [4, 8, 3, 9]
    # longest first: m0 0-4, m1 0-4, m2 4-7, m3 7-13
    assert ordered("longest-first", graph, demands).retired == [4, 4, 7, 13]


def test_equal_priorities_go_in_graph_order() -> None:
    trace = ordered("longest-first", Graph(((), (), ())), [work(3), work(3), work(3)])
    assert trace.retired == [3, 3, 6]


def test_a_moment_that_is_not_dispatched_does_not_hold_up_one_that_is() -> None:
    plan = Plan(1, 10**9, RATE_ONE, policy="dataflow", host="asynchronous", host_clock_hz=10**9)
    demands = [work(2, dispatch_cycles=1), work(9, dispatch_cycles=5)]
    trace = run(Graph(((), ())), demands, replace(plan, priority=[1, 0]))
    # dispatched at 1 and 6: m1 would go first, but m0 is there
    assert [s[:2] for s in spans(trace)] == [(1, 3), (6, 15)]


def test_of_dispatched_moments_the_first_by_priority_goes_on() -> None:
    plan = Plan(1, 10**9, RATE_ONE, policy="dataflow", host="asynchronous", host_clock_hz=10**9)
    demands = [work(9, dispatch_cycles=1)] * 3
    trace = run(Graph(((), (), ())), demands, replace(plan, priority=[2, 1, 0]))
    # dispatched at 1, 2 and 3; at 10 both others are there, and m2 is before m1
    assert trace.issued == [1, 19, 10]


def test_two_queues_take_two_moments_at_a_time_in_order() -> None:
    # four heads and a join, each on one of three cores: two queues leave the third idle
    edges: tuple[tuple[int, ...], ...] = ((), (), (), (), (0, 1, 2, 3))
    demands = [work(4), work(2), work(3), work(2), work(1)]
    lanes = Graph(tuple(queued(edges, [4, 2, 3, 2, 1], 2)))
    # where it could start first: m0 and m1 at once, m2 at 2 after m1, m3 at 4 after m0;
    # the join could start at 6 in both and follows its last predecessor, m3
    assert lanes.predecessors == ((), (), (1,), (0,), (0, 1, 2, 3))
    trace = run(lanes, demands, replace(TEACHING, core_count=3))
    # first: m0 0-4, m3 4-6, m4 6-7; second: m1 0-2, m2 2-5
    assert [s[:2] for s in spans(trace)] == [(0, 4), (0, 2), (2, 5), (4, 6), (6, 7)]


def test_in_order_takes_one_moment_at_a_time() -> None:
    trace = run(Graph(((), (), ())), [work(2), work(3), work(5)], STREAM)
    assert trace.retired == [2, 5, 10]
