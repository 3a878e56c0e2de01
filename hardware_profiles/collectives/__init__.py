"""How well collectives use a link: a handful of physical parameters for a library of their time."""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from hardware_profiles.errors import ProfileError
from hardware_profiles.links import NETWORK
from hardware_profiles.schema import Fraction, Profile
from hardware_profiles.tables import Sourced
from hardware_profiles.units import Seconds

Mode = Literal["zero-shot", "calibrated"]
"""zero-shot: nothing was fitted on that machine. calibrated: fitted on some of its cases, where
there are any."""

_FOLDER = Path(__file__).parent


class CollectiveEfficiency(Sourced):
    """How well a library's collectives use one kind of link.

    A message goes in the quicker of two protocols. Low latency (LL): launch + steps x `step`, and
    the link's rate x `low_latency_share`, since flags travel with the data. Simple: launch + steps
    x `simple_step`, which synchronizes after each chunk, and the link's rate x `share`.
    """

    launch_s: Seconds = Field(alias="launch")
    step_s: Seconds = Field(alias="step")
    simple_step_s: Seconds = Field(alias="simple_step")
    share: Fraction
    low_latency_share: Annotated[float, Field(gt=0, le=1)]


@cache
def _table(name: str) -> dict[str, CollectiveEfficiency]:
    path = _FOLDER / f"{name}.toml"
    if not path.is_file():
        return {}
    table = tomllib.loads(path.read_text(encoding="utf-8"))
    try:
        return {key: CollectiveEfficiency.model_validate(entry) for key, entry in table.items()}
    except ValidationError as error:
        raise ProfileError(f"collectives/{path.name}: {error.errors()[0]['msg']}") from None


def collective_efficiency(
    profile: Profile, link: str, mode: Mode = "calibrated"
) -> CollectiveEfficiency:
    """Efficiencies of the link of that name: the machine's own where fitted, else by its topology.

    A network, which the profile need not declare, has entries of its own.
    """
    if mode == "calibrated":
        own = _table(profile.name).get(link)
        if own is not None:
            return own
    default = _table("default")
    if link == NETWORK:
        return default[NETWORK]
    if link not in profile.links:
        known = ", ".join(profile.links) or "none"
        raise ProfileError(f"{profile.name}: no link {link!r} (its links: {known})")
    return default.get(profile.links[link].topology, default["switch"])
