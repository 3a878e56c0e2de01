"""Searches a study's space for the points that no other beats, with Optuna."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from simulator.study.bench import FIGURES, Bench, Inputs, Keys
from simulator.study.columns import figure
from simulator.study.space import Point, Span, Study, Value, values_of
from workloads.errors import InputError

if TYPE_CHECKING:
    import optuna

    from simulator.study.columns import Target

_POPULATION = 50
_FAR = 1e30
"""Where a figure is not known."""

_POINT = "point"
"""What is stored with a trial besides its objectives: its row."""


@dataclass(frozen=True)
class Front:
    """The Pareto set: a row for each point, with its keys and figures, best in the first first.

    `columns`: the objectives and the figures of the targets.
    """

    front: list[dict[str, Any]]
    columns: tuple[str, ...]
    notes: tuple[str, ...]


def search(
    study: Study,
    minimize: Sequence[str],
    targets: Sequence[Target] = (),
    *,
    trials: int = 300,
    seed: int = 0,
    storage: str | Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Front:
    """The points of the space that meet all `targets` and that none beats in all of `minimize`.

    Objectives are figures ("latency", "price"; "-throughput" is made large). A space with at most
    `trials` points is tried whole; of a larger one NSGA-II draws so many. `storage`: an SQLite file
    in which the search is kept, and from which it goes on; there may be searches of other
    studies in it. InputError: nothing to vary, an unknown figure, no point that meets the targets.
    """
    objectives = [_objective(text) for text in minimize]
    if not study.varied:
        raise InputError(
            "a search needs something that varies: give the study a [grid] or [random]"
        )
    if trials < 1:
        raise InputError(f"--trials {trials}: expected a number from 1 on")
    bench, columns = Bench(Inputs.of(study)), [column for column, _ in objectives]
    goal = _Goal(study, bench, objectives, tuple(targets))
    if study.design != "random" and study.size <= trials:
        rows = [goal.row(point) for point in study.points()]
        how = f"all {len(rows)} points were tried"
    else:
        rows, how = _sampled(goal, trials, seed, storage, progress)
    met = [row for row in rows if row["error"] is None and all(t.met(row) for t in targets)]
    if not met:
        raise InputError(_none_met(rows, targets))
    front = _front(met, objectives)
    return Front(
        front,
        tuple(dict.fromkeys([*columns, *(t.column for t in targets), "bound"])),
        (how, f"{len(met)} meet the targets, {len(front)} of them no other beats"),
    )


def _objective(text: str) -> tuple[str, int]:
    """A column, and 1 where less of it is better, -1 where more."""
    text = text.strip()
    return figure(text.removeprefix("-"), "--minimize")[0], -1 if text.startswith("-") else 1


@dataclass
class _Goal:
    """What a trial is worth."""

    study: Study
    bench: Bench
    objectives: Sequence[tuple[str, int]]
    targets: tuple[Target, ...]

    def row(self, point: Point) -> dict[str, Any]:
        return {**point, **self.bench.figures(self.study.scenario(point))}

    def values(self, row: dict[str, Any]) -> list[float]:
        """The objectives of a row, all to be made small; far away where one is not known."""
        found = [(row[column], sign) for column, sign in self.objectives]
        return [_FAR if value is None else sign * float(value) for value, sign in found]

    def excess(self, point: Point, row: dict[str, Any]) -> dict[str, float]:
        """By how much each condition is missed: targets, conditions of the study, an error."""
        said = {**self.study.base, **point}
        over = {target.text: min(_FAR, target.excess(row)) for target in self.targets}
        over |= {where.text: 0.0 if where.holds(said) else 1.0 for where in self.study.where}
        return {**over, "error": 0.0 if row["error"] is None else 1.0}

    def suggest(self, trial: optuna.Trial) -> dict[str, Value]:
        if self.study.design == "list":
            return dict(self.study.rows[trial.suggest_int("row", 0, len(self.study.rows) - 1)])
        found: dict[str, Value] = {}
        for key, axis in self.study.axes.items():
            if not isinstance(axis, Span) or self.study.design == "grid":
                values = values_of(axis)
                found[key] = values[trial.suggest_int(key, 0, len(values) - 1)]
            elif axis.whole and not axis.unit:
                bounds = (int(axis.first), int(axis.last))
                found[key] = trial.suggest_int(key, *bounds, log=axis.log)
            else:
                value = trial.suggest_float(key, axis.first, axis.last, log=axis.log)
                found[key] = axis.written(value)
        return found

    def __call__(self, trial: optuna.Trial) -> list[float]:
        point = self.suggest(trial)
        row = self.row(point)
        trial.set_user_attr(_POINT, row)
        for name, over in self.excess(point, row).items():
            trial.set_constraint(name, over)
        return self.values(row)


def _sampled(
    goal: _Goal,
    trials: int,
    seed: int,
    storage: str | Path | None,
    progress: Callable[[int, int], None] | None,
) -> tuple[list[dict[str, Any]], str]:
    """The rows of `trials` trials, those that the storage has among them."""
    try:
        import optuna
    except ImportError:
        raise InputError(
            "searching a space this large needs optuna: pip install 'transformer-moments[study]'"
        ) from None
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    sampler = optuna.samplers.NSGAIISampler(
        population_size=min(_POPULATION, max(4, trials // 4)),
        seed=seed,
    )
    found = optuna.create_study(
        study_name=_name(goal, seed),
        directions=["minimize"] * len(goal.objectives),
        sampler=sampler,
        storage=None if storage is None else _database(storage),
        load_if_exists=True,
    )
    done = len(_complete(found))
    for number in range(done, trials):
        found.optimize(goal, n_trials=1)
        if progress is not None:
            progress(number + 1, trials)
    rows = [trial.user_attrs[_POINT] for trial in _complete(found)]
    study = goal.study
    kept = [r for r in rows if all(w.holds({**study.base, **r}) for w in study.where)]
    unique = {tuple(str(row[key]) for key in study.varied if key in row): row for row in kept}
    known = f", {min(done, trials)} of them before" if done else ""
    return list(unique.values()), f"{len(rows)} points of the space were tried{known}"


def _complete(found: optuna.Study) -> list[Any]:
    from optuna.trial import TrialState

    return found.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))


def _database(path: str | Path) -> str:
    from simulator.output import check_target

    target = check_target(path)
    if target.is_file():
        with target.open("rb") as file:
            if file.read(15) not in (b"", b"SQLite format 3"):
                raise InputError(f"--storage {target}: is no SQLite file")
    target.parent.mkdir(parents=True, exist_ok=True)
    return f"sqlite:///{target.resolve()}"


def _name(goal: _Goal, seed: int) -> str:
    """Of the search by content: equal only where going on from the stored trials is right."""
    first = Inputs.of(goal.study)
    study = goal.study
    names = Keys(first)
    contents = [
        names.of(study.scenario({"workload": w, "hardware": h}))
        for w in study.values("workload")
        for h in study.values("hardware")
    ]
    text = repr((study.base, study.axes, study.rows, study.where, study.changes))
    text += repr((goal.objectives, goal.targets, contents, seed, FIGURES))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _front(rows: list[dict[str, Any]], objectives: Sequence[tuple[str, int]]) -> list[Any]:
    import pandas as pd

    from simulator.study.pareto import pareto_front

    less = [column for column, sign in objectives if sign > 0]
    more = [column for column, sign in objectives if sign < 0]
    table = pd.DataFrame({c: [row[c] for row in rows] for c in (*less, *more)})
    return [rows[int(str(index))] for index in pareto_front(table, less, more).index]


_NEEDS = {
    "ttft_s": "a first token needs a prompt, not a context",
    "tpot_s": "a time per token needs generate or context",
    "tokens_per_s": "tokens a second need generate or context",
}


def _none_met(rows: Sequence[dict[str, Any]], targets: Sequence[Target]) -> str:
    ran = [row for row in rows if row["error"] is None]
    if not ran:
        return f"none of the {len(rows)} points tried could run: {rows[0]['error'] if rows else ''}"
    for target in targets:
        if all(row[target.column] is None for row in ran):
            needed = _NEEDS.get(target.column, "it is not known of these machines")
            return f"no point tried has {target.column}, to meet {target.text}: {needed}"
    closest = min(ran, key=lambda row: max(target.excess(row) for target in targets))
    texts = ", ".join(f"{t.text} (closest: {t.column} = {closest[t.column]})" for t in targets)
    return f"none of the {len(rows)} points tried meets {texts}"
