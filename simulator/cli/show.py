"""The command `moments show`: everything known about one workload, machine or runtime."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from hardware_profiles.schema import Profile
    from simulator.runtime import Runtime
    from workloads.model import Model


def show_command(
    name: Annotated[
        str, typer.Argument(help="A workload, hardware or runtime: a name, host, or a file")
    ],
    json: Annotated[bool, typer.Option("--json", help="Print plain data instead")] = False,
    probe: Annotated[
        bool, typer.Option("--probe/--no-probe", help="Measure the host (some seconds, once)")
    ] = True,
) -> None:
    """Show a workload, machine or runtime in full."""
    from simulator.cli.console import note, show, show_json
    from simulator.cli.describe import describe, plain

    found = _find(name, probe=probe)
    if json:
        show_json(plain(found))
    else:
        show(describe(found))
    notes = getattr(found, "notes", ())
    if not isinstance(notes, str):  # those of a machine stand below its title
        note(f"note: {line}" for line in notes)


def _find(name: str, *, probe: bool) -> Model | Profile | Runtime:
    """What goes by that name, among workloads, hardware and runtimes in this order."""
    from hardware_profiles import list_profiles, load_profile
    from simulator.cli.console import note
    from simulator.runtime import list_runtimes, load_runtime
    from workloads import InputError, list_models, load_model
    from workloads.errors import nearest, shown

    if name in list_models():
        return load_model(name)
    if name in ("host", *list_profiles()):
        return load_profile(name, probe=probe, progress=lambda line: note([line]))
    if name in list_runtimes():
        return load_runtime(name)
    if name.endswith(".toml"):
        return _from_toml(Path(name))
    if "/" in name or name.endswith(".json") or Path(name).exists():
        return load_model(name)
    known = [*list_models(), "host", *list_profiles(), *list_runtimes()]
    hint = nearest(name, known) or "; see moments list workloads, hardware or runtimes"
    raise InputError(f"nothing is named {shown(name)}{hint}")


def _from_toml(path: Path) -> Model | Profile | Runtime:
    """A file of the user's, told apart by keys that only one of the three has."""
    from hardware_profiles import load_profile
    from simulator.runtime import load_runtime
    from workloads import load_model
    from workloads.files import read_table

    table: dict[str, Any] = read_table(path)
    if "family" in table or "hidden" in table:
        return load_model(path)
    if "kind" not in table and ("cpu" in table or "gpu" in table):
        return load_runtime(str(path))
    return load_profile(path)
