"""Passes run as one, by hand: their cycles, and the longest chain through them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from simulator.attribution import attribute
from simulator.blocks import AnyBlock, Asked, Block, StepBlocks, column
from simulator.bounds import critical_path_cycles
from simulator.critical_path import folded_path_cycles
from simulator.demand import Demand
from simulator.engine import Plan, run, run_folded
from simulator.memory import Traffic
from simulator.sharing import RATE_ONE
from simulator.trace import StepStretch, Trace
from workloads.flat import flatten
from workloads.moment import (
    ElementShape,
    Footprint,
    Moment,
    OperationCounts,
    Pass,
    Program,
    Repeat,
    Segment,
    Tensor,
)

PLAN = Plan(1, 10**9, RATE_ONE, host="asynchronous")
NOTHING = Traffic((0,))


def moment(name: str, reads: str, writes: str) -> Moment:
    read, written = (
        tuple(Tensor(n, 1, "activation") for n in names.split()) for names in (reads, writes)
    )
    return Moment(name, "copy", "decode", ElementShape(1), "fp32", OperationCounts(), read, written)


def asking(cycles: int, dispatch: int = 0) -> Demand:
    return Demand(units=1, unit_cycles=cycles, cores=1, dispatch_cycles=dispatch)


EMBED = Segment.from_moments("embed", [moment("embed", "tokens", "hidden")])
LAYER = Segment.from_moments("layer", [moment("step", "hidden", "hidden tokens")])


def program_of(*repeats: Repeat, passes: int) -> Program:
    steps = [Pass(f"decode.{i}", "decode", 1, i, repeats) for i in range(passes)]
    return Program("p", tuple(steps), 1, "fp32", Footprint(0, 0, 0))


def generation(changing: list[int], embed: Demand, dispatch: int) -> list[AnyBlock]:
    """A look-up and two layers a pass; a layer takes so many cycles in each pass."""
    layers = tuple(asking(cycles, dispatch) for cycles in changing)
    blocks = (Block(EMBED, 0, 0, 1, (NOTHING,)), Block(LAYER, 0, 1, 2, (NOTHING,)))
    return [StepBlocks(blocks, 0, len(changing), 0, 0, ((embed,), (layers,)))]


def both(blocks: list[AnyBlock], passes: int, plan: Plan) -> Trace:
    """The folded trace, which is that of the events."""
    flat = flatten(program_of(Repeat(EMBED), Repeat(LAYER, 2), passes=passes))
    work = list(column(blocks, lambda b, _, position: b.demands[position]))
    whole, folded = run(flat, work, plan), run_folded(blocks, plan)
    assert folded is not None
    for name in ("ready", "dispatched", "issued", "retired", "dispatch_cycles"):
        assert list(getattr(folded, name)) == list(getattr(whole, name)), name
    assert attribute(folded) == attribute(whole)
    assert folded.host_cycles == whole.host_cycles
    path = critical_path_cycles(flat.predecessors, work, plan)
    assert folded_path_cycles(blocks, plan) == path
    return folded


def test_each_pass_waits_for_the_host_once() -> None:
    """The look-up is dispatched in 3 cycles, then the host is ahead: 3 + 4 + 2 x 10, 12, 14."""
    blocks = generation([10, 12, 14], asking(4, 3), 2)
    trace = both(blocks, 3, replace(PLAN, waits_before=frozenset([0, 3, 6])))
    (steps,) = trace.stretches
    assert isinstance(steps, StepStretch)
    assert steps.ends == [27, 58, 93]
    assert list(trace.retired) == [7, 17, 27, 34, 46, 58, 65, 79, 93]
    assert [row.elapsed for row in steps.rows] == [3 * (3 + 4), 2 * (10 + 12 + 14)]


def test_two_moments_of_a_pass_may_wait() -> None:
    """The look-up takes 1 cycle, so the first layer waits too: 3 + 2, then 2 x 10."""
    layer: Asked = (asking(10, 2), asking(12, 2))
    parts = [(EMBED, 0), (LAYER, 1), (LAYER, 2)]
    apart = tuple(Block(segment, 0, first, 1, (NOTHING,)) for segment, first in parts)
    blocks: list[AnyBlock] = [StepBlocks(apart, 0, 2, 0, 0, ((asking(1, 3),), (layer,), (layer,)))]
    trace = both(blocks, 2, replace(PLAN, waits_before=frozenset([0, 3])))
    assert isinstance(trace.stretches[0], StepStretch)
    assert list(trace.retired) == [4, 15, 25, 29, 42, 54]


@pytest.mark.parametrize(
    ("plan", "together"),
    [
        (replace(PLAN, host="none"), True),
        (replace(PLAN, host="synchronous"), True),
        (replace(PLAN, host="synchronous", host_clock_hz=7 * 10**8), False),
        (PLAN, False),  # the host never waits: it runs ahead into later passes
        (replace(PLAN, waits_before=frozenset([0, 3, 6, 9]), queue_depth=2), False),
        (replace(PLAN, waits_before=frozenset([0, 3, 5, 6, 9])), False),
        (replace(PLAN, waits_before=frozenset([0, 3, 6, 9]), host_clock_hz=7 * 10**8), True),
        (replace(PLAN, waits_before=frozenset([0, 3, 6, 9]), launch_cycles=5), True),
    ],
)
def test_when_passes_are_run_as_one(plan: Plan, together: bool) -> None:
    trace = both(generation([10, 12, 11, 17], asking(4, 3), 2), 4, plan)
    assert isinstance(trace.stretches[0], StepStretch) == together


def test_a_host_that_is_too_slow_is_followed() -> None:
    """A layer takes 3 cycles at least, its dispatch 4: it waits in some passes, not in others."""
    plan = replace(PLAN, waits_before=frozenset([0, 3, 6]))
    trace = both(generation([10, 3, 5], asking(4, 3), 4), 3, plan)
    assert not any(isinstance(stretch, StepStretch) for stretch in trace.stretches)


def test_a_moment_that_never_ends_is_left_to_the_engine() -> None:
    endless = Demand(units=1, unit_cycles=1, cores=1, memory_bytes=1)
    blocks = generation([10, 12], endless, 2)
    assert run_folded(blocks, replace(PLAN, memory_rate=0)) is None


FORK = Segment.from_moments(
    "fork",
    [
        moment("same", "tokens", "left"),
        moment("changes", "tokens", "right"),
        moment("join", "left right", "tokens"),
    ],
)


@pytest.mark.parametrize(
    "changing",
    [
        [12, 13, 15, 11],  # always the longer of the two
        [1, 3, 10, 7],  # never
        [1, 3, 10, 12],  # sometimes
    ],
)
def test_the_longest_chain_through_a_fork_that_changes(changing: list[int]) -> None:
    """10 cycles beside so many, then 1, four times over."""
    asked = ((asking(10), tuple(map(asking, changing)), asking(1)),)
    blocks = [StepBlocks((Block(FORK, 0, 0, 1, (NOTHING,) * 3),), 0, 4, 0, 0, asked)]
    assert folded_path_cycles(blocks, PLAN) == sum(max(10, own) + 1 for own in changing)


def test_the_longest_chain_may_begin_within_a_pass() -> None:
    """What waits for no other pass is longer: it counts once, with what follows in its pass."""
    apart = Segment.from_moments(
        "apart", [moment("alone", "", "noise"), moment("next", "tokens noise", "tokens")]
    )
    asked = ((asking(100), (asking(1), asking(2), asking(3))),)
    blocks = [StepBlocks((Block(apart, 0, 0, 1, (NOTHING,) * 2),), 0, 3, 0, 0, asked)]
    assert folded_path_cycles(blocks, PLAN) == 100 + 1 + 2 + 3


def test_a_tensor_from_before_the_passes_counts() -> None:
    first = Segment.from_moments("first", [moment("load", "", "table")])
    reader = Segment.from_moments(
        "reader", [moment("look", "table", "rows"), moment("next", "tokens rows", "tokens")]
    )
    steps = StepBlocks(
        (Block(reader, 0, 0, 1, (NOTHING,) * 2),), 0, 2, 1, 1,
        ((asking(5), (asking(1), asking(2))),),
    )  # fmt: skip
    blocks: list[AnyBlock] = [Block(first, 0, 0, 1, (NOTHING,), (asking(50),)), steps]
    assert folded_path_cycles(blocks, PLAN) == 50 + 5 + 1 + 2
