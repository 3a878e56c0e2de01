"""What a block is to one device in order: edges, cycles of each moment alone, sums of quotients."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from simulator.blocks import Block
from simulator.demand.types import Demand
from simulator.engine.plan import Plan
from simulator.sharing import RATE_ONE
from workloads.moment import Segment


@dataclass(frozen=True, slots=True)
class Edges:
    """What the moments of a segment wait for; see Stretch.sources. `imports` of those with -1."""

    sources: tuple[int, ...]
    imports: tuple[tuple[int, tuple[str, ...]], ...]
    exports: tuple[tuple[str, int], ...]


def edges_of(segment: Segment, wanted: frozenset[str]) -> Edges:
    sources = [-1] * len(segment.moments)
    for producer, consumer in segment.edges:  # in order the latest one is the last to retire
        sources[consumer] = max(sources[consumer], producer)
    imports: dict[int, list[str]] = {}
    for name, position in segment.imports:
        if sources[position] < 0:
            imports.setdefault(position, []).append(name)
            writer = segment.exports.get(name)
            if writer is not None:
                sources[position] = min(sources[position], -2 - writer)
    exports = tuple((name, at) for name, at in segment.exports.items() if name in wanted)
    return Edges(tuple(sources), tuple((at, tuple(n)) for at, n in imports.items()), exports)


@dataclass(slots=True)
class Followed:
    """One instance followed moment by moment, in cycles of the device and of the host."""

    started: list[int]
    dispatched: list[int]
    retired: list[int]
    waits: list[bool]
    """Whether each moment was issued when its dispatch arrived, after the device was free."""


@dataclass(frozen=True, slots=True)
class Work:
    """A block, with what the engine knows of its moments by position."""

    block: Block
    edges: Edges
    held: list[int]
    cores: list[tuple[int, ...]]
    spent: list[int]


@dataclass(frozen=True, slots=True)
class State:
    """Device and host between two moments.

    `waited_at`: number of the last moment before which the host waited for all. `written`: when
    the moments retired that wrote a tensor last.
    """

    now: int
    host_now: int
    waited_at: int
    written: Mapping[str, int]


START = State(0, 0, 0, {})


def floor_sum(count: int, divisor: int, step: int, start: int) -> int:
    """The sum of (start + k x step) // divisor over k < count, as in Euclid's algorithm."""
    total = 0
    while count > 0:
        total += (step // divisor) * (count * (count - 1) // 2) + (start // divisor) * count
        step, start = step % divisor, start % divisor
        last = step * count + start
        if last < divisor:
            break
        count, start, divisor, step = last // divisor, last % divisor, step, divisor
    return total


def alone(demand: Demand, plan: Plan) -> tuple[int, tuple[int, ...]]:
    """Cycles from issue to retirement when alone, and the cores used (-1: for ever)."""
    count = min(demand.cores, demand.units, plan.core_count)
    cycles = demand.arithmetic_cycles(count)
    moved = demand.memory_bytes
    if moved:
        rate, cap = plan.memory_rate, demand.memory_cap
        if cap and cap < rate:
            rate = cap
        if not rate:
            return -1, first_cores(count)
        flow = -(-moved * RATE_ONE // rate)
        if flow > cycles:
            cycles = flow
    return cycles + demand.serial_cycles or 1, first_cores(count)


@cache
def first_cores(count: int) -> tuple[int, ...]:
    """One tuple for all moments on so many cores."""
    return tuple(range(count))
