"""Measures the machine that this runs on and fits the simulator's parameters to it."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from simulator.calibrate_host.design import Design, Operator
from simulator.calibrate_host.fit import Fit, fitted
from simulator.calibrate_host.parameters import Subject, applied, free_parameters, start_values
from simulator.calibrate_host.predicted import Observation, predictor
from simulator.calibrate_host.rounds import LEAST_CALM, Job, Timing, load, timed_rounds
from simulator.calibrate_host.stacks import NumpyStack, TorchStack, has_torch
from workloads.errors import InputError
from workloads.moment import Dtype

if TYPE_CHECKING:
    import numpy as np

    from hardware_profiles.schema import Profile

_PARALLEL_FROM = (4_096, 8_192, 16_384, 32_768, 65_536, 131_072)
_CALL_S = 5e-6
_RUN_S = 5e-4
"""Calls of one repetition take about so long together, so that the clock's own cost is small."""
_ENOUGH = 0.4
"""Part of the timings that must be undisturbed for a fit."""


@dataclass(frozen=True)
class HostCalibration:
    """What a calibration found.

    `before`, `after`: log(predicted / measured) of each observation with the figures that stood in
    and with the fitted ones. `dispatch`: seconds by kind of moment. `load`: programs that wanted a
    core at the start and at the end, where the system says it.
    """

    subject: Subject
    base_runtime: str
    library: str
    date: str
    observations: tuple[Observation, ...]
    before: tuple[float, ...]
    after: tuple[float, ...]
    values: Mapping[str, float]
    not_identified: tuple[str, ...]
    dispatch: Mapping[str, Timing]
    load: tuple[float | None, float | None]
    left_out: tuple[str, ...] = ()

    @property
    def spread(self) -> float:
        """Median over the observations of how far slow repetitions lie above the quiet ones."""
        found = sorted(one.timing.spread for one in self.observations)
        return found[len(found) // 2]


def calibrate_host(
    *,
    budget_s: float = 45.0,
    short: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
    say: Callable[[str], None] = lambda line: None,
) -> HostCalibration:
    """Calibrate this machine under PyTorch, or under NumPy where PyTorch is not installed.

    Takes `budget_s` and some 15 s for the probe, the preparation and the fit; `short` measures a
    quarter of the operators. InputError: scipy is missing.
    """
    _need_scipy()
    first_load = load()
    say("reading caches and memory with one thread and with all")
    from simulator.calibrate_host.probe import swept_profile

    profile, notes = swept_profile()
    cold = _cold_bytes(profile)
    make = TorchStack if has_torch() else NumpyStack
    design = Design(cold, dtypes_of(profile) if has_torch() else ("fp32",), short)
    stack: TorchStack | NumpyStack = make(design.pool_bytes)
    say(f"measuring {len(design.operators)} operators of {stack.library}")
    with stack.quietly():
        jobs, kept, refused = _jobs(design.operators, stack, profile.cores.count)
        calls = stack.dispatch_jobs()
        timings = timed_rounds(
            [*jobs, *calls], budget_s, set_threads=stack.set_threads, progress=progress
        )
    observed = observations(kept, timings[: len(jobs)])
    _check_enough(observed, kept)
    called = zip(calls, timings[len(jobs) :], strict=True)
    dispatch = {job.name.partition(" ")[2]: timing for job, timing in called}
    say("fitting")
    section = stack.section()
    found = fit_observations(observed, Subject(profile, section))
    return replace(
        found,
        base_runtime=stack.base,
        library=stack.library,
        dispatch=dispatch,
        load=(first_load, load()),
        left_out=(*refused, *notes),
    )


def _check_enough(observed: Sequence[Observation], kept: Sequence[tuple[Operator, int]]) -> None:
    """InputError where other programs left hardly an operator undisturbed."""
    wanted = sum(not operator.tiny for operator, _ in kept)
    if len(observed) < _ENOUGH * wanted:
        now = load()
        said = "" if now is None else f" (load {now:.1f})"
        raise InputError(
            f"this machine is too busy to be measured{said}: other programs disturbed "
            f"{wanted - len(observed)} of {wanted} timings; try again when it is quiet"
        )


def _need_scipy() -> None:
    try:
        import scipy  # noqa: F401
    except ImportError as error:
        raise InputError(
            "calibration needs scipy; install it with: pip install 'transformer-moments[fit]'"
        ) from error


def _cold_bytes(profile: Profile) -> int:
    """Twice the caches that a product could find a weight in."""
    caches = [level.total_bytes for name, level in profile.memory.items() if name != "dram"]
    return min(2 * max(caches, default=2**25), 2**29)


def _jobs(
    operators: Sequence[Operator], stack: TorchStack | NumpyStack, cores: int
) -> tuple[list[Job], list[tuple[Operator, int]], list[str]]:
    """Jobs with the operator and threads of each; what the stack cannot run is named apart."""
    jobs, kept, refused = [], [], []
    for operator in operators:
        call, why = stack.call(operator)
        if call is None:
            refused.append(f"{operator.label}: {why}")
            continue
        calls = _calls(call)
        for threads in stack.thread_counts(cores):
            if operator.tiny and threads > 1:
                continue
            kept.append((operator, threads))
            jobs.append(Job(operator.label, threads, _repeated(call, calls), calls))
    return jobs, kept, refused


def _calls(call: Callable[[], Any]) -> int:
    from time import perf_counter

    call()
    start = perf_counter()
    call()
    return max(1, min(50, int(_RUN_S / max(_CALL_S, perf_counter() - start))))


def _repeated(call: Callable[[], Any], calls: int) -> Callable[[], None]:
    def run() -> None:
        for _ in range(calls):
            call()

    return run


def observations(
    kept: Sequence[tuple[Operator, int]], timings: Sequence[Timing]
) -> tuple[Observation, ...]:
    """Times without the call itself, which the tiny operator of the same name tells.

    Operators that other programs disturbed nearly every time are left out: what they took is no
    property of the machine.
    """
    call_s = {
        operator.name: timing.seconds
        for (operator, _), timing in zip(kept, timings, strict=True)
        if operator.tiny
    }
    found = []
    for (operator, threads), timing in zip(kept, timings, strict=True):
        seconds = timing.seconds - call_s.get(operator.name, 0.0)
        # what hardly takes longer than its call says nothing about the kernel
        known = not operator.tiny and seconds > 0.25 * call_s.get(operator.name, 0.0)
        if known and timing.repetitions - timing.disturbed >= LEAST_CALM:
            found.append(Observation(operator, threads, seconds, timing))
    return tuple(found)


def fit_observations(observed: Sequence[Observation], base: Subject) -> HostCalibration:
    """The parameters that make the predictions of all observations nearest to what was measured."""
    import numpy as np

    measured = np.log([one.seconds for one in observed])

    predicted_s = predictor(observed, base.profile)

    def residuals(subject: Subject) -> np.ndarray:
        return np.asarray(np.log(predicted_s(subject.profile, subject.section)) - measured)

    before = residuals(base)
    kinds = frozenset(name for one in observed for name in (one.operator.name, one.operator.dtype))
    free = free_parameters(base, kinds)

    def fit(start: Mapping[str, float]) -> Fit:
        return fitted(free, start, lambda values: residuals(applied(base, values)))

    found = fit(start_values(base, free))
    better = _parallel_from(base, lambda trial: residuals(applied(trial, found.values)))
    if better != base:
        base = better
        found = fit(found.values)
    date = datetime.date.today().isoformat()
    source = f"fitted on {date} to {len(observed)} timings of this machine's own kernels"
    subject = applied(base, found.values, source)
    return HostCalibration(
        subject=subject, base_runtime="", library="", date=date, observations=tuple(observed),
        before=tuple(before.tolist()), after=tuple(residuals(subject).tolist()),
        values=found.values, not_identified=found.not_identified, dispatch={}, load=(None, None),
    )  # fmt: skip


def _parallel_from(base: Subject, residuals: Callable[[Subject], np.ndarray]) -> Subject:
    """The base with the number of elements from where on loops use all threads, which fits best.

    It stays where another fits better by less than 2 % of all residuals together.
    """
    library = base.section.library
    if library is None or base.profile.cores.count == 1:
        return base

    def at(limit: int) -> Subject:
        changed = library.model_copy(update={"parallel_elements": limit})
        return Subject(base.profile, base.section.model_copy(update={"library": changed}))

    costs = {limit: float(abs(residuals(at(limit))).sum()) for limit in _PARALLEL_FROM}
    best = min(costs, key=lambda limit: costs[limit])
    return at(best) if costs[best] < 0.98 * float(abs(residuals(base)).sum()) else base


def dtypes_of(profile: Profile) -> tuple[Dtype, ...]:
    """Types of products to measure: fp32, bf16 where a unit has it, fp16 likewise."""
    wanted: tuple[Dtype, ...] = ("bf16", "fp16")
    return ("fp32", *(d for d in wanted if profile.width.macs_per_cycle(d) is not None))
