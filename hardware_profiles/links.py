"""Links between devices and between a device and its host: what a profile may say of them."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError, model_validator

from hardware_profiles.errors import ProfileError
from hardware_profiles.tables import Count, Sourced
from hardware_profiles.units import BytesPerSecond, Seconds, format_quantity

Topology = Literal["switch", "ring", "mesh", "pairs", "host", "torus"]
"""switch: any device to any other at its full rate. ring, torus: to its neighbours. mesh: a direct
link between every two, each with a share of the rate. pairs: a bridge joins two devices, and the
rest goes over another link. host: through the host's root complex."""

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

_TOLERANCE = 0.03
_NETWORKS = Path(__file__).parent / "networks.toml"


class Link(Sourced):
    """How devices reach each other.

    `bandwidth`: of one device in one direction. `latency`: of one hop, where known. `devices`: how
    many one such domain holds. `shared_by`: how many devices of a node share one adapter of this
    bandwidth (a network card); 1: each has its own.
    """

    topology: Topology
    bandwidth_bytes_per_s: BytesPerSecond = Field(alias="bandwidth")
    latency_s: Seconds | None = Field(default=None, alias="latency")
    devices: Annotated[Count, Field(ge=2)]
    shared_by: Count = 1

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

    def node_bytes_per_s(self, ranks: int) -> int:
        """What `ranks` devices of one node send together in one direction."""
        return self.bandwidth_bytes_per_s * -(-ranks // self.shared_by)


class HostLink(Sourced):
    """How a device reaches its host, for the loading of weights and for copies.

    `bandwidth`: in one direction. `pcie`: the generation, where the bus is PCIe; with `lanes` it
    must fit the bandwidth.
    """

    bandwidth_bytes_per_s: BytesPerSecond = Field(alias="bandwidth")
    pcie: Annotated[int, Field(ge=1, le=6, strict=True)] | None = None
    lanes: Annotated[int, Field(ge=1, le=32, strict=True)] | None = None

    @model_validator(mode="after")
    def _fits(self) -> HostLink:
        if (self.pcie is None) != (self.lanes is None):
            missing = "lanes" if self.lanes is None else "pcie"
            raise ValueError(f"{missing} is missing; pcie and lanes go together")
        if self.pcie is None or self.lanes is None:
            return self
        expected = _PCIE_BYTES_PER_S[self.pcie] * self.lanes
        quotient = self.bandwidth_bytes_per_s / expected
        if abs(quotient - 1) <= _TOLERANCE:
            return self
        guess = "; both directions together?" if abs(quotient / 2 - 1) <= _TOLERANCE else ""
        raise ValueError(
            f"bandwidth = {format_quantity(self.bandwidth_bytes_per_s, 'B/s')!r}, but PCIe"
            f" {self.pcie} x {self.lanes} lanes = {expected / 1e9:.4g} GB/s in one direction{guess}"
        )


def link_problems(links: Mapping[str, Link]) -> Iterator[str]:
    """What is wrong between the links of a profile, each as a sentence that names the keys."""
    for name, link in links.items():
        if link.topology == "pairs" and not [x for x in links if x not in (name, NETWORK)]:
            yield (
                f"links.{name}.topology = 'pairs', but no other link inside a node is declared: "
                "how do devices of two pairs reach each other?"
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
