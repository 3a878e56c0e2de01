"""The command `moments calibrate`: the machine that this runs on, measured and fitted."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.table import Table

    from simulator.calibrate_host import HostCalibration


def calibrate(
    host: Annotated[
        bool, typer.Option("--host", help="Measure the machine that this runs on (about a minute)")
    ] = False,
    out: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Where the machine and its runtime are written")
    ] = Path("out"),
    seconds: Annotated[
        float, typer.Option(min=1.0, max=3600.0, help="Time for the repetitions of all timings")
    ] = 45.0,
    short: Annotated[
        bool, typer.Option("--short", help="A quarter of the timings: for a first look")
    ] = False,
) -> None:
    """Fit the simulator's parameters to this machine: --host."""
    from workloads.errors import InputError

    if not host:
        raise InputError("nothing to calibrate; expected --host: the machine that this runs on")
    calibrate_this_machine(out, seconds, short)


def calibrate_this_machine(folder: Path, seconds: float, short: bool) -> None:
    """Measure, fit, write the files and show what is left."""
    from simulator.calibrate_host import calibrate_host, write_files
    from simulator.calibrate_host.files import targets
    from simulator.cli.console import note, progress_bar, show

    targets(folder)
    with progress_bar("measuring") as update:
        found = calibrate_host(
            budget_s=seconds,
            short=short,
            progress=lambda done, total: update(done * 100, total * 100),
            say=lambda line: note([line]),
        )
    show(_table(found))
    note(_remarks(found))
    profile, runtime, timings = write_files(found, folder)
    note([f"wrote {timings}", f"use it with: moments run ... --on {profile} --runtime {runtime}"])


def _table(found: HostCalibration) -> Table:
    """Residuals by operator: mean absolute, before and after the fit, and the bias that is left."""
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="cyan")
    for heading in ("operator", "timings", "error before", "error after", "bias after", "spread"):
        table.add_column(heading, justify="left" if heading == "operator" else "right")
    groups: dict[str, list[int]] = {}
    for index, one in enumerate(found.observations):
        groups.setdefault(f"{one.operator.name} {one.operator.dtype}", []).append(index)
    for name, rows in groups.items():
        cells = [
            sum(abs(found.before[i]) for i in rows), sum(abs(found.after[i]) for i in rows),
            sum(found.after[i] for i in rows),
            sum(found.observations[i].timing.spread for i in rows),
        ]  # fmt: skip
        shown = [f"{100 * cell / len(rows):.0f} %" for cell in cells]
        table.add_row(name, str(len(rows)), *shown)
    return table


def _remarks(found: HostCalibration) -> list[str]:
    from simulator.calibrate_host.files import conditions

    lines = [conditions(found)]
    if found.not_identified:
        lines.append(f"not identified, near where they were: {', '.join(found.not_identified)}")
    if not found.dispatch:
        lines.append("not identified: dispatch, which the runtime that it extends has")
    return lines + [f"left out: {line}" for line in found.left_out]
