"""The command `moments list`: what there is to choose from, with the figures that matter."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table


class What(StrEnum):
    """What can be listed."""

    workloads = "workloads"
    hardware = "hardware"
    runtimes = "runtimes"


SORTS = ("name", "cores", "clock", "fp16", "fp32", "memory", "bandwidth", "tdp", "price")


def list_command(
    what: Annotated[What, typer.Argument(metavar="workloads|hardware|runtimes")],
    json: Annotated[bool, typer.Option("--json", help="Print plain data instead")] = False,
    kind: Annotated[str | None, typer.Option(help="Hardware of this kind: cpu, gpu")] = None,
    vendor: Annotated[str | None, typer.Option(help="Hardware of this vendor")] = None,
    min_memory: Annotated[
        str | None, typer.Option(metavar="SIZE", help="Hardware with this much, such as 40GB")
    ] = None,
    min_bandwidth: Annotated[
        str | None, typer.Option(metavar="RATE", help="Of DRAM, such as 1TB/s")
    ] = None,
    max_tdp: Annotated[
        str | None, typer.Option(metavar="POWER", help="Hardware that draws no more, as 75W")
    ] = None,
    sort: Annotated[
        str | None, typer.Option(help=f"Hardware by {', '.join(SORTS)}: the largest first")
    ] = None,
) -> None:
    """List the bundled workloads, hardware or runtimes."""
    from simulator.cli.console import show, show_json
    from simulator.cli.hardware import Choice, hardware_rows, hardware_table

    choice = Choice(kind, vendor, min_memory, min_bandwidth, max_tdp, sort)
    if what is not What.hardware:
        choice.refuse(what.value)
    rows, table = {
        What.workloads: (_workloads, _workload_table),
        What.hardware: (lambda: hardware_rows(choice), hardware_table),
        What.runtimes: (_runtimes, _runtime_table),
    }[what]
    found = rows()
    if json:
        show_json(found)
    else:
        show(table(found))


def columns(*names: str, right: Sequence[str] = ()) -> Table:
    """A table with these columns, the first in bold, those of `right` flush right."""
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="cyan")
    for name in names:
        number = name in right
        table.add_column(name, justify="right" if number else "left", no_wrap=True)
    table.columns[0].style = "bold"
    return table


def _workloads() -> list[dict[str, Any]]:
    from workloads import list_models, load_model

    found = []
    for name in list_models():
        model = load_model(name)
        keys = ("family", "layers", "hidden", "heads", "kv_heads", "intermediate", "vocab")
        row = {"name": name, "parameters": model.parameters}
        row |= {key: getattr(model, key) for key in (*keys, "max_positions", "source")}
        found.append(row)
    return found


_FAMILIES = {"encoder_decoder": "enc-dec"}
"""As they stand in the table, which is narrow."""


def _workload_table(rows: list[dict[str, Any]]) -> Table:
    numbers = ("parameters", "layers", "hidden", "heads", "inner", "positions")
    table = columns("workload", "family", *numbers, right=numbers)
    for row in rows:
        shared = f" / {row['kv_heads']} kv" if row["kv_heads"] != row["heads"] else ""
        table.add_row(
            *(row["name"], _FAMILIES.get(row["family"], row["family"]), f"{row['parameters']:,}"),
            *(str(row["layers"]), str(row["hidden"]), f"{row['heads']}{shared}"),
            *(str(row["intermediate"]), str(row["max_positions"])),
        )
    return table


def _runtimes() -> list[dict[str, Any]]:
    from simulator.runtime import list_runtimes, load_runtime

    found = []
    for name in list_runtimes():
        runtime = load_runtime(name)
        row: dict[str, Any] = {"name": name, "title": runtime.title}
        for kind in ("cpu", "gpu"):
            section = getattr(runtime, kind)
            if section is None:
                row[kind] = None
                continue
            host = section.host
            row[kind] = {
                "policy": section.policy,
                "host": host.mode if host else "none",
                "dispatch_s": host.moment_s if host else 0.0,
                "attention": section.fusion.attention,
                "fuses_elementwise": section.fusion.epilogue,
            }
        found.append(row)
    return found


def _runtime_table(rows: list[dict[str, Any]]) -> Table:
    from simulator.look import seconds_text

    table = columns("runtime", "on", "host dispatch", "a moment", "attention", "what it is")
    table.columns[-1].no_wrap = False
    for row in rows:
        first = True
        for kind in ("cpu", "gpu"):
            section = row[kind]
            if section is None:
                continue
            each = seconds_text(section["dispatch_s"]) if section["host"] != "none" else "-"
            name, title = (row["name"], row["title"]) if first else ("", "")
            table.add_row(name, kind, section["host"], each, section["attention"], title)
            first = False
    return table
