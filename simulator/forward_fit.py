"""Fits the scales of whole passes: of a runtime on any machine, then of each machine with it."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass
from math import log
from typing import TYPE_CHECKING

from hardware_profiles import load_profile
from simulator.forward_calibration import FOLDER, ForwardScales, general_key, machine_key
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
_PRIOR = {"rate": 0.5, "bandwidth": 0.25, "fixed": 0.5, "host": 0.5}
"""How far, in logarithms, a scale is expected from where the fit starts (1 for a runtime, the
runtime's for a machine): what cases do not tell stays there."""
_NOISE = 0.05
"""Logarithmic spread of equal measurements; larger residuals count linearly."""
_BOUND = 2.5
_STEPS = 6
"""Of the solver; each takes a run a case and scale."""


@dataclass(frozen=True)
class Group:
    """The cases of one machine, or of some devices of it, with one runtime: fitted on, and not."""

    runtime: str
    hardware: str
    devices: int
    fitted: tuple[Case, ...]
    others: tuple[Case, ...]

    @property
    def kind(self) -> str:
        return load_profile(self.hardware).kind


def groups(cases: Iterable[Case], predictor: Predictor) -> list[Group]:
    """The whole passes among `cases` that can be predicted, by runtime and machine, sorted.

    Which cases a fit sees is drawn with a fixed seed, so that the same file gives the same fit.
    """
    by_kind: dict[tuple[str, str, int], dict[str, list[Case]]] = {}
    for case in cases:
        if not case.workload:
            continue
        try:
            predictor.latency_s(case)
            name = predictor.software_of(case)
        except Skip:
            continue
        kinds = by_kind.setdefault((name, case.hardware, case.devices), {})
        kinds.setdefault(_phase(case), []).append(case)
    found = []
    for key, kinds in sorted(by_kind.items()):
        fitted: list[Case] = []
        for phase in sorted(kinds):
            drawn = sorted(kinds[phase], key=lambda case: case.case_id)
            seed = f"{_SEED} {key} {phase}"
            random.Random(seed).shuffle(drawn)  # noqa: S311 - a draw that can be repeated
            fitted += drawn[: min(MOST_CASES, max(1, round(len(drawn) * _FITTED_SHARE)))]
        random.Random(f"{_SEED} {key}").shuffle(fitted)  # noqa: S311 - kinds mixed
        chosen = {case.case_id for case in fitted}
        others = [c for phase in sorted(kinds) for c in kinds[phase] if c.case_id not in chosen]
        found.append(Group(*key, tuple(fitted), tuple(others)))
    return found


def _phase(case: Case) -> str:
    return "decode" if case.what.startswith("decode") else case.what


def fit_all(
    cases: Sequence[Case],
    predictor: Predictor,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, dict[str, ForwardScales]]:
    """Scales by runtime and key of machine, of all that have whole passes among `cases`.

    `predictor`: zero-shot, for scales of a runtime on any machine. Those of a machine come on top
    of the calibrations of its kernels, as they are applied.
    """
    calibrated = Predictor(predictor.workloads, mode="calibrated")
    todo = groups(cases, predictor)
    by_software: dict[tuple[str, str], list[Group]] = {}
    for group in todo:
        by_software.setdefault((group.runtime, group.kind), []).append(group)
    found: dict[str, dict[str, ForwardScales]] = {}
    done = 0
    for (runtime, kind), members in by_software.items():
        table = found.setdefault(runtime, {})
        table.update(_general(kind, members, predictor))
        for group in members:
            key = machine_key(group.hardware, group.devices)
            table[key] = fit_machine(group, table[general_key(kind)], calibrated)
            done += 1
            if progress is not None:
                progress(done, len(todo))
    return found


def _general(kind: str, members: Sequence[Group], predictor: Predictor) -> dict[str, ForwardScales]:
    """Scales of a runtime on any machine of a kind, and, for each machine, those without it.

    Machines count alike, by what is drawn of each; several devices only where one was never timed,
    since their links have errors of their own. The residuals are of machines left out in turn.
    Scales that do not help these stay 1: what one machine needs is then not what others need.
    """
    single = [group for group in members if group.devices == 1] or members
    start = ForwardScales(source="not fitted: no scales help machines that they were not fitted on")
    without: dict[str, ForwardScales] = {}
    plain: list[float] = []
    errors: list[float] = []
    for machine in sorted({group.hardware for group in members}):
        rest = [c for g in single if g.hardware != machine for c in g.fitted[:_OF_EACH_MACHINE]]
        scales = start
        if rest:
            update = {"source": _source(rest)}
            scales = _fit(rest, start, predictor).model_copy(update=update)
        without[general_key(kind, without=machine)] = scales
        left_out = [c for g in single if g.hardware == machine for c in (*g.fitted, *g.others)]
        plain += [log_error(case, predictor, start) for case in left_out]
        errors += [log_error(case, predictor, scales) for case in left_out]
    if _middle(errors) > _HELPS * _middle(plain):
        judged = {"held_out": len(plain), "log_residuals": _points(plain)}
        return {general_key(kind): start.model_copy(update=judged)}
    every = [case for group in single for case in group.fitted[:_OF_EACH_MACHINE]]
    named = _fit(every, start, predictor).model_copy(update={"source": _source(every)})
    judged = {"held_out": len(errors), "log_residuals": _points(errors)}
    return {general_key(kind): named.model_copy(update=judged), **without}


def _middle(errors: Sequence[float]) -> float:
    """Mean of the median and the mean of absolute errors: neither a tail nor half is ignored."""
    from statistics import fmean, median

    absolute = [abs(error) for error in errors]
    return (fmean(absolute) + median(absolute)) / 2


def fit_machine(group: Group, start: ForwardScales, predictor: Predictor) -> ForwardScales:
    """The scales of one machine with one runtime, and their residuals on the other cases."""
    scales = _fit(group.fitted, start, predictor)
    errors = [log_error(case, predictor, scales) for case in group.others]
    return scales.model_copy(
        update={
            "fitted_on": tuple(sorted(case.case_id for case in group.fitted)),
            "held_out": len(errors),
            "log_residuals": _points(errors),
            "source": _source(group.fitted),
        }
    )


def _fit(cases: Sequence[Case], start: ForwardScales, predictor: Predictor) -> ForwardScales:
    """The scales that bring cases nearest to their measurements, no farther from `start` than that.

    Least absolute logarithmic error, smoothed near zero (soft L1); a prior holds each scale near
    its start as far as the cases do not tell it.
    """
    import numpy as np
    from scipy.optimize import least_squares

    dtypes = sorted({case.dtype for case in cases})
    names = [*(f"rate.{dtype}" for dtype in dtypes), "bandwidth", "fixed", "host"]
    priors = np.array([_PRIOR[name.split(".", 1)[0]] for name in names])
    origin = np.array([log(_value(start, name)) for name in names])

    def residuals(shifted: np.ndarray) -> np.ndarray:
        x = shifted - 1
        scales = _scales(dict(zip(names, np.exp(origin + x), strict=True)))
        found = [log_error(case, predictor, scales) / _NOISE for case in cases]
        return np.concatenate([np.array(found), x / priors])

    # around 1, not 0: steps are relative, and times in whole cycles need steps that show
    best = least_squares(
        residuals, np.ones(len(names)), loss="soft_l1", diff_step=0.03, max_nfev=_STEPS,
        bounds=(1 - _BOUND, 1 + _BOUND),
    )  # fmt: skip
    values = np.exp(origin + best.x - 1)
    return _scales({name: float(f"{v:.3g}") for name, v in zip(names, values, strict=True)})


def _value(scales: ForwardScales, name: str) -> float:
    kind, _, dtype = name.partition(".")
    value: float = scales.rate_of(dtype) if kind == "rate" else getattr(scales, kind)
    return value


def _scales(values: Mapping[str, float]) -> ForwardScales:
    rate = {name.split(".", 1)[1]: v for name, v in values.items() if name.startswith("rate.")}
    return ForwardScales(
        rate=rate,
        bandwidth=values["bandwidth"],
        fixed=values["fixed"],
        host=values["host"],
        source="a trial of a fit",
    )


def log_error(case: Case, predictor: Predictor, scales: ForwardScales | None) -> float:
    """ln(predicted / measured) of a case."""
    return log(predictor.predict(case, scales) * 1e6 / case.measured_us)


def _points(errors: Sequence[float]) -> tuple[float, float, float] | None:
    import numpy as np

    if not errors:
        return None
    low, middle, high = (round(float(q), 4) for q in np.quantile(errors, (0.1, 0.5, 0.9)))
    return low, middle, high


def _source(cases: Sequence[Case]) -> str:
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
