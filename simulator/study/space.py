"""The space of a study: which keys vary over which values, and its points one after another."""

from __future__ import annotations

import itertools
import math
import operator
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal

from simulator.scenario import Scenario
from workloads.errors import InputError, shown

if TYPE_CHECKING:
    import numpy as np

Value = str | int | float | bool
Point = Mapping[str, Value]
"""One value for each key that varies; keys are fields of Scenario or figures as for --set."""

FIELDS = tuple(f.name for f in fields(Scenario) if f.name not in ("changes", "probe", "dims"))
"""What a study may say of a run besides figures of the machine and of the runtime."""

_NUMBER = re.compile(r"^\s*([+-]?[0-9][0-9_]*(?:\.[0-9]+)?(?:[eE][+-]?[0-9]{1,2})?)\s*(.*?)\s*$")
_DRAWS_PER_SAMPLE = 200
COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "<=": operator.le, ">=": operator.ge, "==": operator.eq, "!=": operator.ne,
    "<": operator.lt, ">": operator.gt,
}  # fmt: skip


@dataclass(frozen=True)
class Span:
    """Values from `first` to `last` with one unit ("GB/s", "x", "" for plain numbers).

    `steps`: how many of a grid, evenly placed, by factors where `log`. `whole`: whole numbers.
    """

    first: float
    last: float
    unit: str = ""
    steps: int | None = None
    log: bool = False
    whole: bool = False

    def at(self, share: float) -> Value:
        """The value at a share, 0 to 1, of the way."""
        if self.log:
            value = self.first * (self.last / self.first) ** share
        else:
            value = self.first + (self.last - self.first) * share
        return self.written(value)

    def written(self, value: float) -> Value:
        """A number of this span as one would write it: six digits and the unit."""
        if self.whole and not self.unit:
            return round(value)
        plain = f"{Decimal(f'{value:.6g}'):f}"
        if not self.unit:
            return float(plain)
        return f"{plain}{'' if self.unit in ('x', '%') else ' '}{self.unit}"

    def values(self) -> tuple[Value, ...]:
        """The values of a grid, equal ones once."""
        steps = self.steps or 2
        return tuple(dict.fromkeys(self.at(i / (steps - 1)) for i in range(steps)))

    def draw(self, generator: np.random.Generator) -> Value:
        if self.whole and not self.unit and not self.log:
            return int(generator.integers(int(self.first), int(self.last) + 1))
        return self.at(float(generator.random()))


Axis = tuple[Value, ...] | Span


@dataclass(frozen=True)
class Where:
    """A condition on points, "batch <= 64" or "prompt < context": what is not so is left out."""

    text: str
    left: str
    sign: str
    right: str

    def holds(self, point: Point) -> bool:
        left, right = point.get(self.left, self.left), point.get(self.right, self.right)
        a, b = magnitude(left), magnitude(right)
        if a is None or b is None:  # names are equal or not
            return self.sign in ("==", "!=") and COMPARE[self.sign](str(left), str(right))
        return COMPARE[self.sign](a, b)


