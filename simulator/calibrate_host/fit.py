"""Robust least squares on logarithms of times, for predictions in whole cycles."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import exp, log
from typing import TYPE_CHECKING

from simulator.calibrate.fit import Fit
from simulator.calibrate_host.parameters import Free

if TYPE_CHECKING:
    import numpy as np

_OUTLIER = 0.08
"""Relative error from where on a timing counts linearly instead of by its square."""
_EXPECTATION = 0.01
"""What moving a parameter by its spread costs, as the residual of one timing."""
_STEP = 0.03
"""Part of a spread by which a parameter is moved to see its effect: cycles are whole numbers, and
the smallest timings have a few thousand of them."""
_ENOUGH = 3e-4
"""Part of the cost by which it must still fall for the solver to go on."""
_LEARNT = 0.7


def fitted(
    free: Mapping[str, Free],
    start: Mapping[str, float],
    residuals: Callable[[Mapping[str, float]], np.ndarray],
    evaluations: int = 25,
) -> Fit:
    """The parameters that make `residuals` (log of predicted over measured) small.

    Each moves on a logarithmic scale within its bounds. One is not identified where the residuals
    narrow its expected range to no less than 0.7 of it.
    """
    import numpy as np
    from scipy.optimize import least_squares

    names = list(free)
    start = {n: _inside(start[n], free[n]) for n in names}
    spread = np.array([free[n].spread for n in names])
    low = np.array([log(free[n].low / start[n]) for n in names]) / spread
    high = np.array([log(free[n].high / start[n]) for n in names]) / spread

    def values(moves: np.ndarray) -> dict[str, float]:
        found = {}
        for name, move in zip(names, moves.tolist(), strict=True):
            value = start[name] * exp(move * free[name].spread)
            found[name] = min(max(value, free[name].low), free[name].high)
        return found

    def slopes(moves: np.ndarray, cost: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        columns, here = [], cost(moves)
        for i in range(len(names)):
            moved = moves.copy()
            moved[i] += _STEP if moves[i] + _STEP <= high[i] else -_STEP
            columns.append((cost(moved) - here) / (moved[i] - moves[i]))
        return np.column_stack(columns)

    def costs(moves: np.ndarray) -> np.ndarray:
        errors = residuals(values(moves))
        robust = (
            np.sign(errors) * _OUTLIER * np.sqrt(2 * (np.sqrt(1 + (errors / _OUTLIER) ** 2) - 1))
        )
        return np.concatenate([robust, _EXPECTATION * moves])

    # all at 0: the solver then tries whole spreads first, and not steps as small as a start is
    best = least_squares(
        costs,
        np.zeros(len(names)),
        jac=lambda x: slopes(x, costs),
        bounds=(low, high),
        max_nfev=evaluations,
        ftol=_ENOUGH,
    )
    plain = slopes(best.x, lambda x: residuals(values(x))) / _OUTLIER
    left = np.sqrt(np.diag(np.linalg.inv(plain.T @ plain + np.eye(len(names)))))
    flat = tuple(n for n, width in zip(names, left.tolist(), strict=True) if width > _LEARNT)
    return Fit(values(best.x), flat)


def _inside(value: float, free: Free) -> float:
    """`value`, away from its bounds by at least a tenth of its spread."""
    margin = exp(0.1 * free.spread)
    return min(max(value, free.low * margin), free.high / margin)
