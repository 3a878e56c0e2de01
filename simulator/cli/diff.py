"""The command `moments diff`: a measured trace beside the simulation of the same pass."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from simulator.cli.import_model import sizes


def diff(
    trace: Annotated[
        Path,
        typer.Argument(
            help="What torch.profiler exports, a profile of ONNX Runtime, llama-bench -o json; "
            ".json or .json.gz"
        ),
    ],
    workload: Annotated[str, typer.Option("--workload", help="As for moments run")],
    on: Annotated[str, typer.Option("--on", metavar="HARDWARE", help="As for moments run")],
    runtime: Annotated[str | None, typer.Option(help="The software stack")] = None,
    prompt: Annotated[int | None, typer.Option(help="Tokens to read, a sequence")] = None,
    batch: Annotated[int, typer.Option(help="Sequences side by side")] = 1,
    generate: Annotated[int, typer.Option(help="Tokens to generate, a sequence")] = 0,
    context: Annotated[int | None, typer.Option(help="Cached tokens instead of a prompt")] = None,
    dtype: Annotated[str | None, typer.Option(help="Type of the arithmetic")] = None,
    weight_dtype: Annotated[str | None, typer.Option(help="Storage of weight matrices")] = None,
    fuse: Annotated[str | None, typer.Option(metavar="NAMES", help="As for moments run")] = None,
    no_fuse: Annotated[str | None, typer.Option(metavar="NAMES", help="As for moments run")] = None,
    threads: Annotated[int | None, typer.Option(help="Use so many of the machine's cores")] = None,
    changes: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="As for moments run")
    ] = None,
    dim: Annotated[
        list[str] | None, typer.Option(metavar="NAME=SIZE", help="As for moments run")
    ] = None,
    step: Annotated[
        int | None, typer.Option(help="Which pass of several in the trace, from 1  [the last]")
    ] = None,
    json: Annotated[
        str | None, typer.Option(metavar="FILE", help="Write everything; - prints it instead")
    ] = None,
    gantt: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Draw measured above simulated (.png, .svg, .pdf)"),
    ] = None,
    probe: Annotated[
        bool, typer.Option("--probe/--no-probe", help="Measure the host (some seconds, once)")
    ] = True,
) -> None:
    """Hold a measured TRACE against the simulation of the same pass."""
    from simulator.cli.console import note, show, show_json, write_json
    from simulator.look import check_picture
    from simulator.output import check_target
    from simulator.scenario import Scenario
    from simulator.trace_diff import diff_file
    from simulator.trace_diff.views import draw_diff, table

    if json is not None and json != "-":
        check_target(json)
    if gantt is not None:
        check_target(gantt)
        check_picture(gantt)
    scenario = Scenario(
        workload, on, runtime=runtime, prompt=prompt, batch=batch, generate=generate,
        context=context, dtype=dtype, weight_dtype=weight_dtype, fuse=fuse, no_fuse=no_fuse,
        threads=threads, probe=probe, changes=tuple(changes or ()),
        dims=sizes(dim) if dim else None,
    )  # fmt: skip
    found = diff_file(trace, scenario, step=step, progress=lambda line: note([line]))
    if json == "-":
        show_json(found.as_json())
    else:
        show(*table(found))
    note(f"note: {line}" for line in found.notes)
    if json is not None and json != "-":
        note([f"wrote {write_json(json, found.as_json())}"])
    if gantt is not None:
        note([f"wrote {draw_diff(found, gantt)}"])
