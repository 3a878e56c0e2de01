"""What a prediction rests on: the shares of its time that classes of kernels and the host take."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import TYPE_CHECKING

from simulator.demand.context import kernel_class
from workloads.op_counts import COLLECTIVES

if TYPE_CHECKING:
    from hardware_profiles.schema import Profile
    from simulator.run import Run
    from workloads.moment import Moment

_TOGETHER = 0.5
"""How errors of different classes of kernels on one machine go together (correlation): they share
its memory and its clock, and not their code. Within a class they go together wholly."""

COLLECTIVE = "collective"


@dataclass(frozen=True)
class Footing:
    """Shares of the time by class of kernels, and of waiting for the host; they add up to 1."""

    shares: Mapping[str, float]
    host: float

    def spread(self, of_kernel: Callable[[str], float], host: float) -> float:
        """Of the sum of all, from the spreads of classes and of host time.

        As logarithms with these standard deviations: fully correlated within a class, partly
        between classes, not at all with the host.
        """
        parts = [share * of_kernel(name) for name, share in self.shares.items()]
        together = sum(parts) ** 2
        apart = sum(part * part for part in parts)
        kernels = _TOGETHER * together + (1 - _TOGETHER) * apart
        return sqrt(kernels + (self.host * host) ** 2)


def class_of(moment: Moment, profile: Profile) -> str:
    """The class that the errors of a moment are counted in."""
    return COLLECTIVE if moment.kind in COLLECTIVES else kernel_class(moment, profile)


def footing_of(runs: Sequence[Run], times: Sequence[float] | None = None) -> Footing:
    """Of runs that follow one another, each so many times (default: once)."""
    shares: dict[str, float] = {}
    host = 0.0
    weights = [t * r.latency_s for t, r in zip(times or [1.0] * len(runs), runs, strict=True)]
    total = sum(weights) or 1.0
    for weight, run in zip(weights, runs, strict=True):
        waiting, busy = _parts(run)
        host += waiting * weight / total
        for name, share in busy:
            shares[name] = shares.get(name, 0.0) + share * weight / total
    return Footing(shares, host)


def _parts(run: Run) -> tuple[float, Iterable[tuple[str, float]]]:
    """The share of waiting for the host, and that of each class of kernels.

    On one device in order, kernels count while they run; else in the share of the latency that
    passes in their name, as in `Run.by_kind_cycles`.
    """
    alone = run.trace.in_order and not run.trace.places
    cycles: dict[str, int] = {}
    for tally in run.tallies:
        name = class_of(tally.moment, run.profile)
        spent = tally.asked.held if alone else tally.elapsed
        cycles[name] = cycles.get(name, 0) + spent
    busy = sum(cycles.values()) or 1
    waiting = run.attribution.get("dispatch", 0) / run.cycles if run.cycles else 0.0
    return waiting, [(name, (1 - waiting) * n / busy) for name, n in cycles.items()]
