"""Numbers that grow evenly: every answer is that of each step, or there is none."""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workloads.growing import Growing, Varies, at_step, compiled, growing, over, total

OPERATIONS: list[Callable[[Any, Any], Any]] = [
    operator.add,
    operator.sub,
    operator.mul,
    operator.floordiv,
    operator.mod,
    operator.lt,
    operator.le,
    operator.gt,
    operator.ge,
    operator.eq,
    operator.ne,
    min,
    max,
]
small = st.integers(-30, 30)


@given(
    st.tuples(small, small),
    st.tuples(small, st.integers(-5, 5)),
    st.integers(0, 5),
    st.integers(1, 9),
    st.sampled_from(OPERATIONS),
)
def test_an_answer_holds_in_every_step(
    left: tuple[int, int],
    right: tuple[int, int],
    low: int,
    count: int,
    operation: Callable[[Any, Any], Any],
) -> None:
    high = low + count
    a: Any = Growing(*left, low, high)
    b: Any = Growing(*right, low, high) if right[1] else right[0]
    for first, second in ((a, b), (b, a)):
        try:
            found = operation(first, second)
        except (Varies, ZeroDivisionError):
            continue
        for step in range(low, high):
            expected = operation(at_step(first, step), at_step(second, step))
            assert at_step(found, step) == expected


def test_a_comparison_that_changes_says_where() -> None:
    length = growing(2048, 0, 100)
    assert length > 2047
    assert not length > 3000
    with pytest.raises(Varies) as raised:
        bool(length > 2060)
    assert raised.value.at == 13  # 2048 + 13 is the first above 2060
    with pytest.raises(Varies) as raised:
        bool(length == 2060)
    assert raised.value.at == 12


@pytest.mark.parametrize("use", [bool, int, float, str, round, range, "{:d}".format])
def test_what_needs_one_number_has_no_answer(use: Callable[[Any], Any]) -> None:
    with pytest.raises(Varies):
        use(growing(5, 0, 3))


def test_products_of_two_do_not_grow_evenly() -> None:
    with pytest.raises(Varies):
        growing(5, 0, 3) * growing(5, 0, 3)
    with pytest.raises(Varies):
        growing(5, 0, 3) / 2
    assert growing(5, 0, 3) * 4 // 2 == growing(10, 0, 3, slope=2)
    with pytest.raises(Varies):  # 5, 6, 7 halves
        growing(5, 0, 3) // 2


def test_sums_over_steps() -> None:
    assert total(growing(5, 0, 10), range(2, 5)) == 7 + 8 + 9
    assert total(5, range(2, 5)) == 15


@dataclass(frozen=True)
class Box:
    name: str
    size: int
    inner: Box | None = None
    items: tuple[int, ...] = ()


def test_structures_in_a_step_and_over_other_steps() -> None:
    inner = Box("inner", growing(1, 0, 9))
    box = Box("outer", 7, inner, (growing(2, 0, 9, slope=3), 4))
    at = compiled(box)
    assert at is not None
    assert at(4) == Box("outer", 7, Box("inner", 5), (14, 4))
    assert at(0) == Box("outer", 7, Box("inner", 1), (2, 4))  # and again
    shifted = compiled(over(box, 1, 5, later=-1))
    assert shifted is not None
    assert shifted(4) == at(3)
    plain = Box("plain", 1)
    assert compiled(plain) is None
    assert over(plain, 0, 5) is plain


def test_the_same_object_at_two_places_stays_one() -> None:
    inner = Box("inner", growing(1, 0, 9))
    at = compiled((inner, inner))
    assert at is not None
    first, second = at(3)
    assert first is second
