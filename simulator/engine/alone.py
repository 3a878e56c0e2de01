"""What a block is to one device in order: edges, cycles of each moment alone, sums of quotients."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

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
    if demand.memory_bytes:
        rate = min(plan.memory_rate, demand.memory_cap or plan.memory_rate)
        if rate == 0:
            return -1, _first_cores(count)
        cycles = max(cycles, -(-demand.memory_bytes * RATE_ONE // rate))
    return max(1, cycles + demand.serial_cycles), _first_cores(count)


@cache
def _first_cores(count: int) -> tuple[int, ...]:
    return tuple(range(count))
