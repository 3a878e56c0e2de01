"""Demand of a collective: fixed cycles, then bytes over the slowest link that its ranks span."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil, log2
from typing import TYPE_CHECKING

from hardware_profiles.collectives import CollectiveEfficiency, Pattern, collective_efficiency
from hardware_profiles.efficiency import Mode
from hardware_profiles.errors import ProfileError
from hardware_profiles.links import NETWORK
from simulator.sharing import RATE_ONE
from workloads.op_counts import sent_bytes

if TYPE_CHECKING:
    from hardware_profiles.links import Link
    from hardware_profiles.schema import Profile
    from workloads.moment import CollectiveShape

COPY_SHARE = 0.6
"""Share of DRAM bandwidth at which a rank copies its own part: H100, all_gather among 2 ranks
against 4, where the part is twice as large."""


@dataclass(frozen=True, slots=True)
class CollectiveDemand:
    """What a collective asks of each of its devices.

    `latency_cycles` pass first, without use of the link; then each rank (of several nodes: each
    network adapter) sends `link_bytes` over the link named `link` at no more than `link_rate`
    (bytes per cycle x RATE_ONE of simulator.sharing). Cycles are of the core clock. `way`:
    algorithm and protocol, for people. A single rank asks for nothing: all 0, and no link.
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


@dataclass(frozen=True, slots=True)
class Way:
    """One algorithm and protocol: seconds before the link is used, and its sustained rate."""

    name: str
    latency_s: float
    bytes_per_s: float
    moved_bytes: int

    @property
    def seconds(self) -> float:
        return self.latency_s + self.moved_bytes / self.bytes_per_s


def used_link(
    shape: CollectiveShape,
    profile: Profile,
    network: Link | None = None,
    inside: str | None = None,
) -> tuple[str, Link]:
    """The slowest link that the ranks cannot avoid, with its name.

    Several nodes: `network`, else the profile's [links.network]. One node: the link `inside`, else
    the fastest whose domain holds all ranks. ProfileError where the machine has no such link.
    """
    known = ", ".join(profile.links) or "none"
    if shape.nodes > 1:
        link = network or profile.links.get(NETWORK)
        if link is None:
            raise ProfileError(
                f"{profile.name}: {shape.nodes} nodes, but no [links.network] is declared (links:"
                f" {known}); name a network"
            )
        return NETWORK, link
    if inside is not None:
        if inside == NETWORK or inside not in profile.links:
            raise ProfileError(f"{profile.name}: no link {inside!r} inside a node (links: {known})")
        return inside, profile.links[inside]
    wide = {k: v for k, v in profile.links.items() if k != NETWORK and v.devices >= shape.ranks}
    if not wide:
        raise ProfileError(
            f"{profile.name}: no link of the profile joins {shape.ranks} devices of one node"
            f" (links: {known})"
        )
    return max(wide.items(), key=lambda item: item[1].bandwidth_bytes_per_s)


def collective_demand(
    shape: CollectiveShape,
    profile: Profile,
    *,
    network: Link | None = None,
    mode: Mode = "calibrated",
    inside: str | None = None,
) -> CollectiveDemand:
    """What a collective costs each of its ranks, in the quickest way that the library has.

    `network` replaces [links.network]; `inside` names the link to use within a node. Not modelled:
    ranks that arrive apart because each host launches by itself (up to 60 us where published
    all_reduce times were taken), reduction inside switches, custom kernels of serving engines,
    compute that slows the copies down, and a torus or ring of which ranks fill only a part.
    """
    if shape.ranks == 1:
        return CollectiveDemand()
    name, link = used_link(shape, profile, network, inside)
    pattern: Pattern = "message" if shape.kind == "send_recv" else "exchange"
    kernel = collective_efficiency(profile, name, link, pattern, mode)
    hz = profile.clock.burst_hz
    dram = profile.memory["dram"].bandwidth_bytes_per_s
    way = min(ways(shape, link, kernel, dram), key=lambda way: way.seconds)
    return CollectiveDemand(
        link=name,
        latency_cycles=ceil(way.latency_s * hz),
        link_bytes=way.moved_bytes,
        link_rate=max(1, int(way.bytes_per_s / hz * RATE_ONE)),
        way=way.name,
    )


def ways(
    shape: CollectiveShape, link: Link, kernel: CollectiveEfficiency, dram_bytes_per_s: float
) -> Iterator[Way]:
    """Every way that the library has for a collective of two ranks or more."""
    moved, rate = _link_bytes(shape, link), _rate(shape, link)
    if kernel.burst_bytes is not None:
        burst = min(moved, kernel.burst_bytes) / kernel.low_latency_share
        seconds = (burst + max(0, moved - kernel.burst_bytes) / kernel.share) / rate
        yield Way("direct, in a burst", kernel.launch_s, moved / seconds, moved)
        return
    algorithm = "direct" if shape.kind in ("send_recv", "all_to_all") else "ring"
    hop_s = link.latency_s or 0.0
    inner, outer = _hops(shape, link)
    bulk_s = inner * max(kernel.bulk_step_s, hop_s) + outer * max(kernel.bulk_network_step_s, hop_s)
    own = 0 if shape.kind == "send_recv" else shape.bytes / shape.ranks
    copy_s = 2 * own / (dram_bytes_per_s * COPY_SHARE)
    fixed_s = kernel.launch_s + kernel.setup_s + bulk_s + copy_s
    yield Way(f"{algorithm}, bulk", fixed_s, rate * kernel.share, moved)
    if shape.kind == "all_reduce" and shape.nodes > 1:  # chains inside nodes, a tree between them
        inside = shape.ranks // shape.nodes
        algorithm, inner, outer = "tree", 2 * (inside - 1), 2 * ceil(log2(shape.nodes))
    quick_s = inner * max(kernel.step_s, hop_s) + outer * max(kernel.network_step_s, hop_s)
    quick_rate = rate * kernel.low_latency_share
    yield Way(f"{algorithm}, low latency", kernel.launch_s + quick_s, quick_rate, moved)


def _link_bytes(shape: CollectiveShape, link: Link) -> int:
    """Bytes that one rank sends; of several nodes, those that pass one adapter of a node.

    A ring passes each adapter once, its share of the data. All-to-all sends what leaves the node.
    """
    if shape.nodes == 1:
        return sent_bytes(shape)
    inside = shape.ranks // shape.nodes
    used = link.adapters_used(inside)
    if shape.kind == "all_to_all":
        leaving = inside * (shape.ranks - inside) * shape.bytes
        return -(-leaving // (shape.ranks * used))
    return -(-sent_bytes(shape) // used)


def _rate(shape: CollectiveShape, link: Link) -> float:
    """Bytes per second of one rank or adapter; of a mesh, over the links to the ranks alone."""
    if link.topology == "mesh":
        return link.bandwidth_bytes_per_s * (shape.ranks - 1) / (link.devices - 1)
    return link.bandwidth_bytes_per_s


def _hops(shape: CollectiveShape, link: Link) -> tuple[int, int]:
    """Hops that follow each other inside nodes and between them, around the ring once or twice.

    All-to-all: a message to each other rank; between nodes, those that share one adapter queue.
    """
    if shape.kind == "send_recv":
        return (1, 0) if shape.nodes == 1 else (0, 1)
    if shape.kind == "all_to_all" and shape.nodes > 1:
        inside = shape.ranks // shape.nodes
        return 0, -(-inside * (shape.ranks - inside) // link.adapters_used(inside))
    rounds = 2 if shape.kind == "all_reduce" else 1
    outer = rounds * (shape.nodes - 1)
    return rounds * (shape.ranks - 1) - outer, outer
