"""Fits of collectives: what is shipped is what comes out, and it predicts cases it has not seen."""

from __future__ import annotations

from pathlib import Path
from statistics import fmean, median
from typing import Any

import pytest

from hardware_profiles import load_profile
from hardware_profiles.collectives import CollectiveEfficiency, collective_efficiency
from simulator.cases import Case, read_cases
from simulator.fit_collectives import (
    MOST_PER_KIND,
    fit,
    fit_defaults,
    fit_machines,
    held_out,
    leave_one_out,
    parameters,
    samples,
    training,
)
from workloads.op_counts import COLLECTIVES

MEASUREMENTS = Path(__file__).parent.parent.parent / "shared" / "measurements"


def made_up(kernel: CollectiveEfficiency) -> list[Case]:
    """Cases on H100s that a machine of exactly that efficiency would give."""
    cases = []
    for ranks in (2, 4, 8):
        for power in range(10, 30):
            given: dict[str, Any] = {
                "case_id": f"{ranks}-{power}", "hardware": "nvidia-h100-sxm5-80gb",
                "devices": ranks, "runtime": "kernel", "workload": "", "what": "all_reduce",
                "dtype": "fp16", "weight_dtype": "fp16", "sizes": {"bytes": 2**power},
                "measured_us": 1.0, "source": "made-up 1", "conditions": "nodes=1",
            }  # fmt: skip
            (sample,) = samples([Case(**given)])
            cases.append(Case(**{**given, "measured_us": sample.seconds(kernel) * 1e6}))
    return cases


def test_a_fit_finds_what_made_the_cases() -> None:
    pytest.importorskip("scipy")
    made_with = CollectiveEfficiency.model_validate(
        {
            "launch": "6 us", "setup": "12 us", "step": "800 ns", "bulk_step": "2 us",
            "share": 0.8, "low_latency_share": 0.25, "source": "made up for tests",
        }
    )  # fmt: skip
    found = samples(made_up(made_with))
    assert len(training(found)) == MOST_PER_KIND
    assert training(found) == training(found)
    fitted = fit(training(found), "made up for tests")
    for name in parameters(found):
        assert getattr(fitted, name) == pytest.approx(getattr(made_with, name), rel=0.05), name


@pytest.fixture(scope="module")
def cases() -> list[Case]:
    path = MEASUREMENTS / "operators.csv.gz"
    if not path.is_file():
        pytest.skip("the published measurements are not beside this checkout")
    return [case for case in read_cases(path) if case.what in COLLECTIVES]


@pytest.mark.slow
def test_what_is_shipped_comes_out_and_predicts_unseen_cases(cases: list[Case]) -> None:
    fitted = fit_machines(cases)
    for (machine, name, pattern), kernel in fitted.items():
        link = next(
            s.link for s in samples(c for c in cases if c.hardware == machine)
            if s.link_name == name
        )  # fmt: skip
        shipped = collective_efficiency(load_profile(machine), name, link, pattern)
        assert shipped.source == kernel.source
        assert _values(shipped) == pytest.approx(_values(kernel), rel=0.02), (machine, name)
    errors = [abs(error) for _, error in held_out(cases, fitted)]
    assert fmean(errors) < 0.125
    assert median(errors) < 0.06


@pytest.mark.slow
def test_a_machine_is_predicted_from_the_others(cases: list[Case]) -> None:
    found = samples(cases)
    for (transport, pattern), kernel in fit_defaults(found).items():
        sample = next(s for s in found if (s.transport, s.pattern) == (transport, pattern))
        profile = load_profile(sample.case.hardware)
        shipped = collective_efficiency(
            profile, sample.link_name, sample.link, pattern, "zero-shot"
        )
        assert _values(shipped) == pytest.approx(_values(kernel), rel=0.02), (transport, pattern)
    errors = [abs(error) for _, error in leave_one_out(cases)]
    assert len(errors) > 1900
    assert fmean(errors) < 0.255


def _values(kernel: CollectiveEfficiency) -> dict[str, float]:
    fields = type(kernel).model_fields
    values = {name: getattr(kernel, name) for name in fields if name != "source"}
    return {name: float(value or 0) for name, value in values.items()}
