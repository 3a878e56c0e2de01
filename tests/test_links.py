"""Links in profiles: what is bundled is sound, and what is wrong with one is said in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from hardware_profiles import ProfileError, dump_profile, list_profiles, load_profile
from hardware_profiles.links import NETWORK, list_networks, load_network
from tests.test_profiles import MINIMAL, complaint, write

NVLINK = """
[links.nvlink]
topology = "switch"
bandwidth = "300 GB/s"
devices = 8
source = "data sheet"
"""


def test_a_profile_with_links_comes_back_equal(tmp_path: Path) -> None:
    text = MINIMAL + NVLINK + '[host_link]\nbus = "PCIe 4 x16"\nbandwidth = "31.5 GB/s"\n'
    profile = load_profile(write(tmp_path, text + 'source = "data sheet"\n'))
    link = profile.links["nvlink"]
    assert (link.topology, link.bandwidth_bytes_per_s, link.devices) == ("switch", 300 * 10**9, 8)
    assert profile.host_link is not None
    assert profile.host_link.bandwidth_bytes_per_s == 31_500_000_000
    again = load_profile(write(tmp_path, dump_profile(profile), "again.toml"))
    assert again == profile
    assert dump_profile(again) == dump_profile(profile)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ('"300 GB/s"', "300", "links.nvlink.bandwidth: 300 has no unit"),
        ('"300 GB/s"', '"300 GB"', "a rate is needed here: GB/s?"),
        ('"300 GB/s"', '"300 TB/s"', "above 20 TB/s; GB/s meant?"),
        ('"300 GB/s"', '"300 kB/s"', "below 10 MB/s; GB/s meant?"),
        (
            "devices = 8",
            "devices = 8\nlatncy = '1 us'",
            "latncy: not a key of this table; did you mean",
        ),
        ('"switch"', '"star"', "links.nvlink.topology: 'star'"),
        ("devices = 8", "devices = 1", "links.nvlink.devices: 1"),
        ('source = "data sheet"', "", "links.nvlink.source: missing"),
        ('"switch"', '"pairs"', "devices = 8, but pairs join 2; mesh or switch meant?"),
        (
            '"switch"\nbandwidth = "300 GB/s"\ndevices = 8',
            '"pairs"\nbandwidth = "300 GB/s"\ndevices = 2',
            "links.nvlink.topology = 'pairs', but no other link inside a node is declared",
        ),
        ("devices", 'latency = "1 s"\ndevices', "latency = '1 s' is above 100 ms; us meant?"),
        ("devices", 'transport = "rdma"\ndevices', "transport is only for links.network"),
        ("links.nvlink", "links.network", "links.network.transport is missing; rdma or tcp?"),
    ],
)
def test_what_is_wrong_with_a_link_is_said(
    tmp_path: Path, old: str, new: str, expected: str
) -> None:
    assert old in NVLINK
    message = complaint(write(tmp_path, MINIMAL + NVLINK.replace(old, new)))
    assert message.startswith(str(tmp_path / "mine.toml"))
    assert expected in message


@pytest.mark.parametrize(
    ("bus", "bandwidth", "expected"),
    [
        ("PCIe 4 x16", "63 GB/s", "= 31.51 GB/s in one direction; both directions together?"),
        ("PCIe 4 x8", "31.5 GB/s", "PCIe 4 x8 = 15.75 GB/s in one direction"),
        ("PCIe 9 x16", "31.5 GB/s", "generation 9 is not one of 1, 2, 3, 4, 5, 6"),
    ],
)
def test_the_bandwidth_of_a_bus_must_fit(
    tmp_path: Path, bus: str, bandwidth: str, expected: str
) -> None:
    table = f'[host_link]\nbus = "{bus}"\nbandwidth = "{bandwidth}"\nsource = "data sheet"\n'
    assert expected in complaint(write(tmp_path, MINIMAL + table))


def test_networks_by_name() -> None:
    assert len(list_networks()) == len({load_network(name) for name in list_networks()})
    ndr = load_network("infiniband-ndr")
    assert ndr.bandwidth_bytes_per_s == 50 * 10**9
    assert ndr.adapters_used(8) == 8
    assert [load_network("efa-400g").adapters_used(n) for n in (1, 2, 4, 8)] == [1, 2, 4, 4]
    with pytest.raises(ProfileError, match=r"network 'ndr' is not known; known: .*infiniband-ndr"):
        load_network("ndr")


def test_bundled_links_are_what_their_makers_say() -> None:
    """A few by hand from the data sheets: both directions together, halved."""
    for name, link, gigabytes, devices in (
        ("nvidia-a100-sxm4-80gb", "nvlink", 600 / 2, 8),
        ("nvidia-h800-sxm5-80gb", "nvlink", 400 / 2, 8),
        ("nvidia-h100-pcie-80gb", "nvlink", 600 / 2, 2),
        ("nvidia-gb200", "nvlink", 1800 / 2, 72),
        ("amd-mi300x", "infinity_fabric", 7 * 128 / 2, 8),
        ("intel-gaudi-3", "roce", 21 * 200 / 8, 8),
        ("google-tpu-v5p", "ici", 1200 / 2, 8960),
    ):
        found = load_profile(name).links[link]
        assert found.bandwidth_bytes_per_s == gigabytes * 10**9, name
        assert found.devices == devices, name


def test_an_instance_of_a_divided_board_has_no_link_to_others() -> None:
    assert load_profile("nvidia-a100-sxm4-40gb-mig-1g.5gb").links == {}


def test_only_networks_leave_a_node() -> None:
    for profile in map(load_profile, list_profiles()):
        for name, link in profile.links.items():
            assert (name == NETWORK) == (link.transport is not None), profile.name
            assert name == NETWORK or link.adapters is None, profile.name