@dataclass(frozen=True)
class Study:
    """A space of scenarios: `base` for all of them, and what varies.

    A "grid" has every combination of the values of `axes`, a "list" the points `rows`, and
    "random" so many `samples` of `axes`, drawn one after another from `seed`: more samples of the
    same seed begin with the same points. `changes`: as for --set, for all points.
    """

    base: Mapping[str, Value]
    axes: Mapping[str, Axis]
    design: Literal["grid", "list", "random"] = "grid"
    rows: tuple[Point, ...] = ()
    samples: int = 0
    seed: int = 0
    where: tuple[Where, ...] = ()
    changes: tuple[str, ...] = ()

    @property
    def varied(self) -> tuple[str, ...]:
        """The keys that vary, in the order given."""
        if self.design == "list":
            return tuple(dict.fromkeys(key for row in self.rows for key in row))
        return tuple(self.axes)

    @property
    def size(self) -> int:
        """How many points there are before conditions."""
        if self.design == "list":
            return len(self.rows)
        if self.design == "random":
            return self.samples
        return math.prod(len(values_of(axis)) for axis in self.axes.values())

    def points(self) -> list[Point]:
        """All points that meet the conditions; InputError where there are none."""
        found: list[Point] = list(
            self._drawn() if self.design == "random" else filter(self._meets, self._all())
        )
        if not found or (self.design == "random" and len(found) < self.samples):
            raise InputError(self._nothing_left(len(found)))
        return found

    def values(self, key: str) -> tuple[Value, ...]:
        """The values that a key takes: all, or the ends of a span."""
        if key in self.base:
            return (self.base[key],)
        if self.design == "list":
            return tuple(dict.fromkeys(row[key] for row in self.rows if key in row))
        if key not in self.axes:
            return ()
        axis = self.axes[key]
        return (axis.at(0), axis.at(1)) if isinstance(axis, Span) else axis

    def scenario(self, point: Point) -> Scenario:
        """The run that a point means."""
        said = {**self.base, **point}
        options: dict[str, Any] = {key: said[key] for key in FIELDS if key in said}
        changes = tuple(f"{k}={_text(v)}" for k, v in said.items() if k not in FIELDS)
        return Scenario(**options, changes=(*self.changes, *changes))

    def _all(self) -> Iterator[Point]:
        if self.design == "list":
            yield from self.rows
            return
        axes = [values_of(axis) for axis in self.axes.values()]
        for values in itertools.product(*axes):
            yield dict(zip(self.axes, values, strict=True))

    def _drawn(self) -> Iterator[Point]:
        import numpy as np

        generator = np.random.default_rng(self.seed)
        left = self.samples
        for _ in range(self.samples * _DRAWS_PER_SAMPLE):
            point = {key: _draw(axis, generator) for key, axis in self.axes.items()}
            if self._meets(point):
                yield point
                left -= 1
            if not left:
                return

    def _meets(self, point: Point) -> bool:
        said = {**self.base, **point}
        return all(condition.holds(said) for condition in self.where)

    def _nothing_left(self, found: int) -> str:
        listed = ", ".join(shown(condition.text) for condition in self.where)
        if found:
            return (
                f"where: only {found} of {self.samples * _DRAWS_PER_SAMPLE} points drawn meet "
                f"{listed}; widen the conditions or ask for at most {found} samples"
            )
        if not self.where:
            return "the study has no points: an axis without values, or a list without rows"
        return f"where: no point meets {listed}; they contradict each other or the values"


def values_of(axis: Axis) -> tuple[Value, ...]:
    """The values that an axis has in a grid."""
    return axis.values() if isinstance(axis, Span) else axis


def _draw(axis: Axis, generator: np.random.Generator) -> Value:
    if isinstance(axis, Span):
        return axis.draw(generator)
    return axis[int(generator.integers(len(axis)))]


def _text(value: Value) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def split_number(text: str) -> tuple[float, str] | None:
    """A number and what follows it, "1.5 TB/s" as (1.5, "TB/s"); None where it does not begin so.

    A factor may be a fraction: "1/2x" is (0.5, "x").
    """
    whole, slash, rest = text.partition("/")
    match = _NUMBER.match(text)
    if slash and whole.strip().isdigit() and (under := _NUMBER.match(rest)) and under[2] == "x":
        return float(whole) / (float(under[1]) or math.inf), "x"
    return None if match is None else (float(match[1].replace("_", "")), match[2])


def magnitude(value: object) -> float | None:
    """A value as a number in base units, to compare and to draw it; None where it is none."""
    from hardware_profiles.units import parse_quantity

    if isinstance(value, bool):
        return float(value)
    if isinstance(value, int | float):
        return float(value)
    parts = split_number(value) if isinstance(value, str) else None
    if parts is None:
        return None
    number, unit = parts
    if unit in ("", "x"):
        return number
    if unit == "%":
        return 1 + number / 100
    for base in ("B/s", "B", "Hz", "s", "FLOP/s", "W", "J", "bit/s"):
        try:
            return float(parse_quantity(value, base))
        except ValueError:
            continue
    return None
