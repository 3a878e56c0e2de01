"""How well collectives use a link: a handful of physical parameters for a library of their time."""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator

from hardware_profiles.efficiency import Mode
from hardware_profiles.errors import ProfileError
from hardware_profiles.links import NETWORK, Link, load_network
from hardware_profiles.schema import Fraction, Profile
from hardware_profiles.tables import Sourced
from hardware_profiles.units import Bytes, Seconds

Pattern = Literal["exchange", "message"]
"""exchange: all ranks send and receive. message: one sends and another receives."""

_FOLDER = Path(__file__).parent
_FABRIC = "fabric"
"""Key of a machine's file: the name of the network that its entries for a network belong to."""
_ALIKE = {"pairs": "switch", "mesh": "switch", "ring": "switch", "torus": "switch"}
"""Topologies that take their defaults from another: all join devices without a host."""


class CollectiveEfficiency(Sourced):
    """How well a library's collectives use one link.

    The library takes the quicker of two protocols. Low latency: `launch`, then `step` for each hop
    inside a node and `network_step` for each between nodes, and the link at `low_latency_share` of
    its rate, since flags travel with the data. Bulk: `launch` and `setup`, then `bulk_step` and
    `bulk_network_step`, which synchronize whole chunks, and the link at `share`. With `burst` there
    is one protocol: the first `burst` bytes, which buffers on the way take up, go at
    `low_latency_share` and the rest at `share`.
    """

    launch_s: Seconds = Field(alias="launch")
    setup_s: Seconds = Field(default=0.0, alias="setup")
    step_s: Seconds = Field(default=0.0, alias="step")
    bulk_step_s: Seconds = Field(default=0.0, alias="bulk_step")
    network_step_s: Seconds = Field(default=0.0, alias="network_step")
    bulk_network_step_s: Seconds = Field(default=0.0, alias="bulk_network_step")
    share: Fraction
    low_latency_share: Fraction
    burst_bytes: Bytes | None = Field(default=None, alias="burst")

    @model_validator(mode="after")
    def _shares_in_order(self) -> CollectiveEfficiency:
        if self.burst_bytes is not None and self.low_latency_share < self.share:
            raise ValueError("low_latency_share is below share, but a burst goes at least as fast")
        if self.burst_bytes is None and self.low_latency_share > self.share:
            raise ValueError("low_latency_share is above share, but flags cost bandwidth")
        return self


Entries = dict[str, dict[Pattern, CollectiveEfficiency]]
"""By link (default.toml: by topology or transport), then by pattern."""


def collective_efficiency(
    profile: Profile, name: str, link: Link, pattern: Pattern, mode: Mode = "calibrated"
) -> CollectiveEfficiency:
    """Efficiency of the link of that name: the machine's own where fitted, else by topology.

    What was fitted over a network holds for that network alone; others get the defaults of their
    transport.
    """
    if mode == "calibrated":
        own = _entries(profile.name).get(name, {}).get(pattern)
        if own is not None and (name != NETWORK or link == _fabric(profile.name)):
            return own
    key = link.transport or _ALIKE.get(link.topology, link.topology)
    known = _entries("default")[key]
    return known.get(pattern, known["exchange"])


@cache
def _read(name: str) -> dict[str, Any]:
    path = _FOLDER / f"{name}.toml"
    return tomllib.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


@cache
def _entries(name: str) -> Entries:
    found: Entries = {}
    for link, patterns in _read(name).items():
        if link == _FABRIC:
            continue
        found[link] = {}
        for pattern, entry in patterns.items():
            try:
                found[link][pattern] = CollectiveEfficiency.model_validate(entry)
            except ValidationError as error:
                first = error.errors()[0]
                where = ".".join(map(str, (link, pattern, *first["loc"])))
                raise ProfileError(f"collectives/{name}.toml: {where}: {first['msg']}") from None
    return found


@cache
def _fabric(name: str) -> Link:
    return load_network(_read(name)[_FABRIC])
