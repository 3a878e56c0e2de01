"""Puts a program that is spread over devices on them: which moment runs on which device or link."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from hardware_profiles.errors import ProfileError
from hardware_profiles.links import NETWORK
from simulator.sharing import RATE_ONE
from simulator.trace import Place
from workloads.moment import CollectiveShape

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hardware_profiles.schema import Profile
    from simulator.demand import Demand
    from workloads.flat import FlatProgram
    from workloads.moment import Moment, Program, Segment


def node_size(profile: Profile) -> int:
    """How many devices the machine's links join without a network."""
    sizes = [link.devices for name, link in profile.links.items() if name != NETWORK]
    return max(sizes, default=1)


def with_nodes(program: Program, profile: Profile) -> Program:
    """The program with the number of nodes that each of its collectives spans.

    Ranks fill one node after another, the tensor ranks of a pipeline stage next to each other.
    ProfileError where the ranks do not fill whole nodes.
    """
    layout, size = program.layout, node_size(profile)
    if layout.devices <= size:
        return program
    known: dict[tuple[int, int], Segment] = {}

    def changed(segment: Segment, device: int) -> Segment:
        if not any(isinstance(m.shape, CollectiveShape) for m in segment.moments):
            return segment
        key = (id(segment), device)
        if key not in known:
            moments = tuple(_spanning(m, device, program, size, profile) for m in segment.moments)
            known[key] = replace(segment, moments=moments)
        return known[key]

    passes = tuple(
        replace(
            step,
            repeats=tuple(replace(r, segment=changed(r.segment, r.device)) for r in step.repeats),
        )
        for step in program.passes
    )
    return replace(program, passes=passes)


def _spanning(moment: Moment, device: int, program: Program, size: int, profile: Profile) -> Moment:
    shape = moment.shape
    if not isinstance(shape, CollectiveShape):
        return moment
    if shape.kind == "send_recv":
        width, stages = program.layout.tensor, program.layout.pipeline
        following = (device + 1) % stages
        crosses = device * width // size != following * width // size
        nodes = 2 if crosses else 1
    else:
        nodes = -(-shape.ranks // size)
        if shape.ranks % nodes:
            raise ProfileError(
                f"{profile.name}: {shape.ranks} devices do not fill nodes of {size} evenly"
            )
    return replace(moment, shape=replace(shape, nodes=nodes))


def places_of(
    flat: FlatProgram, demands: Sequence[Demand], core_count: int, memory_rate: int, *, stream: bool
) -> tuple[tuple[Place, ...], list[int]]:
    """The devices and their links, and for each moment which of them it runs on.

    None at all for a program on one device without links. A link carries one moment at a time.
    """
    count = 1 + max(instance.device for instance in flat.instances)
    on_link = [isinstance(moment.shape, CollectiveShape) for moment in flat.moments]
    if count == 1 and not any(on_link):
        return (), []
    home: list[int] = []
    rates = [RATE_ONE] * count
    for instance in flat.instances:
        device = instance.device
        for index in range(instance.first, instance.first + len(instance.segment.moments)):
            home.append(count + device if on_link[index] else device)
            if on_link[index]:
                rates[device] = max(rates[device], demands[index].memory_cap)
    devices = [
        Place(
            f"device {i}" if count > 1 else "device", i, "device", core_count, memory_rate, stream
        )
        for i in range(count)
    ]
    links = [
        Place(f"link {i}" if count > 1 else "link", i, "link", 1, rates[i], in_order=True)
        for i in range(count)
    ]
    return (*devices, *links), home
