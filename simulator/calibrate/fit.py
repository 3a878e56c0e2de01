"""Least squares on the logarithms of times, robust, with an expectation for every parameter."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import log
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from simulator.calibrate.parameters import Free

_OUTLIER = 0.08
"""Relative error from where on a case counts linearly instead of by its square."""
_STEP = 3e-3
_EVALUATIONS = 60
_STARTS = 2
_LEARNT = 0.7
"""A parameter is identified where the cases narrow its expected range to below this share."""


@dataclass(frozen=True)
class Fit:
    """Fitted parameters, and those that the cases say little about: flat directions."""

    values: Mapping[str, float]
    not_identified: tuple[str, ...]


def fitted(
    free: Mapping[str, Free],
    start: Mapping[str, float],
    residuals: Callable[[Mapping[str, float]], np.ndarray],
    *,
    expectation: float,
    noise: float = 0.08,
    seed: int = 0,
) -> Fit:
    """The parameters that make `residuals` (log of predicted over measured) small.

    Each parameter moves on a logarithmic scale from its start, within its bounds, and a change by
    its spread costs as much as a residual of `expectation` on all cases together. `noise`: what
    remains of a residual in a good fit; it scales what counts as identified.
    """
    import numpy as np
    from scipy.optimize import least_squares

    names = list(free)
    spread = np.array([free[n].spread for n in names])
    origin = np.array([min(max(start[n], free[n].low), free[n].high) for n in names])
    low = np.array([log(free[n].low) for n in names]) - np.log(origin)
    high = np.array([log(free[n].high) for n in names]) - np.log(origin)
    low, high = np.minimum(low / spread, -1e-3), np.maximum(high / spread, 1e-3)

    def values(moves: np.ndarray) -> dict[str, float]:
        return dict(zip(names, (origin * np.exp(moves * spread)).tolist(), strict=True))

    def costs(moves: np.ndarray) -> np.ndarray:
        errors = residuals(values(moves))
        robust = _OUTLIER * np.sqrt(2 * (np.sqrt(1 + (errors / _OUTLIER) ** 2) - 1))
        return np.concatenate([robust / np.sqrt(errors.size), expectation * moves])

    def by_steps(moves: np.ndarray) -> np.ndarray:
        """By steps of one length: steps relative to moves are next to nothing where those are 0."""
        steps = np.where(moves + _STEP <= high, _STEP, -_STEP)
        moved = (moves + row for row in np.diag(steps))
        return np.column_stack([costs(to) - costs(moves) for to in moved]) / steps

    random = np.random.default_rng(seed)
    best = None
    for attempt in range(_STARTS):
        first = random.normal(0, 0.5, len(names)) if attempt else np.zeros(len(names))
        first = np.clip(first, low + 1e-3, high - 1e-3)
        found = least_squares(costs, first, jac=by_steps, bounds=(low, high), max_nfev=_EVALUATIONS)
        if best is None or found.cost < best.cost:
            best = found
    assert best is not None  # noqa: S101 - there is at least one start
    cases = best.fun.size - len(names)
    slopes = best.jac[:cases] * np.sqrt(cases) / noise
    left = np.sqrt(np.diag(np.linalg.inv(slopes.T @ slopes + np.eye(len(names)))))
    flat = tuple(n for n, width in zip(names, left.tolist(), strict=True) if width > _LEARNT)
    return Fit(values(best.x), flat)
