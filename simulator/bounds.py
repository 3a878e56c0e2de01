"""Lower bounds of a run's cycles, computed without the engine, to check it from outside."""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulator.sharing import RATE_ONE

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from simulator.demand import Demand
    from simulator.engine import Plan


def alone_cycles(demand: Demand, core_count: int, memory_rate: int) -> int:
    """Cycles of a moment that has the machine to itself; never less than 1."""
    cycles = demand.arithmetic_cycles(min(demand.cores, demand.units, core_count))
    if demand.memory_bytes:
        rate = min(memory_rate, demand.memory_cap or memory_rate)
        cycles = max(cycles, -(-demand.memory_bytes * RATE_ONE // rate))
    return max(1, cycles + demand.serial_cycles)


def critical_path_cycles(
    predecessors: Sequence[Sequence[int]], demands: Sequence[Demand], plan: Plan
) -> int:
    """The longest chain of dependent moments, each alone on the machine."""
    known: dict[int, int] = {}
    done: list[int] = []
    for index, demand in enumerate(demands):
        cycles = known.get(id(demand))
        if cycles is None:
            cycles = known[id(demand)] = alone_cycles(demand, plan.core_count, plan.rate_of(index))
        done.append(cycles + max((done[p] for p in predecessors[index]), default=0))
    return max(done, default=0)


def busiest_resource_cycles(demands: Sequence[Demand], plan: Plan) -> dict[str, int]:
    """For each resource the cycles that it needs for all its work, without a gap.

    With several devices those of the one that has most to do.
    """
    if not plan.places:
        return resource_cycles(demands, plan)
    found = {"cores": 0, "memory": 0, "host": 0, "link": 0}
    for device in range(plan.device_count):
        own: list[Demand] = []
        sent: list[tuple[Demand, int]] = []
        for demand, home in zip(demands, plan.home, strict=True):
            place = plan.places[home]
            if place.device == device and place.kind == "link":
                sent.append((demand, place.rate))
            elif place.device == device:
                own.append(demand)
        cycles = resource_cycles(own, plan)
        cycles["link"] = sum(alone_cycles(demand, 1, rate) for demand, rate in sent)
        hosted = sum(d.dispatch_cycles for d, _ in sent) if plan.host != "none" else 0
        cycles["host"] += hosted * plan.clock_hz // plan.host_clock_hz
        found = {name: max(found[name], cycles[name]) for name in found}
    return found


def resource_cycles(demands: Iterable[Demand], plan: Plan) -> dict[str, int]:
    """As busiest_resource_cycles for one device."""
    core_cycles = moved = host = 0
    for demand in demands:
        core_cycles += demand.units * demand.unit_cycles + demand.serial_cycles
        moved += demand.memory_bytes
        host += demand.dispatch_cycles
    return resource_cycles_of(core_cycles, moved, host, plan)


def resource_cycles_of(core_cycles: int, moved: int, host: int, plan: Plan) -> dict[str, int]:
    """As resource_cycles, of sums over all demands: core-cycles, bytes and cycles of the host."""
    if plan.host == "none":
        host = 0
    return {
        "cores": -(-core_cycles // plan.core_count),
        "memory": -(-moved * RATE_ONE // plan.memory_rate) if plan.memory_rate else 0,
        "host": host * plan.clock_hz // plan.host_clock_hz,
    }
