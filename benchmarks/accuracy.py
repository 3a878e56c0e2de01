"""The accuracy gate: fails when predictions of public measurements got worse than what is kept.

    python -m benchmarks.accuracy [--keep] [MEASUREMENTS]

Prints the errors of all groups in both modes, on cases that nothing was fitted to, and how many lie
in their 80 % intervals. Exits with 1 where a figure is worse than in accuracy.toml: the mean error
of a group of operators, or the median of whole passes, by more than a tenth; fewer cases that are
predicted; coverage that left 70 to 90 %. `--keep` writes the figures found instead. MEASUREMENTS:
the folder with operators.csv.gz and forward.csv.gz (default: ../shared/measurements); where it is
not there, nothing is checked, which is said.
"""

from __future__ import annotations

import argparse
import sys
import tomllib
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hardware_profiles.efficiency import MODES
from hardware_profiles.loader import dump_tables
from simulator.compare import Comparison, Predicted, compare_file, statistics_of
from simulator.fit_collectives import fitted_ids
from simulator.forward_groups import FORWARD_GROUPS
from simulator.output import whole_file
from workloads.errors import InputError
from workloads.op_counts import COLLECTIVES

if TYPE_CHECKING:
    from rich.table import Table

    from hardware_profiles.efficiency import Mode

ROOT = Path(__file__).parent.parent
MEASUREMENTS = ROOT.parent / "shared" / "measurements"
KEPT = Path(__file__).parent / "accuracy.toml"
FILES = {"operators.csv.gz": "all operators", "forward.csv.gz": "all whole passes"}
"""The files, and how all of a file are called as a group."""

_WORSE = 1.1
"""An error may be this multiple of the one that is kept."""
_FEWER = 0.99
"""Predicted cases, as a share of those kept, that may be left: a case skipped has no error."""
_INSIDE = (0.70, 0.90)
_DRIFT = 0.01
"""How much farther outside of these bounds the coverage of a group that is kept outside may be."""

_BY_MEDIAN = (*FORWARD_GROUPS, FILES["forward.csv.gz"])
"""Groups of whole passes: a few cases that err severalfold would decide their mean."""


@dataclass(frozen=True)
class Accuracy:
    """Errors of a group as fractions, and the share of measurements in their intervals."""

    cases: int
    mean: float
    median: float
    p90: float
    bias: float
    inside: float


Found = Mapping[str, Mapping[str, Accuracy]]
"""By mode and group."""


def accuracy(mode: Mode, folder: Path) -> dict[str, Accuracy]:
    """The groups of all files in a folder, in their order; a file that is missing has none."""
    found: dict[str, Accuracy] = {}
    for name, everything in FILES.items():
        if not (folder / name).is_file():
            continue
        comparison = _untouched(compare_file(folder / name, mode=mode))
        groups: dict[str, list[Predicted]] = {}
        for predicted in comparison.tested:
            if predicted.group is not None:
                groups.setdefault(predicted.group, []).append(predicted)
        order = [group for group, *_ in comparison.followed()]
        found |= {group: _accuracy(groups[group]) for group in order}
        if comparison.tested:
            found[everything] = _accuracy(comparison.tested)
    return found


def _untouched(comparison: Comparison) -> Comparison:
    """Without the collectives that the figures of their machine were fitted to."""
    if comparison.mode == "zero-shot":
        return comparison
    links = [p.case for p in comparison.cases if p.case.what in COLLECTIVES]
    seen = fitted_ids(links)
    cases = [replace(p, fitted=p.fitted or p.case.case_id in seen) for p in comparison.cases]
    return replace(comparison, cases=cases)


def _accuracy(cases: list[Predicted]) -> Accuracy:
    s = statistics_of(cases)
    if s.inside is None:
        raise ValueError("no predicted case has an interval")
    figures = (round(x, 4) for x in (s.mape, s.median_ape, s.p90_ape, s.bias, s.inside))
    return Accuracy(s.n, *figures)


