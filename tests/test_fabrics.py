"""Published collectives: the shape and the links of a case, and its prediction."""

from __future__ import annotations

from typing import Any

import pytest

from hardware_profiles import load_profile
from hardware_profiles.links import load_network
from simulator.cases import Case
from simulator.demand.collective import collective_demand
from simulator.fabrics import measured_collective
from simulator.predict import Predictor, Skip
from workloads.moment import CollectiveShape

A100 = "nvidia-a100-sxm4-80gb"


def case(**changes: Any) -> Case:
    given: dict[str, Any] = {
        "case_id": "c1", "hardware": A100, "devices": 8, "runtime": "kernel", "workload": "",
        "what": "all_reduce", "dtype": "fp16", "weight_dtype": "fp16", "sizes": {"bytes": 2**20},
        "measured_us": 100.0, "source": "vidur 0123456789ab", "conditions": "devices_per_node=4",
    }  # fmt: skip
    return Case(**{**given, **changes})


@pytest.mark.parametrize(
    ("conditions", "nodes"),
    [
        ("network=a100_dgx; devices_per_node=4; bytes = message size per rank", 2),
        ("devices_per_node=8", 1),
        ("nodes=4; bytes = buffer per rank", 4),
        ("NVLink; bytes = message size per rank", 1),
    ],
)
def test_nodes_follow_from_the_conditions(conditions: str, nodes: int) -> None:
    found = measured_collective(case(conditions=conditions), load_profile(A100))
    assert found.shape == CollectiveShape("all_reduce", 2**20, 8, nodes)


def test_links_follow_from_the_source() -> None:
    between = measured_collective(case(), load_profile(A100))
    assert between.network == load_network("efa-400g")
    inside = measured_collective(case(conditions="devices_per_node=8"), load_profile(A100))
    assert (inside.network, inside.inside) == (None, None)
    m40 = case(hardware="nvidia-m40", source="deepbench 0123", conditions="nodes=1")
    assert measured_collective(m40, load_profile("nvidia-m40")).inside == "host_memory"


def test_a_cpu_is_a_node() -> None:
    phi = "intel-xeon-phi-7250"
    one = case(hardware=phi, source="deepbench 0123", conditions="nodes=1")
    found = measured_collective(one, load_profile(phi))
    assert found.shape.nodes == 8
    assert found.network == load_network("omni-path")


def test_a_case_is_predicted_as_its_demand() -> None:
    profile = load_profile(A100)
    shape = CollectiveShape("all_reduce", 2**20, 8, 2)
    for mode in ("calibrated", "zero-shot"):
        needs = collective_demand(shape, profile, network=load_network("efa-400g"), mode=mode)
        seconds = Predictor(mode=mode).latency_s(case())
        assert seconds == needs.cycles / profile.clock.burst_hz


def test_without_a_link_there_is_no_prediction() -> None:
    with pytest.raises(Skip, match="no link of the profile joins 16 devices of one node"):
        Predictor().latency_s(case(devices=16, source="mine", conditions="nodes=1"))
