"""The interval around a prediction: how far measurements were from predictions like it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from math import exp, sqrt
from typing import TYPE_CHECKING

from simulator.domain import pass_reasons
from simulator.footing import Footing, class_of, footing_of
from simulator.spreads import (
    Signed,
    Stack,
    kernel_spread,
    left_out,
    pass_excess,
    pass_spread,
    shrunk,
    spreads,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hardware_profiles.schema import Profile
    from simulator.run import Run


@dataclass(frozen=True)
class Interval:
    """Four of five measurements are expected from `low_s` to `high_s`, by simulator.spreads.

    The prediction is inside. `widened`: why it is wider than measurements of its kind need, a
    phrase each; nothing was measured that is like it.
    """

    low_s: float
    high_s: float
    widened: tuple[str, ...] = ()

    @property
    def reason(self) -> str:
        """Why it is wider, in one line; empty where it is not."""
        return "; ".join(self.widened)


def run_interval(run: Run) -> Interval:
    """The interval of a run's latency, from every measurement on file.

    Where the run was fitted to whole passes on its machine, the residuals of other passes there
    count. Not modelled: beliefs of the user's (figures changed on purpose count as right).
    """
    profile, runtime = run.declared or run.profile, run.runtime.name
    half = whole_spread(footing_of([run]), profile.kind, runtime)
    reasons = pass_reasons(
        profile, runtime, run.program.dtype, run.program.layout.devices, run.latency_s
    )
    scales = run.scales
    if scales is not None and scales.fitted_on and scales.log_residuals:
        own = Signed(scales.held_out, *scales.log_residuals)
        alike = spreads().calibrated.get(profile.kind, half)
        return around_own(run.latency_s, own, alike, reasons)
    return around(run.latency_s, half, half, reasons)


def moment_spread(run: Run) -> Mapping[str, float]:
    """Spreads of the moments of a run by class of kernels, widened as that of the run."""
    wider = widening(len(run.interval.widened))
    classes = {class_of(t.moment, run.profile) for t in run.tallies}
    return {name: wider * class_spread(name) for name in classes}


def whole_spread(
    footing: Footing, kind: str, runtime: str, without: Profile | None = None
) -> float:
    """The spread of a whole pass, from all machines but those like `without`."""
    expected = footing.spread(lambda name: class_spread(name, without), spreads().host)
    return pass_spread(expected, _excess(kind, runtime, without))


@cache
def _excess(kind: str, runtime: str, without: Profile | None) -> float:
    return pass_excess(_left(spreads().passes, without), kind, runtime)


@cache
def class_spread(name: str, without: Profile | None = None) -> float:
    """The spread of a class of kernels, from all machines but those like `without`."""
    return kernel_spread(_left(spreads().kernels, without), name)


def _left(stacks: tuple[Stack, ...], without: Profile | None) -> tuple[Stack, ...]:
    return stacks if without is None else left_out(stacks, without)


def widening(reasons: int) -> float:
    """How many times as wide: each reason adds what stacks err beyond cases, in squares."""
    return sqrt(1 + reasons * (spreads().widening ** 2 - 1))


def around(latency_s: float, down: float, up: float, reasons: tuple[str, ...] = ()) -> Interval:
    """An interval that reaches so far in logarithms, or farther for reasons."""
    wider = widening(len(reasons))
    return Interval(latency_s * exp(-wider * down), latency_s * exp(wider * up), reasons)


def around_own(
    latency_s: float, own: Signed, spread: float, reasons: tuple[str, ...] = ()
) -> Interval:
    """An interval from the residuals of a machine itself, beside the `spread` without them."""
    return around(latency_s, *shrunk(own, spread), reasons)
