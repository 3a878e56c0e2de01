"""The command `moments explain`: why a run takes so long, or why one machine beats another."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import typer

from simulator.cli.options import takes_scenario
from simulator.scenario import Scenario

_EXPLAIN = partial(typer.Option, rich_help_panel="What to explain, and how to show it")


@dataclass(frozen=True)
class _Outputs:
    """What to draw and to write; `json` may be "-" for stdout."""

    tornado: Path | None
    roofline: Path | None
    waterfall: Path | None
    json: str | None

    def check(self, form: Literal["run", "difference", "policies"]) -> None:
        """InputError for pictures of another form, and for what could only fail at the end."""
        from simulator.look import check_picture
        from simulator.output import check_target
        from workloads.errors import InputError

        if form != "run" and (self.tornado or self.roofline):
            raise InputError("--tornado and --roofline show one run, without --against, --policies")
        if form != "difference" and self.waterfall is not None:
            raise InputError("--waterfall shows a difference; give --against or --against-runtime")
        pictures = [p for p in (self.tornado, self.roofline, self.waterfall) if p is not None]
        files = [*map(str, pictures), *([self.json] if self.json not in (None, "-") else [])]
        for i, path in enumerate(files):
            if path in files[:i]:
                raise InputError(f"{path}: given for two outputs; each needs a file of its own")
            check_target(str(path))
        for picture in pictures:
            check_picture(picture)


@takes_scenario
def explain(
    scenario: Scenario,
    against: Annotated[
        str | None, _EXPLAIN(metavar="HARDWARE", help="Explain the difference to this machine")
    ] = None,
    against_runtime: Annotated[
        str | None, _EXPLAIN(metavar="RUNTIME", help="Explain the difference to this software")
    ] = None,
    policies: Annotated[
        bool, _EXPLAIN("--policies", help="Compare all policies, instead of parameters")
    ] = False,
    tornado: Annotated[
        Path | None, _EXPLAIN(metavar="FILE", help="Draw half and twice of each parameter")
    ] = None,
    roofline: Annotated[
        Path | None, _EXPLAIN(metavar="FILE", help="Draw every moment below the roofs")
    ] = None,
    waterfall: Annotated[
        Path | None, _EXPLAIN(metavar="FILE", help="Draw the difference by its parts")
    ] = None,
    json: Annotated[
        str | None, _EXPLAIN(metavar="FILE", help="Write the figures; - prints them instead")
    ] = None,
) -> None:
    """Explain what a run of a WORKLOAD is sensitive to, or why another machine is faster."""
    from workloads.errors import InputError

    differs = against is not None or against_runtime is not None
    outputs = _Outputs(tornado, roofline, waterfall, json)
    outputs.check("policies" if policies else "difference" if differs else "run")
    if policies and (differs or scenario.policy is not None):
        raise InputError("--policies compares all of them on one machine; leave out --policy, "
                         "--against and --against-runtime")  # fmt: skip
    if policies:
        _explain_policies(scenario, outputs)
    elif differs:
        _explain_difference(scenario, against, against_runtime, outputs)
    else:
        _explain_run(scenario, outputs)


def _explain_run(scenario: Scenario, outputs: _Outputs) -> None:
    from simulator.cli.console import note, progress_bar, show, show_json, write_json
    from simulator.explain.critical_path import critical_path
    from simulator.explain.elasticity import more_cores_note, sensitivities
    from simulator.explain.plots import draw_roofline, draw_tornado
    from simulator.explain.roofline import roofline
    from simulator.explain.views import sensitivity_json, sensitivity_table

    prepared = scenario.prepared(progress=lambda line: note([line]))
    result = prepared.run()
    with progress_bar("simulating") as progress:
        found = sensitivities(prepared, result, progress)
    path, points, notes = critical_path(result), roofline(result), list(prepared.notes)
    if result.clock_share < 1:
        held = f"the power limit holds the clock at {result.clock_share:.0%}; it is kept there"
        notes.append(f"{held} in every what-if, so 'clock' is the one that the board runs at")
    notes += filter(None, [more_cores_note(prepared, result, found)])
    note(f"note: {line}" for line in notes)
    if outputs.json == "-":
        show_json(sensitivity_json(result, found, path, points, notes))
    else:
        show(sensitivity_table(result, found, path))
    if outputs.tornado is not None:
        note([f"wrote {draw_tornado(result, found, outputs.tornado)}"])
    if outputs.roofline is not None:
        note([f"wrote {draw_roofline(result, points, outputs.roofline)}"])
    if outputs.json is not None and outputs.json != "-":
        data = sensitivity_json(result, found, path, points, notes)
        note([f"wrote {write_json(outputs.json, data)}"])


def _explain_difference(
    scenario: Scenario, against: str | None, against_runtime: str | None, outputs: _Outputs
) -> None:
    from simulator.cli.console import note, progress_bar, show, show_json, write_json
    from simulator.explain.difference import both_prepared, explain_difference
    from simulator.explain.plots import draw_waterfall
    from simulator.explain.views import difference_json, difference_table

    pair = both_prepared(scenario, against, against_runtime)
    with progress_bar("simulating hybrids") as progress:
        found = explain_difference(*pair, progress)
    note(f"note: {line}" for line in found.notes)
    if outputs.json == "-":
        show_json(difference_json(found))
    else:
        show(difference_table(found))
    if outputs.waterfall is not None:
        note([f"wrote {draw_waterfall(found, outputs.waterfall)}"])
    if outputs.json is not None and outputs.json != "-":
        note([f"wrote {write_json(outputs.json, difference_json(found))}"])


def _explain_policies(scenario: Scenario, outputs: _Outputs) -> None:
    from simulator.cli.console import note, show, show_json, write_json
    from simulator.explain.policies import policy_runs
    from simulator.explain.views import policy_json, policy_table

    prepared = replace(scenario, cores_per_moment=None).prepared()
    found = policy_runs(prepared, scenario.cores_per_moment)
    note(f"note: {line}" for line in prepared.notes)
    if outputs.json == "-":
        show_json(policy_json(found))
    else:
        show(policy_table(found))
    if outputs.json is not None and outputs.json != "-":
        note([f"wrote {write_json(outputs.json, policy_json(found))}"])
