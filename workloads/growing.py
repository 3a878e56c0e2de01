"""Whole numbers that grow evenly from step to step: a formula computed for all steps at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from operator import is_
from typing import Any, cast


class Varies(Exception):  # noqa: N818 - a way out, never an error that a user meets
    """Something has no one answer for all steps; `at`: the first step with another one, if known.

    Whoever computes with Growing catches it, and computes the steps apart.
    """

    def __init__(self, at: int | None = None) -> None:
        super().__init__(at)
        self.at = at


class Growing:
    """`start` + t x `slope` for each step t from `low` to `high` - 1: it takes the place of an int.

    Sums, multiples and quotients that come out even are exact. A comparison answers for all steps
    or raises Varies, and so does everything that these numbers cannot do.
    """

    __slots__ = ("high", "low", "slope", "start")

    def __init__(self, start: int, slope: int, low: int, high: int) -> None:
        self.start, self.slope, self.low, self.high = start, slope, low, high

    def at(self, step: int) -> int:
        return self.start + step * self.slope

    def _like(self, start: int, slope: int) -> int:
        return cast(int, Growing(start, slope, self.low, self.high)) if slope else start

    def _parts(self, other: object) -> tuple[int, int]:
        if isinstance(other, Growing):
            if (other.low, other.high) != (self.low, self.high):
                raise Varies
            return other.start, other.slope
        if isinstance(other, int):
            return other, 0
        raise Varies

    def __add__(self, other: object) -> int:
        start, slope = self._parts(other)
        return self._like(self.start + start, self.slope + slope)

    __radd__ = __add__

    def __neg__(self) -> int:
        return self._like(-self.start, -self.slope)

    def __sub__(self, other: object) -> int:
        start, slope = self._parts(other)
        return self._like(self.start - start, self.slope - slope)

    def __rsub__(self, other: object) -> int:
        start, slope = self._parts(other)
        return self._like(start - self.start, slope - self.slope)

    def __mul__(self, other: object) -> int:
        if not isinstance(other, int):
            raise Varies
        return self._like(self.start * other, self.slope * other)

    __rmul__ = __mul__

    def __floordiv__(self, other: object) -> int:
        if not isinstance(other, int) or self.slope % other:
            raise Varies
        return self._like(self.start // other, self.slope // other)

    def __mod__(self, other: object) -> int:
        if not isinstance(other, int) or self.slope % other:
            raise Varies
        return self.start % other

    def _answer(self, other: object, holds: Callable[[int], bool]) -> bool:
        """Whether `holds` of the difference in all steps or in none; it changes its mind once."""
        start, slope = self._parts(other)
        start, slope = self.start - start, self.slope - slope
        first = holds(start + self.low * slope)
        if first == holds(start + (self.high - 1) * slope):
            return first
        low, high = self.low, self.high - 1  # as the first, not as the first
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if holds(start + middle * slope) == first else (low, middle)
        raise Varies(high)

    def __lt__(self, other: object) -> bool:
        return self._answer(other, lambda difference: difference < 0)

    def __le__(self, other: object) -> bool:
        return self._answer(other, lambda difference: difference <= 0)

    def __gt__(self, other: object) -> bool:
        return self._answer(other, lambda difference: difference > 0)

    def __ge__(self, other: object) -> bool:
        return self._answer(other, lambda difference: difference >= 0)

    def __eq__(self, other: object) -> bool:
        if other is None or isinstance(other, str):
            return False
        # of two numbers that meet in a step between others, neither >= nor <= has one answer
        below = self._answer(other, lambda difference: difference < 0)
        above = self._answer(other, lambda difference: difference > 0)
        return not below and not above

    def __hash__(self) -> int:
        return hash((self.start, self.slope, self.low, self.high))

    def __repr__(self) -> str:
        return f"Growing({self.start}, {self.slope}, {self.low}, {self.high})"

    def _no_answer(self, *_: object) -> Any:
        raise Varies

    __bool__ = __int__ = __float__ = __index__ = __str__ = __format__ = _no_answer
    __truediv__ = __rtruediv__ = __rfloordiv__ = __rmod__ = __divmod__ = __pow__ = _no_answer
    __round__ = __ceil__ = __floor__ = __trunc__ = __abs__ = _no_answer


def growing(start: int, low: int, high: int, slope: int = 1) -> int:
    """`start` in step 0 and `slope` more in each step after it, for steps `low` to `high` - 1."""
    return cast(int, Growing(start, slope, low, high))


def at_step(value: int, step: int) -> int:
    """A number in one step."""
    return value.at(step) if isinstance(value, Growing) else value


def ends(value: int) -> tuple[int, int]:
    """A number in the first and in the last step: no other step has a smaller or a larger one."""
    if not isinstance(value, Growing):
        return value, value
    return value.at(value.low), value.at(value.high - 1)


def total(value: int, steps: range) -> int:
    """The sum of a number over some steps."""
    if not isinstance(value, Growing):
        return value * len(steps)
    return len(steps) * (value.at(steps[0]) + value.at(steps[-1])) // 2


_FIELDS: dict[type, tuple[str, ...]] = {}


def _names(kind: type) -> tuple[str, ...]:
    """The fields of a dataclass; none of another type."""
    found = _FIELDS.get(kind)
    if found is None:
        found = tuple([f.name for f in fields(kind)]) if is_dataclass(kind) else ()
        _FIELDS[kind] = found
    return found


_PLAIN = (str, int, type(None))


def changes(value: Any) -> bool:
    """Whether some number in it grows; of what `value` is made see `compiled`."""
    if isinstance(value, _PLAIN):
        return False
    if isinstance(value, Growing):
        return True
    if isinstance(value, tuple):
        return any(changes(item) for item in value)
    return any(changes(getattr(value, name)) for name in _names(type(value)))


def over(value: Any, low: int, high: int, later: int = 0) -> Any:
    """`value` for the steps from `low` to `high` - 1, `later` steps later: as in step t + later."""
    if isinstance(value, _PLAIN):
        return value
    if isinstance(value, Growing):
        return Growing(value.start + later * value.slope, value.slope, low, high)
    if isinstance(value, tuple):
        items = tuple([over(item, low, high, later) for item in value])
        return value if all(map(is_, items, value)) else items
    if isinstance(value, Mapping):
        return {name: over(item, low, high, later) for name, item in value.items()}
    update = {}
    for name in _names(type(value)):
        old = getattr(value, name)
        new = over(old, low, high, later)
        if new is not old:
            update[name] = new
    return replace(value, **update) if update else value


def compiled(value: Any) -> Callable[[int], Any] | None:
    """From a step to `value` as it is in that step; None where it is the same in all of them.

    `value` is made of dataclasses, tuples and what never changes.
    """
    if isinstance(value, Growing):
        return value.at
    if isinstance(value, tuple):
        return _built(value, lambda *items: items)
    names = _names(type(value))
    return _built([getattr(value, name) for name in names], type(value)) if names else None


def _built(parts: Sequence[Any], make: Callable[..., Any]) -> Callable[[int], Any] | None:
    found: list[tuple[int, Callable[[int], Any]]] = []
    same: list[tuple[int, int]] = []  # the same object at two places stays one
    for place, part in enumerate(parts):
        if isinstance(part, _PLAIN):
            continue
        again = next((i for i, _ in found if parts[i] is part), None)
        if again is not None:
            same.append((place, again))
            continue
        change = compiled(part)
        if change is not None:
            found.append((place, change))
    if not found:
        return None

    def at(step: int) -> Any:
        items = list(parts)
        for place, change in found:
            items[place] = change(step)
        for place, again in same:
            items[place] = items[again]
        return make(*items)

    return at
