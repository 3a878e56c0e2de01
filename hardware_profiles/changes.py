"""Changes as one writes them on one line ("clock=2.5 GHz", "dram.bandwidth=2x"), parsed."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any

from pydantic import BaseModel

from hardware_profiles.errors import ProfileError
from hardware_profiles.keys import Leaf, find, get, leaves
from hardware_profiles.units import format_quantity, parse_quantity

_LONGEST = 200
_FACTOR = re.compile(r"^([0-9]+(?:\.[0-9]+)?)(?:/([0-9]+))?\s*[x\u00d7]$")
_PERCENT = re.compile(r"^([+-][0-9]+(?:\.[0-9]+)?)\s*%$")
_LARGEST_FACTOR = 1_000_000
_DIGITS = 14
"""Significant digits that a scaled real number keeps, so that a factor and its inverse undo one
another: a double holds 15."""


@dataclass(frozen=True)
class Change:
    """One "key=value". `value` is what was written after the sign."""

    text: str
    key: str
    value: str

    @property
    def factor(self) -> Fraction | None:
        """What the old value is to be multiplied by; None where the value is given whole."""
        if match := _FACTOR.match(self.value):
            over, under = match.groups()
            if int(under or 1) == 0:
                raise self.error("a division by 0")
            factor = Fraction(over) / int(under or 1)
        elif match := _PERCENT.match(self.value):
            factor = 1 + Fraction(match.group(1)) / 100
        else:
            return None
        if not 0 < factor <= _LARGEST_FACTOR:
            raise self.error(f"expected a factor above 0 and at most {_LARGEST_FACTOR:,}")
        return factor

    def error(self, reason: str) -> ProfileError:
        return ProfileError(f"--set {self.text}: {reason}")


def parse_change(text: str) -> Change:
    """`text` as a key and a value; ProfileError where it is not of that form."""
    shown = text if text.isprintable() and len(text) <= _LONGEST else repr(text[:60])
    key, sign, value = text.partition("=")
    key, value = key.strip(), value.strip()
    if not sign or not key or not value or len(text) > _LONGEST:
        raise ProfileError(
            f"--set {shown}: expected key=value, such as cores=64, clock='2.5 GHz' or "
            "dram.bandwidth=2x"
        )
    return Change(shown, key, value)


def new_value(change: Change, leaf: Leaf, old: Any, key: str) -> Any:
    """The value that `change` gives the key, in base units."""
    factor = change.factor
    if factor is not None:
        if not leaf.is_number:
            raise change.error(f"{key} is not a number; a factor has nothing to multiply")
        if old is None:
            raise change.error(f"{key} is not known of this machine; give a value, not a factor")
        return scaled(old, factor, change, key, whole=leaf.base is int and leaf.unit is None)
    if leaf.unit is not None:
        return _quantity(change, leaf, key)
    if leaf.is_number:
        return _number(change, leaf, key)
    if leaf.base is bool:
        if change.value not in ("true", "false"):
            raise change.error(f"{key} is true or false")
        return change.value == "true"
    if leaf.choices and change.value not in leaf.choices:
        near = _near(change.value, leaf.choices)
        raise change.error(f"{key} is one of {', '.join(leaf.choices)}{near}")
    return change.value


def scaled(
    old: float, factor: Fraction, change: Change, key: str, *, whole: bool = False
) -> int | float:
    """`old` times `factor`: whole numbers stay whole, rounded unless they are a count (`whole`)."""
    exact = Fraction(repr(old)) * factor
    if isinstance(old, int):
        if whole and exact.denominator != 1:
            raise change.error(f"{key} would be {float(exact):g}; a whole number is needed")
        return round(exact)
    return float(f"{float(exact):.{_DIGITS - 1}e}")


def _quantity(change: Change, leaf: Leaf, key: str) -> int | float:
    try:
        exact: Decimal = parse_quantity(change.value, leaf.unit or "")
    except ValueError as error:
        raise change.error(f"{key}: {error}") from None
    if leaf.base is float:
        return float(exact)
    if exact != int(exact):
        raise change.error(f"{key}: {change.value!r} is not a whole number of {leaf.unit}")
    return int(exact)


def _number(change: Change, leaf: Leaf, key: str) -> int | float:
    try:
        return int(change.value) if leaf.base is int else float(change.value)
    except ValueError:
        what = "whole number" if leaf.base is int else "number"
        raise change.error(f"{key}: {change.value!r} is not a {what}; it has no unit") from None


def find_key(
    change: Change,
    table: type[BaseModel],
    value: object,
    short: Mapping[str, str],
    groups: Iterable[str] = (),
) -> tuple[str, ...]:
    """The full path of the key that `change` names, fully or in short.

    ProfileError lists the near ones of a key that is not known. `short`: full paths by short name,
    which may stand for the first parts of a key. `groups`: paths that are known though they hold
    several figures.
    """
    head, dot, rest = change.key.partition(".")
    full = short.get(change.key) or short.get(head, head) + dot + rest
    path = tuple(full.split("."))
    if full in groups or find(table, path, value) is not None:
        return path
    known = [".".join(found) for found in leaves(table, value)]
    shorter = [key for key in short if key not in known]
    raise change.error(f"{change.key[:60]!r} is not known{_near(change.key, [*known, *shorter])}")


def _near(wanted: str, known: Iterable[str]) -> str:
    """Up to three of `known` that may have been meant, or all of them where there are few."""
    known = list(known)
    last = wanted.rpartition(".")[2].lower()
    close = difflib.get_close_matches(wanted[:60].lower(), known, n=3, cutoff=0.5)
    close += [k for k in known if last and last in k.split(".") and k not in close]
    if close:
        return f"; nearest: {', '.join(close[:4])}"
    tops = dict.fromkeys(key.split(".")[0] for key in known)
    return f"; keys begin with {', '.join(tops)}"


def differences(before: BaseModel, after: BaseModel) -> list[str]:
    """What `after` has otherwise, as lines "memory.dram.bandwidth: 2 TB/s -> 4 TB/s"."""
    table = type(after)
    lines = []
    for path in leaves(table, after):
        leaf = find(table, path, after)
        old, new = get(before, path), get(after, path)
        if old != new and leaf is not None:
            lines.append(f"{'.'.join(path)}: {_text(old, leaf)} -> {_text(new, leaf)}")
    return lines


def _text(value: Any, leaf: Leaf) -> str:
    if value is None:
        return "unknown"
    if leaf.unit is not None:
        return format_quantity(value, leaf.unit)
    return f"{value:g}" if isinstance(value, float) else str(value)
