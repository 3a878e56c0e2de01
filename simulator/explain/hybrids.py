"""Machines that take some of their tables from one machine and some from another.

No such machine can be bought; each is simulated as if it could, to see what a table is worth. The
caches of a hybrid are those that its table declares, whatever its cores and its clock.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from simulator.explain.kernels import kernels_of
from workloads.errors import InputError

if TYPE_CHECKING:
    from hardware_profiles.schema import Profile
    from simulator.prepare import Prepared
    from simulator.runtime import OnDevice

_MACHINE = {
    "clock and power": ("clock", "power"),
    "cores": ("cores",),
    "matrix width": ("matrix",),
    "vector width": ("vector",),
    "caches": ("caches",),
    "DRAM": ("dram",),
    "kernel efficiency": ("kernels",),
    "host": ("host",),
    "links": ("links",),
}
"""What is taken together, by the name that people read."""

_SOFTWARE = {
    "dispatch": ("host_table",),
    "fusions": ("fusion",),
    "kernel library": ("library",),
    "order and the rest": ("rest",),
}

MOST_GROUPS = 8
"""2^8 simulations; beyond that the two widths, and then host and links, count as one."""

_MERGED = (("matrix width", "vector width", "widths"), ("host", "links", "host and links"))


@dataclass(frozen=True)
class Group:
    """Tables that change hands together."""

    name: str
    tables: tuple[str, ...]


def groups_between(a: Prepared, b: Prepared) -> list[Group]:
    """The groups in which the two differ, at most MOST_GROUPS; InputError where they do not.

    Between machines of two kinds (a CPU and a GPU) the efficiencies of kernels and all software are
    one group: kernels of one kind do not run on the other.
    """
    groups = {name: tables for name, tables in _MACHINE.items() if name != "links"}
    if a.program.layout.devices > 1:
        groups["links"] = _MACHINE["links"]
    every = tuple(table for tables in _SOFTWARE.values() for table in tables)
    if a.profile.kind != b.profile.kind:
        del groups["host"]
        groups["kernel efficiency"] = ("kernels", "host", *every)
        groups = {_kernels_and_software(name): tables for name, tables in groups.items()}
    elif _machine_tables(a) == _machine_tables(b):
        groups |= _SOFTWARE
    elif _software_differs(a, b):
        groups["host"] = ("host", *every)
    mine, others = _all_tables(a), _all_tables(b)
    found = [
        Group(name, tables)
        for name, tables in groups.items()
        if any(mine[table] != others[table] for table in tables)
    ]
    if not found:
        raise InputError(
            f"{a.profile.name} under {a.runtime.name} and {b.profile.name} under {b.runtime.name} "
            "do not differ: there is nothing to explain; give another --against or "
            "--against-runtime"
        )
    return _at_most(found)


def _kernels_and_software(name: str) -> str:
    return "kernels and software" if name == "kernel efficiency" else name


def _at_most(groups: list[Group]) -> list[Group]:
    for first, second, name in _MERGED:
        names = [group.name for group in groups]
        if len(groups) > MOST_GROUPS and first in names and second in names:
            one, two = groups[names.index(first)], groups.pop(names.index(second))
            groups[names.index(first)] = Group(name, one.tables + two.tables)
    return groups


def hybrid(a: Prepared, b: Prepared, taken: Iterable[Group]) -> Prepared:
    """`a` with the tables of `taken` from `b`; of all groups_between: a run exactly as of `b`.

    The program is that of `b` with its software, where the two compile to different ones, or with
    its matrix unit.
    """
    taken = list(taken)
    tables = {table for group in taken for table in group.tables}
    profile = _profile(a, b, tables)
    section = _section(a, b, tables)
    runtime = a.runtime.model_copy(update={profile.kind: section})
    decides = "rest" if _software_differs(a, b) else "matrix"
    program = b.program if decides in tables else a.program
    scales = (b if "kernels" in tables else a).scales
    return replace(a, profile=profile, runtime=runtime, program=program, scales=scales)


def _software_differs(a: Prepared, b: Prepared) -> bool:
    return a.profile.kind != b.profile.kind or a.runtime.on(a.profile.kind) != b.runtime.on(
        b.profile.kind
    )


def _all_tables(prepared: Prepared) -> dict[str, object]:
    section = prepared.runtime.on(prepared.profile.kind)
    return _machine_tables(prepared) | {
        "host_table": section.host,
        "fusion": section.fusion,
        "library": section.library,
        "rest": section.model_copy(
            update={"host": None, "fusion": None, "library": None, "source": ""}
        ),
    }


def _machine_tables(prepared: Prepared) -> dict[str, object]:
    profile = prepared.profile
    width = profile.width
    return {
        "clock": profile.clock,
        "power": profile.power,
        "cores": profile.cores.count,
        "matrix": (width.matrix, width.sparse_2_4),
        "vector": (width.vector, width.special),
        "caches": {name: level for name, level in profile.memory.items() if name != "dram"},
        "dram": profile.memory["dram"],
        "kernels": (
            profile.kind,
            profile.kernels,
            kernels_of(profile, prepared.program),
            prepared.scales,
        ),
        "host": profile.host_clock,
        "links": profile.links,
    }


def _profile(a: Prepared, b: Prepared, tables: set[str]) -> Profile:
    """Not checked: peaks that a vendor quotes fit no hybrid, so they are left out."""

    def of(table: str) -> Profile:
        return (b if table in tables else a).profile

    width = a.profile.width.model_copy(
        update={
            "matrix": of("matrix").width.matrix,
            "sparse_2_4": of("matrix").width.sparse_2_4,
            "vector": of("vector").width.vector,
            "special": of("vector").width.special,
        }
    )
    caches = {name: level for name, level in of("caches").memory.items() if name != "dram"}
    kernels = of("kernels")
    whose = b if "kernels" in tables else a
    return a.profile.model_copy(
        update={
            "name": of("links").name,  # by which what was measured of its links is found
            "kind": kernels.kind,
            "kernels": kernels.kernels,
            "cores": of("cores").cores,
            "clock": of("clock").clock,
            "power": of("clock").power,
            "process": of("clock").process,
            "width": width,
            "memory": {**caches, "dram": of("dram").memory["dram"]},
            "efficiency": kernels_of(kernels, whose.program),
            "host_clock": of("host").host_clock,
            "links": of("links").links,
            "peak": None,
        }
    )


def _section(a: Prepared, b: Prepared, tables: set[str]) -> OnDevice:
    mine, others = a.runtime.on(a.profile.kind), b.runtime.on(b.profile.kind)

    def of(table: str) -> OnDevice:
        return others if table in tables else mine

    return of("rest").model_copy(
        update={
            "host": of("host_table").host,
            "fusion": of("fusion").fusion,
            "library": of("library").library,
        }
    )