def worse(found: Found, kept: Found) -> Iterator[str]:
    """A line for each figure that is worse than the one kept."""
    for mode, groups in kept.items():
        for group, before in groups.items():
            now = found.get(mode, {}).get(group)
            if now is None:
                yield f"{group}, {mode}: {before.cases:,} cases kept, none found"
                continue
            yield from (f"{group}, {mode}: {line}" for line in _worse(group, before, now))


def _worse(group: str, before: Accuracy, now: Accuracy) -> Iterator[str]:
    name = "median" if group in _BY_MEDIAN else "mean"
    was, now_is = getattr(before, name), getattr(now, name)
    if now_is > _WORSE * was:
        yield f"{name} error {100 * was:.1f} % kept, {100 * now_is:.1f} % found"
    if now.cases < _FEWER * before.cases:
        yield f"{before.cases:,} cases kept, {now.cases:,} found"
    allowed = _outside(before.inside)
    if _outside(now.inside) > (allowed + _DRIFT if allowed else 0.0):
        yield (
            f"{100 * before.inside:.1f} % inside their intervals kept, "
            f"{100 * now.inside:.1f} % found (80 % meant)"
        )


def _outside(inside: float) -> float:
    """How far a share lies outside of the bounds of coverage."""
    low, high = _INSIDE
    return max(0.0, low - inside, inside - high)


def read_kept(path: Path = KEPT) -> dict[str, dict[str, Accuracy]]:
    """The figures that are kept."""
    table = tomllib.loads(path.read_text(encoding="utf-8"))
    return {
        mode: {group: Accuracy(**figures) for group, figures in groups.items()}
        for mode, groups in table.items()
    }


def keep(found: Found, path: Path = KEPT) -> None:
    """Write the figures found as those to keep."""
    head = "# What predictions of public measurements reach; `make accuracy-keep` writes it.\n"
    tables: dict[str, Any] = {
        mode: {group: asdict(figures) for group, figures in groups.items()}
        for mode, groups in found.items()
    }
    with whole_file(path) as temporary:
        temporary.write_text(head + dump_tables(tables), encoding="utf-8")


def accuracy_table(mode: str, groups: Mapping[str, Accuracy]) -> Table:
    """A mode's groups as a rich table in percent."""
    from rich.table import Table

    result = Table(title=f"{mode}: cases that nothing was fitted to")
    result.add_column("group")
    for heading in ("cases", "mean %", "median %", "p90 %", "bias %", "in 80 %"):
        result.add_column(heading, justify="right")
    for group, s in groups.items():
        figures = (f"{100 * x:.1f}" for x in (s.mean, s.median, s.p90))
        last = (f"{100 * s.bias:+.1f}", f"{100 * s.inside:.1f}")
        result.add_row(group, f"{s.cases:,}", *figures, *last)
    return result


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("measurements", type=Path, nargs="?", default=MEASUREMENTS)
    parser.add_argument("--keep", action="store_true")
    asked = parser.parse_args(arguments)
    if not any((asked.measurements / name).is_file() for name in FILES):
        print(f"ACCURACY NOT CHECKED: no measurements in {asked.measurements}")
        return 0
    try:
        found = _in_both_modes(asked.measurements)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    return _report(found, asked.keep)


def _in_both_modes(folder: Path) -> dict[str, dict[str, Accuracy]]:
    with ProcessPoolExecutor(len(MODES), get_context("spawn")) as pool:
        results = {mode: pool.submit(accuracy, mode, folder) for mode in MODES}
        return {mode: result.result() for mode, result in results.items()}


def _report(found: Found, keep_them: bool) -> int:
    from rich.console import Console

    console = Console(highlight=False)
    for mode, groups in found.items():
        console.print(accuracy_table(mode, groups))
    if keep_them:
        keep(found)
        console.print(f"kept in {KEPT}")
        return 0
    problems = list(worse(found, read_kept()))
    for line in problems:
        console.print(f"WORSE: {line}", markup=False, soft_wrap=True)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
