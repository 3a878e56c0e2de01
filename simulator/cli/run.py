"""The command `moments run`: predict one run and show, draw or store the result."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from simulator.cli.import_model import sizes

if TYPE_CHECKING:
    from simulator.run import Run
    from simulator.scenario import Scenario

_STDOUT = "-"


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


def run(
    workload: Annotated[
        str,
        typer.Argument(
            help="A bundled name (moments list workloads), a config.json, a folder, an .onnx file"
        ),
    ],
    on: Annotated[
        str,
        typer.Option(
            "--on",
            metavar="HARDWARE",
            help="A bundled name (moments list hardware), a .toml file, or host: this machine",
        ),
    ],
    runtime: Annotated[
        str | None,
        typer.Option(help="The software stack (moments list runtimes)  [pytorch-eager]"),
    ] = None,
    prompt: Annotated[
        int | None, typer.Option(help="Tokens to read, a sequence  [128; none with --context]")
    ] = None,
    batch: Annotated[int, typer.Option(help="Sequences side by side")] = 1,
    generate: Annotated[int, typer.Option(help="Tokens to generate, a sequence")] = 0,
    context: Annotated[
        int | None, typer.Option(help="Start with so many cached tokens instead of a prompt")
    ] = None,
    dtype: Annotated[
        str | None, typer.Option(help="Type of the arithmetic  [fp16 on a GPU, fp32 on a CPU]")
    ] = None,
    weight_dtype: Annotated[
        str | None,
        typer.Option(help="Storage of weight matrices: int8, int4-g128, q4_0, ...  [as --dtype]"),
    ] = None,
    quantize_head: Annotated[
        bool | None,
        typer.Option(
            "--quantize-head/--keep-head",
            help="--weight-dtype: also the matrix of the logits  [unless it is the embedding]",
        ),
    ] = None,
    dequantize: Annotated[
        bool, typer.Option("--dequantize", help="Write quantized weights out before each product")
    ] = False,
    kv_dtype: Annotated[
        str | None, typer.Option(help="Format of the KV cache: fp8, int8, int4-g64, q8_0, ...")
    ] = None,
    activation_dtype: Annotated[
        str | None, typer.Option(help="int8 or fp8: quantize what linear layers read, too")
    ] = None,
    prune: Annotated[
        str | None, typer.Option(metavar="2:4", help="Two of every four weights are zero")
    ] = None,
    density: Annotated[
        float | None, typer.Option(help="Part of the weights that is not zero, of all anywhere")
    ] = None,
    sparse_format: Annotated[
        str | None, typer.Option(help="--density: none, bitmap or csr leaves zeros out  [none]")
    ] = None,
    prune_heads: Annotated[
        int | None, typer.Option(help="Remove so many heads of each layer")
    ] = None,
    drop_layers: Annotated[
        str | None, typer.Option(metavar="LAYERS", help="How many (8) or which (3,7 or 20-27)")
    ] = None,
    fuse: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            help="Fuse also: qkv, gate_up, attention, epilogue, residual_norm, cache",
        ),
    ] = None,
    no_fuse: Annotated[
        str | None, typer.Option(metavar="NAMES", help="Do not fuse, though the runtime does")
    ] = None,
    threads: Annotated[
        int | None, typer.Option(help="Use so many of the machine's cores  [all]")
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Change a figure: cores=64, clock='2.5 GHz', dram.bandwidth=2x, dispatch=-20%",
        ),
    ] = None,
    power_cap: Annotated[
        str | None,
        typer.Option(metavar="POWER", help="Average power to keep to, as 300W; the clock follows"),
    ] = None,
    tensor_parallel: Annotated[int, typer.Option(help="Devices that share each product")] = 1,
    pipeline_parallel: Annotated[
        int, typer.Option(help="Devices that have the layers one after another")
    ] = 1,
    data_parallel: Annotated[int, typer.Option(help="Replicas that share the batch")] = 1,
    expert_parallel: Annotated[
        int, typer.Option(help="Devices (of those above) that share the experts")
    ] = 1,
    micro_batches: Annotated[
        int, typer.Option(help="Parts of the batch that follow each other through a pipeline")
    ] = 1,
    sequence_parallel: Annotated[
        bool, typer.Option("--sequence-parallel", help="Tensor ranks share norms by rows")
    ] = False,
    policy: Annotated[
        str | None,
        typer.Option(
            help="Order of ready moments: in-order, graph-order, critical-path, longest-first, "
            "streams:N, best-split  [as the runtime]"
        ),
    ] = None,
    cores_per_moment: Annotated[
        int | None, typer.Option(help="Moments side by side, on at most so many cores each")
    ] = None,
    gantt: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw a chart (.png, .svg, .pdf)")
    ] = None,
    trace: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a trace for ui.perfetto.dev")
    ] = None,
    json: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Write the figures; - prints them instead of a summary"),
    ] = None,
    csv: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a table with one row a moment")
    ] = None,
    sample: Annotated[
        str, typer.Option(help="How tokens are chosen: greedy, top-k (50 likeliest), top-p")
    ] = "greedy",
    beams: Annotated[int, typer.Option(help="Beams of a beam search  [none]")] = 1,
    chunk: Annotated[
        int | None, typer.Option(help="Read the prompt in pieces of so many tokens")
    ] = None,
    segment_length: Annotated[
        int | None, typer.Option(help="Read a long input in segments of so many tokens")
    ] = None,
    overlap: Annotated[int, typer.Option(help="Tokens that neighbouring segments share")] = 0,
    draft: Annotated[
        str | None,
        typer.Option(metavar="MODEL", help="Speculate with a draft model, or with lookup"),
    ] = None,
    draft_tokens: Annotated[
        int | None, typer.Option(help="Tokens that a draft proposes at a time  [4]")
    ] = None,
    acceptance: Annotated[
        float | None, typer.Option(help="Probability that a drafted token is accepted  [0.7]")
    ] = None,
    cold: Annotated[
        str | None, typer.Option(metavar="disk|host", help="Load the weights from there first")
    ] = None,
    probe: Annotated[
        bool, typer.Option("--probe/--no-probe", help="Measure the host (some seconds, once)")
    ] = True,
    dim: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=SIZE", help="Size of an open axis of an .onnx file; repeat it"),
    ] = None,
    fold: Annotated[
        bool, typer.Option("--fold/--no-fold", help="Simulate alike layers and steps once")
    ] = True,
) -> None:
    """Predict one run of a WORKLOAD on some HARDWARE."""
    outputs = _Outputs(gantt, trace, json, csv)
    outputs.check()
    from simulator.scenario import Scenario

    scenario = Scenario(
        workload,
        on,
        runtime=runtime,
        prompt=prompt,
        batch=batch,
        generate=generate,
        context=context,
        dtype=dtype,
        weight_dtype=weight_dtype,
        quantize_head=quantize_head,
        dequantize=dequantize,
        kv_dtype=kv_dtype,
        activation_dtype=activation_dtype,
        prune=prune,
        density=density,
        sparse_format=sparse_format,
        prune_heads=prune_heads,
        drop_layers=drop_layers,
        fuse=fuse,
        no_fuse=no_fuse,
        threads=threads,
        probe=probe,
        changes=tuple(changes or ()),
        power_cap=power_cap,
        tensor_parallel=tensor_parallel,
        pipeline_parallel=pipeline_parallel,
        data_parallel=data_parallel,
        expert_parallel=expert_parallel,
        micro_batches=micro_batches,
        sequence_parallel=sequence_parallel,
        dims=sizes(dim) if dim else None,
        policy=policy,
        cores_per_moment=cores_per_moment,
        fold=fold,
        sample=sample,  # type: ignore[arg-type] # checked with the rest
        beams=beams,
        chunk=chunk,
        segment_length=segment_length,
        overlap=overlap,
        draft=draft,
        draft_tokens=draft_tokens,
        acceptance=acceptance,
        cold=cold,  # type: ignore[arg-type]
    )
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
