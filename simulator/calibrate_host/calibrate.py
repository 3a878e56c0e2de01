"""Measures the machine that this runs on and fits the simulator's parameters to it."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from simulator.calibrate.fit import Fit
from simulator.calibrate_host.choices import (
    best_of,
    cache_choices,
    gemv_choices,
    loop_choices,
    with_threads_seen,
)
from simulator.calibrate_host.design import Design, Operator
from simulator.calibrate_host.fit import fitted
from simulator.calibrate_host.parameters import Subject, applied, free_parameters, start_values
from simulator.calibrate_host.predicted import Observation, Residuals
from simulator.calibrate_host.rounds import LEAST_CALM, Job, Timing, load, timed_rounds
from simulator.calibrate_host.stacks import Stack, stack_class
from workloads.errors import InputError

if TYPE_CHECKING:
    from hardware_profiles.schema import Profile

_CALL_S = 5e-6
_RUN_S = 5e-4
"""Calls of one repetition take about so long together, so that the clock's own cost is small."""
_TRIAL = 4
"""Evaluations after which a fit shows how good it will become."""
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
    library: str | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
    say: Callable[[str], None] = lambda line: None,
) -> HostCalibration:
    """Calibrate this machine under a `library`: by default PyTorch, or NumPy where it is missing.

    Takes `budget_s` and some 15 s for the probe, the preparation and the fit; `short` measures a
    quarter of the operators. InputError: scipy or the library is missing, or the machine is busy.
    """
    _need_scipy()
    make = stack_class(library)
    first_load = load()
    say("reading caches and memory with one thread and with all")
    from simulator.calibrate_host.probe import swept_profile

    profile, notes = swept_profile()
    cold = _cold_bytes(profile)
    design = Design(cold, make.dtypes(profile), short)
    stack = make(design.pool_bytes)
    say(f"measuring {len(design.operators)} operators of {stack.library}")
    with stack.quietly():
        jobs, kept, refused = _jobs(design.operators, stack, profile.cores.count)
        calls = stack.dispatch_jobs()
        timings = timed_rounds(
            [*jobs, *calls], budget_s, set_threads=stack.set_threads, progress=progress
        )
    kept, measured = merged(kept, timings[: len(jobs)])
    observed = observations(kept, measured)
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
    operators: Sequence[Operator], stack: Stack, cores: int
) -> tuple[list[Job], list[tuple[Operator, int]], list[str]]:
    """Jobs with the operator and threads of each; what the stack cannot run is named apart."""
    jobs, kept = [], []
    refused: dict[tuple[str, str], int] = {}
    for operator in operators:
        for _ in range(stack.instances(operator)):
            call, why = stack.call(operator)
            if call is None:
                key = (f"{operator.name} {operator.dtype}", why)
                refused[key] = refused.get(key, 0) + 1
                break
            calls = _calls(call)
            for threads in stack.thread_counts(cores):
                if operator.tiny and threads > 1:
                    continue
                kept.append((operator, threads))
                each = calls * stack.operators_a_call(operator)
                jobs.append(Job(operator.label, threads, _repeated(call, calls), each))
    return jobs, kept, [f"{n} of {name}: {why}" for (name, why), n in refused.items()]


def merged(
    kept: Sequence[tuple[Operator, int]], timings: Sequence[Timing]
) -> tuple[list[tuple[Operator, int]], list[Timing]]:
    """One timing of each operator and threads: that of the median among its instances."""
    found: dict[tuple[str, int], list[tuple[tuple[Operator, int], Timing]]] = {}
    for (operator, threads), timing in zip(kept, timings, strict=True):
        found.setdefault((operator.label, threads), []).append(((operator, threads), timing))
    middle = [
        sorted(several, key=lambda one: one[1].seconds)[len(several) // 2]
        for several in found.values()
    ]
    return [one for one, _ in middle], [timing for _, timing in middle]


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
    """The parameters that make the predictions of all observations nearest to what was measured.

    When products use threads is read off the timings. The part of the last cache that counts is
    chosen by a fit with each; the rows of matrix-vector products, and the elements from which on
    loops use threads, by what the fit then predicts with each.
    """
    residuals = Residuals(observed)
    kinds = frozenset(name for one in observed for name in (one.operator.name, one.operator.dtype))
    free = free_parameters(base, kinds)

    def fit(subject: Subject, start: Mapping[str, float], evaluations: int = 25) -> Fit:
        return fitted(free, start, lambda v: residuals(applied(subject, v)), evaluations)

    def cost(subject: Subject, values: Mapping[str, float]) -> float:
        return float(abs(residuals(applied(subject, values))).sum())

    before = residuals(base)
    base = with_threads_seen(base, observed)
    found = fit(base, start_values(base, free))
    start = found.values
    chosen = best_of(
        base, cache_choices(base), lambda one: cost(one, fit(one, start, _TRIAL).values)
    )
    if chosen != base:
        found = fit(chosen, found.values)
    for choices in (gemv_choices, loop_choices):
        better = best_of(chosen, choices(chosen), partial(cost, values=found.values))
        if better != chosen:
            chosen = better
            found = fit(chosen, found.values)
    date = datetime.date.today().isoformat()
    source = f"fitted on {date} to {len(observed)} timings of this machine's own kernels"
    subject = applied(chosen, found.values, source)
    return HostCalibration(
        subject=subject, base_runtime="", library="", date=date, observations=tuple(observed),
        before=tuple(before.tolist()), after=tuple(residuals(subject).tolist()),
        values=found.values, not_identified=found.not_identified, dispatch={}, load=(None, None),
    )  # fmt: skip
