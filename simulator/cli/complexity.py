"""The command `moments complexity`: how a run grows with its lengths, its batch or its model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def complexity(
    workload: Annotated[
        str, typer.Argument(help="As for moments run; any of them with --over workload=A,B,...")
    ],
    on: Annotated[str, typer.Option("--on", metavar="HARDWARE", help="As for moments run")],
    over: Annotated[
        str,
        typer.Option(
            metavar="RANGE",
            help="prompt=128:131072 doubles; also context, generate, batch, workload=A,B,C",
        ),
    ] = "prompt=128:4096",
    runtime: Annotated[str | None, typer.Option(help="The software stack")] = None,
    prompt: Annotated[int | None, typer.Option(help="Tokens to read, a sequence")] = None,
    context: Annotated[int | None, typer.Option(help="Cached tokens instead of a prompt")] = None,
    batch: Annotated[int, typer.Option(help="Sequences side by side")] = 1,
    generate: Annotated[int, typer.Option(help="Tokens to generate, a sequence")] = 0,
    dtype: Annotated[str | None, typer.Option(help="Type of the arithmetic")] = None,
    weight_dtype: Annotated[str | None, typer.Option(help="Type of stored weights")] = None,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw it log-log (.png, .svg, .pdf)")
    ] = None,
    json: Annotated[
        str | None, typer.Option(metavar="FILE", help="Write the figures; - prints them instead")
    ] = None,
    probe: Annotated[
        bool, typer.Option("--probe/--no-probe", help="Measure the host (some seconds, once)")
    ] = True,
) -> None:
    """Show by which power latency, FLOPs, bytes and KV cache of a WORKLOAD grow."""
    from simulator.cli.console import note, progress_bar, show, show_json, write_json
    from simulator.complexity import measure_growth, parse_range
    from simulator.complexity_views import draw_growth, growth_json, growth_table
    from simulator.look import check_picture
    from simulator.output import check_target
    from simulator.scenario import Scenario

    name, values = parse_range(over)
    if json is not None and json != "-":
        check_target(json)
    if plot is not None:
        check_target(plot)
        check_picture(plot)
    scenario = Scenario(
        workload, on, runtime=runtime, prompt=prompt, batch=batch, generate=generate,
        context=context, dtype=dtype, weight_dtype=weight_dtype, probe=probe,
    )  # fmt: skip
    with progress_bar("simulating") as progress:
        growth = measure_growth(scenario, name, values, progress=progress)
    if json == "-":
        show_json(growth_json(growth))
    else:
        show(growth_table(growth))
    note(f"note: {line}" for line in growth.notes)
    if json is not None and json != "-":
        note([f"wrote {write_json(json, growth_json(growth))}"])
    if plot is not None:
        note([f"wrote {draw_growth(growth, plot)}"])
