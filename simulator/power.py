"""Energy of a run by cause, and the clock that a limit of power leaves to its mix of moments.

Not modelled: temperature, leakage that rises with it, the time (milliseconds) that a board takes
to settle, switching activity of the data, several devices and their links.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hardware_profiles.energy import energy_of, idle_watts
from simulator.demand.context import has_matrix_unit
from workloads.passes import counted

if TYPE_CHECKING:
    from hardware_profiles.power import Energy
    from hardware_profiles.schema import Profile
    from simulator.run import Run
    from simulator.tally import Tally
    from workloads.moment import Moment, Program

_ON_CHIP_CAUSES = ("compute", "overlap", "packing")
"""Causes whose time follows the clock; the others wait for memory, the host or fixed times."""

_SLOWEST = 0.2
"""No board lets its clock fall further than this share of its boost: T4's base is 0.37."""

_ROUNDS = 3


@dataclass(frozen=True)
class PowerReport:
    """Joules of a run by cause: idle, arithmetic, and the levels that bytes came from.

    `clock_share`: the clock of the run against the burst clock. `source`: of the energies.
    """

    joules: Mapping[str, float]
    latency_s: float
    clock_share: float
    source: str

    @property
    def total_joules(self) -> float:
        return sum(self.joules.values())

    @property
    def average_watts(self) -> float:
        return self.total_joules / self.latency_s if self.latency_s else 0.0


def power_report(run: Run) -> PowerReport | None:
    """The energy of a run; None where nothing is known of the machine's power.

    Energies of the chip are those of the burst clock times clock_share^(exponent - 1), as its
    voltage falls with the clock; DRAM and idle power do not change.
    """
    idle, energy = idle_watts(run.profile), energy_of(run.declared or run.profile)
    if energy is None or idle is None or run.trace.places:
        return None
    by_cause = dynamic_joules(run, energy)
    scale = run.clock_share ** (energy.exponent - 1)
    chip = {cause: joules * scale for cause, joules in by_cause.items() if cause != "dram"}
    joules = {"idle": idle * run.latency_s, **chip, "dram": by_cause["dram"]}
    return PowerReport(joules, run.latency_s, run.clock_share, energy.source)


def dynamic_joules(run: Run, energy: Energy) -> dict[str, float]:
    """Joules at the burst clock by cause: arithmetic and each level beyond L1."""
    names = run.job.levels.names
    found = {"arithmetic": 0.0, **dict.fromkeys(names, 0.0)}
    for tally in run.tallies:
        by_level = zip(names[:-1], tally.bytes_by_level[:-1], strict=True)
        caches = [count * energy.byte.get(name, 0.0) for name, count in by_level]
        dram = tally.asked.memory_bytes * energy.byte["dram"]
        costs = (arithmetic_joules(tally, run.profile, energy), *caches, dram)
        for cause, joules in zip(found, costs, strict=True):
            found[cause] += joules
    return found


def arithmetic_joules(work: Moment | Tally, profile: Profile, energy: Energy) -> float:
    """Joules of the operations of a moment, or of all moments of a tally, at the burst clock.

    A multiply-accumulate is two FLOP of the unit that takes its type. A special function costs what
    the vector lanes would in the time that it takes.
    """
    counts, dtype = work.counts, work.dtype
    unit = energy.matrix if has_matrix_unit(dtype, profile) else energy.vector
    lane = 2 * _of(energy.vector, dtype)
    width = profile.width
    lanes = width.vector.get(dtype, width.vector["fp32"])
    special = lane * lanes / width.special.get(dtype, width.special["fp32"])
    return (
        2 * counts.macs * _of(unit, dtype) + counts.vector_ops * lane + counts.special_ops * special
    )


def _of(by_dtype: Mapping[str, float], dtype: str) -> float:
    return by_dtype.get(dtype, by_dtype.get("*", by_dtype.get("fp32", 0.0)))


def sustained_share(run: Run, limit_watts: float) -> float:
    """The largest clock share, at most 1, at which the run's mean power keeps to the limit.

    Of the run as it is: time that follows the clock stretches, all other stays. Where even the
    slowest clock draws more (the limit is near idle power), that share.
    """
    idle, energy = idle_watts(run.profile), energy_of(run.declared or run.profile)
    if idle is None or energy is None or not run.latency_s:
        return 1.0
    by_cause = dynamic_joules(run, energy)
    chip_joules = sum(by_cause.values()) - by_cause["dram"]
    clocked = sum(run.attribution.get(cause, 0) for cause in _ON_CHIP_CAUSES)
    clocked_s = run.trace.seconds(clocked) * run.clock_share
    fixed_s = run.latency_s - clocked_s / run.clock_share

    def watts(share: float) -> float:
        joules: float = chip_joules * share ** (energy.exponent - 1) + by_cause["dram"]
        return idle + joules / (clocked_s / share + fixed_s)

    if watts(1.0) <= limit_watts:
        return 1.0
    low, high = _SLOWEST, 1.0
    if watts(low) >= limit_watts:
        return low
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if watts(middle) <= limit_watts else (low, middle)
    return low


def default_limit_watts(profile: Profile, program: Program) -> float | None:
    """The limit that a run keeps to when none is asked for; None: the burst clock.

    The TDP, of machines whose energies are measured (estimates are not sure enough to change a
    latency), for passes of a model, which are taken to be repeated for long. Operators are timed in
    bursts that end before a board lowers its clock.
    """
    if profile.power is None or profile.power.energy is None:
        return None
    if program.layout.devices > 1 or any(
        step.phase == "operator" for step, _ in counted(program.passes)
    ):
        return None
    return profile.power.tdp_watts


def within_limit(simulate_at: Callable[[float], Run], limit_watts: float) -> Run:
    """The run at the clock that keeps its mean power to the limit, simulated anew at that clock.

    `simulate_at`: the run at a share of the burst clock. A few rounds, since caches that slow down
    with the clock change what the time consists of.
    """
    run = simulate_at(1.0)
    for _ in range(_ROUNDS):
        share = sustained_share(run, limit_watts)
        if abs(share - run.clock_share) < 0.002:
            break
        run = simulate_at(share)
    return run
