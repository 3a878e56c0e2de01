"""Moment x profile x runtime -> demand: what one moment asks of one machine, as pure functions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulator.demand.context import Context
from simulator.demand.cpu import cpu_demand
from simulator.demand.gpu import gpu_demand
from simulator.demand.ideal import ideal_demand
from simulator.demand.link import link_demand
from simulator.demand.load import load_demand
from simulator.demand.types import Cause, Demand
from workloads.moment import CollectiveShape

if TYPE_CHECKING:
    from simulator.memory import Traffic
    from workloads.moment import Moment

__all__ = ["Cause", "Context", "Demand", "demand_of"]


def demand_of(moment: Moment, traffic: Traffic, context: Context) -> Demand:
    """What `moment` asks of the machine, with its host time in cycles of the host's clock."""
    if moment.kind == "load":
        return load_demand(moment, context)
    if isinstance(moment.shape, CollectiveShape):
        demand = link_demand(moment.shape, context)
    elif context.runtime.ideal:
        demand = ideal_demand(moment, traffic, context)
    elif context.profile.kind == "gpu":
        demand = gpu_demand(moment, traffic, context)
    else:
        demand = cpu_demand(moment, traffic, context)
    host = context.runtime.host
    if host is None:
        return demand
    seconds = host.by_kind_s.get(_call(moment), host.moment_s)
    library = context.runtime.library
    if library is not None:
        seconds *= library.steps.get(moment.kind, 1)
    return demand.dispatched(context.host_cycles(seconds))


def _call(moment: Moment) -> str:
    """What a framework calls to run it: a product with weights is a module of its own."""
    weights = moment.weight_dtype or any(tensor.role == "weight" for tensor in moment.reads)
    if moment.kind == "matmul" and weights:
        return "linear"
    return moment.kind
