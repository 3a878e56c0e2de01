"""Where a prediction is far from everything that was measured, and why."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from simulator.look import seconds_text
from simulator.spreads import Stack, generation_of, spreads

if TYPE_CHECKING:
    from hardware_profiles.schema import Profile

_FAR = 3
"""Times beyond the shortest or the longest measurement by this factor are far from all."""
_MAIN = "burst|count|matrix|vector|width|bandwidth|bandwidth and latency|capacity and bandwidth"
_ESTIMATED = re.compile(rf"(?:^|; ?)(?:(?:{_MAIN}): )?estimated", re.IGNORECASE)


def pass_reasons(
    profile: Profile, runtime: str, dtype: str, devices: int, latency_s: float
) -> tuple[str, ...]:
    """Why a whole pass (one pass, step or generation) is unlike those that were measured."""
    alike = [stack for stack in spreads().passes if stack.name == profile.kind]
    asked = _Asked(f"whole pass on a {profile.kind.upper()}", dtype, devices, latency_s, runtime)
    return (*_of_machine(profile), *_beyond(alike, asked))


def operator_reasons(
    profile: Profile, name: str, dtype: str, devices: int, latency_s: float
) -> tuple[str, ...]:
    """Why one operator of a class of kernels is unlike those that were measured."""
    alike = [stack for stack in spreads().kernels if stack.name == name]
    what = f"{name.replace('_', ' ')} kernel"
    return (*_of_machine(profile), *_beyond(alike, _Asked(what, dtype, devices, latency_s)))


@dataclass(frozen=True)
class _Asked:
    """What is predicted. `software`: where measurements of others tell less; None: any."""

    what: str
    dtype: str
    devices: int
    latency_s: float
    software: str | None = None


@cache
def _of_machine(profile: Profile) -> tuple[str, ...]:
    reasons = []
    generation = generation_of(profile)
    seen = [*spreads().kernels, *spreads().passes]
    if all(s.machine != profile.name and s.generation != generation for s in seen):
        reasons.append("nothing was measured on this machine or its generation")
    tables = {"cores": profile.cores, "clock": profile.clock, "width": profile.width}
    tables["memory.dram"] = profile.memory["dram"]
    found = [name for name, table in tables.items() if _ESTIMATED.search(table.source)]
    if found:
        reasons.append(f"figures of the profile are estimated ({', '.join(found)})")
    return tuple(reasons)


def _beyond(alike: Sequence[Stack], asked: _Asked) -> Iterator[str]:
    what = asked.what
    if not alike:
        yield f"no {what} was measured"
        return
    if asked.software is not None and all(s.software != asked.software for s in alike):
        yield f"no {what} was measured under {asked.software}"
    if all(asked.dtype not in s.dtypes for s in alike):
        yield f"no {what} was measured in {asked.dtype}"
    most = max(s.devices for s in alike)
    if asked.devices > most:
        yield f"no {what} was measured on more than {most} devices"
    shortest = min(s.shortest_us for s in alike) * 1e-6
    longest = max(s.longest_us for s in alike) * 1e-6
    if asked.latency_s > _FAR * longest:
        yield f"far longer than any {what} that was measured ({seconds_text(longest)})"
    if asked.latency_s < shortest / _FAR:
        yield f"far shorter than any {what} that was measured ({seconds_text(shortest)})"
