"""The command `moments compare`: predictions against measured cases."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

if TYPE_CHECKING:
    from simulator.compare import Comparison


def compare(
    cases: Annotated[Path, typer.Argument(help="Measured cases: .csv or .csv.gz")],
    json: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write every case and all errors")
    ] = None,
    workloads: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Models of the cases  [workloads.json beside CASES]"),
    ] = None,
    mode: Annotated[
        Literal["calibrated", "zero-shot"],
        typer.Option(
            help="calibrated: with what was fitted to a few cases of the machine; zero-shot: "
            "with nothing that was fitted to a machine with its die"
        ),
    ] = "calibrated",
    plot: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Draw predicted against measured (.png, .svg, .pdf)"),
    ] = None,
    worst: Annotated[
        int, typer.Option(min=0, max=1000, help="Show and explain so many of the worst cases")
    ] = 0,
    against: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Another tool's CSV: case_id,predicted_us"),
    ] = None,
) -> None:
    """Predict measured CASES and show the errors."""
    from simulator.cli.console import note, progress_bar, show, write_json
    from simulator.compare import compare_file, followed_table, table
    from simulator.compare_against import read_predictions
    from simulator.look import check_picture
    from simulator.output import check_target

    if json is not None:
        check_target(json)
    if plot is not None:
        check_target(plot)
        check_picture(plot)
    others = read_predictions(against) if against is not None else None
    with progress_bar("predicting") as progress:
        comparison = compare_file(cases, workloads=workloads, mode=mode, progress=progress)
    figures = comparison.as_json()
    show(table(comparison))
    if comparison.followed():
        show(followed_table(comparison))
    if worst and comparison.tested:
        figures["worst"] = _explain(cases, workloads, comparison, worst)
    if others is not None and against is not None:
        figures["against"] = _hold_against(comparison, others, against.name)
    fitted = len(comparison.cases) - len(comparison.tested)
    if fitted:
        note([f"{fitted} cases that calibrations were fitted to are in no table"])
    note(f"note on {count}: {text}" for text, count in comparison.decisions())
    note(f"skipped {count}: {reason}" for reason, count in comparison.reasons())
    if plot is not None:
        from simulator.compare_views import draw_comparison

        note([f"wrote {draw_comparison(comparison, plot)}"])
    if json is not None:
        note([f"wrote {write_json(json, figures)}"])


def _explain(
    cases: Path, workloads: Path | None, comparison: Comparison, count: int
) -> list[dict[str, Any]]:
    from simulator.cli.console import show
    from simulator.compare import workloads_of
    from simulator.compare_worst import worst_cases, worst_table

    known = workloads_of(cases, workloads)
    explained = worst_cases(comparison, count, workloads=known)
    show(worst_table(explained))
    return [explanation.as_dict() for explanation in explained]


def _hold_against(comparison: Comparison, others: dict[str, float], name: str) -> dict[str, Any]:
    from simulator.cli.console import note, show
    from simulator.compare_against import against, against_table

    found = against(comparison, others, name)
    show(against_table(found))
    note(found.remarks())
    return found.as_json()
