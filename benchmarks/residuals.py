"""Fits how far predictions are from measurements and writes simulator/spreads.toml.

    python -m benchmarks.residuals MEASUREMENTS

MEASUREMENTS: the folder with operators.csv.gz, forward.csv.gz and workloads.json. Every case is
predicted without its own machine, and with what was fitted to others of its machine's. To be run
again, a few minutes, when kernels, runtimes or scales change; before `make accuracy-keep`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import cache, partial
from math import log
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hardware_profiles.loader import dump_tables
from simulator.case_intervals import case_footing, has_own_residuals, operator_class
from simulator.cases import Case, read_cases
from simulator.compare import workloads_of
from simulator.fit_collectives import fitted_ids
from simulator.footing import COLLECTIVE, Footing
from simulator.output import whole_file
from simulator.predict import Predictor, Skip
from simulator.protocol import library_of
from simulator.spreads import (
    FILE,
    LEVELS,
    Stack,
    generation_of,
    kernel_spread,
    left_out,
    pooled,
    weighed,
)
from workloads.op_counts import COLLECTIVES

if TYPE_CHECKING:
    from hardware_profiles.efficiency import Mode
    from hardware_profiles.schema import Profile
    from simulator.run import Run

_DIGITS = 3


@dataclass(frozen=True)
class Residual:
    """One case and ln(predicted / measured); of a whole pass also what it rests on."""

    case: Case
    profile: Profile
    software: str
    error: float
    footing: Footing | None = None


def residuals(cases: Iterable[Case], predictor: Predictor) -> Iterator[Residual]:
    """Of the cases that can be predicted and were not fitted on; `predictor` observes its runs."""
    runs: list[Run] = []
    predictor.observe = runs.append
    footings: dict[tuple[object, ...], Footing] = {}
    for case in cases:
        runs.clear()
        try:
            error = log(predictor.latency_s(case) * 1e6 / case.measured_us)
        except Skip:
            continue
        key = predictor.key(case)
        if runs and case.workload:  # a case alike may follow that nothing runs for
            footings[key] = case_footing(case, runs)
        if predictor.fitted(case):
            continue
        profile = predictor.profile_of(case)
        if not case.workload:
            yield Residual(case, profile, library_of(case), error)
            continue
        yield Residual(case, profile, predictor.software_of(case), error, footings[key])


def stacks_of(
    found: Sequence[Residual],
    name_of: Callable[[Residual], str],
    values: Sequence[float] | None = None,
) -> list[Stack]:
    """By name, machine and software; of absolute residuals or of `values`, one a residual."""
    groups: dict[tuple[str, str, str], list[tuple[Case, Profile, float]]] = {}
    for one, value in zip(found, values or [abs(one.error) for one in found], strict=True):
        key = (name_of(one), one.profile.name, one.software)
        groups.setdefault(key, []).append((one.case, one.profile, value))
    return [_stack(key, members) for key, members in sorted(groups.items())]


def _stack(key: tuple[str, str, str], members: Sequence[tuple[Case, Profile, float]]) -> Stack:
    import numpy as np

    name, machine, software = key
    times = [case.measured_us for case, _, _ in members]
    values = [value for _, _, value in members]
    return Stack(
        name=name,
        machine=machine,
        generation=generation_of(members[0][1]),
        software=software,
        dtypes=tuple(sorted({case.dtype for case, _, _ in members})),
        devices=max(case.devices for case, _, _ in members),
        cases=len(members),
        shortest_us=_rounded(min(times)),
        longest_us=_rounded(max(times)),
        points=tuple(_rounded(float(x)) for x in np.quantile(values, LEVELS)),
    )


def _rounded(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")


def excesses(passes: Sequence[Residual], kernels: Sequence[Stack], host: float) -> list[float]:
    """What whole passes err, squared, less what kernels of other machines lead to expect."""

    @cache
    def of_kernel(profile: Profile, name: str) -> float:
        return kernel_spread(left_out(kernels, profile), name)

    return [
        one.error**2 - one.footing.spread(partial(of_kernel, one.profile), host) ** 2
        for one in passes
        if one.footing is not None
    ]


def host_spread(passes: Sequence[Residual]) -> float:
    """The spread of passes that wait for the host most of the time."""
    waiting = [
        (abs(p.error), 1.0) for p in passes if p.footing is not None and p.footing.host > 0.5
    ]
    return _rounded(pooled(waiting))


def widening(stacks: Sequence[Stack]) -> float:
    """The 80 % point over stacks that count alike, as a multiple of that over cases that do."""
    even: list[tuple[float, float]] = []
    for name in {stack.name for stack in stacks}:
        alike = [stack for stack in stacks if stack.name == name]
        usual = pooled(weighed(alike))
        even += [(p / usual, 1 / len(s.points)) for s in alike for p in s.points]
    return max(1.0, _rounded(pooled(even)))


def calibrated_spreads(left: Iterable[Residual], predictor: Predictor) -> dict[str, float]:
    """By class of kernels and kind of device, of what was predicted with its own calibration."""
    found: dict[str, list[tuple[float, float]]] = {}
    for one in left:
        if one.case.workload:
            scales = predictor.scales_of(one.case)
            name, own = _kind(one), scales is not None and bool(scales.fitted_on)
        else:
            name = _class(one)
            own = name == COLLECTIVE or has_own_residuals(one.case, name)
        if own:
            found.setdefault(name, []).append((abs(one.error), 1.0))
    return {name: _rounded(pooled(errors)) for name, errors in sorted(found.items())}


def signed(found: Iterable[Residual]) -> dict[str, Any]:
    """10, 50 and 90 % points of the residuals by machine."""
    import numpy as np

    machines: dict[str, list[float]] = {}
    for one in found:
        machines.setdefault(one.profile.name, []).append(one.error)
    return {
        machine: {
            "cases": len(errors),
            "log_residuals": [_rounded(float(x)) for x in np.quantile(errors, (0.1, 0.5, 0.9))],
        }
        for machine, errors in sorted(machines.items())
    }


def predicted(
    cases: Sequence[Case], workloads: Mapping[str, dict[str, Any]], mode: Mode
) -> list[Residual]:
    """All residuals in a mode; for a process of its own."""
    return list(residuals(cases, Predictor(workloads, mode=mode)))


def spreads_toml(folder: Path) -> str:
    """The text of spreads.toml, from the measurements in a folder."""
    operators, forward = (folder / f"{name}.csv.gz" for name in ("operators", "forward"))
    workloads = workloads_of(forward, None)
    cases, passes = read_cases(operators), read_cases(forward)
    fitted = fitted_ids(case for case in cases if case.what in COLLECTIVES)
    every = [*cases, *passes]
    rest = [case for case in every if case.case_id not in fitted]
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        calibrated = pool.submit(predicted, rest, workloads, "calibrated")
        zero_shot = pool.submit(predicted, every, workloads, "zero-shot").result()
        left = calibrated.result()
    kernels = stacks_of([one for one in zero_shot if not one.case.workload], _class)
    whole_passes = [one for one in zero_shot if one.case.workload]
    host = host_spread(whole_passes)
    beside = excesses(whole_passes, kernels, host)
    model = {"host": host, "widening": widening([*kernels, *stacks_of(whole_passes, _kind)])}
    tables = {
        "model": model,
        "calibrated": calibrated_spreads(left, Predictor(workloads)),
        "links": signed(one for one in left if one.case.what in COLLECTIVES),
        "kernels": _numbered(kernels),
        "passes": _numbered(stacks_of(whole_passes, _kind, beside)),
    }
    return "# Written by benchmarks.residuals; see simulator/spreads.py.\n" + dump_tables(tables)


def _class(one: Residual) -> str:
    return operator_class(one.case, one.profile)


def _kind(one: Residual) -> str:
    return one.profile.kind


def _numbered(stacks: Sequence[Stack]) -> dict[str, Any]:
    return {f"{s.name} {s.machine} {s.software}": asdict(s) for s in stacks}


def main() -> int:
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    text = spreads_toml(Path(sys.argv[1]))
    with whole_file(FILE) as temporary:
        temporary.write_text(text, encoding="utf-8")
    print(f"wrote {FILE}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
