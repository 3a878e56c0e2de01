"""Quantities with units: what is read, what is refused, and that text and value agree."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardware_profiles.units import format_quantity, parse_quantity, shorten

UNITS = ("B", "B/s", "bit/s", "Hz", "s", "FLOP/s", "W", "J")


@pytest.mark.parametrize(
    ("text", "unit", "value"),
    [
        ("3.35 TB/s", "B/s", Decimal("3.35e12")),
        ("1.83 GHz", "Hz", Decimal(1_830_000_000)),
        ("50 MiB", "B", Decimal(50 * 2**20)),
        ("80 GB", "B", Decimal(80 * 10**9)),
        ("2.8 us", "s", Decimal("2.8e-6")),
        ("2.8 \u00b5s", "s", Decimal("2.8e-6")),
        ("2.8 \u03bcs", "s", Decimal("2.8e-6")),
        ("989.4 TFLOP/s", "FLOP/s", Decimal("989.4e12")),
        ("1_248 TOP/s", "FLOP/s", Decimal("1248e12")),
        ("400 W", "W", Decimal(400)),
        ("1.2 pJ", "J", Decimal("1.2e-12")),
        ("21 Gbit/s", "bit/s", Decimal(21 * 10**9)),
        ("1e3 B", "B", Decimal(1000)),
        ("  7GB  ", "B", Decimal(7 * 10**9)),
    ],
)
def test_reads_what_people_write(text: str, unit: str, value: Decimal) -> None:
    assert parse_quantity(text, unit) == value


@given(st.integers(1, 10**6))
def test_kb_and_kib_differ(count: int) -> None:
    assert parse_quantity(f"{count} kB", "B") == 1000 * count
    assert parse_quantity(f"{count} KiB", "B") == 1024 * count


@given(st.integers(1, 10**6), st.sampled_from(("k", "M", "G", "T", "Ki", "Mi", "Gi", "Ti")))
def test_an_amount_is_no_rate_and_a_rate_no_amount(count: int, prefix: str) -> None:
    with pytest.raises(ValueError, match=f"a rate is needed here: {prefix}B/s"):
        parse_quantity(f"{count} {prefix}B", "B/s")
    with pytest.raises(ValueError, match=f"an amount is needed here, not a rate: {prefix}B"):
        parse_quantity(f"{count} {prefix}B/s", "B")


@pytest.mark.parametrize(
    ("text", "unit", "why"),
    [
        ("900 GB", "B/s", "a rate is needed here: GB/s?"),
        ("900 GB/s", "B", "an amount is needed here, not a rate: GB?"),
        ("900 Gb/s", "B/s", "b is a bit and B a byte: GB/s?"),
        ("50 Mib", "B", "b is a bit and B a byte: MiB?"),
        ("64 KB", "B", "capitals matter: kB?"),
        ("1.8 ghz", "Hz", "capitals matter: GHz?"),
        ("312 TFLOPS", "FLOP/s", "write TFLOP/s"),
        ("624 TOPS", "FLOP/s", "write TOP/s"),
        ("21 Gb/s", "bit/s", "bits are spelled out here: Gbit/s?"),
        ("21 GB/s", "bit/s", "B is a byte and a data rate is in bits: Gbit/s?"),
        ("21 Gbit/s", "B/s", "unit 'Gbit/s' is not one of B/s, kB/s"),
        ("1.2 pj", "J", "capitals matter: pJ?"),
        ("3 parsecs", "s", "unit 'parsecs' is not one of s, ms, us, ns, ps"),
    ],
)
def test_names_the_likely_slip(text: str, unit: str, why: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse_quantity(text, unit)
    assert why in str(caught.value)
    assert "\n" not in str(caught.value)


@given(st.sampled_from(UNITS), st.one_of(st.integers(), st.floats(), st.booleans()))
def test_refuses_bare_numbers(unit: str, number: float) -> None:
    with pytest.raises(ValueError, match="has no unit; write it as text with one"):
        parse_quantity(number, unit)


@pytest.mark.parametrize("text", ["", "GB", "12", "-3 GB", "1,5 GB", "9" * 99 + " GB"])
def test_refuses_what_is_no_quantity(text: str) -> None:
    with pytest.raises(ValueError, match="is not a number with a unit"):
        parse_quantity(text, "B")


@pytest.mark.parametrize("value", [None, [], {}, b"3 GB"])
def test_refuses_other_types(value: object) -> None:
    with pytest.raises(ValueError, match="is not a number with a unit"):
        parse_quantity(value, "B")


def test_refuses_an_unknown_kind_of_unit() -> None:
    with pytest.raises(ValueError, match="unit 'm' is not one of B, B/s"):
        parse_quantity("3 m", "m")


@given(st.sampled_from(("B", "B/s", "bit/s", "Hz")), st.integers(1, 10**18))
def test_whole_quantities_survive_text(unit: str, value: int) -> None:
    assert int(parse_quantity(format_quantity(value, unit), unit)) == value


@given(st.sampled_from(("s", "FLOP/s", "W", "J")), st.floats(1e-12, 1e18))
def test_real_quantities_survive_text(unit: str, value: float) -> None:
    assert float(parse_quantity(format_quantity(value, unit), unit)) == value


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (50 * 2**20, "B", "50 MiB"),
        (80 * 10**9, "B", "80 GB"),
        (2_039_000_000_000, "B/s", "2.039 TB/s"),
        (1e-7, "s", "100 ns"),
        (0.0, "s", "0 s"),
        (624e12, "FLOP/s", "624 TFLOP/s"),
    ],
)
def test_writes_as_people_do(value: float, unit: str, text: str) -> None:
    assert format_quantity(value, unit) == text


def test_shortens_what_a_message_quotes() -> None:
    assert shorten("a\nb") == r"'a\nb'"
    assert len(shorten("x" * 1000)) < 70
    assert shorten(10**5000) == "a huge number"
