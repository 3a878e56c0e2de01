"""The command `moments compare`: predictions against measured cases."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer


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
) -> None:
    """Predict measured CASES and show the errors."""
    from simulator.cli.console import note, progress_bar, show, write_json
    from simulator.compare import compare_file, followed_table, table
    from simulator.output import check_target

    if json is not None:
        check_target(json)
    with progress_bar("predicting") as progress:
        comparison = compare_file(cases, workloads=workloads, mode=mode, progress=progress)
    if json is not None:
        write_json(json, comparison.as_json())
    show(table(comparison))
    if comparison.followed():
        show(followed_table(comparison))
    fitted = len(comparison.cases) - len(comparison.tested)
    if fitted:
        note([f"{fitted} cases that calibrations were fitted to are in no table"])
    note(f"note on {count}: {text}" for text, count in comparison.decisions())
    note(f"skipped {count}: {reason}" for reason, count in comparison.reasons())
    if json is not None:
        note([f"wrote {json}"])
