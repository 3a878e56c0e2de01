"""Shapley values: what each of several changes contributes where they act on one another.

The value of a change is its effect, averaged over every order in which all could be made. It is the
only division that adds up, gives nothing to what never has an effect, and equal parts to equals.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from itertools import combinations
from math import factorial

Coalition = frozenset[int]


def coalitions(count: int) -> list[Coalition]:
    """All sets of `count` changes, 2^count of them, the smaller ones first."""
    return [
        frozenset(chosen)
        for size in range(count + 1)
        for chosen in combinations(range(count), size)
    ]


def shapley_values(count: int, value: Callable[[Coalition], Fraction]) -> list[Fraction]:
    """The value of each of `count` changes; together value(all) - value(none), exactly.

    `value` is asked once for each of the 2^count sets of changes.
    """
    known = {members: value(members) for members in coalitions(count)}
    result = []
    for change in range(count):
        total = Fraction(0)
        for members, before in known.items():
            if change not in members:
                weight = Fraction(
                    factorial(len(members)) * factorial(count - len(members) - 1), factorial(count)
                )
                total += weight * (known[members | {change}] - before)
        result.append(total)
    return result


def whole_parts(parts: list[Fraction], total: int) -> list[int]:
    """The parts as whole numbers that add up to `total`, each less than one from its part.

    `total`: at most half from their sum, as is its rounded value. The largest remainders are
    rounded up.
    """
    found = [part.numerator // part.denominator for part in parts]
    left = total - sum(found)
    order = sorted(range(len(parts)), key=lambda i: (found[i] - parts[i], i))
    for i in order[:left]:
        found[i] += 1
    return found
