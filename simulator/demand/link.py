"""Demand of a moment that goes over a link: fixed cycles, then bytes at the link's rate."""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulator.demand.collective import collective_demand
from simulator.demand.types import Demand

if TYPE_CHECKING:
    from simulator.demand.context import Context
    from workloads.moment import CollectiveShape


def link_demand(shape: CollectiveShape, context: Context) -> Demand:
    """What a collective asks of its device's link; it holds no core.

    Raises ProfileError where the machine has no link for so many ranks. Not modelled: cores and
    memory bandwidth that the collective takes from what runs beside it.
    """
    needs = collective_demand(shape, context.profile, network=context.network)
    return Demand(
        units=1,
        unit_cycles=0,
        cores=1,
        memory_bytes=needs.link_bytes,
        memory_cap=needs.link_rate,
        serial=(("link", needs.latency_cycles),) if needs.latency_cycles else (),
    )
