"""Demand of a collective: fixed cycles and bytes over the slowest link that its ranks span."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, log2
from typing import TYPE_CHECKING

from hardware_profiles.collectives import Mode, collective_efficiency
from hardware_profiles.errors import ProfileError
from hardware_profiles.links import NETWORK
from simulator.sharing import RATE_ONE
from workloads.op_counts import sent_bytes

if TYPE_CHECKING:
    from hardware_profiles.links import Link
    from hardware_profiles.schema import Profile
    from workloads.moment import CollectiveShape


@dataclass(frozen=True, slots=True)
class CollectiveDemand:
    """What a collective asks of each of its devices.

    `latency_cycles` pass first, without use of the link; then each rank sends `link_bytes` over
    the link named `link` at no more than `link_rate` (bytes per cycle x RATE_ONE of
    simulator.sharing). Cycles are of the core clock. `way`: algorithm and protocol, for people.
    A single rank asks for nothing: all 0, and no link.
    """

    link: str = ""
    latency_cycles: int = 0
    link_bytes: int = 0
    link_rate: int = 0
    way: str = ""

    @property
    def cycles(self) -> int:
        """Core-clock cycles of the whole when nobody else uses the link."""
        moved = -(-self.link_bytes * RATE_ONE // self.link_rate) if self.link_bytes else 0
        return self.latency_cycles + moved


def used_link(
    shape: CollectiveShape, profile: Profile, network: Link | None = None
) -> tuple[str, Link]:
    """The slowest link that the ranks cannot avoid, with its name.

    Several nodes: `network`, else the profile's [links.network]. One node: the fastest link whose
    domain holds all ranks. ProfileError where the machine has no such link.
    """
    if shape.nodes > 1:
        link = network or profile.links.get(NETWORK)
        if link is None:
            raise ProfileError(
                f"{profile.name}: {shape.nodes} nodes, but no [links.network] is declared; name a"
                " network"
            )
        return NETWORK, link
    inside = [
        (name, link)
        for name, link in profile.links.items()
        if name != NETWORK and link.devices >= shape.ranks
    ]
    if not inside:
        raise ProfileError(
            f"{profile.name}: no link of its profile joins {shape.ranks} devices of one node"
            f" (links: {', '.join(profile.links) or 'none'})"
        )
    return max(inside, key=lambda item: item[1].bandwidth_bytes_per_s)


def collective_demand(
    shape: CollectiveShape,
    profile: Profile,
    *,
    network: Link | None = None,
    mode: Mode = "calibrated",
) -> CollectiveDemand:
    """What a collective costs each of its ranks, in the quickest way that the library has.

    `network` replaces [links.network]. Not modelled: ranks that arrive late, unequal parts,
    compute that slows the copies down.
    """
    if shape.ranks == 1:
        return CollectiveDemand()
    name, link = used_link(shape, profile, network)
    kernel = collective_efficiency(profile, name, mode)
    hz = profile.clock.burst_hz
    sent = sent_bytes(shape)
    per_node = shape.ranks // shape.nodes
    rate = link.node_bytes_per_s(per_node) if name == NETWORK else link.bandwidth_bytes_per_s
    steps = _ring_steps(shape)
    options = []
    for protocol, step_s, share in (
        ("low latency", kernel.step_s, kernel.low_latency_share),
        ("simple", kernel.simple_step_s, kernel.share),
    ):
        latency = ceil((kernel.launch_s + steps * step_s) * hz)
        cap = max(1, int(rate * share / hz * RATE_ONE))
        options.append(CollectiveDemand(name, latency, sent, cap, f"ring, {protocol}"))
    return min(options, key=lambda option: option.cycles)


def _ring_steps(shape: CollectiveShape) -> int:
    """Hops that follow each other: around the ring twice to reduce and to spread, else once."""
    if shape.kind == "send_recv":
        return 1
    if shape.kind == "all_to_all":
        return ceil(log2(shape.ranks))
    return (2 if shape.kind == "all_reduce" else 1) * (shape.ranks - 1)
