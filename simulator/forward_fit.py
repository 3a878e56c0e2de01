"""Fits the scales of whole passes, one machine with one runtime at a time, and writes them down."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass
from math import exp, log
from typing import TYPE_CHECKING

from simulator.forward_calibration import FOLDER, ForwardScales, machine_key
from simulator.output import whole_file
from simulator.predict import Predictor, Skip

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from simulator.cases import Case

MOST_CASES = 24
"""Cases of one kind (prefill, decode, generation) of one runtime on one machine that a fit sees."""

_FITTED_SHARE = 2 / 3
"""Part of fewer cases that a fit sees, so that some are left to judge it by."""

_SEED = 0
_PRIOR = {"rate": 0.5, "bandwidth": 0.25, "fixed": 0.5, "host": 0.5}
"""How far, in logarithms, a scale is expected to be from 1: what cases do not tell stays there."""
_NOISE = 0.05
"""Logarithmic spread of equal measurements; larger residuals count linearly."""
_BOUND = 2.5


@dataclass(frozen=True)
class Group:
    """The cases of one machine (or some devices of it) with one runtime: those to fit on, and the others."""

    runtime: str
    hardware: str
    fitted: tuple[Case, ...]
    others: tuple[Case, ...]


def groups(cases: Iterable[Case], predictor: Predictor) -> list[Group]:
    """The whole passes among `cases` that can be predicted, by runtime and machine, sorted.

    Which cases a fit sees is drawn with a fixed seed, so that the same file gives the same fit.
    """
    by_kind: dict[tuple[str, str], dict[str, list[Case]]] = {}
    for case in cases:
        if not case.workload:
            continue
        try:
            predictor.latency_s(case)
            name = predictor.runtime_of(case)[0]
        except Skip:
            continue
        kinds = by_kind.setdefault((name, machine_key(case.hardware, case.devices)), {})
        kinds.setdefault(_kind(case), []).append(case)
    found = []
    for (runtime, hardware), kinds in sorted(by_kind.items()):
        fitted: list[Case] = []
        for kind in sorted(kinds):
            drawn = sorted(kinds[kind], key=lambda case: case.case_id)
            seed = f"{_SEED} {runtime} {hardware} {kind}"
            random.Random(seed).shuffle(drawn)  # noqa: S311 - a draw that can be repeated
            fitted += drawn[: min(MOST_CASES, max(1, round(len(drawn) * _FITTED_SHARE)))]
        chosen = {case.case_id for case in fitted}
        others = [c for kind in sorted(kinds) for c in kinds[kind] if c.case_id not in chosen]
        found.append(Group(runtime, hardware, tuple(fitted), tuple(others)))
    return found


def _kind(case: Case) -> str:
    return "decode" if case.what.startswith("decode") else case.what


def fit(group: Group, predictor: Predictor) -> ForwardScales:
    """The scales that bring the group's fitted cases nearest to their measurements.

    Least absolute logarithmic error, smoothed near zero (soft L1), with each scale held near 1 as
    far as the cases do not tell it.
    """
    import numpy as np
    from scipy.optimize import least_squares

    dtypes = sorted({case.dtype for case in group.fitted})
    names = [*(f"rate.{dtype}" for dtype in dtypes), "bandwidth", "fixed", "host"]
    priors = np.array([_PRIOR[name.split(".", 1)[0]] for name in names])

    def residuals(shifted: np.ndarray) -> np.ndarray:
        x = shifted - 1
        scales = _scales(dict(zip(names, np.exp(x), strict=True)), "a trial of the fit")
        found = [_log_error(case, predictor, scales) / _NOISE for case in group.fitted]
        return np.concatenate([np.array(found), x / priors])

    # around 1, not 0: steps are relative, and times in whole cycles need steps that show
    best = least_squares(
        residuals, np.ones(len(names)), loss="soft_l1", diff_step=0.03, max_nfev=12,
        bounds=(1 - _BOUND, 1 + _BOUND),
    )  # fmt: skip
    values = {name: float(f"{exp(x - 1):.3g}") for name, x in zip(names, best.x, strict=True)}
    return _judged(group, _scales(values, _source(group)), predictor)


def _scales(values: Mapping[str, float], source: str) -> ForwardScales:
    rate = {name.split(".", 1)[1]: v for name, v in values.items() if name.startswith("rate.")}
    single = {name: v for name, v in values.items() if not name.startswith("rate.")}
    return ForwardScales(rate=rate, source=source, **single)  # type: ignore[arg-type]


def _judged(group: Group, scales: ForwardScales, predictor: Predictor) -> ForwardScales:
    """The scales with the ids of their cases and their residuals on the others."""
    import numpy as np

    errors = [_log_error(case, predictor, scales) for case in group.others]
    points = (
        tuple(round(float(q), 4) for q in np.quantile(errors, (0.1, 0.5, 0.9))) if errors else None
    )
    return scales.model_copy(
        update={
            "fitted_on": tuple(sorted(case.case_id for case in group.fitted)),
            "held_out": len(group.others),
            "log_residuals": points,
        }
    )


def _log_error(case: Case, predictor: Predictor, scales: ForwardScales) -> float:
    return log(predictor.predict(case, scales) * 1e6 / case.measured_us)


def _source(group: Group) -> str:
    kinds = Counter(f"{_kind(case)} of {case.workload}" for case in group.fitted)
    listed = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
    return f"fitted by soft absolute log error on {len(group.fitted)} measured cases: {listed}"


def fit_all(
    cases: Sequence[Case],
    predictor: Predictor,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, dict[str, ForwardScales]]:
    """Scales of every runtime and machine that has whole passes among `cases`."""
    found: dict[str, dict[str, ForwardScales]] = {}
    todo = groups(cases, predictor)
    for done, group in enumerate(todo, start=1):
        found.setdefault(group.runtime, {})[group.hardware] = fit(group, predictor)
        if progress is not None:
            progress(done, len(todo))
    return found


def write(found: Mapping[str, Mapping[str, ForwardScales]], folder: Path = FOLDER) -> list[Path]:
    """One file a runtime, in TOML; files that are there are replaced whole."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for runtime, machines in sorted(found.items()):
        path = folder / f"{runtime}.toml"
        with whole_file(path) as temporary:
            temporary.write_text(_as_toml(runtime, machines), encoding="utf-8")
        paths.append(path)
    return paths


def _as_toml(runtime: str, machines: Mapping[str, ForwardScales]) -> str:
    lines = [f"# Scales of whole passes under {runtime}, by machine. Written by forward_fit."]
    for hardware, s in sorted(machines.items()):
        rate = ", ".join(f"{dtype} = {value:g}" for dtype, value in s.rate.items())
        lines += ["", f'["{hardware}"]', f"rate = {{ {rate} }}"]
        lines += [f"{name} = {getattr(s, name):g}" for name in ("bandwidth", "fixed", "host")]
        lines.append(f"held_out = {s.held_out}")
        if s.log_residuals is not None:
            lines.append(f"log_residuals = [{', '.join(f'{x:g}' for x in s.log_residuals)}]")
        lines.append("fitted_on = [" + ", ".join(f'"{case}"' for case in s.fitted_on) + "]")
        lines.append(f'source = "{s.source}"')
    return "\n".join(lines) + "\n"
