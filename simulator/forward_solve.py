"""Finds the scales that bring whole passes nearest to their measurements, from few runs.

The logarithm of a latency is nearly linear in the logarithms of scales, since it is a sum of times
of which each follows one of them. So each case is run once, and once more for every scale that it
depends on; where this linear picture has its best scales, it is drawn anew.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import exp, log
from typing import TYPE_CHECKING

from simulator.forward_calibration import ForwardScales

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from simulator.cases import Case
    from simulator.forward_trial import Trial

PRIOR = {"rate": 0.5, "bandwidth": 0.25, "fixed": 0.5, "host": 0.5}
"""How far, in logarithms, a scale is expected from where the fit starts (1 for a runtime, the
runtime's for a machine): what cases do not tell stays there."""
_NOISE = 0.05
"""Logarithmic spread of equal measurements; larger residuals count linearly."""
_STEP = 0.1
"""Of a scale's logarithm, to see what follows it."""
_FARTHEST = 1.0
"""That a scale's logarithm moves before the picture is drawn anew."""
_MOST = 1.4
"""That a scale's logarithm ends from its start. What would need more is no efficiency, but work
that the description of the software lacks; scales that hide it mislead on other models."""
_NEAR = 0.05
"""Scales that move less than this need no new picture."""
_PICTURES = 4
_ROUNDS = 50


@dataclass(frozen=True)
class Timed:
    """A whole pass and its measurement."""

    case: Case
    trial: Trial

    def log_error(self, scales: ForwardScales | None) -> float:
        """ln(predicted / measured)."""
        return log(self.trial.latency_s(scales) * 1e6 / self.case.measured_us)


@dataclass
class Solver:
    """Fits scales; keeps what it saw of cases for other fits that meet them at the same scales."""

    _seen: dict[tuple[str, tuple[float, ...]], np.ndarray] = field(default_factory=dict)

    def fit(
        self, cases: Sequence[Timed], start: ForwardScales, near: ForwardScales | None = None
    ) -> ForwardScales:
        """The scales nearest to the measurements, but no farther from `start` than these tell.

        Least absolute logarithmic error, smoothed near zero, and a prior on each scale. `near`:
        scales near the result, where one picture does and nothing is run besides.
        """
        import numpy as np

        names = names_of(cases)
        origin = _logs(start, names)
        spread = np.array([PRIOR[name.split(".", 1)[0]] for name in names])
        at = origin if near is None else _logs(near, names)
        best, lowest = origin, np.inf
        for _ in range(_PICTURES if near is None else 1):
            errors, slopes = self._picture(cases, names, at)
            cost = _cost(errors, (at - origin) / spread)
            if cost < lowest:
                best, lowest = at, cost
            moved = _nearest(errors, slopes, at - origin, spread) + origin - at
            at = at + np.clip(moved, -_FARTHEST, _FARTHEST)
            at = np.clip(at, origin - _MOST, origin + _MOST)
            if np.abs(moved).max() < _NEAR:
                break
        last = scales_of(names, at)
        if near is not None:
            return last
        errors = np.array([case.log_error(last) for case in cases])
        return last if _cost(errors, (at - origin) / spread) < lowest else scales_of(names, best)

    def _picture(
        self, cases: Sequence[Timed], names: Sequence[str], at: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Errors of cases and what each scale does to them, at scales of these logarithms."""
        import numpy as np

        rows = []
        for case in cases:
            own = [i for i, name in enumerate(names) if name in _depends(case)]
            key = (case.case.case_id, tuple(at[own].round(6)))
            if key not in self._seen:
                self._seen[key] = _differences(case, names, at, own)
            row = np.zeros(len(names) + 1)
            row[[0, *(i + 1 for i in own)]] = self._seen[key]
            rows.append(row)
        table = np.array(rows)
        return table[:, 0], table[:, 1:]


def _differences(
    case: Timed, names: Sequence[str], at: np.ndarray, own: Sequence[int]
) -> np.ndarray:
    """The error of a case, and its slope along each scale that it depends on."""
    import numpy as np

    error = case.log_error(scales_of(names, at, digits=9))
    found = [error]
    for index in own:
        moved = at.copy()
        moved[index] += _STEP
        found.append((case.log_error(scales_of(names, moved, digits=9)) - error) / _STEP)
    return np.array(found)


def _nearest(
    errors: np.ndarray, slopes: np.ndarray, moved: np.ndarray, spread: np.ndarray
) -> np.ndarray:
    """Where the linear picture has its least cost: least squares, weighted anew in rounds."""
    import numpy as np

    result = moved
    for _ in range(_ROUNDS):
        residuals = (errors + slopes @ (result - moved)) / _NOISE
        weights = 1 / np.sqrt(1 + residuals**2) / _NOISE**2
        normal = slopes.T @ (slopes * weights[:, None]) + np.diag(1 / spread**2)
        result = np.linalg.solve(normal, slopes.T @ (weights * (slopes @ moved - errors)))
    return result


def _cost(errors: np.ndarray, strain: np.ndarray) -> float:
    import numpy as np

    return float(2 * (np.sqrt(1 + (errors / _NOISE) ** 2) - 1).sum() + (strain**2).sum())


def _depends(case: Timed) -> tuple[str, ...]:
    return (f"rate.{case.case.dtype}", "bandwidth", "fixed", "host")


def names_of(cases: Sequence[Timed]) -> list[str]:
    """The scales that cases depend on: a rate for each type, and those of all."""
    return sorted({name for case in cases for name in _depends(case)})


def _logs(scales: ForwardScales, names: Sequence[str]) -> np.ndarray:
    import numpy as np

    return np.log([_value(scales, name) for name in names])


def _value(scales: ForwardScales, name: str) -> float:
    kind, _, dtype = name.partition(".")
    value: float = scales.rate_of(dtype) if kind == "rate" else getattr(scales, kind)
    return value


def scales_of(names: Sequence[str], logs: np.ndarray, digits: int = 3) -> ForwardScales:
    """Scales of these names and logarithms, to so many digits."""
    values = {name: float(f"{exp(x):.{digits}g}") for name, x in zip(names, logs, strict=True)}
    rate = {name.split(".", 1)[1]: v for name, v in values.items() if name.startswith("rate.")}
    return ForwardScales(
        rate=rate,
        bandwidth=values["bandwidth"],
        fixed=values["fixed"],
        host=values["host"],
        source="a trial of a fit",
    )
