"""Predicted against measured: errors by hardware and by operator or phase."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hardware_profiles.efficiency import Mode
from simulator.case_intervals import CaseIntervals
from simulator.cases import Case, read_cases, read_workload_table
from simulator.compare_groups import GROUPS, group_of
from simulator.forward_groups import FORWARD_GROUPS
from simulator.predict import Predictor, Skip

if TYPE_CHECKING:
    from rich.table import Table

    from simulator.intervals import Interval
    from simulator.run import Run


@dataclass(frozen=True, slots=True)
class Predicted:
    """A case with its prediction; `error` is (predicted - measured) / measured.

    `fitted`: what it was predicted with was fitted to this very case, among others, so that it
    tests nothing and is left out of all statistics.
    """

    case: Case
    predicted_us: float
    fitted: bool = False
    group: str | None = None
    """Of the groups that accuracy is followed by."""
    interval: Interval | None = None
    """Where four of five measurements of such cases are expected."""

    @property
    def inside(self) -> bool | None:
        """Whether the measurement lies in the interval; None where there is none."""
        if self.interval is None:
            return None
        return self.interval.low_s <= self.case.measured_us * 1e-6 <= self.interval.high_s

    @property
    def error(self) -> float:
        return self.predicted_us / self.case.measured_us - 1


@dataclass(frozen=True)
class Statistics:
    """Errors of some cases, as fractions: absolute mean, median, 90th percentile; signed mean.

    `inside`: part of the measurements that lie in their 80 % intervals; None without intervals.
    """

    n: int
    mape: float
    median_ape: float
    p90_ape: float
    bias: float
    inside: float | None = None

    def as_dict(self) -> dict[str, float | None]:
        return {
            "n": self.n,
            "mape": self.mape,
            "median_ape": self.median_ape,
            "p90_ape": self.p90_ape,
            "bias": self.bias,
            "inside": self.inside,
        }


@dataclass(frozen=True)
class Comparison:
    """All predicted cases, and those that were skipped with their reasons.

    `notes`: what was decided for predicted cases that does not stand in them, with its reason.
    Statistics are over the cases that nothing was fitted to.
    """

    cases: Sequence[Predicted]
    skipped: Sequence[tuple[Case, str]]
    notes: Sequence[tuple[Case, str]] = ()
    mode: Mode = "calibrated"

    @property
    def tested(self) -> list[Predicted]:
        """The predicted cases that nothing was fitted to."""
        return [p for p in self.cases if not p.fitted]

    @property
    def statistics(self) -> Statistics:
        """Over all tested cases. Raises ValueError when there is none."""
        return statistics_of(self.tested)

    def followed(self) -> list[tuple[str, Statistics, float | None]]:
        """(group, errors, spread) of the groups that accuracy is followed by, where there are any.

        Spread: median of largest over smallest time, less 1, of the cases for which the source had
        several; None where it had none. Nobody predicts better than sources agree.
        """
        found: dict[str, list[Predicted]] = {}
        for predicted in self.tested:
            if predicted.group is not None:
                found.setdefault(predicted.group, []).append(predicted)
        rows = []
        for name in (*GROUPS, *FORWARD_GROUPS):
            if members := found.get(name):
                spreads = sorted(p.case.spread for p in members if p.case.spread > 1)
                middle = spreads[len(spreads) // 2] - 1 if spreads else None
                rows.append((name, statistics_of(members), middle))
        return rows

    def groups(self) -> list[tuple[str, str, Statistics]]:
        """(hardware, operator or phase, errors), each also over all ("*") of the other, sorted."""
        found: dict[tuple[str, str], list[Predicted]] = {}
        for predicted in self.tested:
            case = predicted.case
            for key in ((case.hardware, case.what), (case.hardware, "*"), ("*", case.what)):
                found.setdefault(key, []).append(predicted)
        return [(*key, statistics_of(members)) for key, members in sorted(found.items())]

    def reasons(self) -> list[tuple[str, int]]:
        """Why cases were skipped, most frequent first."""
        return _counted(self.skipped)

    def decisions(self) -> list[tuple[str, int]]:
        """The notes of predicted cases, most frequent first."""
        return _counted(self.notes)

    def as_json(self) -> dict[str, Any]:
        """Plain data: the mode, n, skipped, the overall errors, groups and cases."""
        overall: dict[str, Any] = {
            "n": 0, "mape": None, "median_ape": None, "p90_ape": None, "bias": None,
            "inside": None,
        }  # fmt: skip
        if self.tested:
            overall = {**self.statistics.as_dict()}
        overall["mode"] = self.mode
        overall["skipped"] = [
            {"case_id": case.case_id, "reason": reason} for case, reason in self.skipped
        ]
        overall["notes"] = [{"case_id": case.case_id, "note": note} for case, note in self.notes]
        overall["groups"] = [
            {"hardware": hardware, "what": what, **s.as_dict()}
            for hardware, what, s in self.groups()
        ]
        overall["followed"] = [
            {"group": name, **s.as_dict(), "spread": spread} for name, s, spread in self.followed()
        ]
        overall["cases"] = [
            {
                "case_id": p.case.case_id,
                "predicted_us": p.predicted_us,
                "measured_us": p.case.measured_us,
                "low_us": None if p.interval is None else p.interval.low_s * 1e6,
                "high_us": None if p.interval is None else p.interval.high_s * 1e6,
                "widened": [] if p.interval is None else list(p.interval.widened),
                "error": p.error,
                "mode": self.mode,
                "fitted": p.fitted,
            }
            for p in self.cases
        ]
        return overall


def statistics_of(cases: Sequence[Predicted]) -> Statistics:
    """Summary of predicted cases, with how many lie in their intervals; ValueError for none."""
    found = [p.inside for p in cases if p.inside is not None]
    inside = sum(found) / len(found) if found else None
    return replace(statistics(p.error for p in cases), inside=inside)


def statistics(errors: Iterable[float]) -> Statistics:
    """Summary of signed relative errors; ValueError for none."""
    import numpy as np

    signed = np.fromiter(errors, dtype=float)
    if not signed.size:
        raise ValueError("no errors to summarise")
    absolute = np.abs(signed)
    return Statistics(
        n=int(signed.size),
        mape=float(absolute.mean()),
        median_ape=float(np.median(absolute)),
        p90_ape=float(np.quantile(absolute, 0.9)),
        bias=float(signed.mean()),
    )


def _counted(pairs: Iterable[tuple[Case, str]]) -> list[tuple[str, int]]:
    counts: dict[str, int] = {}
    for _, text in pairs:
        counts[text] = counts.get(text, 0) + 1
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def workloads_of(path: str | Path, workloads: str | Path | None) -> dict[str, dict[str, Any]]:
    """The table `workloads`, else workloads.json beside a case file; empty where there is none."""
    beside = Path(path).parent / "workloads.json"
    table = workloads if workloads is not None else (beside if beside.is_file() else None)
    return read_workload_table(table) if table is not None else {}


def compare_file(
    path: str | Path,
    *,
    workloads: str | Path | None = None,
    mode: Mode = "calibrated",
    progress: Callable[[int, int], None] | None = None,
) -> Comparison:
    """Predict every case of a file.

    A case's workload is looked up in the table `workloads` (default: workloads.json beside the
    case file, if there), then among the bundled models. `mode`: see Predictor. `progress` is
    called with cases done and cases in all. Raises InputError for files that cannot be used.
    """
    cases = read_cases(path)
    runs: list[Run] = []
    predictor = Predictor(workloads_of(path, workloads), mode=mode, observe=runs.append)
    intervals = CaseIntervals(predictor)
    done: list[Predicted] = []
    skipped: list[tuple[Case, str]] = []
    notes: list[tuple[Case, str]] = []
    for count, case in enumerate(cases, start=1):
        try:
            runs.clear()
            latency_s = predictor.latency_s(case)
            interval = intervals.of(case, latency_s, runs)
            group = predictor.group_of(case) if case.workload else group_of(case)
            fitted = predictor.fitted(case)
            done.append(Predicted(case, latency_s * 1e6, fitted, group, interval))
            if note := predictor.runtime_of(case)[1]:
                notes.append((case, note))
        except Skip as reason:
            skipped.append((case, str(reason)))
        if progress is not None:
            progress(count, len(cases))
    return Comparison(done, skipped, notes, mode)


def table(comparison: Comparison) -> Table:
    """The errors by hardware and by operator or phase, as a rich table in percent."""
    from rich.table import Table

    title = f"Predicted against measured, {comparison.mode}"
    result = Table(title=title, caption_justify="left")
    for heading in ("hardware", "operator or phase"):
        result.add_column(heading)
    for heading in ("cases", "mean %", "median %", "p90 %", "bias %", "in 80 %"):
        result.add_column(heading, justify="right")
    rows = comparison.groups()
    if comparison.tested:
        rows.append(("*", "*", comparison.statistics))
    for hardware, what, s in rows:
        figures = (f"{100 * x:.1f}" for x in (s.mape, s.median_ape, s.p90_ape))
        bias = f"{100 * s.bias:+.1f}"
        result.add_row(hardware, what, f"{s.n:,}", *figures, bias, share_inside(s))
    return result


def followed_table(comparison: Comparison) -> Table:
    """The errors of the groups that accuracy is followed by, as a rich table in percent."""
    from rich.table import Table

    result = Table(title=f"Operators, {comparison.mode}: cases that nothing was fitted to")
    result.add_column("group")
    for heading in ("cases", "mean %", "median %", "p90 %", "bias %", "in 80 %", "spread %"):
        result.add_column(heading, justify="right")
    for name, s, spread in comparison.followed():
        figures = (f"{100 * x:.1f}" for x in (s.mape, s.median_ape, s.p90_ape))
        among = "" if spread is None else f"{100 * spread:.1f}"
        bias = f"{100 * s.bias:+.1f}"
        result.add_row(name, f"{s.n:,}", *figures, bias, share_inside(s), among)
    return result


def share_inside(s: Statistics) -> str:
    """The part of measurements in their intervals, in percent."""
    return "" if s.inside is None else f"{100 * s.inside:.1f}"
