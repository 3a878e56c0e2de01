"""Folding: the same traffic, the same cycles and the same figures as of the program written out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import accumulate
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from hardware_profiles import load_profile
from hardware_profiles.variants import with_changes
from simulator.attribution import attribute, core_account
from simulator.blocks import AnyBlock, column, with_demands
from simulator.bounds import critical_path_cycles
from simulator.cli import app
from simulator.critical_path import folded_path_cycles
from simulator.demand import Demand
from simulator.engine import Plan, run, run_folded
from simulator.engine.alone import floor_sum
from simulator.figures import as_json, frame, groups
from simulator.fold import fold
from simulator.memory import Hierarchy, Traffic, run_traffic
from simulator.run import simulate
from simulator.runtime import list_runtimes, load_runtime
from simulator.scenario import Scenario
from simulator.sharing import RATE_ONE
from simulator.trace import StepStretch
from tests.random_models import fusions, generations, programs
from tests.test_invariants import demands
from workloads import Program, fuse
from workloads.flat import flatten
from workloads.moment import Moment, Pass, Repeat, Segment
from workloads.passes import with_passes

COLUMNS = ("ready", "dispatched", "issued", "retired", "cores", "dispatch_cycles", "demands")

machines = st.builds(
    Plan,
    core_count=st.integers(1, 4),
    clock_hz=st.sampled_from([10**9, 1_410_000_000, 7]),
    memory_rate=st.integers(RATE_ONE // 7, 3 * RATE_ONE),
    policy=st.just("stream"),
    host=st.sampled_from(["none", "asynchronous", "synchronous"]),
    host_clock_hz=st.sampled_from([10**9, 7 * 10**8, 3_500_000_000, 5]),
    queue_depth=st.integers(1, 100) | st.just(1024),
    launch_cycles=st.sampled_from([0, 1, 7, 50]),
    waits_before=st.frozensets(st.integers(0, 100), max_size=2),
)


@st.composite
def deep_programs(draw: st.DrawFn) -> Program:
    """A random program whose repeated segments repeat up to thirty times as often."""
    program = draw(programs())[1] if draw(st.booleans()) else draw(generations())
    times = draw(st.integers(1, 30))

    def deeper(repeat: Repeat) -> Repeat:
        return replace(repeat, count=repeat.count * times) if repeat.count > 1 else repeat

    def deep(step: Pass) -> Pass:
        return replace(step, repeats=tuple(map(deeper, step.repeats)))

    return fuse(with_passes(program, deep), draw(fusions))


class Chosen:
    """Demands from a pool, by what moves; some of those that change from pass to pass."""

    def __init__(self, pool: list[Demand], step: int) -> None:
        self.pool, self.step, self.number = pool, step, 0
        self.known: dict[tuple[int, Traffic], Demand] = {}
        self.kept: list[Moment] = []

    def of(self, moment: Moment, moved: Traffic) -> Demand:
        key = (id(moment), moved)
        if key not in self.known:
            self.number += self.step
            self.kept.append(moment)
            self.known[key] = self.pool[(self.number + moved.dram_bytes) % len(self.pool)]
        return self.known[key]

    def anew(self, moment: Moment, moved: Traffic) -> Demand:
        return self.pool[(len(moment.name) + self.step * moved.dram_bytes) % len(self.pool)]

    def first(self, pass_index: int, demand: Demand) -> Demand:
        return replace(demand, dispatch_cycles=demand.dispatch_cycles + self.step % 2)


@st.composite
def jobs(draw: st.DrawFn) -> tuple[Program, list[AnyBlock], list[Demand]]:
    """A program in blocks with random demands, and the same demands written out."""
    program = draw(deep_programs())
    blocks = fold(program, Hierarchy(("l2", "dram"), (5000,)))
    assert blocks is not None
    pool = draw(st.lists(demands, min_size=1, max_size=6))
    scale = draw(st.sampled_from([1, 3, 30]))
    pool = [replace(d, dispatch_cycles=d.dispatch_cycles * scale) for d in pool]
    found = with_demands(blocks, Chosen(pool, draw(st.integers(1, 7))))
    return program, found, list(column(found, lambda b, _, position: b.demands[position]))


@st.composite
def plans(draw: st.DrawFn) -> Callable[[Program], Plan]:
    """A machine for a program, perhaps with a host that waits before each pass."""
    plan = draw(machines)
    awaits = draw(st.booleans())

    def of(program: Program) -> Plan:
        widths = [step.moment_count for step in program.passes]
        starts = frozenset(accumulate(widths[:-1]))
        if not awaits:
            return plan
        return replace(plan, host="asynchronous", queue_depth=1024, waits_before=starts)

    return of


@given(
    deep_programs(),
    st.lists(st.integers(0, 20_000), max_size=3).map(sorted),
    st.dictionaries(st.sampled_from(["weight", "activation", "kv_cache"]), st.integers(1, 4)),
)
@settings(deadline=None, max_examples=60)
def test_blocks_find_their_bytes_where_the_moments_do(
    program: Program, capacities: list[int], warm: dict[str, int]
) -> None:
    levels = Hierarchy((*(f"l{i}" for i in range(len(capacities))), "dram"), tuple(capacities))
    blocks = fold(program, levels, warm)
    assert blocks is not None
    found = column(blocks, lambda block, _, position: block.traffic[position])
    assert list(found) == list(run_traffic(program.instances(), levels, warm))


@given(jobs(), plans())
@settings(deadline=None, max_examples=100)
def test_replayed_cycles_are_those_of_the_events(
    job: tuple[Program, list[AnyBlock], list[Demand]], plan_of: Callable[[Program], Plan]
) -> None:
    program, blocks, work = job
    plan = plan_of(program)
    flat = flatten(program)
    whole, folded = run(flat, work, plan), run_folded(blocks, plan)
    assert folded is not None
    assert folded.cycles == whole.cycles
    for name in COLUMNS:
        assert list(getattr(folded, name)) == list(getattr(whole, name)), name
    assert folded.host_cycles == whole.host_cycles
    assert folded.elapsed() == whole.elapsed()
    elapsed = whole.elapsed()
    for stretch in folded.stretches:
        if isinstance(stretch, StepStretch):
            for row in stretch.rows:
                found = 0
                begin = stretch.first + row.block.first + row.position
                for number in range(stretch.count):
                    at = begin + number * stretch.width
                    found += sum(
                        elapsed[at : at + row.block.count * row.block.width : row.block.width]
                    )
                assert row.elapsed == found
            continue
        end = stretch.first + stretch.count * stretch.width
        for position, cycles in enumerate(stretch.elapsed):
            assert cycles == sum(elapsed[stretch.first + position : end : stretch.width])
    assert attribute(folded) == attribute(whole)
    assert core_account(folded) == core_account(whole)
    path = critical_path_cycles(flat.predecessors, work, plan)
    assert folded_path_cycles(blocks, plan) == path


def figures(program: Program, machine: str, runtime: str, fold: bool) -> dict[str, Any]:
    profile = load_profile(machine)
    if machine == "nvidia-a100-sxm4-80gb":
        profile = with_changes(profile, ["l1.capacity=1 kB", "l2.capacity=4 kB"])
    run = simulate(program, profile, runtime, fold=fold)
    return as_json(run) | {"groups": groups(run), "frame": frame(run).to_dict("list")}


@given(
    deep_programs(),
    st.sampled_from(["nvidia-a100-sxm4-80gb", "nvidia-t4", "amd-epyc-7763-1s"]),
    st.sampled_from(list_runtimes()),
)
@settings(deadline=None, max_examples=25)
def test_every_figure_is_the_same(program: Program, machine: str, runtime: str) -> None:
    assume(getattr(load_runtime(runtime), load_profile(machine).kind) is not None)
    assert figures(program, machine, runtime, True) == figures(program, machine, runtime, False)


@given(st.integers(0, 30), st.integers(1, 30), st.integers(0, 100), st.integers(0, 100))
def test_sums_of_quotients(count: int, divisor: int, step: int, start: int) -> None:
    expected = sum((start + k * step) // divisor for k in range(count))
    assert floor_sum(count, divisor, step, start) == expected


@pytest.mark.parametrize("runtime", ["tensorrt-llm", "pytorch-eager", "ideal"])
def test_depth_and_steps_are_replayed(runtime: str) -> None:
    scenario = Scenario(
        "llama-2-7b", "nvidia-a100-sxm4-80gb", runtime=runtime, prompt=512, generate=4
    )
    folded, whole = scenario.run(), replace(scenario, fold=False).run()
    assert as_json(folded) == as_json(whole)
    assert list(folded.trace.retired) == list(whole.trace.retired)
    assert len(folded.trace.stretches) < len(whole.job.flat.instances) / 3


def test_names_that_cannot_be_told_apart_are_not_folded() -> None:
    prepared = Scenario("bert-base", "nvidia-t4").prepared().program
    first = prepared.passes[0]
    odd = [
        replace(r, segment=Segment("a/b", r.segment.moments, r.segment.edges))
        for r in first.repeats
    ]
    changed = replace(prepared, passes=(replace(first, repeats=tuple(odd)),))
    levels = Hierarchy(("dram",), ())
    assert fold(changed, levels) is None
    assert fold(prepared, levels) is not None


def test_columns_are_sequences() -> None:
    run = Scenario("bert-base", "nvidia-t4").run()
    retired = run.trace.retired
    assert retired[-1] == run.cycles
    assert retired[1:3] == [retired[1], retired[2]]
    with pytest.raises(IndexError):
        retired[len(retired)]


def test_the_command_can_simulate_every_instance() -> None:
    def found(*options: str) -> str:
        result = CliRunner().invoke(
            app, ["run", "bert-base", "--on", "nvidia-t4", "--json", "-", *options]
        )
        assert result.exit_code == 0
        return result.stdout

    assert found("--no-fold") == found()
