"""What a calibration found, and the file that says so."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hardware_profiles.calibrations import Calibration, Residuals
from hardware_profiles.schema import KernelClass
from hardware_profiles.units import format_quantity

if TYPE_CHECKING:
    import numpy as np

    from simulator.cases import Case

_DIGITS = 3
_CLASSES = 3
"""Size classes that the residuals are given by, where there are cases enough."""
_CASES_A_CLASS = 30


@dataclass(frozen=True)
class Kind:
    """One calibrated kind of operation: before and after, on the fitted and on the other cases.

    Errors are mean absolute relative errors; None where there is no such case. `spread`: median of
    largest over smallest time where the source had several for a case (1: it had one).
    """

    calibration: Calibration
    cases: int
    before: float
    fitted_error: float
    held_out_error: float | None


@dataclass(frozen=True)
class Calibrated:
    """Calibrations of a machine, and the cases that could not be used, with reasons."""

    machine: str
    kernels: str | None
    kinds: Sequence[Kind]
    left_out: Sequence[tuple[Case, str]]

    def toml(self) -> str:
        """The file: to be read, edited and shared, and read by read_calibrations."""
        lines = [
            f"# Kernels of {self.machine} as fitted by `moments calibrate`.",
            f'machine = "{self.machine}"',
        ]
        if self.kernels is not None:
            lines.append(f'kernels = "{self.kernels}"')
        for kind in self.kinds:
            lines += ["", *_entry(kind.calibration)]
        return "\n".join(lines) + "\n"


def rounded(values: Mapping[str, float]) -> dict[str, float]:
    """Parameters as the file says them: three digits."""
    return {key: float(f"{value:.{_DIGITS}g}") for key, value in values.items()}


def residuals_of(log_errors: np.ndarray, measured_us: np.ndarray) -> tuple[Residuals, ...]:
    """Quantiles of log(predicted / measured) by size class: equally many cases in each."""
    import numpy as np

    count = int(min(_CLASSES, log_errors.size // _CASES_A_CLASS)) or 1
    edges = [float(f"{e:.3g}") for e in np.quantile(measured_us, np.linspace(0, 1, count + 1))]
    found: list[Residuals] = []
    low = 0.0
    for index in range(count):
        last = index == count - 1
        inside = (measured_us >= low) & ((measured_us < edges[index + 1]) | last)
        if not inside.any():
            continue
        q = [float(f"{v:.3f}") for v in np.quantile(log_errors[inside], (0.1, 0.5, 0.9))]
        found.append(
            Residuals(
                up_to_us=None if last else edges[index + 1],
                cases=int(inside.sum()),
                log_quantiles=(q[0], q[1], q[2]),
            )
        )
        low = edges[index + 1]
    return tuple(found)


def _entry(found: Calibration) -> list[str]:
    lines = [
        "[[calibration]]",
        f'kernel = "{found.kernel}"',
        f"library = {json.dumps(found.library)}",
        f"bits = {list(found.bits)}",
        f"source = {json.dumps(found.source)}",
        f'date = "{found.date}"',
        f"held_out = {found.held_out}",
        f"error = {found.error:.4f}",
        f"not_identified = {json.dumps(list(found.not_identified))}",
        f"fitted = {json.dumps(list(found.fitted))}",
    ]
    for entry in found.residuals:
        limit = "" if entry.up_to_us is None else f"up_to_us = {entry.up_to_us:g}, "
        quantiles = ", ".join(f"{q:g}" for q in entry.log_quantiles)
        lines.append("[[calibration.residuals]]")
        lines += [
            f"{limit.rstrip(', ')}" if limit else "",
            f"cases = {entry.cases}",
            f"log_quantiles = [{quantiles}]",
        ]
    lines = [line for line in lines if line]
    lines.append("[calibration.parameters]")
    return lines + [f"{key} = {value}" for key, value in _parameters(found.parameters)]


def _parameters(kernel: KernelClass) -> list[tuple[str, Any]]:
    """Keys and values as the file has them, in the order of the schema, defaults left out."""
    found: list[tuple[str, Any]] = []
    for field, info in KernelClass.model_fields.items():
        value = getattr(kernel, field)
        if field == "source" or value == info.default:
            continue
        key = info.alias or field
        found.append((key, f'"{format_quantity(value, "s")}"' if info.alias else f"{value:g}"))
    return found
