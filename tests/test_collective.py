"""Collectives: their counts, the link they use, and hand-worked times."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardware_profiles import Profile, ProfileError, list_profiles, load_profile
from hardware_profiles.collectives import CollectiveEfficiency, collective_efficiency
from hardware_profiles.links import Link, load_network
from simulator.demand.collective import (
    CollectiveDemand,
    collective_demand,
    used_link,
    ways,
)
from simulator.sharing import RATE_ONE
from workloads.moment import CollectiveShape
from workloads.op_counts import COLLECTIVES, collective, sent_bytes

H100 = load_profile("nvidia-h100-sxm5-80gb")
PAIRS = load_profile("nvidia-a100-pcie-80gb")


def efficiency(**given: Any) -> CollectiveEfficiency:
    return CollectiveEfficiency.model_validate({"source": "made up for tests", **given})


KERNEL = efficiency(
    launch="5 us", setup="10 us", step="1 us", bulk_step="2 us", network_step="4 us",
    bulk_network_step="8 us", share=0.5, low_latency_share=0.1,
)  # fmt: skip
_LINK = {"topology": "switch", "bandwidth": "100 GB/s", "devices": 8, "source": "made up for tests"}
LINK = Link.model_validate(_LINK)
NETWORK = Link.model_validate(
    {**_LINK, "bandwidth": "10 GB/s", "transport": "rdma", "adapters": 2, "devices": 64}
)
DRAM = 1e30  # bytes per second: copies cost nothing


# Counts -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "vector_ops", "read", "written", "sent"),
    [
        # 1,000 values of fp16 on 4 ranks; a reduction: 3 additions an element shared among 4 ranks
        ("all_reduce", 750, 2000, 2000, 3000),  # 2 x 3/4 of the tensor
        ("all_gather", 0, 500, 2000, 1500),
        ("reduce_scatter", 750, 2000, 500, 1500),
        ("all_to_all", 0, 2000, 2000, 1500),
    ],
)
def test_counts_and_bytes(kind: Any, vector_ops: int, read: int, written: int, sent: int) -> None:
    shape = CollectiveShape(kind, 2000, 4)
    moment = collective("c", "feed_forward", shape=shape, dtype="fp16")
    assert moment.counts.vector_ops == vector_ops
    assert (moment.counts.macs, moment.counts.special_ops) == (0, 0)
    assert (moment.read_bytes, moment.write_bytes) == (read, written)
    assert sent_bytes(shape) == sent
    assert sent_bytes(replace(shape, ranks=1)) == 0


def test_a_message_is_sent_whole() -> None:
    shape = CollectiveShape("send_recv", 2000, 2)
    assert sent_bytes(shape) == 2000
    assert collective("c", "output", shape=shape, dtype="bf16").counts.vector_ops == 0


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        (CollectiveShape("all_reduce", 0, 2), "bytes = 0"),
        (CollectiveShape("all_reduce", 8, 0), "ranks = 0"),
        (CollectiveShape("all_reduce", 8, 6, nodes=4), "ranks = 6 is not a multiple of nodes = 4"),
        (CollectiveShape("send_recv", 8, 3), "ranks = 3: send_recv joins two"),
        (CollectiveShape("gossip", 8, 2), "no formula for 'gossip'"),  # type: ignore[arg-type]
    ],
)
def test_bad_shapes_never_count_nothing(shape: CollectiveShape, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        collective("c", "output", shape=shape, dtype="fp16")


# Ways ---------------------------------------------------------------------------------------------


def seconds(shape: CollectiveShape, link: Link = LINK) -> dict[str, float]:
    return {way.name: way.seconds for way in ways(shape, link, KERNEL, DRAM)}


def test_all_reduce_by_hand() -> None:
    """4 ranks, 1 MB: 1.5 MB sent, 6 steps around the ring twice.

    Low latency: 5 + 6 x 1 us and 1.5 MB at 10 GB/s = 150 us. Bulk: 5 + 10 + 6 x 2 us and 1.5 MB at
    50 GB/s = 30 us.
    """
    found = seconds(CollectiveShape("all_reduce", 10**6, 4))
    assert found == pytest.approx({"ring, low latency": 161e-6, "ring, bulk": 57e-6})


def test_the_protocol_switches_with_the_size() -> None:
    """Equal where 11 us + b / 10 GB/s = 27 us + b / 50 GB/s: b = 200 kB sent, 133 kB of tensor."""
    for kilobytes, best in ((120, "ring, low latency"), (146, "ring, bulk")):
        found = seconds(CollectiveShape("all_reduce", kilobytes * 1000, 4))
        assert min(found, key=lambda way: found[way]) == best


def test_nodes_by_hand() -> None:
    """8 ranks on 2 nodes, 1 MB, two adapters of 10 GB/s in a node: 1.75 MB sent, half on each.

    Bulk: a ring of 14 steps, of which 2 leave the node: 15 + 12 x 2 + 2 x 8 us, 875 kB at 5 GB/s =
    175 us. Low latency: chains of 3 and up and down one level of a tree: 5 + 6 x 1 + 2 x 4 us,
    875 kB at 1 GB/s.
    """
    found = seconds(CollectiveShape("all_reduce", 10**6, 8, nodes=2), NETWORK)
    assert found == pytest.approx({"ring, bulk": 230e-6, "tree, low latency": 894e-6})


def test_all_to_all_between_nodes_queues_at_the_adapters() -> None:
    """8 ranks on 2 nodes: 4 x 4 messages leave a node, 8 through each of its two adapters.

    They hold 4 x 4/8 of 1 MB = 2 MB, 1 MB an adapter: 15 + 8 x 8 us, then 1 MB at 5 GB/s.
    """
    found = seconds(CollectiveShape("all_to_all", 10**6, 8, nodes=2), NETWORK)
    assert found["direct, bulk"] == pytest.approx(279e-6)


def test_own_part_is_copied_in_memory() -> None:
    """2 ranks gather 2 MB: 1 MB of its own is read and written at 0.6 of 1 TB/s: 3.33 us."""
    shape = CollectiveShape("all_gather", 2 * 10**6, 2)
    slow, fast = (
        next(w for w in ways(shape, LINK, KERNEL, dram) if w.name == "ring, bulk").seconds
        for dram in (1e12, DRAM)
    )
    assert slow - fast == pytest.approx(2e6 / 0.6e12)


def test_a_mesh_uses_the_links_to_its_ranks() -> None:
    """2 of 8: one of seven links, 100 / 7 GB/s; half of it for 1 MB: 140 us and 5 + 10 + 2."""
    mesh = LINK.model_copy(update={"topology": "mesh"})
    found = seconds(CollectiveShape("send_recv", 10**6, 2), mesh)
    assert found["direct, bulk"] == pytest.approx(157e-6)


def test_a_burst_by_hand() -> None:
    """100 kB at half of 100 GB/s, then 900 kB at a tenth: 2 + 90 us after 5 us."""
    burst = efficiency(launch="5 us", share=0.1, low_latency_share=0.5, burst="100 kB")
    (way,) = ways(CollectiveShape("send_recv", 10**6, 2), LINK, burst, DRAM)
    assert way.seconds == pytest.approx(97e-6)


def test_shares_that_contradict_each_other() -> None:
    with pytest.raises(ValueError, match="low_latency_share is below share"):
        efficiency(launch="5 us", share=0.5, low_latency_share=0.1, burst="1 MB")
    with pytest.raises(ValueError, match="low_latency_share is above share"):
        efficiency(launch="5 us", share=0.1, low_latency_share=0.5)


# Links --------------------------------------------------------------------------------------------


def test_a_pair_uses_its_bridge_and_four_the_bus() -> None:
    assert used_link(CollectiveShape("all_reduce", 8, 2), PAIRS)[0] == "nvlink"
    assert used_link(CollectiveShape("all_reduce", 8, 4), PAIRS)[0] == "pcie"


def test_several_nodes_use_the_network() -> None:
    shape = CollectiveShape("all_reduce", 8, 16, nodes=2)
    assert used_link(shape, H100) == ("network", H100.links["network"])
    other = load_network("ethernet-100g")
    assert used_link(shape, H100, other) == ("network", other)


@pytest.mark.parametrize(
    ("profile", "shape", "inside", "message"),
    [
        (H100, CollectiveShape("all_reduce", 8, 16), None, "no link of the profile joins 16 dev"),
        (PAIRS, CollectiveShape("all_reduce", 8, 4, nodes=2), None, "no .links.network. is decl"),
        (
            PAIRS,
            CollectiveShape("all_reduce", 8, 2),
            "nvlnk",
            r"no link 'nvlnk' inside a node \(li",
        ),
    ],
)
def test_a_machine_without_the_link_says_so(
    profile: Profile, shape: CollectiveShape, inside: str | None, message: str
) -> None:
    with pytest.raises(ProfileError, match=message):
        collective_demand(shape, profile, inside=inside)


def test_what_was_fitted_over_a_network_holds_for_it_alone() -> None:
    machine = load_profile("nvidia-v100-pcie-16gb")
    measured, other = load_network("ethernet-10g"), load_network("ethernet-25g")
    own = collective_efficiency(machine, "network", measured, "exchange")
    default = collective_efficiency(machine, "network", measured, "exchange", "zero-shot")
    assert own != default
    assert collective_efficiency(machine, "network", other, "exchange") == default


# Demand -------------------------------------------------------------------------------------------


def test_one_rank_costs_nothing() -> None:
    for kind in COLLECTIVES:
        assert collective_demand(CollectiveShape(kind, 10**9, 1), H100) == CollectiveDemand()
    assert CollectiveDemand().cycles == 0


KINDS = st.sampled_from(COLLECTIVES)
MACHINES = st.sampled_from([H100, PAIRS, load_profile("amd-mi300x"), load_profile("google-tpu-v4")])
MODES = st.sampled_from(["calibrated", "zero-shot"])


def shaped(kind: Any, size: int, ranks: int) -> CollectiveShape:
    return CollectiveShape(kind, size, 2 if kind == "send_recv" else ranks)


@given(KINDS, MACHINES, MODES, st.integers(1, 2**33), st.integers(0, 2**30), st.integers(2, 8))
def test_more_bytes_are_never_faster(
    kind: Any, machine: Profile, mode: Any, size: int, more: int, ranks: int
) -> None:
    few, many = (
        collective_demand(shaped(kind, b, ranks), machine, mode=mode) for b in (size, size + more)
    )
    assert few.cycles <= many.cycles + 1  # each is rounded to cycles


@given(KINDS, st.integers(1, 2**33), st.sampled_from([2, 4, 8, 16]), st.sampled_from([1, 2, 4]))
def test_more_bandwidth_is_never_slower(kind: Any, size: int, ranks: int, nodes: int) -> None:
    nodes = min(nodes, ranks)
    shape = CollectiveShape(kind, size, 2, min(nodes, 2))
    if kind != "send_recv":
        shape = CollectiveShape(kind, size, ranks, nodes)
    link = NETWORK if shape.nodes > 1 else LINK
    twice = link.model_copy(update={"bandwidth_bytes_per_s": 2 * link.bandwidth_bytes_per_s})
    slow, fast = (min(seconds(shape, which).values()) for which in (link, twice))
    assert fast <= slow


@given(KINDS, MACHINES, MODES, st.integers(1, 2**33), st.integers(2, 8))
def test_no_collective_beats_its_link(
    kind: Any, machine: Profile, mode: Any, size: int, ranks: int
) -> None:
    """All-reduce: 2 (p - 1) / p of the tensor at the link's full rate; the others accordingly."""
    shape = shaped(kind, size, ranks)
    demand = collective_demand(shape, machine, mode=mode)
    rate = machine.links[demand.link].bandwidth_bytes_per_s
    assert demand.cycles / machine.clock.burst_hz >= sent_bytes(shape) / rate
    assert 0 < demand.link_rate <= rate / machine.clock.burst_hz * RATE_ONE


def test_every_machine_with_links_can_send_and_reduce() -> None:
    """Where no message was measured over a kind of link, it goes as fast as an exchange."""
    for name in list_profiles():
        profile = load_profile(name)
        if any(link.devices > 1 for name, link in profile.links.items() if name != "network"):
            for kind in ("send_recv", "all_reduce"):
                assert collective_demand(CollectiveShape(kind, 4096, 2), profile).cycles > 0
