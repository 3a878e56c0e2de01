"""Options of all commands that run something: everything that a Scenario can hold, said once."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from simulator.cli.import_model import sizes
from simulator.scenario import Scenario

_MACHINE = partial(typer.Option, rich_help_panel="Machine, and what if it were otherwise")
_RUNTIME = partial(typer.Option, rich_help_panel="Runtime")
_REQUEST = partial(typer.Option, rich_help_panel="Request")
_MODEL = partial(typer.Option, rich_help_panel="Types and smaller models")
_PARALLEL = partial(typer.Option, rich_help_panel="Several devices")


def scenario_of(
    workload: Annotated[
        str,
        typer.Argument(
            help="A bundled name (moments list workloads), a config.json, a folder, an .onnx file"
        ),
    ],
    on: Annotated[
        str,
        _MACHINE(
            "--on",
            metavar="HARDWARE",
            help="A bundled name (moments list hardware), a .toml file, or host: this machine",
        ),
    ],
    threads: Annotated[
        int | None, _MACHINE(help="Use so many of the machine's cores  [all]")
    ] = None,
    changes: Annotated[
        list[str] | None,
        _MACHINE(
            "--set",
            metavar="KEY=VALUE",
            help="Change a figure: cores=64, clock='2.5 GHz', dram.bandwidth=2x, dispatch=-20%",
        ),
    ] = None,
    power_cap: Annotated[
        str | None,
        _MACHINE(metavar="POWER", help="Average power to keep to, as 300W; the clock follows"),
    ] = None,
    probe: Annotated[
        bool, _MACHINE("--probe/--no-probe", help="Measure the host (some seconds, once)")
    ] = True,
    runtime: Annotated[
        str | None,
        _RUNTIME(help="The software stack (moments list runtimes)  [pytorch-eager]"),
    ] = None,
    mode: Annotated[
        str | None,
        _RUNTIME(
            metavar="MODE",
            help="Scales from public passes: calibrated on this machine, or zero-shot  [none]",
        ),
    ] = None,
    fuse: Annotated[
        str | None,
        _RUNTIME(
            metavar="NAMES",
            help="Fuse also: qkv, gate_up, attention, epilogue, residual_norm, cache",
        ),
    ] = None,
    no_fuse: Annotated[
        str | None, _RUNTIME(metavar="NAMES", help="Do not fuse, though the runtime does")
    ] = None,
    policy: Annotated[
        str | None,
        _RUNTIME(
            help="Order of ready moments: in-order, graph-order, critical-path, longest-first, "
            "streams:N, best-split  [as the runtime]"
        ),
    ] = None,
    cores_per_moment: Annotated[
        int | None, _RUNTIME(help="Moments side by side, on at most so many cores each")
    ] = None,
    fold: Annotated[
        bool, _RUNTIME("--fold/--no-fold", help="Simulate alike layers and steps once")
    ] = True,
    prompt: Annotated[
        int | None, _REQUEST(help="Tokens to read, a sequence  [128; none with --context]")
    ] = None,
    batch: Annotated[int, _REQUEST(help="Sequences side by side")] = 1,
    generate: Annotated[int, _REQUEST(help="Tokens to generate, a sequence")] = 0,
    context: Annotated[
        int | None, _REQUEST(help="Start with so many cached tokens instead of a prompt")
    ] = None,
    sample: Annotated[
        str, _REQUEST(help="How tokens are chosen: greedy, top-k (50 likeliest), top-p")
    ] = "greedy",
    beams: Annotated[int, _REQUEST(help="Beams of a beam search  [none]")] = 1,
    chunk: Annotated[
        int | None, _REQUEST(help="Read the prompt in pieces of so many tokens")
    ] = None,
    segment_length: Annotated[
        int | None, _REQUEST(help="Read a long input in segments of so many tokens")
    ] = None,
    overlap: Annotated[int, _REQUEST(help="Tokens that neighbouring segments share")] = 0,
    draft: Annotated[
        str | None,
        _REQUEST(metavar="MODEL", help="Speculate with a draft model, or with lookup"),
    ] = None,
    draft_tokens: Annotated[
        int | None, _REQUEST(help="Tokens that a draft proposes at a time  [4]")
    ] = None,
    acceptance: Annotated[
        float | None, _REQUEST(help="Probability that a drafted token is accepted  [0.7]")
    ] = None,
    cold: Annotated[
        str | None, _REQUEST(metavar="disk|host", help="Load the weights from there first")
    ] = None,
    dtype: Annotated[
        str | None, _MODEL(help="Type of the arithmetic  [fp16 on a GPU, fp32 on a CPU]")
    ] = None,
    weight_dtype: Annotated[
        str | None,
        _MODEL(help="Storage of weight matrices: int8, int4-g128, q4_0, ...  [as --dtype]"),
    ] = None,
    quantize_head: Annotated[
        bool | None,
        _MODEL(
            "--quantize-head/--keep-head",
            help="--weight-dtype: also the matrix of the logits  [unless it is the embedding]",
        ),
    ] = None,
    dequantize: Annotated[
        bool, _MODEL("--dequantize", help="Write quantized weights out before each product")
    ] = False,
    kv_dtype: Annotated[
        str | None, _MODEL(help="Format of the KV cache: fp8, int8, int4-g64, q8_0, ...")
    ] = None,
    activation_dtype: Annotated[
        str | None, _MODEL(help="int8 or fp8: quantize what linear layers read, too")
    ] = None,
    prune: Annotated[
        str | None, _MODEL(metavar="2:4", help="Two of every four weights are zero")
    ] = None,
    density: Annotated[
        float | None, _MODEL(help="Part of the weights that is not zero, of all anywhere")
    ] = None,
    sparse_format: Annotated[
        str | None, _MODEL(help="--density: none, bitmap or csr leaves zeros out  [none]")
    ] = None,
    prune_heads: Annotated[int | None, _MODEL(help="Remove so many heads of each layer")] = None,
    drop_layers: Annotated[
        str | None, _MODEL(metavar="LAYERS", help="How many (8) or which (3,7 or 20-27)")
    ] = None,
    dim: Annotated[
        list[str] | None,
        _MODEL(metavar="NAME=SIZE", help="Size of an open axis of an .onnx file; repeat it"),
    ] = None,
    tensor_parallel: Annotated[int, _PARALLEL(help="Devices that share each product")] = 1,
    pipeline_parallel: Annotated[
        int, _PARALLEL(help="Devices that have the layers one after another")
    ] = 1,
    data_parallel: Annotated[int, _PARALLEL(help="Replicas that share the batch")] = 1,
    expert_parallel: Annotated[
        int, _PARALLEL(help="Devices (of those above) that share the experts")
    ] = 1,
    micro_batches: Annotated[
        int, _PARALLEL(help="Parts of the batch that follow each other through a pipeline")
    ] = 1,
    sequence_parallel: Annotated[
        bool, _PARALLEL("--sequence-parallel", help="Tensor ranks share norms by rows")
    ] = False,
) -> Scenario:
    """What was said on the command line, in Python."""
    return Scenario(
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
        mode=mode,  # type: ignore[arg-type]
    )


def takes_scenario(command: Callable[..., None]) -> Callable[..., None]:
    """`command` with the options of scenario_of in place of its first parameter."""
    shared = inspect.signature(scenario_of, eval_str=True).parameters
    own = list(inspect.signature(command, eval_str=True).parameters.values())[1:]

    def with_options(**given: Any) -> None:
        said = {name: given.pop(name) for name in shared}
        command(scenario_of(**said), **given)

    parameters = [*shared.values(), *own]
    with_options.__name__, with_options.__doc__ = command.__name__, command.__doc__
    with_options.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    with_options.__annotations__ = {p.name: p.annotation for p in parameters}
    return with_options


class InSections(TyperCommand):
    """A command whose help shows its options under the headings of their panels, as plain text."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                kind = "Arguments" if parameter.param_type_name == "argument" else "Other"
                panel = getattr(parameter, "rich_help_panel", None) or kind
                sections.setdefault(panel, []).append(record)
        for heading, records in sections.items():
            with formatter.section(heading):
                formatter.write_dl(records)
