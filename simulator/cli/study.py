"""The commands `moments study`, `moments plot` and `moments search`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from simulator.study.execute import Outcome
    from simulator.study.take import Taken

_Description = Annotated[Path, typer.Argument(metavar="STUDY.toml", help="What varies over what")]
_REASONS = 5


def study_command(
    study: _Description,
    out: Annotated[
        Path, typer.Option(metavar="FILE", help="Results: .parquet, .csv or .jsonl")
    ] = Path("results.parquet"),
    jobs: Annotated[
        int | None, typer.Option(metavar="N", help="Processes; one a core if not given")
    ] = None,
    dask: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Scheduler of a Dask cluster to run on")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Run more than a million points")] = False,
) -> None:
    """Run every point of a what-if STUDY; run again, it goes on where it was interrupted."""
    from simulator.cli.console import note, progress_bar
    from simulator.study import read_study, run_study
    from simulator.study.execute import check_size
    from simulator.study.store import check_results

    described = read_study(study)
    check_size(described, yes=yes)
    check_results(out)
    with progress_bar("points", every=1) as progress:
        outcome = run_study(described, out, jobs=jobs, dask=dask, progress=progress, yes=yes)
    note(_said(outcome))


def _said(outcome: Outcome) -> list[str]:
    known = outcome.points - outcome.computed
    lines = [f"{outcome.points:,} points, {outcome.computed:,} run now, {known:,} known or alike"]
    if outcome.failed:
        lines.append(f"{outcome.failed:,} failed, each with its reason in the column error:")
        lines += [f"  {count:,} x {reason}" for reason, count in outcome.reasons[:_REASONS]]
        if len(outcome.reasons) > _REASONS:
            lines.append(f"  and {len(outcome.reasons) - _REASONS} more reasons")
    return [*lines, f"wrote {outcome.path}"]


def plot_command(
    results: Annotated[Path, typer.Argument(metavar="RESULTS", help="What moments study wrote")],
    kind: Annotated[str, typer.Option(help="heatmap, lines or pareto")],
    x: Annotated[str, typer.Option("-x", metavar="COLUMN", help="A key that varied, or a figure")],
    y: Annotated[str, typer.Option("-y", metavar="COLUMN", help="As -x; latency_ms, cost, ...")],
    out: Annotated[Path, typer.Option(metavar="FILE", help="Picture: .png, .svg or .pdf")],
    by: Annotated[
        str | None,
        typer.Option(metavar="COLUMN", help="Colour of a heatmap, a line for each value"),
    ] = None,
    title: Annotated[str, typer.Option(help="Above the picture")] = "",
) -> None:
    """Draw the RESULTS of a study."""
    from simulator.cli.console import note
    from simulator.study.plot import KINDS, plot_results
    from simulator.study.store import read_results
    from workloads.errors import InputError, nearest, shown

    found = next((known for known in KINDS if known == kind), None)
    if found is None:
        raise InputError(f"--kind {shown(kind)}: expected {', '.join(KINDS)}{nearest(kind, KINDS)}")
    table = read_results(results)
    note([f"wrote {plot_results(table, out, found, x, y, by=by, title=title)}"])


def search_command(
    study: _Description,
    minimize: Annotated[
        str | None,
        typer.Option(metavar="FIGURES", help="Such as latency,price; tokens: -throughput"),
    ] = None,
    subject: Annotated[
        list[str] | None, typer.Option(metavar="TARGET", help="Such as ttft_ms<200; repeat it")
    ] = None,
    take: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY", help="The least change of KEY that meets the target; repeat it"
        ),
    ] = None,
    trials: Annotated[int, typer.Option(metavar="N", help="Points to try in all")] = 300,
    seed: Annotated[int, typer.Option(help="Of the search")] = 0,
    storage: Annotated[
        Path | None, typer.Option(metavar="FILE.db", help="Keeps the search; it goes on from there")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The Pareto set or the table: .csv, ...")
    ] = None,
) -> None:
    """Find the best points of a STUDY's space, or what it would take to meet a target."""
    from simulator.cli.console import note, progress_bar, show
    from simulator.study import read_study
    from simulator.study.columns import Target
    from simulator.study.store import check_results
    from workloads.errors import InputError

    if (minimize is None) == (not take):
        raise InputError("give --minimize FIGURES, or --take KEY with a --subject to meet")
    if out is not None:
        check_results(out)
    targets = [Target.parse(text) for text in subject or ()]
    described = read_study(study)
    if take:
        from simulator.study.take import least_changes

        taken = least_changes(described, targets, take)
        show(_take_table(taken))
        rows = [entry.row() for entry in taken]
    else:
        from simulator.study.search import search

        with progress_bar("trials", every=1) as progress:
            found = search(
                described, (minimize or "").split(","), targets, trials=trials, seed=seed,
                storage=storage, progress=progress,
            )  # fmt: skip
        note(found.notes)
        rows = found.front
        show(_front_table(rows, (*described.varied, *found.columns)))
    if out is not None:
        from simulator.study.store import write_results

        write_results(out, tuple(rows[0]), rows)
        note([f"wrote {out}"])


def _front_table(rows: Sequence[dict[str, Any]], columns: Sequence[str]) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for name in columns:
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(*(_cell(row.get(name)) for name in columns))
    return table


def _take_table(taken: Sequence[Taken]) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for name in ("change", "from", "to", "factor", "then", "bound"):
        table.add_column(name, justify="left" if name in ("change", "bound") else "right")
    for entry in taken:
        table.add_row(*entry.cells())
    return table


def _cell(value: object) -> str:
    return "-" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
