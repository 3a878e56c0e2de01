"""The command `moments lint`: figures of hardware profiles that cannot be, or hardly."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from hardware_profiles.lint import Finding

FOUND = 1
"""Exit code when something was found; unreadable input exits with 2 as everywhere."""


def lint_command(
    files: Annotated[
        list[str] | None,
        typer.Argument(metavar="[FILE]...", help="Profiles: .toml files or names  [all bundled]"),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print plain data instead")] = False,
) -> None:
    """Recompute the figures of hardware profiles and list those in doubt."""
    from dataclasses import asdict

    from hardware_profiles import list_profiles
    from hardware_profiles.lint import lint
    from simulator.cli.console import note, show, show_json

    reports = [lint(name) for name in files or list_profiles()]
    found = [finding for report in reports for finding in report.findings]
    if json:
        show_json([asdict(report) for report in reports])
    elif found:
        show(_table(found))
    estimated, tables = (sum(getattr(r, key) for r in reports) for key in ("estimated", "tables"))
    profiles = "1 profile" if len(reports) == 1 else f"{len(reports)} profiles"
    figures = "1 figure" if len(found) == 1 else f"{len(found)} figures"
    note(
        [
            f"{profiles}: {figures} in doubt; {estimated:,} of {tables:,} tables say that some"
            " of their figures are estimated"
        ]
    )
    if found:
        raise typer.Exit(FOUND)


def _table(found: Sequence[Finding]) -> Table:
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="cyan")
    for name in ("file", "key", "value", "expected", "likely slip"):
        table.add_column(name, overflow="fold")
    for finding in found:
        cells = (finding.file, finding.key, finding.value, finding.expected, finding.slip)
        table.add_row(*cells)
    return table
