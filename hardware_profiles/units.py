"""Quantities as people write them ("3.35 TB/s", "1.83 GHz", "50 MiB") turned into base units."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from typing import Annotated

from pydantic import BeforeValidator, Field, PlainSerializer, SerializationInfo

_DECIMAL = {"": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15}
_BINARY = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40}
# Both signs for micro: U+00B5, which keyboards type, and U+03BC, the Greek letter.
_SMALL = {"": 0, "m": -3, "u": -6, "\u00b5": -6, "\u03bc": -6, "n": -9, "p": -12}
_QUANTITY = re.compile(
    r"^\s*([0-9][0-9_]*(?:\.[0-9]+)?(?:[eE][+-]?[0-9]{1,3})?)\s*([^\s\d.,_].*?)\s*$"
)
_EXAMPLES = {
    "B": "50 MiB",
    "B/s": "3.35 TB/s",
    "Hz": "1.83 GHz",
    "s": "2.8 us",
    "FLOP/s": "312 TFLOP/s",
    "W": "400 W",
    "J": "1.2 pJ",
    "bit/s": "21 Gbit/s",
}
PLAIN = "plain"
"""Context of a dump that no one reads: quantities in base units, which takes less time."""
_LONGEST = 64
"""Characters of a quantity; anything longer is not one."""


@cache
def _scales(unit: str) -> dict[str, Decimal]:
    """Every spelling of `unit` that is accepted, with its factor; not to be changed."""
    if unit in ("s", "J"):
        return {prefix + unit: Decimal(10) ** power for prefix, power in _SMALL.items()}
    scales = {prefix + unit: Decimal(10) ** power for prefix, power in _DECIMAL.items()}
    if unit in ("B", "B/s"):
        scales |= {prefix + unit: Decimal(2) ** power for prefix, power in _BINARY.items()}
    if unit == "FLOP/s":  # integer arithmetic is quoted in operations
        scales |= {prefix + "OP/s": Decimal(10) ** power for prefix, power in _DECIMAL.items()}
    return scales


def parse_quantity(text: object, unit: str) -> Decimal:
    """Base-unit value of `text`, whose unit must be a multiple of `unit`.

    Units: "B", "B/s", "bit/s", "Hz", "s", "FLOP/s" (OP/s too), "W", "J". kB is
    1000 bytes, KiB is 1024. Raises ValueError for a bare number, an unknown unit, or a unit of
    another kind, naming what was expected.
    """
    if unit not in _EXAMPLES:
        raise ValueError(f"unit {unit!r} is not one of {', '.join(_EXAMPLES)}")
    scales = _scales(unit)
    example = _EXAMPLES[unit]
    if isinstance(text, int | float):
        raise ValueError(
            f'{shorten(text)} has no unit; write it as text with one, such as "{example}"'
        )
    match = _QUANTITY.match(text) if isinstance(text, str) and len(text) <= _LONGEST else None
    if match is None:
        raise ValueError(f'{shorten(text)} is not a number with a unit, such as "{example}"')
    number, spelled = match.groups()
    if spelled not in scales:
        known = ", ".join(name for name in scales if name.isascii())
        raise ValueError(
            f"{text!r}: unit {spelled!r} is not one of {known}{_slip(spelled, scales)}"
        )
    return Decimal(number.replace("_", "")) * scales[spelled]


def shorten(value: object, longest: int = 60) -> str:
    """`repr(value)` on one line, cut so that a message stays readable."""
    try:
        shown = repr(value)
    except ValueError:  # an int of more digits than Python agrees to print
        shown = "a huge number"
    return shown if len(shown) <= longest else shown[:longest] + "..."


def format_quantity(value: float, unit: str) -> str:
    """A short text that `parse_quantity` reads back as exactly `value`.

    Prefers a number from 1 to 1000, then the shorter text: 50 MiB, not 52.4288 MB.
    """
    exact = Decimal(repr(value))
    texts = []
    for spelled, scale in _scales(unit).items():
        number = exact / scale
        if number * scale != exact or not spelled.isascii() or not spelled.endswith(unit):
            continue
        plain = f"{number.normalize():f}"
        text = f"{plain if len(plain) <= 20 else number.normalize()} {spelled}"
        texts.append((not 1 <= number < 1000, len(text), text))
    return min(texts)[2]


def _slip(spelled: str, scales: dict[str, Decimal]) -> str:
    """The likely mistake behind a unit that does not fit, as a sentence to append."""
    if spelled + "/s" in scales:
        return f"; a rate is needed here: {spelled}/s?"
    if spelled.endswith("/s") and spelled.removesuffix("/s") in scales:
        return f"; an amount is needed here, not a rate: {spelled.removesuffix('/s')}?"
    if spelled.endswith("OPS") and spelled.removesuffix("S") + "/s" in scales:
        return f"; write {spelled.removesuffix('S')}/s"
    if "b" in spelled and spelled.replace("b", "B") in scales:
        return f"; b is a bit and B a byte: {spelled.replace('b', 'B')}?"
    if "bit/s" in scales and spelled.replace("b/s", "bit/s") in scales:
        return f"; bits are spelled out here: {spelled.replace('b/s', 'bit/s')}?"
    if "bit/s" in scales and spelled.replace("B/s", "bit/s") in scales:
        return f"; B is a byte and a data rate is in bits: {spelled.replace('B/s', 'bit/s')}?"
    near = {name.lower(): name for name in scales}
    if spelled.lower() in near:
        return f"; capitals matter: {near[spelled.lower()]}?"
    return ""


def _whole(unit: str) -> BeforeValidator:
    def convert(value: object) -> int:
        exact = parse_quantity(value, unit)
        if exact != int(exact):
            raise ValueError(f"{value!r} is not a whole number of {unit}")
        return int(exact)

    return BeforeValidator(convert)


def _real(unit: str) -> BeforeValidator:
    def convert(value: object) -> float:
        return float(parse_quantity(value, unit))

    return BeforeValidator(convert)


def _text(unit: str) -> PlainSerializer:
    def convert(value: float, info: SerializationInfo) -> str:
        return f"{value!r} {unit}" if info.context is PLAIN else format_quantity(value, unit)

    return PlainSerializer(convert, return_type=str)


@dataclass(frozen=True)
class Unit:
    """Marks a type of quantity with its base unit, for who walks the schema."""

    name: str


_POSITIVE = Field(gt=0)
_FINITE = Field(gt=0, allow_inf_nan=False)
_NOT_NEGATIVE = Field(ge=0, allow_inf_nan=False)

Bytes = Annotated[int, _whole("B"), _POSITIVE, _text("B"), Unit("B")]
BytesPerSecond = Annotated[int, _whole("B/s"), _POSITIVE, _text("B/s"), Unit("B/s")]
Hertz = Annotated[int, _whole("Hz"), _POSITIVE, _text("Hz"), Unit("Hz")]
Seconds = Annotated[float, _real("s"), _NOT_NEGATIVE, _text("s"), Unit("s")]
FlopsPerSecond = Annotated[float, _real("FLOP/s"), _FINITE, _text("FLOP/s"), Unit("FLOP/s")]
BitsPerSecond = Annotated[int, _whole("bit/s"), _POSITIVE, _text("bit/s"), Unit("bit/s")]
Joules = Annotated[float, _real("J"), _FINITE, _text("J"), Unit("J")]
Watts = Annotated[float, _real("W"), _FINITE, _text("W"), Unit("W")]
