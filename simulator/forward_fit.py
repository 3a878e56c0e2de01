"""Fits the scales of whole passes: of a runtime on any machine, then of each machine with it."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hardware_profiles import ProfileError, load_profile
from simulator.forward_calibration import FOLDER, ForwardScales, general_key, machine_key
from simulator.forward_solve import Solver, Timed
from simulator.output import whole_file
from simulator.predict import Predictor, Skip

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from simulator.cases import Case

MOST_CASES = 24
"""Cases of one kind (prefill, decode, generation) of one runtime on one machine that a fit sees."""

_OF_EACH_MACHINE = 12
"""Of these, cases of one machine that the fit of a runtime on any machine sees."""

_FITTED_SHARE = 2 / 3
"""Part of fewer cases that a fit sees, so that some are left to judge it by."""

_HELPS = 0.95
"""Scales of a runtime are kept that bring the errors of left-out machines below this share."""

_SEED = 0

Table = dict[str, ForwardScales]


@dataclass(frozen=True)
class Group:
    """The cases of one machine, or of some devices of it, with one runtime: fitted on, and not."""

    runtime: str
    hardware: str
    devices: int
    fitted: tuple[Timed, ...]
    others: tuple[Timed, ...]

    @property
    def kind(self) -> str:
        return load_profile(self.hardware).kind


def groups(cases: Iterable[Case], predictor: Predictor) -> list[Group]:
    """The whole passes among `cases` that can be predicted, by runtime and machine, sorted.

    Which cases a fit sees is drawn with a fixed seed, so that the same file gives the same fit.
    """
    by_phase: dict[tuple[str, str, int], dict[str, list[Timed]]] = {}
    for case in cases:
        if not case.workload:
            continue
        try:
            timed = Timed(case, predictor.trial(case))
            name = predictor.software_of(case)
        except Skip:
            continue
        phases = by_phase.setdefault((name, case.hardware, case.devices), {})
        phases.setdefault(_phase(case), []).append(timed)
    found = []
    for key, phases in sorted(by_phase.items()):
        fitted: list[Timed] = []
        for phase in sorted(phases):
            fitted += _drawn(phases[phase], f"{_SEED} {key} {phase}")
        random.Random(f"{_SEED} {key}").shuffle(fitted)  # noqa: S311 - kinds mixed
        chosen = {timed.case.case_id for timed in fitted}
        others = [t for p in sorted(phases) for t in phases[p] if t.case.case_id not in chosen]
        found.append(Group(*key, tuple(fitted), tuple(others)))
    return found


def _drawn(cases: Sequence[Timed], seed: str) -> list[Timed]:
    """What a fit sees of cases of a kind: of each model and type of numbers its share."""
    shuffled = sorted(cases, key=lambda timed: timed.case.case_id)
    random.Random(seed).shuffle(shuffled)  # noqa: S311 - a draw that can be repeated
    shuffled.sort(key=lambda timed: _kind(timed.case))
    count = min(MOST_CASES, max(1, round(len(cases) * _FITTED_SHARE)))
    return [shuffled[(2 * i + 1) * len(cases) // (2 * count)] for i in range(count)]


def _kind(case: Case) -> tuple[str, ...]:
    return case.workload, case.dtype, case.weight_dtype


def _phase(case: Case) -> str:
    return "decode" if case.what.startswith("decode") else case.what


def fit_all(
    cases: Sequence[Case],
    predictor: Predictor,
    progress: Callable[[int, int], None] | None = None,
    jobs: int = 1,
) -> dict[str, Table]:
    """Scales by runtime and key of machine, of all that have whole passes among `cases`.

    Runtimes are fitted in `jobs` processes.
    """
    from joblib import Parallel, delayed

    parts: dict[tuple[str, str], list[Case]] = {}
    for case in cases:
        try:
            key = (predictor.software_of(case), load_profile(case.hardware).kind)
        except (Skip, ProfileError):
            continue
        parts.setdefault(key, []).append(case)
    found: dict[str, Table] = {}
    longest = sorted(parts.items(), key=lambda item: -len(item[1]))
    work = (delayed(_fit_runtime)(kind, part, predictor) for (_, kind), part in longest)
    results = Parallel(n_jobs=jobs, return_as="generator")(work)
    for done, (((runtime, _), _), table) in enumerate(zip(longest, results, strict=True), start=1):
        found.setdefault(runtime, {}).update(table)
        if progress is not None:
            progress(done, len(parts))
    return found


def _fit_runtime(kind: str, cases: Sequence[Case], predictor: Predictor) -> Table:
    """The scales of one runtime on one kind of device, and of each machine."""
    members = groups(cases, predictor)
    if not members:
        return {}
    solver = Solver()
    table = fit_general(kind, members, solver)
    start = table[general_key(kind)]
    for group in sorted(members, key=lambda group: group.devices):
        one = table.get(group.hardware, start)  # several devices differ by what joins them
        table[machine_key(group.hardware, group.devices)] = fit_machine(group, one, solver)
    return table


def fit_general(kind: str, members: Sequence[Group], solver: Solver) -> Table:
    """Scales of a runtime on any machine of a kind, and, for each machine, those without it.

    Machines count alike, by what is drawn of each; several devices only where one was never timed,
    since their links have errors of their own. The residuals are of machines left out in turn.
    Scales that do not help these, and models left out in turn, stay 1: what one machine or model
    needs is then not what others need.
    """
    single = [group for group in members if group.devices == 1] or list(members)
    start = ForwardScales(source="not fitted: no scales help machines that they were not fitted on")
    every = [timed for group in single for timed in group.fitted[:_OF_EACH_MACHINE]]
    named = solver.fit(every, start)
    all_of_it = [timed for group in single for timed in (*group.fitted, *group.others)]

    def left_out(key: Callable[[Case], str]) -> tuple[dict[str, ForwardScales], list[float]]:
        """What is fitted without each machine or model, and its errors on what it did not see."""
        fits = {}
        for value in sorted({key(timed.case) for timed in (*every, *all_of_it)}):
            rest = [timed for timed in every if key(timed.case) != value]
            found = solver.fit(rest, start, near=named) if rest else start
            fits[value] = found.model_copy(update={"source": _source(rest)}) if rest else start
        return fits, [timed.log_error(fits[key(timed.case)]) for timed in all_of_it]

    plain = [timed.log_error(None) for timed in all_of_it]
    by_machine, errors = left_out(lambda case: case.hardware)
    if len({timed.case.workload for timed in all_of_it}) > 1:
        _, of_models = left_out(lambda case: case.workload)
    else:
        of_models = errors
    if max(_middle(errors), _middle(of_models)) > _HELPS * _middle(plain):
        judged = {"held_out": len(plain), "log_residuals": _points(plain)}
        return {general_key(kind): start.model_copy(update=judged)}
    judged = {"held_out": len(errors), "log_residuals": _points(errors)}
    named = named.model_copy(update={**judged, "source": _source(every)})
    without = {general_key(kind, without=name): scales for name, scales in by_machine.items()}
    return {general_key(kind): named, **without}


def _middle(errors: Sequence[float]) -> float:
    """Mean of the median and the mean of absolute errors: neither a tail nor half is ignored."""
    from statistics import fmean, median

    absolute = [abs(error) for error in errors]
    return (fmean(absolute) + median(absolute)) / 2


def fit_machine(group: Group, start: ForwardScales, solver: Solver) -> ForwardScales:
    """The scales of one machine with one runtime, and their residuals on the other cases."""
    scales = solver.fit(group.fitted, start)
    errors = [timed.log_error(scales) for timed in group.others]
    return scales.model_copy(
        update={
            "fitted_on": tuple(sorted(timed.case.case_id for timed in group.fitted)),
            "held_out": len(errors),
            "log_residuals": _points(errors),
            "source": _source(group.fitted),
        }
    )


def _points(errors: Sequence[float]) -> tuple[float, float, float] | None:
    import numpy as np

    if not errors:
        return None
    low, middle, high = (round(float(q), 4) for q in np.quantile(errors, (0.1, 0.5, 0.9)))
    return low, middle, high


def _source(fitted: Sequence[Timed]) -> str:
    cases = [timed.case for timed in fitted]
    machines = len({case.hardware for case in cases})
    kinds = Counter(f"{_phase(case)} of {case.workload}" for case in cases)
    listed = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
    on = f" on {machines} machines" if machines > 1 else ""
    return f"fitted by soft absolute log error on {len(cases)} public cases{on}: {listed}"


def write(found: Mapping[str, Mapping[str, ForwardScales]], folder: Path = FOLDER) -> list[Path]:
    """One file a runtime, in TOML; files that are there are replaced whole."""
    paths = []
    for runtime, machines in sorted(found.items()):
        path = folder / f"{runtime}.toml"
        with whole_file(path) as temporary:
            temporary.write_text(_as_toml(runtime, machines), encoding="utf-8")
        paths.append(path)
    return paths


def _as_toml(runtime: str, machines: Mapping[str, ForwardScales]) -> str:
    lines = [f"# Scales of whole passes under {runtime}. Written by benchmarks.forward_scales."]
    for key, s in sorted(machines.items()):
        rate = ", ".join(f"{dtype} = {value:g}" for dtype, value in s.rate.items())
        lines += ["", f'["{key}"]', f"rate = {{ {rate} }}" if rate else "rate = {}"]
        lines += [f"{name} = {getattr(s, name):g}" for name in ("bandwidth", "fixed", "host")]
        if s.log_residuals is not None:
            lines.append(f"held_out = {s.held_out}")
            lines.append(f"log_residuals = [{', '.join(f'{x:g}' for x in s.log_residuals)}]")
        if s.fitted_on:
            lines.append("fitted_on = [" + ", ".join(f'"{case}"' for case in s.fitted_on) + "]")
        lines.append(f'source = "{s.source}"')
    return "\n".join(lines) + "\n"
