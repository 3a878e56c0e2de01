"""What joined the devices of published collectives: from a measured case to a shape and its links.

Where a source does not state its fabric, the standard one that fits its largest messages is taken,
and the comment says so: a choice among standard links, made after seeing them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hardware_profiles.links import load_network
from workloads.moment import CollectiveShape

if TYPE_CHECKING:
    from hardware_profiles.links import Link
    from hardware_profiles.schema import Profile
    from simulator.cases import Case

_NODES = re.compile(r"(?:^|; )nodes=([1-9][0-9]{0,4})(?:;|$)")
_PER_NODE = re.compile(r"(?:^|; )devices_per_node=([1-9][0-9]{0,4})(?:;|$)")

_NETWORKS = {
    # not stated; four cards of 100 Gb/s in a node fit 6 GB/s from one device, 18 to 21 from all
    ("vidur", "nvidia-a100-sxm4-80gb"): "efa-400g",
    ("vidur", "nvidia-h100-sxm5-80gb"): "infiniband-ndr",  # as in a DGX H100
    # virtual machines of four boards joined in pairs; the file of the H100 repeats that of the A100
    ("vidur", "nvidia-a100-pcie-80gb"): "ethernet-80g",
    ("vidur", "nvidia-h100-pcie-80gb"): "ethernet-80g",
    ("vidur", "nvidia-a40"): "ethernet-80g",  # not stated; 2.3 GB/s, as on the A100
    ("apex_plus", "nvidia-v100-pcie-16gb"): "ethernet-10g",  # not stated; 1.2 GB/s
    ("deepbench", "intel-xeon-phi-7250"): "omni-path",
}
_DEFAULT_NETWORKS = {"deepbench": "infiniband-fdr"}
"""DeepBench's GPU clusters: "Infiniband"; the rate is not stated."""

_NO_PEER_ACCESS = {
    ("vidur", "nvidia-a40"),  # 4 GB/s with a bridge of 56: neither bridge nor peer access was used
    ("apex_plus", "nvidia-v100-pcie-16gb"),  # 4.4 GB/s
    ("deepbench", "nvidia-m40"),  # this and the next two: 6 GB/s; others of DeepBench reach 12
    ("deepbench", "nvidia-p100-pcie-16gb"),
    ("deepbench", "nvidia-titan-x-maxwell"),
}


@dataclass(frozen=True, slots=True)
class MeasuredCollective:
    """A collective as a source ran it: its shape and its links."""

    shape: CollectiveShape
    network: Link | None
    inside: str | None


def measured_collective(case: Case, profile: Profile) -> MeasuredCollective:
    """The collective of a case. CPUs are taken as one device a node, as they were measured.

    All sources count bytes as CollectiveShape does: what apex_plus lists for all_gather and
    reduce_scatter is the full tensor, for all_to_all the buffer of a rank (its profiling script).
    """
    source = case.source.split(" ", 1)[0]
    per_node, stated = _PER_NODE.search(case.conditions), _NODES.search(case.conditions)
    if profile.kind == "cpu":
        nodes = case.devices
    elif per_node is not None:
        nodes = -(-case.devices // int(per_node[1]))
    else:
        nodes = int(stated[1]) if stated is not None else 1
    shape = CollectiveShape(case.what, case.sizes["bytes"], case.devices, nodes)  # type: ignore[arg-type]
    key = (source, case.hardware)
    network = _NETWORKS.get(key, _DEFAULT_NETWORKS.get(source))
    return MeasuredCollective(
        shape=shape,
        network=load_network(network) if network is not None and nodes > 1 else None,
        inside="host_memory" if key in _NO_PEER_ACCESS and nodes == 1 else None,
    )
