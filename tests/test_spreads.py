"""Spreads: pooled quantiles by hand, machines left out, few cases beside those of many others."""

from __future__ import annotations

from math import sqrt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardware_profiles import load_profile
from simulator.spreads import (
    LEVELS,
    Signed,
    Stack,
    generation_of,
    kernel_spread,
    left_out,
    pass_excess,
    pass_spread,
    pooled,
    shrunk,
    spreads,
)


def stack(
    name: str, machine: str, points: float, *, generation: str = "", software: str = "lib",
    cases: int = 10,
) -> Stack:  # fmt: skip
    """A stack whose residuals are all alike."""
    return Stack(
        name, machine, generation or machine, software, ("fp16",), 1, cases, 10.0, 1000.0,
        (points,) * len(LEVELS),
    )  # fmt: skip


def test_pooled_by_hand() -> None:
    # weights 1, 1, 2 of 4: middles at 0.125, 0.375 and 0.75; beyond the last the largest
    values = [(2.0, 1.0), (1.0, 1.0), (4.0, 2.0)]
    assert pooled(values, 0.375) == pytest.approx(2.0)
    assert pooled(values, 0.5625) == pytest.approx(3.0)  # halfway from 2 to 4
    assert pooled(values, 0.8) == 4.0
    assert pooled([(7.0, 3.0)]) == 7.0


def test_a_kernel_has_the_spread_of_its_class_or_of_all() -> None:
    stacks = [stack("matmul", "a", 0.1), stack("row", "a", 0.5)]
    assert kernel_spread(stacks, "matmul") == pytest.approx(0.1)
    assert 0.1 < kernel_spread(stacks, "never measured") <= 0.5


def test_a_machine_and_its_die_are_left_out() -> None:
    a100, epyc = load_profile("nvidia-a100-sxm4-80gb"), load_profile("amd-epyc-7763-1s")
    stacks = [
        stack("matmul", "nvidia-a100-pcie-40gb", 0.1, generation="GA100"),
        stack("matmul", "nvidia-t4", 0.2, generation="TU104"),
        stack("cpu", "amd-epyc-7763-1s", 0.3, generation="amd cpu"),
        stack("cpu", "amd-ryzen-9-7950x", 0.4, generation="amd cpu"),
    ]
    assert [s.machine for s in left_out(stacks, a100)] == [s.machine for s in stacks[1:]]
    assert [s.machine for s in left_out(stacks, epyc)] == [
        "nvidia-a100-pcie-40gb", "nvidia-t4", "amd-ryzen-9-7950x",
    ]  # fmt: skip
    assert (generation_of(a100), generation_of(epyc)) == ("GA100", "amd cpu")


def test_a_runtimes_own_passes_count_more_than_others() -> None:
    stacks = [
        stack("gpu", "a", 0.01, software="steady", cases=2500),
        stack("gpu", "b", 0.25, software="erratic", cases=100),
        stack("cpu", "c", 9.0, software="erratic", cases=1000),
    ]
    assert pass_excess(stacks, "gpu", "erratic") == pytest.approx(0.25)
    assert pass_excess(stacks, "gpu", "steady") == pytest.approx(0.01)
    # of an unknown one: roots 50 and 10, so that five sixths are at 0.01, and so is the 80 % point
    assert 0.01 <= pass_excess(stacks, "gpu", "unheard of") < 0.25


def test_a_pass_has_its_kernels_spread_and_the_rest_in_squares() -> None:
    assert pass_spread(0.3, 0.16) == pytest.approx(0.5)
    assert pass_spread(0.5, -0.16) == pytest.approx(0.3)
    assert pass_spread(0.5, -1.0) == pytest.approx(0.15)  # no less than 0.3 of the kernels'


def test_few_cases_of_a_machine_lean_on_all_others() -> None:
    own = Signed(4, -0.1, 0.1, 0.2)  # too slow by 10 % (predicted over measured)
    down, up = shrunk(own, 0.3)
    # half own, half others: middle 0.05; sqrt(0.5 x 0.1^2 + 0.5 x 0.3^2) and with 0.2
    assert down == pytest.approx(0.05 + sqrt(0.05))
    assert up == pytest.approx(-0.05 + sqrt(0.065))
    assert shrunk(Signed(0, -9, 9, 99), 0.3) == pytest.approx((0.3, 0.3))
    down, up = shrunk(Signed(10**9, -0.1, 0.1, 0.2), 0.3)
    assert (down, up) == pytest.approx((0.2, 0.1), abs=1e-6)


@given(st.floats(0, 1e4), st.lists(st.floats(-3, 3), min_size=3, max_size=3), st.floats(0.01, 3))
def test_an_own_interval_holds_the_prediction(
    cases: float, points: list[float], spread: float
) -> None:
    down, up = shrunk(Signed(cases, *sorted(points)), spread)
    assert down >= 0
    assert up >= 0


def test_what_is_on_file_makes_sense() -> None:
    found = spreads()
    assert found.widening >= 1
    assert {s.name for s in found.passes} == {"gpu", "cpu"}
    assert {"matmul", "matmul_vector", "attention", "decode_attention", "row", "element",
            "collective"} == {s.name for s in found.kernels}  # fmt: skip
    for one in (*found.kernels, *found.passes):
        assert len(one.points) == len(LEVELS)
        assert list(one.points) == sorted(one.points)
        assert 0 < one.shortest_us <= one.longest_us
    for name in {s.name for s in found.kernels}:
        assert 0.02 < kernel_spread(found.kernels, name) < 1.5
