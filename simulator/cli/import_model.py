"""The command `moments import`: a model of one's own as a program that `moments run` takes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.table import Table

    from workloads.importers.imported.program import Imported
    from workloads.moment import Program


def import_command(
    model: Annotated[Path, typer.Argument(help="An .onnx file; its weights are not read")],
    dim: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=SIZE", help="Size of an open axis, such as batch=1; repeat it"),
    ] = None,
    unknown: Annotated[
        str | None,
        typer.Option(help="as-copy: count operators without a formula as a move of their bytes"),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the program (.json)")
    ] = None,
) -> None:
    """Turn any model into moments: show what is in it, and write it for moments run."""
    from simulator.cli.console import note, show, write_json
    from simulator.output import check_target
    from workloads import InputError, from_onnx, program_table
    from workloads.errors import shown

    if model.suffix != ".onnx":
        raise InputError(
            f"{shown(str(model))}: expected an .onnx file; a config.json needs no import"
        )
    if out is not None:
        if out.suffix != ".json":
            raise InputError(f"{out}: expected a name that ends in .json")
        check_target(out)
    imported = from_onnx(model, dims=sizes(dim or ()), unknown=unknown)
    note(f"note: {line}" for line in imported.program.notes)
    if out is not None:
        write_json(out, program_table(imported.program))
    show(_summary(imported))
    if out is not None:
        note([f"wrote {out}"])


def sizes(pairs: Sequence[str]) -> dict[str, int]:
    """The sizes in ["batch=1", ...]; InputError for what is not NAME=SIZE, or said twice."""
    from workloads import InputError
    from workloads.errors import shown

    found: dict[str, int] = {}
    for pair in pairs:
        name, equals, size = pair.rpartition("=")
        if not equals or not name or not size.isdecimal() or len(size) > 12:
            raise InputError(f"--dim {shown(pair)}: expected NAME=SIZE, such as --dim batch=1")
        if name in found:
            raise InputError(f"--dim {shown(name)}: given twice")
        found[name] = int(size)
    return found


def _summary(imported: Imported) -> Table:
    from rich.table import Table

    program = imported.program
    table = Table("", "", show_header=False, box=None)
    for name, value in _rows(imported, program):
        table.add_row(name, value)
    return table


def _rows(imported: Imported, program: Program) -> Iterator[tuple[str, str]]:
    needs = program.footprint
    yield "workload", f"{program.workload}, {program.dtype}, batch {program.batch}"
    yield "operators", f"{imported.operators} in the graph, {program.moment_count} moments"
    for repeat in program.passes[0].repeats:
        size = len(repeat.segment.moments)
        yield "segment", f"{repeat.segment.name}: {repeat.count} x {size} moments"
    yield "parameters", f"{imported.parameters:,}"
    yield "matrix FLOPs", f"{program.matrix_flops:,}"
    yield "weights", f"{needs.weight_bytes:,} bytes"
    if needs.kv_cache_bytes:
        yield "KV cache", f"{needs.kv_cache_bytes:,} bytes"
    yield "activations", f"{needs.activation_bytes:,} bytes at the most"
    yield "without formula", imported.unknown or "none"
