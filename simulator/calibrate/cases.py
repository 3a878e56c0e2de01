"""From measured cases to calibrated kernels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from hardware_profiles.expected import expected_kernel
from hardware_profiles.schema import Calibration, KernelClass
from simulator.calibrate.design import CASES_A_KIND, chosen
from simulator.calibrate.fit import fitted
from simulator.calibrate.observe import Observation, Stack, by_kind, observations, stacked
from simulator.calibrate.parameters import FREE
from simulator.calibrate.result import Calibrated, Kind, residuals_of, rounded
from workloads.errors import InputError

if TYPE_CHECKING:
    import numpy as np

    from hardware_profiles.schema import KernelName, Profile
    from simulator.cases import Case

LEAST_CASES = 6
"""Kinds with fewer cases are not fitted: their parameters would say more than is known."""
_EXPECTATION = 0.01
"""A parameter moves by its spread where that takes so much from the residual of all cases."""
COLLECTIVES = ("all_reduce", "all_gather", "reduce_scatter", "all_to_all", "send_recv")


def calibrate_cases(
    cases: Sequence[Case], profile: Profile, *, most: int = CASES_A_KIND, date: str | None = None
) -> Calibrated:
    """Fit the kernels of `profile` to measured operators of one device, most `most` of a kind.

    A kind is a kernel class, the width of the operands and a library. Everything starts from, and
    is held towards, what is expected of the machine without any measurement of its die, so that
    the cases that were not chosen are a fair test. Cases of other operators, of several devices,
    or that the machine cannot run are left out with the reason; the hardware that a case names is
    not looked at. Raises InputError where the machine is no GPU, SciPy is not there, or no kind has
    enough cases.
    """
    if find_spec("scipy") is None:
        raise InputError("calibrating needs SciPy: pip install 'transformer-moments[fit]'")
    if profile.kind != "gpu":
        raise InputError(
            f"{profile.name} is a {profile.kind}: only kernels of GPUs can be calibrated from cases"
        )
    seen, unable = observations(single_operators(cases), profile)
    left = [(c, "not an operator on one device") for c in cases if not _single(c)] + unable
    kinds: list[Kind] = []
    day = date or datetime.now(UTC).date().isoformat()
    for (name, bits, library), group in sorted(by_kind(seen).items()):
        if len(group) < LEAST_CASES:
            reason = f"{len(group)} cases of {name} in {bits} bits: at least {LEAST_CASES} needed"
            left += [(one.case, reason) for one in group]
            continue
        kinds.append(_calibrated(name, bits, library, group, profile, most, day))
    if not kinds:
        why = f"; the first reason: {left[0][1]}" if left else ""
        raise InputError(f"none of the {len(cases)} cases can be used on {profile.name}{why}")
    kinds.sort(key=lambda kind: (kind.calibration.kernel, -kind.cases))
    return Calibrated(profile, kinds, left)


def single_operators(cases: Sequence[Case]) -> list[Case]:
    """The cases of one operator on one device."""
    return [case for case in cases if _single(case)]


def _single(case: Case) -> bool:
    return case.devices == 1 and case.what not in COLLECTIVES and not case.workload


def _calibrated(
    name: KernelName, bits: int, library: str, group: Sequence[Observation], profile: Profile,
    most: int, day: str,
) -> Kind:  # fmt: skip
    import numpy as np

    base = expected_kernel(profile, name, bits / 8)
    everything = stacked(group)
    expected_s = everything.predicted_s(base)
    indices = chosen(group, expected_s.tolist(), most)
    drawn = stacked([group[i] for i in indices])
    free = FREE[name]

    def residuals(values: Mapping[str, float]) -> np.ndarray:
        predicted_s = drawn.predicted_s(_kernel(base, values))
        logs: np.ndarray = np.log(predicted_s / drawn.measured_s)
        return logs

    start = {key: getattr(base, key) for key in free}
    found = fitted(free, start, residuals, expectation=_EXPECTATION)
    kernel = _kernel(base, found.values)
    kernel = _kernel(kernel, _numbers(kernel))
    rest = np.ones(len(group), dtype=bool)
    rest[indices] = False
    log_errors = np.log(everything.predicted_s(kernel) / everything.measured_s)
    errors = np.abs(np.expm1(log_errors))
    test = rest if rest.any() else ~rest
    sources = ", ".join(sorted({group[i].case.source or "a source without name" for i in indices}))
    calibration = Calibration.model_construct(
        **_numbers(kernel),
        source=f"fitted to {len(indices)} of {len(group)} cases on {profile.name} of {sources}",
        kernel=name,
        library=library,
        bits=bits,
        date=day,
        fitted=tuple(group[i].case.case_id for i in indices),
        held_out=int(rest.sum()),
        error=float(f"{errors[test].mean():.4f}"),
        not_identified=tuple(key.removesuffix("_s") for key in found.not_identified),
        **residuals_of(log_errors[test], everything.measured_s[test] * 1e6),
    )
    spreads = [one.case.spread for one in group if one.case.spread > 1]
    return Kind(
        calibration=calibration,
        cases=len(group),
        before=_error(everything, base),
        fitted_error=float(errors[~rest].mean()),
        held_out_error=float(errors[rest].mean()) if rest.any() else None,
        spread=float(np.median(spreads)) - 1 if spreads else None,
    )


def _kernel(base: KernelClass, values: Mapping[str, float]) -> KernelClass:
    return base.model_copy(update=dict(values))


def _error(stack: Stack, kernel: KernelClass) -> float:
    return float(abs(stack.predicted_s(kernel) / stack.measured_s - 1).mean())


def _numbers(kernel: KernelClass) -> dict[str, Any]:
    """The parameters by their names in the schema, as the file says them."""
    fields = (key for key in KernelClass.model_fields if key != "source")
    return rounded({key: getattr(kernel, key) for key in fields})
