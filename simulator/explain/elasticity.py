"""By how many percent the latency changes with one percent of each parameter, and how far it goes.

The elasticity is d ln(latency) / d ln(parameter), from two simulations a percent above and below.
-1: twice the parameter halves the time; 0: it does not matter. Where it has halved, what the
parameter speeds up no longer takes most of the time that it took: the next bottleneck takes over.
A capacity acts in steps, as one tensor more fits: its elasticity is taken from half to twice of it,
and it has no break-even. Without end the vector lanes do the work of the matrix unit, too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import log
from typing import TYPE_CHECKING

from simulator.explain.parameters import Parameter, Resimulation, parameters_of
from simulator.look import seconds_text

if TYPE_CHECKING:
    from simulator.prepare import Prepared
    from simulator.run import Run

_STEP = Fraction(1, 100)
_NOTICEABLE = 0.02
"""No break-even is sought of what hardly matters: whole cycles would be all that moves."""

_ROUNDS = 8
"""Halvings of the interval of the break-even, from a factor of two down to 0.3 percent."""


@dataclass(frozen=True)
class Sensitivity:
    """What one parameter is to the latency.

    `break_even`: the factor at which the elasticity has halved; None: nowhere up to the limit, or
    it hardly matters. `halved_s`, `doubled_s`: latency with half and twice of it (of whole numbers
    the nearest; the factors are beside). `limit_s`: latency at `limit_factor`, which stands for
    "without end", and `limit_cause` what most of that goes to, `limit_share` of it.
    """

    parameter: Parameter
    elasticity: float
    halved_factor: float
    halved_s: float
    doubled_factor: float
    doubled_s: float
    break_even: float | None
    limit_factor: float
    limit_s: float
    limit_cause: str
    limit_share: float

    @property
    def swing_s(self) -> float:
        """The width of its bar in a tornado plot."""
        return abs(self.halved_s - self.doubled_s)


def sensitivities(
    prepared: Prepared, run: Run, progress: Callable[[int, int], None] = lambda done, total: None
) -> list[Sensitivity]:
    """Every parameter of the machine and its software, the one with the widest swing first.

    `run`: of `prepared` as it is.
    """
    again, parameters = Resimulation(prepared, run), parameters_of(prepared)
    found = []
    for i, parameter in enumerate(parameters):
        found.append(_sensitivity(again, parameter))
        progress(i + 1, len(parameters))
    return sorted(found, key=lambda s: (-s.swing_s, -abs(s.elasticity)))


def more_cores_note(prepared: Prepared, run: Run, found: Sequence[Sensitivity]) -> str:
    """Why more cores are slower, with the proof; empty where they are not, or it is not that.

    On a GPU a core has its share of the bandwidth of the last cache, however few are at work, and
    `cores` alone makes the shares smaller.
    """
    caches = [name for name in prepared.profile.memory if name != "dram"]
    cores = next(s for s in found if s.parameter.key == "cores")
    if prepared.profile.kind != "gpu" or not caches or cores.limit_s <= run.latency_s:
        return ""
    key = f"{caches[-1]}.bandwidth"
    again = Resimulation(prepared, run)
    fed_s = again.run(cores.parameter, cores.parameter.limit, along=[key]).latency_s
    if fed_s > run.latency_s:
        return ""
    level, count = caches[-1].upper(), cores.limit_factor * prepared.profile.cores.count
    return (
        f"cores divide the bandwidth of {level}, which stays as it is: {count:,.0f} of them take "
        f"{seconds_text(cores.limit_s)}, and {seconds_text(fed_s)} with as many times the "
        f"{level} bandwidth (--set {key})"
    )


def elasticity(again: Resimulation, parameter: Parameter, factor: Fraction) -> float:
    """The elasticity around `factor`: a percent to each side, whole numbers at least one."""
    low, high = _around(parameter, factor)
    quotient = again.latency_s(parameter, high) / again.latency_s(parameter, low)
    return log(quotient) / log(high / low)


def _around(parameter: Parameter, factor: Fraction) -> tuple[Fraction, Fraction]:
    if parameter.in_steps:
        return factor / 2, factor * 2
    if parameter.count is None:
        return factor * (1 - _STEP), factor * (1 + _STEP)
    count = round(parameter.count * factor)
    step = max(1, round(count * _STEP))
    return (
        Fraction(max(1, count - step), parameter.count),
        Fraction(count + step, parameter.count),
    )


def _sensitivity(again: Resimulation, parameter: Parameter) -> Sensitivity:
    here = elasticity(again, parameter, Fraction(1))
    halved, doubled = _whole(parameter, Fraction(1, 2)), _whole(parameter, Fraction(2))
    last = again.run(parameter, parameter.limit)
    cause, cycles = max(last.attribution.items(), key=lambda item: item[1])
    return Sensitivity(
        parameter,
        here,
        float(halved),
        again.latency_s(parameter, halved),
        float(doubled),
        again.latency_s(parameter, doubled),
        _break_even(again, parameter, here),
        float(parameter.limit),
        last.latency_s,
        cause,
        cycles / last.cycles,
    )


def _whole(parameter: Parameter, factor: Fraction) -> Fraction:
    """`factor`, or the nearest that leaves a whole number, at least one."""
    if parameter.count is None:
        return factor
    return Fraction(max(1, round(parameter.count * factor)), parameter.count)


def _break_even(again: Resimulation, parameter: Parameter, here: float) -> float | None:
    """The factor at which the elasticity is half of `here`, the first one in steps of two."""
    better = here if parameter.less_is_better else -here
    if better < _NOTICEABLE or parameter.in_steps:
        return None

    def halved(steps: Fraction) -> bool:
        return abs(elasticity(again, parameter, _whole(parameter, _power(steps)))) <= better / 2

    sign = -1 if parameter.less_is_better else 1
    most = log(parameter.limit) / log(2) * sign
    low, high = Fraction(0), Fraction(1)
    while not halved(sign * high):
        low, high = high, high + 1
        if high > most:
            return None
    for _ in range(_ROUNDS):
        middle = (low + high) / 2
        low, high = (low, middle) if halved(sign * middle) else (middle, high)
    return float(_whole(parameter, _power(sign * high)))


def _power(exponent: Fraction) -> Fraction:
    """Two to the power of `exponent`, to five digits."""
    return Fraction(f"{2.0 ** float(exponent):.5g}")
