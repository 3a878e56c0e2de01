"""What the simulator says an operator of the design takes, for a machine and a runtime."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hardware_profiles.variants import with_cores
from simulator.bounds import alone_cycles
from simulator.demand.context import Context
from simulator.demand.cpu import cpu_demand
from simulator.memory import Hierarchy, ReuseTracker, Traffic, hierarchy
from simulator.runtime import LibraryTable
from simulator.sharing import RATE_ONE

if TYPE_CHECKING:
    import numpy as np

    from hardware_profiles.schema import Profile
    from simulator.calibrate_host.design import Operator
    from simulator.calibrate_host.parameters import Subject
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

    Inputs were used in the call before; weights that take turns come from memory. Where the output
    is not fresh, the memory of the one before is free again and is taken for it.
    """
    return predictor(observed, profile)(profile, section)


class Residuals:
    """log(predicted / measured) of each observation, for any machine of the same cores."""

    def __init__(self, observed: Sequence[Observation]) -> None:
        import numpy as np

        self._observed = observed
        self._measured = np.log([one.seconds for one in observed])
        self._predictors: dict[tuple[int, ...], Callable[[Profile, OnDevice], list[float]]] = {}

    def __call__(self, subject: Subject) -> np.ndarray:
        import numpy as np

        profile = subject.profile
        capacities = tuple(level.total_bytes for level in profile.memory.values())
        if capacities not in self._predictors:
            self._predictors[capacities] = predictor(self._observed, profile)
        seconds = self._predictors[capacities](profile, subject.section)
        return np.asarray(np.log(seconds) - self._measured)


def predictor(
    observed: Sequence[Observation], profile: Profile
) -> Callable[[Profile, OnDevice], list[float]]:
    """`predicted_s` for machines that differ from `profile` in no capacity and no count of cores.

    Where bytes are found is worked out once.
    """
    levels = {t: hierarchy(with_cores(profile, t)) for t in {one.threads for one in observed}}
    traffic = [_traffic(one.operator, levels[one.threads]) for one in observed]

    def seconds(machine: Profile, section: OnDevice) -> list[float]:
        library = section.library or LibraryTable(source="none")
        reused = section.model_copy(
            update={"library": library.model_copy(update={"fresh_output_bytes": None})}
        )
        contexts = {
            (threads, fresh): Context(with_cores(machine, threads), sec, found)
            for threads, found in levels.items()
            for fresh, sec in ((True, section), (False, reused))
        }
        return [
            _seconds(one.operator, moved, contexts[one.threads, one.operator.fresh])
            for one, moved in zip(observed, traffic, strict=True)
        ]

    return seconds


def _traffic(operator: Operator, levels: Hierarchy) -> Traffic:
    warm: Mapping[str, int] = {"activation": 1, "weight": operator.sets, "kv_cache": 1, "input": 1}
    return ReuseTracker(levels, warm).moment("", operator.moment)


def _seconds(operator: Operator, traffic: Traffic, context: Context) -> float:
    demand = cpu_demand(operator.moment, traffic, context)
    rate = int(context.dram_bytes_per_cycle * RATE_ONE)
    return alone_cycles(demand, context.cores, rate) / context.clock_hz
