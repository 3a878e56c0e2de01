"""What a calibration found, and the file that says so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hardware_profiles.loader import dump_tables
from hardware_profiles.schema import Calibration

if TYPE_CHECKING:
    import numpy as np

    from hardware_profiles.schema import Profile
    from simulator.cases import Case

_DIGITS = 3
_CLASSES = 3
"""Size classes that the residuals are given by, where there are cases enough."""
_CASES_A_CLASS = 30


@dataclass(frozen=True)
class Kind:
    """One calibrated kind of operation: mean absolute relative errors before and after.

    `held_out_error`: on the cases that were not fitted; None where there is none. `spread`: median
    of largest over smallest time, less 1, where the source had several for a case.
    """

    calibration: Calibration
    cases: int
    before: float
    fitted_error: float
    held_out_error: float | None
    spread: float | None


@dataclass(frozen=True)
class Calibrated:
    """Calibrations of a machine, and the cases that could not be used, with reasons."""

    profile: Profile
    kinds: Sequence[Kind]
    left_out: Sequence[tuple[Case, str]]

    def toml(self, base: str | None = None) -> str:
        """The file, to be read, edited and shared: a profile that extends `base`.

        `base`: how the machine is called in the file (default: its name).
        """
        entries: dict[str, Any] = {}
        for kind in self.kinds:
            found = kind.calibration
            key = f"{found.kernel}-{found.bits}bit-{_plain(found.library)}"
            entries[key] = found.model_dump(
                by_alias=True, exclude_defaults=True, exclude_none=True, exclude={"source"}
            )
            entries[key]["source"] = found.source
        head: dict[str, Any] = {
            "extends": base or self.profile.name,
            "name": f"{self.profile.name}-calibrated"[:80],
            "title": f"{self.profile.title}, calibrated",
        }
        if self.profile.kernels is not None:
            head["kernels"] = self.profile.kernels
        return dump_tables({**head, "calibration": entries})


def _plain(name: str) -> str:
    return "".join(c if c.isalnum() and c.isascii() else "-" for c in name.lower())[:40]


def rounded(values: Mapping[str, float]) -> dict[str, float]:
    """Parameters as the file says them: three digits."""
    return {key: float(f"{value:.{_DIGITS}g}") for key, value in values.items()}


def residuals_of(log_errors: np.ndarray, measured_us: np.ndarray) -> dict[str, Any]:
    """Quantiles of log(predicted / measured) by size class: equally many cases in each."""
    import numpy as np

    count = max(1, min(_CLASSES, log_errors.size // _CASES_A_CLASS))
    inner = np.quantile(measured_us, np.linspace(0, 1, count + 1)[1:-1])
    edges = sorted({float(f"{edge:.3g}") for edge in inner})
    classes = np.searchsorted(np.array(edges), measured_us)
    used = [c for c in range(len(edges) + 1) if (classes == c).any()]
    found: dict[str, tuple[float, ...]] = {
        "residual_up_to_us": tuple(edges[c] for c in used[:-1]),
    }
    for percent in (10, 50, 90):
        found[f"residual_q{percent}"] = tuple(
            float(f"{np.quantile(log_errors[classes == c], percent / 100):.3f}") for c in used
        )
    return found
