"""`moments calibrate --host`: the machine that this runs on, measured and fitted."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

    from simulator.calibrate_host import HostCalibration


def calibrate_this_machine(folder: Path, seconds: float, short: bool, library: str | None) -> None:
    """Measure, fit, write the files and show what is left."""
    from simulator.calibrate_host import calibrate_host, write_files
    from simulator.calibrate_host.files import targets
    from simulator.cli.console import note, progress_bar, show

    targets(folder)
    with progress_bar("measuring") as update:
        found = calibrate_host(
            budget_s=seconds,
            short=short,
            library=library,
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
