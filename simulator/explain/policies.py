"""The same run under each scheduling policy, beside the bounds that hold for any of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from simulator.scheduling import (
    POLICIES,
    Schedule,
    ScheduleBounds,
    best_split,
    parse_schedule,
    schedule_bounds,
)

if TYPE_CHECKING:
    from simulator.prepare import Prepared
    from simulator.run import Run

_STREAMS = (2, 4)


@dataclass(frozen=True)
class PolicyRun:
    """A run under a policy; `name` None: as the runtime does it."""

    name: str | None
    run: Run
    bounds: ScheduleBounds


def policy_runs(prepared: Prepared, cores_per_moment: int | None = None) -> list[PolicyRun]:
    """The run as the runtime does it, then under every policy that this machine can follow.

    `cores_per_moment`: for those that issue moments side by side.
    """
    found = [_policy_run(None, prepared)]
    for name in POLICIES:
        if name == "streams:N":
            schedules = [Schedule(f"streams:{n}") for n in _streams(prepared)]
        elif name == "best-split":
            best = best_split(prepared)
            cores = best.schedule.cores_per_moment if best.schedule is not None else None
            found.append(_policy_run(f"best split: {cores} cores a moment", best))
            continue
        else:
            each = None if name == "in-order" else cores_per_moment
            schedules = [s for s in (parse_schedule(name, each),) if s is not None]
        found += [_policy_run(s.text, replace(prepared, schedule=s)) for s in schedules]
    return found


def _streams(prepared: Prepared) -> list[int]:
    if prepared.program.layout.devices > 1:
        return []
    return [n for n in _STREAMS if n <= prepared.profile.cores.count]


def _policy_run(name: str | None, prepared: Prepared) -> PolicyRun:
    run = prepared.run()
    return PolicyRun(name, run, schedule_bounds(run))
