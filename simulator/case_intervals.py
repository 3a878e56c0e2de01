"""The intervals around the predictions of measured cases, honest about what was fitted to what."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING

from hardware_profiles import load_profile
from hardware_profiles.calibrations import shipped
from hardware_profiles.efficiency import efficiency_of
from hardware_profiles.schema import Calibration
from simulator.demand.context import has_matrix_unit
from simulator.domain import operator_reasons, pass_reasons
from simulator.footing import COLLECTIVE, Footing, footing_of
from simulator.intervals import (
    Interval,
    around,
    around_own,
    class_spread,
    whole_spread,
)
from simulator.protocol import library_of
from simulator.spreads import Signed, spreads
from workloads.op_counts import COLLECTIVES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hardware_profiles.schema import KernelName, Profile
    from simulator.cases import Case
    from simulator.predict import Predictor
    from simulator.run import Run


@dataclass
class CaseIntervals:
    """Intervals of the cases that a predictor predicts.

    Zero-shot: from machines with another die. Calibrated: from cases of the machine itself that
    nothing was fitted to, where its calibration says how they came out, beside those of others.
    """

    predictor: Predictor
    _footings: dict[tuple[object, ...], Footing] = field(default_factory=dict)

    def of(self, case: Case, latency_s: float, runs: Sequence[Run]) -> Interval:
        """`runs`: those that this prediction took, none if it took them for an equal case."""
        profile = self.predictor.profile_of(case)
        without = profile if self.predictor.mode == "zero-shot" else None
        if not case.workload:
            return self._operator(case, profile, latency_s, without)
        key = self.predictor.key(case)
        if runs:
            self._footings[key] = case_footing(case, runs)
        software = self.predictor.software_of(case)
        half = whole_spread(self._footings[key], profile.kind, software, without)
        reasons = pass_reasons(profile, software, case.dtype, case.devices, latency_s)
        scales = self.predictor.scales_of(case)
        if without is None and scales is not None and scales.fitted_on and scales.log_residuals:
            own = Signed(scales.held_out, *scales.log_residuals)
            alike = spreads().calibrated.get(profile.kind, half)
            return around_own(latency_s, own, alike, reasons)
        return around(latency_s, half, half, reasons)

    def _operator(
        self, case: Case, profile: Profile, latency_s: float, without: Profile | None
    ) -> Interval:
        name = operator_class(case, profile)
        half = class_spread(name, without)
        own = None
        if without is None and case.what in COLLECTIVES:
            own = spreads().links.get(case.hardware)
        elif without is None:
            own = own_residuals(case, name, latency_s)
        reasons = operator_reasons(profile, name, case.dtype, case.devices, latency_s)
        if own is None:
            return around(latency_s, half, half, reasons)
        return around_own(latency_s, own, spreads().calibrated.get(name, half), reasons)


def operator_class(case: Case, profile: Profile) -> str:
    """The class that the errors of an operator are counted in: that of its kernel."""
    if case.what in COLLECTIVES:
        return COLLECTIVE
    if case.what == "attention":
        return "attention" if case.sizes["q_len"] > 1 else "decode_attention"
    if case.what == "matmul":
        return "matmul" if has_matrix_unit(case.dtype, profile) else "matmul_vector"
    return "row" if "n" in case.sizes else "element"


def own_residuals(case: Case, name: str, latency_s: float) -> Signed | None:
    """The residuals of the calibration of a case's machine and library, for times like its own.

    None where it was predicted with another machine's or library's, or without.
    """
    found = _own_calibration(case.hardware, name, case.dtype, library_of(case))
    if found is None or not found.residual_q50:
        return None
    i = bisect_left(found.residual_up_to_us, latency_s * 1e6)
    cases = found.held_out / len(found.residual_q50)
    return Signed(cases, found.residual_q10[i], found.residual_q50[i], found.residual_q90[i])


def has_own_residuals(case: Case, name: str) -> bool:
    """Whether the calibration of a case's machine and library says how other cases came out."""
    found = _own_calibration(case.hardware, name, case.dtype, library_of(case))
    return found is not None and bool(found.residual_q50)


@cache
def _own_calibration(hardware: str, name: str, dtype: str, library: str) -> Calibration | None:
    kernel: KernelName = name  # type: ignore[assignment] # no collective has a calibration
    used = efficiency_of(load_profile(hardware), kernel, dtype, library=library)
    file = shipped().get(hardware)
    entries = () if file is None else file.calibration.values()
    return next((e for e in entries if e is used and e.library == library), None)


def case_footing(case: Case, runs: Sequence[Run]) -> Footing:
    """Of a whole pass; a generation is its steps, which one stands for, and its prefill."""
    steps = [float(case.sizes["generate"] - 1), 1.0] if case.what == "generate" else None
    return footing_of(runs, steps)
