"""The command `moments run`: predict one run and show, draw or store the result."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from simulator.cli.options import takes_scenario
from simulator.scenario import Scenario

if TYPE_CHECKING:
    from simulator.run import Run

_STDOUT = "-"
_OUTPUT = partial(typer.Option, rich_help_panel="Output, besides the summary")


@dataclass(frozen=True)
class _Outputs:
    """Files to write; `json` may be "-" for stdout."""

    gantt: Path | None
    trace: Path | None
    json: str | None
    csv: Path | None

    def check(self) -> None:
        """InputError now for what could only fail after the simulation."""
        from simulator.output import check_target
        from workloads.errors import InputError

        files = [Path(f) for f in (self.gantt, self.trace, self.csv) if f is not None]
        if self.json is not None and self.json != _STDOUT:
            files.append(Path(self.json))
        for i, path in enumerate(files):
            if path in files[:i]:
                raise InputError(f"{path}: given for two outputs; each needs a file of its own")
            check_target(path)
        if self.gantt is not None:
            from simulator.look import check_picture

            check_picture(self.gantt)


@takes_scenario
def run(
    scenario: Scenario,
    gantt: Annotated[
        Path | None, _OUTPUT(metavar="FILE", help="Draw a chart (.png, .svg, .pdf)")
    ] = None,
    trace: Annotated[
        Path | None, _OUTPUT(metavar="FILE", help="Write a trace for ui.perfetto.dev")
    ] = None,
    json: Annotated[
        str | None,
        _OUTPUT(metavar="FILE", help="Write the figures; - prints them instead of a summary"),
    ] = None,
    csv: Annotated[
        Path | None, _OUTPUT(metavar="FILE", help="Write a table with one row a moment")
    ] = None,
) -> None:
    """Predict one run of a WORKLOAD on some HARDWARE."""
    outputs = _Outputs(gantt, trace, json, csv)
    outputs.check()
    _execute(scenario, outputs)


def _execute(scenario: Scenario, outputs: _Outputs) -> None:
    from simulator.cli.console import note, show, show_json
    from simulator.figures import as_json

    prepared = scenario.prepared(progress=lambda line: note([line]))
    result = prepared.run()
    notes = [*prepared.notes, *_speed_up(scenario, result)]
    note(f"note: {line}" for line in (*notes, prepared.profile.notes) if line)
    written = list(_write(result, outputs, notes))
    if outputs.json == _STDOUT:
        show_json(as_json(result, notes))
    else:
        from simulator.summary import summary

        show(summary(result))
    note(f"wrote {path}" for path in written)


def _speed_up(scenario: Scenario, result: Run) -> list[str]:
    """What speculation gains over plain decoding, which is simulated to compare."""
    if scenario.draft is None or result.tpot_s is None:
        return []
    from simulator.look import seconds_text

    plain_s = scenario.without_draft().run().tpot_s
    if plain_s is None:
        return []
    with_s = result.tpot_s
    return [
        f"speculative decoding: {seconds_text(with_s)} a token, {seconds_text(plain_s)} without "
        f"the draft: {plain_s / with_s:.2f} times as fast"
    ]


def _write(result: Run, outputs: _Outputs, notes: list[str]) -> Iterator[Path]:
    """Write the files one after another; each is whole or not there."""
    if outputs.gantt is not None:
        yield result.gantt(outputs.gantt)
    if outputs.trace is not None:
        yield result.perfetto(outputs.trace)
    if outputs.csv is not None:
        from simulator.output import whole_file

        with whole_file(outputs.csv) as temporary:
            result.to_frame().to_csv(temporary, index=False)
        yield outputs.csv
    if outputs.json is not None and outputs.json != _STDOUT:
        from simulator.cli.console import write_json
        from simulator.figures import as_json

        yield write_json(outputs.json, as_json(result, notes))
