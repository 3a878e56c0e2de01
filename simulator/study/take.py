"""What would it take: the least change of one figure of the machine that meets a target."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from simulator.study.bench import Bench, Inputs
from workloads.errors import InputError, shown

if TYPE_CHECKING:
    from simulator.study.columns import Target
    from simulator.study.space import Study

MOST = 1024.0
"""Changes by more than this factor, up or down, are not looked at."""

_CLOSE = 1.001
"""Bisection ends when the two ends are this factor apart."""

_TRIED = (1.5, 1.1, 1.01)
"""Changes that show in which direction a figure helps: the first that is possible."""


@dataclass(frozen=True)
class Taken:
    """What one key has to become, or why no change of it is enough.

    `before`, `after`: in words. `factor`: of the change, 1 where the target is met as it is.
    `figures`: of the run with the change, or with the largest one that was possible.
    """

    key: str
    target: Target
    before: str
    after: str | None
    factor: float | None
    figures: dict[str, Any]
    reason: str = ""

    def cells(self) -> tuple[str, ...]:
        """As a row for people: change, from, to, factor, the figure then, what binds then."""
        value = self.figures[self.target.column]
        then = "-" if value is None else f"{self.target.column} = {value:.4g}"
        bound = str(self.figures["bound"] or "-").replace("_", " ")
        if self.factor is None:
            return (self.key, self.before, f"not met: {self.reason}", "-", then, bound)
        return (self.key, self.before, str(self.after), f"{self.factor:.4g}", then, bound)

    def row(self) -> dict[str, Any]:
        """As a row of results."""
        return {
            "take": self.key,
            "before": self.before,
            "after": self.after,
            "factor": self.factor,
            "reason": self.reason or None,
            **self.figures,
        }


def least_changes(study: Study, targets: Sequence[Target], keys: Sequence[str]) -> list[Taken]:
    """For each key alone, how far it must change until the one target is met, to 0.1 %.

    From the [base] of the study. A figure is taken to act in one direction: the one in which a
    change by half of it helps. Whole figures (cores) stay whole. InputError: not one target, a
    study that varies something, a key that is not known or has no value to begin from.
    """
    if len(targets) != 1:
        raise InputError("--take: give one --subject that is to be met, such as tpot_ms<20")
    if study.varied:
        raise InputError(
            f"--take: starts from one machine, but {', '.join(study.varied)} vary; "
            "leave only [base]"
        )
    bench = Bench(Inputs.of(study))
    return [_Search(study, bench, targets[0], key).found() for key in keys]


class _Search:
    """The search along one key."""

    def __init__(self, study: Study, bench: Bench, target: Target, key: str) -> None:
        self._study, self._bench, self._target, self._key = study, bench, target, key
        self._old, self._write, self._said = _figure(study, bench, key)
        self._known: dict[float, dict[str, Any]] = {}
        self._last_below = 1.0

    def found(self) -> Taken:
        start = self._figures(1.0)
        if start["error"] is not None:
            raise InputError(f"--take {self._key}: [base] cannot run as it is: {start['error']}")
        if self._target.met(start):
            return self._taken(1.0)
        now, up, down = self._target.excess(start), self._excess_near(1), self._excess_near(-1)
        if min(up, down) >= now:
            return self._not(1.0, "this figure has no part in it")
        step = 2.0 if up < down else 0.5
        low, high = 1.0, step
        while not self._met(high):
            if self._figures(high)["error"] is not None:
                return self._at_the_edge(low, high)
            if not 1 / MOST < high < MOST:
                return self._not(high, f"not even by a factor of {high:g}")
            low, high = high, high * step
        return self._taken(self._between(low, high, self._met))

    def _at_the_edge(self, low: float, refused: float) -> Taken:
        """No machine can be at `refused`: what is the most that can be, and is it enough?"""
        edge = self._between(low, refused, lambda f: self._figures(f)["error"] is not None)
        last = self._last_below
        if self._met(last):
            return self._taken(self._between(low, last, self._met))
        return self._not(last, f"beyond it {self._figures(edge)['error']}")

    def _between(self, low: float, high: float, there: Callable[[float], bool]) -> float:
        """The factor nearest to `low` at which something is so that is so at `high`."""
        while max(low, high) / min(low, high) > _CLOSE and self._write(low) != self._write(high):
            middle = math.sqrt(low * high)
            if self._write(middle) in (self._write(low), self._write(high)):
                break
            if there(middle):
                high = middle
            else:
                low = middle
        self._last_below = low
        return high

    def _figures(self, factor: float) -> dict[str, Any]:
        if factor not in self._known:
            point = {} if factor == 1.0 else {self._key: self._write(factor)}
            self._known[factor] = self._bench.figures(self._study.scenario(point))
        return self._known[factor]

    def _met(self, factor: float) -> bool:
        return self._target.met(self._figures(factor))

    def _excess_near(self, sign: int) -> float:
        """What is missing a little further on, as far as a machine can be."""
        for factor in _TRIED:
            figures = self._figures(factor**sign)
            if figures["error"] is None:
                return self._target.excess(figures)
        return math.inf

    def _taken(self, factor: float) -> Taken:
        after, figures = self._said(factor), self._figures(factor)
        return Taken(self._key, self._target, self._old, after, factor, figures)

    def _not(self, factor: float, reason: str) -> Taken:
        figures = self._figures(factor)
        return Taken(self._key, self._target, self._old, None, None, figures, reason)


Write = Callable[[float], str]


def _figure(study: Study, bench: Bench, key: str) -> tuple[str, Write, Write]:
    """A figure of the machine or the runtime: as it is, and, times a factor, written and in words.

    Several figures at once, such as `dispatch`, are spoken of by factors.
    """
    from hardware_profiles.variants import figure_of
    from simulator.look import amount_text, seconds_text
    from simulator.runtime_changes import is_runtime_change, runtime_figure_of

    def factor_text(factor: float) -> str:
        return f"{factor:.6f}x"

    prepared = bench.prepared(study.scenario({}))
    old: Any
    if is_runtime_change(f"{key}=1x"):
        old, leaf = runtime_figure_of(prepared.runtime.on(prepared.profile.kind), key)
    else:
        old, leaf = figure_of(prepared.profile, key)
    if leaf is None:
        return "as it is", factor_text, lambda factor: f"{factor:.4g}x"
    if not leaf.is_number or not old:
        raise InputError(f"--take {shown(key)}: is no number of this machine that could change")
    if leaf.unit is not None:
        unit = leaf.unit

        def said(factor: float) -> str:
            value = float(old) * factor
            return seconds_text(value) if unit == "s" else amount_text(value, unit)

        return said(1.0), factor_text, said
    if leaf.base is int:

        def whole(factor: float) -> str:
            return str(max(1, round(old * factor)))

        return str(old), whole, whole
    return f"{old:g}", lambda factor: f"{old * factor:.7g}", lambda factor: f"{old * factor:.4g}"
