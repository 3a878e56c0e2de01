"""Libraries that a machine is calibrated under: choice, messages, operators that compute."""

from __future__ import annotations

import math
from importlib.util import find_spec as real_find_spec
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from simulator.calibrate_host import numpy_operators
from simulator.calibrate_host.design import Design
from simulator.calibrate_host.numpy_stack import NumpyStack
from simulator.calibrate_host.parameters import Subject, free_parameters
from simulator.calibrate_host.stacks import stack_class
from simulator.cli import app
from simulator.runtime import load_runtime
from workloads import InputError

pytest.importorskip("scipy")

DESIGN = Design(2**16, short=True)


def without(monkeypatch: pytest.MonkeyPatch, *missing: str) -> None:
    """As if these packages were not installed."""
    monkeypatch.setattr(
        "simulator.calibrate_host.stacks.find_spec",
        lambda name: None if name in missing else real_find_spec("json"),
    )


def test_without_torch_numpy_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "torch")
    assert stack_class(None) is NumpyStack
    assert stack_class("numpy") is NumpyStack
    without(monkeypatch)
    assert stack_class(None).base == "pytorch-eager"


@pytest.mark.parametrize(
    ("library", "extra"), [("torch", "real"), ("onnxruntime", "onnxruntime"), ("numpy", "fit")]
)
def test_a_library_that_is_missing_is_said(
    monkeypatch: pytest.MonkeyPatch, library: str, extra: str
) -> None:
    without(monkeypatch, library)
    with pytest.raises(InputError, match=rf"not installed.*transformer-moments\[{extra}\]"):
        stack_class(library)


def test_an_unknown_library_is_refused_in_one_line() -> None:
    result = CliRunner().invoke(app, ["calibrate", "--host", "--library", "nympy"])
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
    assert "unknown library 'nympy'; did you mean \"numpy\"?" in result.stderr


def test_numpy_operators_compute_what_they_are_called() -> None:
    x = np.array([[0.0, 1.0, 2.0, 5.0]], dtype=np.float32)
    gain = np.ones(4, dtype=np.float32)
    assert numpy_operators.softmax(x)[0, 3] == pytest.approx(
        math.exp(5) / (1 + math.e + math.exp(2) + math.exp(5)), rel=1e-5
    )
    # mean 2, variance (4 + 1 + 0 + 9) / 4 = 3.5; the gain is added as the bias
    normed = numpy_operators.layer_norm(x, gain)
    assert normed[0, 3] == pytest.approx(3 / math.sqrt(3.5) + 1, rel=1e-4)
    assert numpy_operators.rms_norm(x, gain)[0, 3] == pytest.approx(5 / math.sqrt(7.5), rel=1e-4)
    one = np.array([1.0], dtype=np.float32)
    assert numpy_operators.gelu(one)[0] == pytest.approx(0.5 * (1 + math.erf(math.sqrt(0.5))))
    assert numpy_operators.gelu_tanh(one)[0] == pytest.approx(
        numpy_operators.gelu(one)[0], abs=1e-3
    )
    assert numpy_operators.silu(one)[0] == pytest.approx(1 / (1 + math.exp(-1)))


def test_numpy_runs_all_but_attention() -> None:
    stack = NumpyStack(DESIGN.pool_bytes)
    refused = set()
    for operator in DESIGN.operators:
        call, why = stack.call(operator)
        if call is None:
            refused.add((operator.name, why))
        else:
            call()
    assert {name for name, _ in refused} == {"attention"}
    for job in stack.dispatch_jobs():
        job.run()


def test_numpy_threads_are_as_they_were_afterwards() -> None:
    pytest.importorskip("threadpoolctl")
    stack = NumpyStack(2**16)
    before = [one["num_threads"] for one in stack._threads.info()]
    with stack.quietly():
        stack.set_threads(1)
        blas = [one for one in stack._threads.info() if one["user_api"] == "blas"]
        assert {one["num_threads"] for one in blas} <= {1}
    assert [one["num_threads"] for one in stack._threads.info()] == before


def test_without_threadpoolctl_numpy_has_all_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("simulator.calibrate_host.numpy_stack._thread_pools", lambda: None)
    stack = NumpyStack(2**16)
    stack.set_threads(1)
    assert stack.thread_counts(4) == (4,)
    assert stack.library.startswith("NumPy ")


def test_weights_that_are_packed_once_have_no_packing_to_fit() -> None:
    from hardware_profiles import load_profile

    profile = load_profile("intel-core-i5-8500")
    packed = Subject(profile, load_runtime("onnxruntime").on("cpu"))
    anew = Subject(profile, load_runtime("pytorch-eager").on("cpu"))
    names = {"library.pack_cycles_per_weight", "library.pack_row_s"}
    assert not names & set(free_parameters(packed, frozenset()))
    assert names <= set(free_parameters(anew, frozenset()))


def onnx_stack() -> Any:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    from simulator.calibrate_host.onnx_stack import OnnxStack

    return OnnxStack(0)


def test_onnx_graphs_run_and_compute() -> None:
    stack = onnx_stack()
    import onnxruntime

    from simulator.calibrate_host.onnx_graphs import operator_graph

    ran = set()
    for operator in DESIGN.operators:
        call, _ = stack.call(operator)
        if call is not None:
            stack.set_threads(1)
            call()
            ran.add(operator.name)
    assert {"product", "add", "gelu", "layer_norm", "softmax", "attention"} <= ran
    softmax = next(o for o in Design(2**16).operators if o.name == "softmax" and o.tiny)
    graph = operator_graph(softmax, 2)
    assert graph is not None
    model, inputs = graph
    session = onnxruntime.InferenceSession(model(), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, inputs)
    np.testing.assert_allclose(found, np.full((1, 8), 1 / 8), rtol=1e-5)


def test_onnx_dispatch_is_by_node_and_by_run() -> None:
    jobs = {job.name: job for job in onnx_stack().dispatch_jobs()}
    assert jobs["dispatch per_pass"].calls == 1
    assert jobs["dispatch add"].calls == 100
    for job in jobs.values():
        job.run()
