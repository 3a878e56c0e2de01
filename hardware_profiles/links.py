"""Links between devices and between a device and its host: what a profile may say of them."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError, model_validator

from hardware_profiles.errors import ProfileError
from hardware_profiles.tables import Count, Sourced
from hardware_profiles.units import BytesPerSecond, Seconds, format_quantity

Topology = Literal["switch", "ring", "mesh", "pairs", "host", "staged", "torus"]
"""switch: any device to any other at its full rate. ring, torus: to its neighbours. mesh: a direct
link between every two, each with a share of the rate. pairs: a bridge joins two devices, and the
rest goes over another link. host: peer to peer through the host's root complex. staged: through
buffers in the host's memory, where peer access is not possible."""

LinkName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]*$", max_length=40)]

NETWORK = "network"
"""The link of a profile that leaves the node; every other joins devices inside one."""

_PCIE_BYTES_PER_S = {
    1: 250_000_000,
    2: 500_000_000,
    3: 984_615_385,
    4: 1_969_230_769,
    5: 3_938_461_538,
    6: 7_562_500_000,
}
"""Of one lane and direction after its line code (8b/10b; 128b/130b; 242/256 in flits), by
generation: PCI-SIG, rates 2.5 to 64 GT/s."""

_PCIE = re.compile(r"^PCIe ([0-9]{1,2}) x([0-9]{1,2})$")
_TOLERANCE = 0.03
_NETWORKS = Path(__file__).parent / "networks.toml"


class Link(Sourced):
    """How devices reach each other.

    `bandwidth`: of one device, or of one network adapter, in one direction. `latency`: of one hop,
    where known. `devices`: how many one such domain holds. `transport`: of a network, who moves the
    bytes: the adapters (rdma) or the hosts' kernels (tcp). `adapters`: network cards of a node;
    without it every device has its own.
    """

    topology: Topology
    bandwidth_bytes_per_s: BytesPerSecond = Field(alias="bandwidth")
    latency_s: Seconds | None = Field(default=None, alias="latency")
    devices: Annotated[Count, Field(ge=2)]
    transport: Literal["rdma", "tcp"] | None = None
    adapters: Count | None = None

    @model_validator(mode="after")
    def _plausible(self) -> Link:
        rate, shown = self.bandwidth_bytes_per_s, format_quantity(self.bandwidth_bytes_per_s, "B/s")
        if rate > 20 * 10**12:
            raise ValueError(f"bandwidth = {shown!r} is above 20 TB/s; GB/s meant?")
        if rate < 10**7:
            raise ValueError(f"bandwidth = {shown!r} is below 10 MB/s; GB/s meant?")
        if self.topology == "pairs" and self.devices != 2:
            raise ValueError(f"devices = {self.devices}, but pairs join 2; mesh or switch meant?")
        if self.latency_s is not None and self.latency_s > 0.1:
            latency = format_quantity(self.latency_s, "s")
            raise ValueError(f"latency = {latency!r} is above 100 ms; us meant?")
        return self

    def adapters_used(self, ranks: int) -> int:
        """Adapters through which `ranks` devices of one node send together."""
        return ranks if self.adapters is None else min(ranks, self.adapters)


class HostLink(Sourced):
    """How a device reaches its host, for the loading of weights and for copies.

    `bandwidth`: in one direction. `bus`: in the vendor's words; where it is "PCIe 5 x16" or another
    generation and width, the bandwidth must fit.
    """

    bus: Annotated[str, Field(min_length=3, max_length=60)]
    bandwidth_bytes_per_s: BytesPerSecond = Field(alias="bandwidth")

    @model_validator(mode="after")
    def _fits(self) -> HostLink:
        match = _PCIE.match(self.bus)
        if match is None:
            return self
        generation, lanes = int(match[1]), int(match[2])
        if generation not in _PCIE_BYTES_PER_S:
            known = ", ".join(map(str, _PCIE_BYTES_PER_S))
            raise ValueError(f"bus = {self.bus!r}: generation {generation} is not one of {known}")
        expected = _PCIE_BYTES_PER_S[generation] * lanes
        quotient = self.bandwidth_bytes_per_s / expected
        if abs(quotient - 1) <= _TOLERANCE:
            return self
        guess = "; both directions together?" if abs(quotient / 2 - 1) <= _TOLERANCE else ""
        raise ValueError(
            f"bandwidth = {format_quantity(self.bandwidth_bytes_per_s, 'B/s')!r}, but"
            f" {self.bus} = {expected / 1e9:.4g} GB/s in one direction{guess}"
        )


def link_problems(links: Mapping[str, Link]) -> Iterator[str]:
    """What is wrong between the links of a profile, each as a sentence that names the keys."""
    for name, link in links.items():
        if link.topology == "pairs" and not [x for x in links if x not in (name, NETWORK)]:
            yield (
                f"links.{name}.topology = 'pairs', but no other link inside a node is declared: "
                "how do devices of two pairs reach each other?"
            )
        if (name == NETWORK) != (link.transport is not None):
            yield (
                f"links.{name}.transport is "
                + ("missing; rdma or tcp?" if name == NETWORK else "only for links.network")
            )


@cache
def list_networks() -> tuple[str, ...]:
    """Names of the bundled networks, sorted."""
    return tuple(sorted(tomllib.loads(_NETWORKS.read_text(encoding="utf-8"))))


@cache
def load_network(name: str) -> Link:
    """The bundled network of that name, as a link; ProfileError names the known ones."""
    table = tomllib.loads(_NETWORKS.read_text(encoding="utf-8"))
    if name not in table:
        raise ProfileError(f"network {name[:40]!r} is not known; known: {', '.join(sorted(table))}")
    try:
        return Link.model_validate(table[name])
    except ValidationError as error:
        raise ProfileError(f"{_NETWORKS.name}: {name}: {error.errors()[0]['msg']}") from None
