"""Fits how far predictions are from measurements and writes simulator/spreads.toml.

    python -m benchmarks.residuals MEASUREMENTS

MEASUREMENTS: the folder with operators.csv.gz, forward.csv.gz and workloads.json. Every case is
predicted without its own machine, collectives also with what was fitted to others of theirs. To be
run again, a minute or two, when kernels, runtimes or scales change; before `make accuracy-keep`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from math import log
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hardware_profiles.loader import dump_tables
from simulator.case_intervals import case_footing, operator_class
from simulator.cases import Case, read_cases
from simulator.compare import workloads_of
from simulator.fit_collectives import fitted_ids
from simulator.footing import Footing
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

_HOSTS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0)
_WHOLES = (0.05, 0.1, 0.2, 0.3, 0.5, 0.8)
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
        if predictor.fitted(case):
            continue
        profile = predictor.profile_of(case)
        if not case.workload:
            yield Residual(case, profile, library_of(case), error)
            continue
        key = predictor.key(case)
        if runs:
            footings[key] = case_footing(case, runs)
        yield Residual(case, profile, predictor.software_of(case), error, footings[key])


def stacks_of(
    found: Sequence[Residual],
    name_of: Callable[[Residual], str],
    sizes: Sequence[float] | None = None,
) -> list[Stack]:
    """Residuals, in multiples of `sizes` if given, by name, machine and software."""
    groups: dict[tuple[str, str, str], list[tuple[Residual, float]]] = {}
    for one, size in zip(found, sizes or [1.0] * len(found), strict=True):
        key = (name_of(one), one.profile.name, one.software)
        groups.setdefault(key, []).append((one, abs(one.error) / size))
    return [_stack(key, members) for key, members in sorted(groups.items())]


def _stack(key: tuple[str, str, str], members: Sequence[tuple[Residual, float]]) -> Stack:
    import numpy as np

    name, machine, software = key
    cases = [one.case for one, _ in members]
    times = [case.measured_us for case in cases]
    return Stack(
        name=name,
        machine=machine,
        generation=generation_of(members[0][0].profile),
        software=software,
        dtypes=tuple(sorted({case.dtype for case in cases})),
        devices=max(case.devices for case in cases),
        cases=len(cases),
        shortest_us=_rounded(min(times)),
        longest_us=_rounded(max(times)),
        points=tuple(_rounded(float(x)) for x in np.quantile([e for _, e in members], LEVELS)),
    )


def _rounded(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")


def expected_sizes(
    passes: Sequence[Residual], kernels: Sequence[Stack]
) -> Callable[[float, float], list[float]]:
    """What the kernels of other machines lead to expect of whole passes, given host and whole."""
    known: dict[tuple[str, str], float] = {}
    for one in passes:
        for name in one.footing.shares if one.footing is not None else ():
            if (key := (one.profile.name, name)) not in known:
                known[key] = kernel_spread(left_out(kernels, one.profile), name)

    def sizes(host: float, whole: float) -> list[float]:
        return [
            one.footing.spread(lambda name, at=one.profile.name: known[at, name], host, whole)  # type: ignore[misc]
            for one in passes
            if one.footing is not None
        ]

    return sizes


def fit_model(passes: Sequence[Residual], kernels: Sequence[Stack]) -> tuple[float, float]:
    """The spreads of host time and of whole passes that describe the errors best.

    Most likely, for absolute errors that fall exponentially; a machine with a runtime counts as the
    square root of its cases, since they err alike.
    """
    import numpy as np

    counts: dict[tuple[str, str], int] = {}
    for one in passes:
        key = (one.profile.name, one.software)
        counts[key] = counts.get(key, 0) + 1
    weights = np.array([counts[one.profile.name, one.software] ** -0.5 for one in passes])
    errors = np.abs([one.error for one in passes])
    sizes_at = expected_sizes(passes, kernels)

    def surprise(host: float, whole: float) -> float:
        sizes = np.array(sizes_at(host, whole))
        scale = np.average(errors / sizes, weights=weights)
        return float(np.average(np.log(sizes * scale) + errors / (sizes * scale), weights=weights))

    return min(product(_HOSTS, _WHOLES), key=lambda pair: surprise(*pair))


def widening(stacks: Sequence[Sequence[Stack]]) -> float:
    """The 80 % point over stacks that count alike, as a multiple of that over cases that do."""
    even: list[tuple[float, float]] = []
    for alike in stacks:
        usual = pooled(weighed(alike))
        even += [(p / usual, 1 / len(s.points)) for s in alike for p in s.points]
    return max(1.0, _rounded(pooled(even)))


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


def spreads_toml(folder: Path) -> str:
    """The text of spreads.toml, from the measurements in a folder."""
    operators, forward = (folder / f"{name}.csv.gz" for name in ("operators", "forward"))
    workloads = workloads_of(forward, None)

    def predicted(cases: Iterable[Case], mode: Mode) -> list[Residual]:
        return list(residuals(cases, Predictor(workloads, mode=mode)))

    cases = read_cases(operators)
    links = [case for case in cases if case.what in COLLECTIVES]
    fitted = fitted_ids(links)
    left = predicted((c for c in links if c.case_id not in fitted), "calibrated")
    kernels = stacks_of(
        predicted(cases, "zero-shot"), lambda one: operator_class(one.case, one.profile)
    )
    whole_passes = predicted(read_cases(forward), "zero-shot")
    host, whole = fit_model(whole_passes, kernels)
    sizes = expected_sizes(whole_passes, kernels)(host, whole)
    passes = stacks_of(whole_passes, lambda one: one.profile.kind, sizes)
    by_name = {s.name: [t for t in kernels if t.name == s.name] for s in kernels}
    kinds = {s.name: [t for t in passes if t.name == s.name] for s in passes}
    model = {"host": host, "whole": whole, "widening": widening([*by_name.values(), *kinds.values()])}
    tables = {
        "model": model,
        "calibrated": signed(left),
        "kernels": _numbered(kernels),
        "passes": _numbered(passes),
    }
    return "# Written by benchmarks.residuals; see simulator/spreads.py.\n" + dump_tables(tables)


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
