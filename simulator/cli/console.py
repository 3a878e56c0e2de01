"""Where results go: to stdout or a file; everything else goes to stderr."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

_WIDTH = 120
"""Columns where the output is no terminal."""


def show(*parts: RenderableType) -> None:
    """Print results."""
    _console(sys.stdout).print(*parts, sep="\n")


def show_json(value: Any) -> None:
    """Print a result as JSON, and nothing else, to stdout."""
    sys.stdout.write(json_text(value))


def json_text(value: Any) -> str:
    """Indented JSON with a newline at its end."""
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def write_json(path: str | Path, value: Any) -> Path:
    """Write JSON to a file, whole or not at all; InputError where that is not possible."""
    from simulator.output import whole_file

    with whole_file(path) as temporary:
        temporary.write_text(json_text(value), encoding="utf-8")
    return Path(path)


def note(lines: Iterable[str]) -> None:
    """Print remarks to stderr, dim on a terminal."""
    console = None
    for line in lines:
        console = console or _console(sys.stderr)
        console.print(line, style="dim", highlight=False, markup=False, soft_wrap=True)


@contextmanager
def progress_bar(what: str, every: int = 100) -> Iterator[Callable[[int, int], None]]:
    """A bar on stderr while it is a terminal: call what is given with items done and in all.

    It moves `every` so many items.
    """
    if not sys.stderr.isatty():
        yield lambda done, total: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    columns = ("{task.description}", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=_console(sys.stderr), transient=True) as bar:
        task = bar.add_task(what, total=None)

        def update(done: int, total: int) -> None:
            if done == total or done % every == 0:
                bar.update(task, completed=done, total=total)

        yield update


def _console(stream: TextIO) -> Console:
    from rich.console import Console

    wide = stream.isatty() or "COLUMNS" in os.environ
    return Console(file=stream, width=None if wide else _WIDTH, highlight=False)
