"""Intervals: they hold the prediction, widen outside of what was measured, and say why."""

from __future__ import annotations

import io
import json
from math import exp, log

import pytest
from rich.console import Console

from hardware_profiles import load_profile
from simulator import Run
from simulator.case_intervals import CaseIntervals, operator_class, own_residuals
from simulator.cases import Case
from simulator.domain import operator_reasons, pass_reasons
from simulator.figures import as_json, frame
from simulator.intervals import around, class_spread, moment_spread, widening
from simulator.look import interval_text
from simulator.predict import Predictor
from simulator.scenario import Scenario
from simulator.spreads import kernel_spread, left_out, spreads
from simulator.summary import summary

A100, T4 = "nvidia-a100-sxm4-80gb", "nvidia-t4"


def run_of(hardware: str, runtime: str = "tensorrt", **more: object) -> Run:
    found = Scenario("bert-base", hardware, runtime=runtime, prompt=64, dtype="fp16", **more).run()  # type: ignore[arg-type]
    assert isinstance(found, Run)
    return found


def text_of(run: Run) -> str:
    out = io.StringIO()
    Console(file=out, width=100).print(summary(run))
    return out.getvalue()


def test_a_run_on_a_measured_machine_has_a_plain_interval() -> None:
    run = run_of(T4)
    assert run.interval.widened == ()
    assert run.interval.reason == ""
    assert run.interval.low_s < run.latency_s < run.interval.high_s
    up, down = log(run.interval.high_s / run.latency_s), log(run.latency_s / run.interval.low_s)
    assert up == pytest.approx(down)
    assert 0.05 < up < 0.6  # TensorRT: measured within some tens of percent


def test_a_machine_that_nobody_measured_has_a_wider_one_and_says_why() -> None:
    known, unknown = run_of(T4), run_of("nvidia-b200-sxm-180gb")
    assert "nothing was measured on this machine or its generation" in unknown.interval.widened
    assert "figures of the profile are estimated (clock" in unknown.interval.reason
    wide, usual = (log(r.interval.high_s / r.latency_s) for r in (unknown, known))
    assert wide > usual
    assert "wider: nothing was measured on this machine" in " ".join(text_of(unknown).split())
    assert "wider" not in text_of(known)


def test_the_summary_gives_latency_and_interval_in_one_line() -> None:
    run = run_of(T4)
    low, high = (f"{1e3 * t:.2f}" for t in (run.interval.low_s, run.interval.high_s))
    lines = [line for line in text_of(run).splitlines() if line.startswith("latency")]
    assert lines[0].strip() == f"latency {1e3 * run.latency_s:.3f} ms (80 %: {low} to {high} ms)"


def test_json_and_frame_have_the_interval() -> None:
    run = run_of(T4)
    data = as_json(run)
    assert (data["latency_low_s"], data["latency_high_s"]) == (
        run.interval.low_s, run.interval.high_s,
    )  # fmt: skip
    assert data["interval_widened"] == []
    json.dumps(data)
    table = frame(run)
    row = table[table["kind"] == "matmul"].iloc[0]
    assert row["duration_high_s"] / row["duration_s"] == pytest.approx(exp(class_spread("matmul")))
    assert row["duration_s"] / row["duration_low_s"] == pytest.approx(exp(class_spread("matmul")))
    assert set(moment_spread(run)) == {"matmul", "attention", "row"}


def test_each_reason_widens() -> None:
    assert widening(0) == 1
    assert widening(1) == pytest.approx(spreads().widening)
    assert 1 < widening(1) < widening(2) < widening(1) * 2
    assert around(1.0, 0.1, 0.2, ("far",)).high_s == pytest.approx(exp(0.2 * spreads().widening))


def test_reasons_name_what_is_far_from_every_measurement() -> None:
    t4 = load_profile(T4)
    assert pass_reasons(t4, "tensorrt", "fp16", 1, 0.01) == ()
    what = "whole pass on a GPU"
    assert pass_reasons(t4, "no-such", "fp16", 1, 0.01) == (
        f"no {what} was measured under no-such",
    )
    assert pass_reasons(t4, "tensorrt", "fp4", 1, 0.01) == (f"no {what} was measured in fp4",)
    (far,) = pass_reasons(t4, "tensorrt", "fp16", 1, 1e6)
    assert far.startswith(f"far longer than any {what} that was measured (")
    (near,) = pass_reasons(t4, "tensorrt", "fp16", 1, 1e-6)
    assert near.startswith("far shorter")
    (many,) = pass_reasons(t4, "tensorrt", "fp16", 4096, 0.01)
    assert "devices" in many
    assert operator_reasons(t4, "matmul", "fp16", 1, 1e-3) == ()
    assert operator_reasons(t4, "convolution", "fp16", 1, 1e-3) == (
        "no convolution kernel was measured",
    )


def case_of(what: str, hardware: str, dtype: str, source: str, **sizes: int) -> Case:
    return Case(
        "x", hardware, sizes.pop("devices", 1), "kernel", "", what, dtype, dtype, sizes, 100.0,
        source, "",
    )  # fmt: skip


PRODUCT = {"batch": 1, "m": 512, "n": 4096, "k": 4096}


def test_operators_have_the_spread_of_their_kernels_class() -> None:
    a100, titan = load_profile(A100), load_profile("nvidia-titan-x-pascal")
    expected = [
        (case_of("matmul", A100, "bf16", "s", **PRODUCT), a100, "matmul"),
        (
            case_of("matmul", "nvidia-titan-x-pascal", "fp32", "s", **PRODUCT),
            titan,
            "matmul_vector",
        ),
        (case_of("attention", A100, "bf16", "s", q_len=1), a100, "decode_attention"),
        (case_of("attention", A100, "bf16", "s", q_len=9), a100, "attention"),
        (case_of("softmax", A100, "fp32", "s", m=1, n=9), a100, "row"),
        (case_of("gelu", A100, "fp32", "s", elements=9), a100, "element"),
        (case_of("all_reduce", A100, "fp16", "s", bytes=9), a100, "collective"),
    ]
    for case, profile, name in expected:
        assert operator_class(case, profile) == name


def test_a_zero_shot_interval_knows_nothing_of_its_die() -> None:
    case = case_of("matmul", A100, "bf16", "aiconfigurator-core 0.12.0", **PRODUCT)
    interval = CaseIntervals(Predictor(mode="zero-shot")).of(case, 1e-4, [])
    others = left_out(spreads().kernels, load_profile(A100))
    assert "GA100" not in {stack.generation for stack in others}
    assert log(interval.high_s / 1e-4) == pytest.approx(kernel_spread(others, "matmul"))


def test_a_calibrated_interval_is_that_of_its_machine_and_library() -> None:
    own = case_of("matmul", A100, "bf16", "aiconfigurator-core 0.12.0", **PRODUCT)
    other = case_of("matmul", A100, "bf16", "somebody else", **PRODUCT)
    assert own_residuals(own, "matmul", 1e-4) is not None
    assert own_residuals(other, "matmul", 1e-4) is None
    intervals = CaseIntervals(Predictor())
    narrow, wide = (intervals.of(case, 1e-4, []) for case in (own, other))
    assert wide.low_s < narrow.low_s < 1e-4 < narrow.high_s < wide.high_s


def test_times_are_told_in_one_unit_where_they_are_near() -> None:
    assert interval_text(1.316e-3, 1.849e-3) == "1.32 to 1.85 ms"
    assert interval_text(0.9e-3, 1.4e-3) == "0.90 to 1.40 ms"
    assert interval_text(5e-6, 2e-3) == "5.00 us to 2.00 ms"
