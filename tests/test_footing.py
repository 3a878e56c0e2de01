"""What predictions rest on: shares by class of kernels, and how their errors add up."""

from __future__ import annotations

from math import sqrt

import pytest

from hardware_profiles import load_profile
from simulator import simulate
from simulator.footing import Footing, footing_of
from workloads import compile_forward, load_model


def test_errors_go_together_within_a_class_and_partly_between() -> None:
    spread = {"matmul": 0.2, "row": 0.4}.__getitem__
    assert Footing({"matmul": 1.0}, 0.0).spread(spread, 1.0) == pytest.approx(0.2)
    # parts 0.1 and 0.2: half of (0.1 + 0.2)^2 and half of 0.1^2 + 0.2^2
    mixed = Footing({"matmul": 0.5, "row": 0.5}, 0.0)
    assert mixed.spread(spread, 1.0) == pytest.approx(sqrt(0.5 * 0.09 + 0.5 * 0.05))
    hosted = Footing({"matmul": 0.4}, 0.6)
    assert hosted.spread(spread, 0.5) == pytest.approx(sqrt(0.08**2 + 0.3**2))


@pytest.mark.parametrize("runtime", ["pytorch-eager", "tensorrt"])
def test_shares_of_a_run_add_up(runtime: str) -> None:
    program = compile_forward(load_model("bert-base"), prompt=16, dtype="fp16")
    run = simulate(program, load_profile("nvidia-t4"), runtime)
    found = footing_of([run])
    assert sum(found.shares.values()) + found.host == pytest.approx(1)
    assert found.host == pytest.approx(run.attribution.get("dispatch", 0) / run.cycles)
    assert found.shares["matmul"] > found.shares["row"] > 0
    assert set(found.shares) <= {"matmul", "attention", "row", "element"}


def test_an_eager_run_waits_for_its_host_and_a_captured_graph_does_not() -> None:
    program = compile_forward(load_model("bert-base"), prompt=16, dtype="fp16")
    machine = load_profile("nvidia-h100-sxm5-80gb")
    eager, graph = (
        footing_of([simulate(program, machine, name)])
        for name in ("pytorch-eager", "pytorch-cuda-graphs")
    )
    assert eager.host > 0.5 > graph.host


def test_runs_count_by_their_time() -> None:
    machine = load_profile("nvidia-t4")
    model = load_model("gpt2")
    step = simulate(compile_forward(model, context=64, dtype="fp16"), machine, "tensorrt")
    prefill = simulate(compile_forward(model, prompt=64, dtype="fp16"), machine, "tensorrt")
    both = footing_of([step, prefill], [9, 1])
    weight = 9 * step.latency_s / (9 * step.latency_s + prefill.latency_s)
    for name in ("matmul", "row"):
        mixed = weight * footing_of([step]).shares[name]
        mixed += (1 - weight) * footing_of([prefill]).shares[name]
        assert both.shares[name] == pytest.approx(mixed)


def test_several_devices_have_a_share_of_links() -> None:
    from simulator.scenario import Scenario

    run = Scenario(
        "llama-2-7b", "nvidia-a100-sxm4-80gb", runtime="vllm", context=128, tensor_parallel=2
    ).run()
    found = footing_of([run])
    assert 0 < found.shares["collective"] < 0.9
    assert sum(found.shares.values()) + found.host == pytest.approx(1)
