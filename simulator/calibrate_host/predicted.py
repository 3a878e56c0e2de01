"""What the simulator says an operator of the design takes, for a machine and a runtime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hardware_profiles.variants import with_cores
from simulator.bounds import alone_cycles
from simulator.demand.context import Context
from simulator.demand.cpu import cpu_demand
from simulator.memory import ReuseTracker, hierarchy
from simulator.sharing import RATE_ONE

if TYPE_CHECKING:
    from hardware_profiles.schema import Profile
    from simulator.calibrate_host.design import Operator
    from simulator.calibrate_host.rounds import Timing
    from simulator.runtime import OnDevice


@dataclass(frozen=True)
class Observation:
    """An operator measured on so many threads; `seconds` are without the call from Python."""

    operator: Operator
    threads: int
    seconds: float
    timing: Timing


def predicted_s(
    observed: Sequence[Observation], profile: Profile, section: OnDevice
) -> list[float]:
    """Seconds of each operator, alone on the machine and without dispatch.

    Inputs were used in the call before; weights that take turns come from memory.
    """
    contexts = {t: _context(profile, section, t) for t in {one.threads for one in observed}}
    return [_seconds(one.operator, contexts[one.threads]) for one in observed]


def _context(profile: Profile, section: OnDevice, threads: int) -> Context:
    part = with_cores(profile, threads)
    return Context(part, section, hierarchy(part))


def _seconds(operator: Operator, context: Context) -> float:
    warm: Mapping[str, int] = {"activation": 1, "weight": operator.sets, "kv_cache": 1, "input": 1}
    traffic = ReuseTracker(context.levels, warm).moment("", operator.moment)
    library = context.runtime.library
    if library is not None and not operator.fresh:
        # the output of the call before is free again, and its memory is taken for the next one
        library = library.model_copy(update={"fresh_output_bytes": None})
        section = context.runtime.model_copy(update={"library": library})
        context = Context(context.profile, section, context.levels)
    demand = cpu_demand(operator.moment, traffic, context)
    rate = int(context.dram_bytes_per_cycle * RATE_ONE)
    return alone_cycles(demand, context.cores, rate) / context.clock_hz
