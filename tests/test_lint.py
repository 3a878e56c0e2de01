"""The linter: every bundled profile passes, and each kind of slip that it knows is found."""

from __future__ import annotations

from pathlib import Path

import pytest

from hardware_profiles import ProfileError, list_profiles
from hardware_profiles.lint import Report, lint

A100 = "nvidia-a100-sxm4-80gb"
SAID = 'source = "NVIDIA A100 datasheet, changed for a test"\n'


@pytest.mark.parametrize("name", list_profiles())
def test_bundled_profiles_are_not_in_doubt(name: str) -> None:
    assert lint(name).findings == ()


def changed(tmp_path: Path, table: str, text: str, base: str = A100) -> Report:
    """The report on a machine that says `text` in one of its tables."""
    path = tmp_path / "mine.toml"
    said = "" if "source" in text else SAID
    head = f'extends = "{base}"\nname = "mine"\ntitle = "Mine"\n'
    path.write_text(f"{head}[{table}]\n{text}\n{said}", encoding="utf-8")
    return lint(path)


@pytest.mark.parametrize(
    ("table", "text", "key", "slip"),
    [
        ("peak", 'flops = { fp16 = "624 TFLOP/s" }', "peak.flops.fp16", "with sparsity?"),
        ("peak", 'flops = { fp16 = "156 TFLOP/s" }', "peak.flops.fp16", "half: multiply-acc"),
        ("clock", 'burst = "1410 GHz"', "clock.burst", "MHz meant?"),
        ("clock", 'burst = "1.41 MHz"', "clock.burst", "GHz or MHz meant?"),
        ("memory.dram", 'bandwidth = "2039 GB"', "memory.dram.bandwidth", "a rate is needed here"),
        ("memory.dram", "bus_bits = 10240", "memory.dram.bandwidth", "half of the bus"),
        ("memory.dram", "bus_bits = 640", "memory.dram.bandwidth", "bits where bytes are meant"),
        (
            "memory.dram",
            'data_rate = "2.967 Gbit/s"',
            "memory.dram.bandwidth",
            "GiB/s where GB/s is meant",
        ),
        (
            "memory.dram",
            'data_rate = "1.593 Gbit/s"',
            "memory.dram.bandwidth",
            "a data rate that is a clock",
        ),
        ("memory.dram", 'data_rate = "3.186 GB/s"', "memory.dram.data_rate", "in bits: Gbit/s?"),
        ("memory.dram", 'data_rate = "3.186 Gb/s"', "memory.dram.data_rate", "spelled out here"),
        (
            "memory.dram",
            'bandwidth = "1899 GiB/s"',
            "memory.dram.bandwidth",
            "quoted in powers of ten",
        ),
        ("memory.l2", 'capacity = "40 MB"', "memory.l2.capacity", "MB where MiB is meant"),
        ("memory.l2", 'capacity = "4 KiB"', "memory.l2.capacity", "a slip between KiB, MiB"),
        ("memory.l1", 'capacity = "192 KiB"\ninstances = 10000', "memory.l2.capacity", "instances"),
        ("memory.l2", 'bandwidth = "5.4 GB/s"', "memory.l2.bandwidth_per_core", "does not fit"),
        ("memory.l2", 'bandwidth = "39 TB/s"', "memory.l2.bandwidth_per_core", "does not fit"),
        ("memory.l1", 'latency = "300 ns"', "memory.l2.latency", "cycles of another clock"),
        ("memory.l1", 'latency = "25 us"', "memory.l1.latency", "us where ns is meant"),
        ("memory.l1", 'line = "4 B"', "memory.l1.line", "bits?"),
        ("memory.dram", 'bytes_in_flight = "64 B"', "memory.dram.bytes_in_flight", "smaller unit"),
        ("power", 'tdp = "4 W"', "power.tdp", "mW?"),
        ("power", 'tdp = "400 W"\nidle = "500 W"', "power", "swapped?"),
        ("price", 'to_buy = 3\ndate = "2024-01"', "price.to_buy", "a price per hour"),
        (
            "price",
            'to_buy = 10000\nper_hour = 100\ndate = "2024-01"',
            "price.per_hour",
            "of a whole server",
        ),
        ("price", 'to_buy = 3\ndate = "last year"', "price.date", ""),
        ("price", "to_buy = 10000", "price.date", "the day or month"),
        ("process", "transistors = 54.2e6", "process.transistors", "billions are meant"),
        ("power", 'tdp = "400 W"\nsource = "datasheet, online"', "power.source", ""),
        (
            "peak",
            'flops = { fp16 = "312 TFLOP/s" }\nsource = "NVIDIA A100 datasheet, sparse figures"',
            "peak.source",
            "a figure with sparsity",
        ),
        ("width", "matrix = { fp17 = 3 }", "width.matrix", "did you mean fp16"),
        ("memory.dram", 'bandwith = "2 TB/s"', "memory.dram.bandwith", "did you mean bandwidth"),
    ],
)
def test_each_kind_of_slip_is_found(
    table: str, text: str, key: str, slip: str, tmp_path: Path
) -> None:
    found = changed(tmp_path, table, text).findings
    assert [f for f in found if f.key == key and slip in f"{f.expected}; {f.slip}"], found
    assert {f.file for f in found} == {str(tmp_path / "mine.toml")}


def test_farther_levels_are_not_faster(tmp_path: Path) -> None:
    text = 'bandwidth = "30 TB/s"\nbandwidth_per_core = "300 GB/s"'
    found = changed(tmp_path, "memory.l2", text).findings
    assert [f.key for f in found] == ["memory.l2.bandwidth", "memory.l2.bandwidth_per_core"]
    assert found[0].expected == "at most memory.l1.bandwidth = 19.49 TB/s"


def test_arithmetic_without_the_memory_to_feed_it(tmp_path: Path) -> None:
    text = 'bandwidth = "51 GB/s"\nbandwidth_per_core = "51 GB/s"'
    expected = [f.expected for f in changed(tmp_path, "memory.dram", text).findings]
    assert "0.5 to 5000 FLOP of 311.9 TFLOP/s for each byte, not 6.12e+03" in expected


def test_half_of_a_bus_is_asked_for_the_other_half(tmp_path: Path) -> None:
    text = 'bandwidth = "1 GB/s"\nbandwidth_per_core = "1 GB/s"\nbus_bits = 8'
    (found,) = changed(tmp_path, "memory.dram", text, "teaching").findings
    assert (found.key, found.expected) == (
        "memory.dram.data_rate",
        "bus_bits and data_rate together",
    )


def test_estimates_are_counted() -> None:
    report = lint("nvidia-t4")
    assert report.name == "nvidia-t4"
    assert 0 < report.estimated < report.tables


@pytest.mark.parametrize("name", ["nothing.toml", "nvidia-a1000", "host"])
def test_what_cannot_be_read_is_an_error(name: str, tmp_path: Path) -> None:
    with pytest.raises(ProfileError):
        lint(name)
    broken = tmp_path / "broken.toml"
    broken.write_text("[power\n", encoding="utf-8")
    with pytest.raises(ProfileError, match="not valid TOML"):
        lint(broken)
