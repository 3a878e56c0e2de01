"""Columns of results as people name them, in their units, and as numbers to draw."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from simulator.study.bench import FIGURES
from simulator.study.space import COMPARE, magnitude
from workloads.errors import InputError, nearest, shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import pandas as pd

SHORT = {
    "latency": "latency_s",
    "ttft": "ttft_s",
    "tpot": "tpot_s",
    "throughput": "tokens_per_s",
    "energy": "joules",
    "power": "average_watts",
    "price": "price_per_hour",
    "cost": "dollars_per_million_tokens",
    "area": "die_area_mm2",
    "memory": "memory_bytes",
}
"""What people say for a column."""

NUMBERS = tuple(name for name in FIGURES if name not in ("bound", "error"))
_SCALES = {"_ms": 1e3, "_us": 1e6}
_SUBJECT = re.compile(r"^\s*([\w.]+)\s*(<=|>=|<|>)\s*([0-9][0-9.]*(?:[eE][+-]?[0-9]{1,2})?)\s*$")


def figure(name: str, option: str) -> tuple[str, float]:
    """The column of results that `name` means, and what its values are to be multiplied by.

    "latency" is latency_s, "ttft_ms" is ttft_s in milliseconds. InputError where it is no number.
    """
    column, scale = SHORT.get(name, name), 1.0
    for suffix, factor in _SCALES.items():
        if name.endswith(suffix):
            column, scale = name.removesuffix(suffix) + "_s", factor
    if column not in NUMBERS:
        known = (*SHORT, *NUMBERS)
        raise InputError(
            f"{option} {shown(name)}: is no figure of a run{nearest(name, known)}; known are "
            f"{', '.join(known)}"
        )
    return column, scale


@dataclass(frozen=True)
class Target:
    """A condition on figures, "ttft_ms<200": `limit` in the unit of the column."""

    text: str
    column: str
    sign: str
    limit: float

    @classmethod
    def parse(cls, text: str) -> Target:
        match = _SUBJECT.match(text)
        if match is None:
            raise InputError(
                f"--subject {shown(text)}: expected FIGURE<NUMBER or FIGURE>NUMBER, such as "
                "ttft_ms<200 or tokens_per_s>1000"
            )
        name, sign, number = match.groups()
        column, scale = figure(name, "--subject")
        try:
            return cls(text, column, sign, float(number) / scale)
        except ValueError:
            raise InputError(f"--subject {shown(text)}: {number} is not a number") from None

    def excess(self, figures: Mapping[str, Any]) -> float:
        """By what share of the limit a run misses it, 0 or less where it is met; inf: no figure."""
        value = figures[self.column]
        if value is None:
            return float("inf")
        over = value - self.limit if "<" in self.sign else self.limit - value
        return float(over / abs(self.limit)) if self.limit else float(over)

    def met(self, figures: Mapping[str, Any]) -> bool:
        value = figures[self.column]
        return value is not None and COMPARE[self.sign](value, self.limit)


def drawn_column(table: pd.DataFrame, name: str, option: str) -> tuple[pd.Series[Any], str]:
    """A column to draw and its label: a figure, in the unit asked for, or a key that varies."""
    if name in table.columns and name not in NUMBERS:
        return table[name], name
    if name not in table.columns:
        wanted: Iterable[str] = [c for c in table.columns if c not in ("key", "error")]
        try:
            column, scale = figure(name, option)
        except InputError:
            near = nearest(name, [*SHORT, *wanted])
            raise InputError(
                f"{option} {shown(name)}: is no column of these results{near}; they have "
                f"{', '.join(wanted)}"
            ) from None
        label = name if name not in SHORT else column
        return table[column].astype(float) * scale, label
    return table[name].astype(float), name


def numbers_of(values: Iterable[object]) -> list[float] | None:
    """All of `values` as numbers in base units ("1.5 TB/s", "2x", 64); None where one is a name."""
    found = [magnitude(value) for value in values]
    return [value for value in found if value is not None] if None not in found else None
