"""The command line, and the only place that prints.

Heavy modules are imported inside the commands, so that help and errors come at once.
"""

from __future__ import annotations

from typing import Annotated

import typer

from simulator.cli.calibrate import calibrate
from simulator.cli.compare import compare
from simulator.cli.complexity import complexity
from simulator.cli.diff import diff
from simulator.cli.errors import OneLineErrors
from simulator.cli.explain import explain
from simulator.cli.import_model import import_command
from simulator.cli.lint import lint_command
from simulator.cli.listing import list_command
from simulator.cli.options import InSections
from simulator.cli.run import run
from simulator.cli.show import show_command
from simulator.cli.study import plot_command, search_command, study_command

app = typer.Typer(
    name="moments",
    cls=OneLineErrors,
    help="Predict how long a Transformer takes on described hardware, and where each cycle goes.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
app.command(cls=InSections)(run)
app.command("list")(list_command)
app.command("import")(import_command)
app.command("show")(show_command)
app.command("lint")(lint_command)
app.command()(compare)
app.command()(calibrate)
app.command()(complexity)
app.command("study")(study_command)
app.command("plot")(plot_command)
app.command("search")(search_command)
app.command(cls=InSections)(explain)
app.command()(diff)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"moments {version('transformer-moments')}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _start(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version"),
    ] = False,
) -> None:
    if context.invoked_subcommand is None:
        print(context.get_help())


def main() -> None:
    """Entry point of the command `moments`."""
    app()
