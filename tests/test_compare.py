"""Comparison: statistics by hand, skipped cases with reasons, agreement with plain runs."""

from __future__ import annotations

import io
import json
from math import exp
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from hardware_profiles import load_profile
from hardware_profiles.calibrations import shipped
from hardware_profiles.variants import with_cores
from simulator import simulate
from simulator.compare import Comparison, Predicted, compare_file, followed_table, statistics, table
from simulator.forward_calibration import ForwardScales
from simulator.predict import Predictor, Skip
from simulator.protocol import best_runtime
from simulator.runtime import load_runtime
from tests.test_cases import FORWARD_HEADER, MATMUL, OPERATOR_HEADER, PREFILL, written
from workloads import InputError, compile_forward, load_model


@pytest.fixture
def unscaled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole passes as declared, without the shipped scales of calibrations/forward."""
    monkeypatch.setattr("simulator.predict.forward_scales", lambda *_: None)


def test_statistics_by_hand() -> None:
    s = statistics([-0.5, 0.1, 0.1, 0.3, 1.0])
    assert s.n == 5
    assert s.mape == pytest.approx(0.4)
    assert s.median_ape == pytest.approx(0.3)
    assert s.p90_ape == pytest.approx(0.8)  # between 0.5 and 1.0, at 3.6 of 0 to 4
    assert s.bias == pytest.approx(0.2)
    with pytest.raises(ValueError, match="no errors"):
        statistics([])


@pytest.mark.usefixtures("unscaled")
def test_a_forward_case_is_a_plain_run(tmp_path: Path) -> None:
    comparison = compare_file(written(tmp_path, FORWARD_HEADER + PREFILL))
    program = compile_forward(load_model("bert-base"), batch=2, prompt=128, dtype="fp16")
    run = simulate(program, load_profile("nvidia-t4"), "tensorrt")
    assert comparison.cases[0].predicted_us == pytest.approx(run.latency_s * 1e6)
    assert comparison.cases[0].error == pytest.approx(run.latency_s / 3.5e-3 - 1)


def test_encoder_layers_only_leaves_out_the_rest(tmp_path: Path) -> None:
    whole = compare_file(written(tmp_path, FORWARD_HEADER + PREFILL))
    text = PREFILL.replace("somebody,", "somebody,FasterTransformer; encoder layers only")
    body = compare_file(written(tmp_path, FORWARD_HEADER + text))
    assert body.cases[0].predicted_us < whole.cases[0].predicted_us


@pytest.mark.usefixtures("unscaled")
def test_a_decode_mean_is_the_step_in_the_middle(tmp_path: Path) -> None:
    row = "g1,nvidia-t4,1,1,1,pytorch-eager,gpt2,{},1,100,,{},fp16,fp16,3.5,somebody,\n"
    mean = compare_file(written(tmp_path, FORWARD_HEADER + row.format("decode_mean", 50)))
    step = compile_forward(load_model("gpt2"), context=125, dtype="fp16")
    run = simulate(step, load_profile("nvidia-t4"))
    assert mean.cases[0].predicted_us == pytest.approx(run.latency_s * 1e6)
    whole = compare_file(written(tmp_path, FORWARD_HEADER + row.format("generate", 50)))
    program = compile_forward(load_model("gpt2"), prompt=100, generate=50, dtype="fp16")
    exact = simulate(program, load_profile("nvidia-t4")).latency_s
    assert whole.cases[0].predicted_us == pytest.approx(exact * 1e6, rel=0.01)


def test_threads_of_a_case_limit_the_cores(tmp_path: Path) -> None:
    row = PREFILL.replace("nvidia-t4", "amd-epyc-7763-1s").replace("tensorrt", "pytorch-eager")
    row = row.replace("somebody,", "somebody,threads=2; quiet").replace("fp16", "fp32")
    comparison = compare_file(written(tmp_path, FORWARD_HEADER + row))
    program = compile_forward(load_model("bert-base"), batch=2, prompt=128)
    run = simulate(program, with_cores(load_profile("amd-epyc-7763-1s"), 2))
    assert comparison.cases[0].predicted_us == pytest.approx(run.latency_s * 1e6)


def test_nothing_is_skipped_silently(tmp_path: Path) -> None:
    rows = [
        MATMUL,
        MATMUL.replace("a1,nvidia-a100-sxm4-80gb", "a2,some-machine"),
        MATMUL.replace("a1,", "a4,").replace("bf16", "q9_z"),
        MATMUL.replace("a1,nvidia-a100-sxm4-80gb,1", "a5,nvidia-a100-sxm4-80gb,2"),
    ]
    comparison = compare_file(written(tmp_path, OPERATOR_HEADER + "".join(rows)))
    assert [p.case.case_id for p in comparison.cases] == ["a1"]
    reasons = {case.case_id: reason for case, reason in comparison.skipped}
    assert reasons == {
        "a2": "no hardware profile 'some-machine'",
        "a4": "no arithmetic in 'q9_z'",
        "a5": "matmul on 2 devices: only collectives have several",
    }
    result = json.loads(json.dumps(comparison.as_json(), allow_nan=False))
    assert result["n"] == 1
    assert len(result["skipped"]) == 3
    assert set(result) == {
        "n", "mode", "skipped", "notes", "mape", "median_ape", "p90_ape", "bias", "inside",
        "groups", "followed", "cases",
    }  # fmt: skip
    assert set(result["cases"][0]) == {
        "case_id", "predicted_us", "measured_us", "low_us", "high_us", "widened", "error", "mode",
        "fitted",
    }  # fmt: skip


def test_no_case_at_all_is_no_error(tmp_path: Path) -> None:
    comparison = compare_file(written(tmp_path, OPERATOR_HEADER))
    assert comparison.as_json()["n"] == 0
    assert comparison.as_json()["mape"] is None
    assert table(comparison).row_count == 0


def test_what_was_measured_did_fit_if_its_weights_do(tmp_path: Path) -> None:
    row = PREFILL.replace("bert-base", "gpt2-large").replace(",2,128,", ",512,512,")
    assert len(compare_file(written(tmp_path, FORWARD_HEADER + row)).cases) == 1
    program = compile_forward(load_model("gpt2-large"), batch=512, prompt=512, dtype="fp16")
    with pytest.raises(InputError, match="nvidia-t4 has"):
        simulate(program, load_profile("nvidia-t4"), "tensorrt")


def test_a_model_that_does_not_fit_is_skipped_with_the_figures(tmp_path: Path) -> None:
    row = PREFILL.replace("bert-base", "llama-2-70b")
    comparison = compare_file(written(tmp_path, FORWARD_HEADER + row))
    assert "needs" in comparison.skipped[0][1]
    assert "nvidia-t4 has" in comparison.skipped[0][1]


def test_groups_cover_each_case_in_each_way(tmp_path: Path) -> None:
    rows = MATMUL + MATMUL.replace("a1,", "a2,").replace("a100-sxm4-80gb", "h100-sxm5-80gb")
    comparison = compare_file(written(tmp_path, OPERATOR_HEADER + rows))
    assert [(hardware, what, s.n) for hardware, what, s in comparison.groups()] == [
        ("*", "matmul", 2),
        ("nvidia-a100-sxm4-80gb", "*", 1),
        ("nvidia-a100-sxm4-80gb", "matmul", 1),
        ("nvidia-h100-sxm5-80gb", "*", 1),
        ("nvidia-h100-sxm5-80gb", "matmul", 1),
    ]
    assert table(comparison).row_count == 6


def test_a_workload_table_beside_the_cases_wins(tmp_path: Path) -> None:
    entry = {
        "family": "encoder", "layers": 2, "hidden": 64, "heads": 4, "kv_heads": 4, "head_dim": 16,
        "intermediate": 128, "activation": "gelu", "norm": "layer_norm", "vocab": 100,
        "max_positions": 128, "tied_embeddings": True,
    }  # fmt: skip
    plain = compare_file(written(tmp_path, FORWARD_HEADER + PREFILL)).cases[0].predicted_us
    written(tmp_path, json.dumps({"bert-base": entry}), "workloads.json")
    small = compare_file(tmp_path / "cases.csv").cases[0].predicted_us
    assert small < plain / 2


def test_quantized_activations_cost_kernels_of_their_own(tmp_path: Path) -> None:
    row = MATMUL.replace("nvidia-a100-sxm4-80gb", "nvidia-h100-sxm5-80gb").replace("bf16", "fp8")
    plain = compare_file(written(tmp_path, OPERATOR_HEADER + row)).cases[0].predicted_us
    said = "includes the dynamic quantization of the activations"
    noted = compare_file(written(tmp_path, OPERATOR_HEADER + row.replace("x=1", said)))
    assert noted.cases[0].predicted_us > plain + 3  # three more kernels


def test_a_norm_that_adds_its_residual_moves_two_more_tensors(tmp_path: Path) -> None:
    row = "n1,nvidia-rtx-4090,1,kernel,rms_norm,bf16,,4096,4096,,,,,,,,,,5.5,1.0,1,somebody,{}\n"
    plain = compare_file(written(tmp_path, OPERATOR_HEADER + row.format("")))
    noted = compare_file(
        written(tmp_path, OPERATOR_HEADER + row.format("adds the residual as well"))
    )
    assert noted.cases[0].predicted_us > 1.5 * plain.cases[0].predicted_us


def test_equal_cases_are_predicted_once(tmp_path: Path) -> None:
    comparison = compare_file(written(tmp_path, OPERATOR_HEADER + MATMUL + MATMUL))
    first, second = comparison.cases
    assert isinstance(first, Predicted)
    assert first.predicted_us == second.predicted_us
    assert isinstance(comparison, Comparison)


def test_a_prefill_of_nothing_is_skipped(tmp_path: Path) -> None:
    path = written(tmp_path, FORWARD_HEADER + PREFILL.replace(",128,", ",0,"))
    assert compare_file(path).skipped[0][1] == "a prefill of no tokens"


def test_a_measurement_may_go_beyond_the_models_positions(tmp_path: Path) -> None:
    path = written(tmp_path, FORWARD_HEADER + PREFILL.replace(",128,", ",640,"))
    assert len(compare_file(path).cases) == 1


def test_skip_is_raised_with_a_reason(tmp_path: Path) -> None:
    from simulator.cases import read_cases

    path = written(tmp_path, OPERATOR_HEADER + MATMUL.replace("bf16", "nope"))
    with pytest.raises(Skip, match="no arithmetic in 'nope'"):
        Predictor().latency_s(read_cases(path)[0])


@pytest.mark.parametrize(
    ("case", "named", "note"),
    [
        (OPERATOR_HEADER + MATMUL.replace("kernel", "kernal"), OPERATOR_HEADER + MATMUL,
         "no runtime 'kernal'; did you mean \"kernl\" or \"kernel\" or"),
        (FORWARD_HEADER + PREFILL.replace("tensorrt", "tensorrtx"), FORWARD_HEADER + PREFILL,
         "no runtime 'tensorrtx'; did you mean \"tensorrt\""),
        (FORWARD_HEADER + PREFILL.replace("tensorrt", "ncnn"), FORWARD_HEADER + PREFILL,
         "runtime 'ncnn' does not run on a gpu: predicted with tensorrt, the best for"),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("unscaled")
def test_a_runtime_that_cannot_be_simulated_is_replaced_and_said(
    tmp_path: Path, case: str, named: str, note: str
) -> None:
    comparison = compare_file(written(tmp_path, case))
    assert comparison.cases[0].predicted_us == (
        compare_file(written(tmp_path, named)).cases[0].predicted_us
    )
    assert any(said.startswith(note) for _, said in comparison.notes)


@pytest.mark.usefixtures("unscaled")
def test_an_unknown_runtime_is_the_best_one_and_said(tmp_path: Path) -> None:
    row = PREFILL.replace("tensorrt", "unknown")
    comparison = compare_file(written(tmp_path, FORWARD_HEADER + row))
    named = compare_file(written(tmp_path, FORWARD_HEADER + PREFILL))
    assert comparison.cases[0].predicted_us == named.cases[0].predicted_us
    note = "runtime unknown: predicted with tensorrt, the best for this kind of machine"
    assert comparison.decisions() == [(note, 1)]
    assert comparison.as_json()["notes"] == [{"case_id": "f1", "note": note}]
    assert named.decisions() == []


@pytest.mark.parametrize(
    ("machine", "decoder", "name"),
    [
        ("nvidia-t4", True, "tensorrt-llm"),
        ("nvidia-t4", False, "tensorrt"),
        ("apple-m1-max-32c", True, "llama.cpp"),
        ("apple-m1-max-32c", False, "onnxruntime"),
        ("amd-epyc-7763-1s", True, "llama.cpp"),
        ("amd-epyc-7763-1s", False, "openvino"),
    ],
)
def test_the_best_runtime_by_machine_and_model(machine: str, decoder: bool, name: str) -> None:
    profile = load_profile(machine)
    assert best_runtime(profile, decoder=decoder) == name
    assert getattr(load_runtime(name), profile.kind) is not None


def test_autocast_is_a_runtime_of_its_own_and_said(tmp_path: Path) -> None:
    row = PREFILL.replace("tensorrt", "pytorch-eager").replace("somebody,", "somebody,autocast")
    comparison = compare_file(written(tmp_path, FORWARD_HEADER + row))
    name = "pytorch-eager-autocast"
    assert comparison.decisions() == [(f"with autocast: predicted with {name}", 1)]
    program = compile_forward(load_model("bert-base"), batch=2, prompt=128, dtype="fp16")
    run = simulate(program, load_profile("nvidia-t4"), name)
    assert comparison.cases[0].predicted_us == pytest.approx(run.latency_s * 1e6)


@pytest.mark.parametrize(
    ("runtime", "condition", "name"),
    [
        ("fastertransformer", "PyTorch; int8-v1; encoder", "fastertransformer-int8-v1"),
        ("tensorrt", "TensorRT 2021; question answering", "tensorrt-2021"),
        ("tensorrt", "TensorRT 2022; question answering", ""),
        ("tensorflow-xla", "TensorFlow 1 XLA 20.06 NGC", "tensorflow1-xla"),
        ("tensorflow-xla", "TensorFlow 2 XLA NGC", "tensorflow2-xla"),
        ("tensorflow-xla", "TensorFlow XLA", ""),
    ],
)
def test_versions_that_differ_are_runtimes_of_their_own(
    runtime: str, condition: str, name: str, tmp_path: Path
) -> None:
    row = PREFILL.replace("tensorrt", runtime).replace("somebody,", f"somebody,{condition}")
    notes = compare_file(written(tmp_path, FORWARD_HEADER + row)).decisions()
    said = condition.split(";")[0].removesuffix(" NGC").removesuffix(" 20.06")
    if "int8" in condition:
        said = "with int8-v1"
    assert notes == ([(f"{said}: predicted with {name}", 1)] if name else [])


def test_threads_of_the_host_leave_a_gpu_whole(tmp_path: Path) -> None:
    row = PREFILL.replace("somebody,", "somebody,threads=1")
    one = compare_file(written(tmp_path, FORWARD_HEADER + row)).cases[0].predicted_us
    assert one == compare_file(written(tmp_path, FORWARD_HEADER + PREFILL)).cases[0].predicted_us


def test_a_product_in_a_weight_format_takes_one_thread_or_a_matrix_unit(tmp_path: Path) -> None:
    """Without a vendor's library: dot products of bytes on one core; with it, on a cluster's."""
    row = MATMUL.replace("nvidia-a100-sxm4-80gb,1,kernel", "apple-m4-max-cpu,1,ggml")
    row = row.replace("bf16,1,8,16,32", "q4_0,1,1024,1024,1024")
    one = compare_file(
        written(tmp_path, OPERATOR_HEADER + row.replace("x=1", "one CPU thread"))
    ).cases[0]
    # 2^30 MACs: 64 bytes wide at a share of a quarter and 0.02 cycles a MAC to unpack, 4.51 GHz
    assert one.predicted_us == pytest.approx(2**30 * (1 / 16 + 0.02) / 4510, rel=0.05)
    row = row.replace("x=1", "one CPU thread; Accelerate")
    library = compare_file(written(tmp_path, OPERATOR_HEADER + row))
    assert library.cases[0].predicted_us < one.predicted_us / 3
    assert library.decisions() == [("with Accelerate: predicted with ggml-accelerate", 1)]


FORWARD_CASES = [
    ("whisper-tiny,prefill,1,1500,,", "", {"prompt": 1500}),
    ("whisper-tiny,decode_mean,1,0,,256", "", {"context": 128}),
    ("t5-small,decode_mean,1,64,,8", "", {"prompt": 64, "context": 4}),
    ("t5-small,prefill,1,64,,", "", {"prompt": 64}),
    (
        "t5-small,prefill,1,64,,",
        "decoder runs over as many tokens as the encoder",
        {"prompt": 64, "target": 64, "logits": "last"},
    ),
    (
        "transformer-xl-base,prefill,1,64,640,",
        "adaptive softmax over all positions",
        {"prompt": 64, "context": 640},
    ),
]


@pytest.mark.parametrize(("row", "conditions", "request_"), FORWARD_CASES)
@pytest.mark.usefixtures("unscaled")
def test_what_a_pass_means_with_an_encoder_or_a_memory(
    row: str, conditions: str, request_: dict[str, Any], tmp_path: Path
) -> None:
    line = f"g1,nvidia-t4,1,1,1,pytorch-eager,{row},fp16,fp16,3.5,somebody,{conditions}\n"
    (case,) = compare_file(written(tmp_path, FORWARD_HEADER + line)).cases
    program = compile_forward(load_model(row.split(",")[0]), dtype="fp16", **request_)
    run = simulate(program, load_profile("nvidia-t4"))
    assert case.predicted_us == pytest.approx(run.latency_s * 1e6)


def test_cases_that_were_fitted_are_in_no_statistics(tmp_path: Path) -> None:
    shown = [Predicted(None, 1.0, fitted=True)]  # type: ignore[arg-type]
    assert Comparison(shown, []).tested == []
    entry = next(iter(shipped()["nvidia-a100-sxm4-80gb"].calibration.values()))
    rows = MATMUL.replace("a1,", f"{entry.fitted[0]},") + MATMUL
    path = written(tmp_path, OPERATOR_HEADER + rows)
    calibrated = compare_file(path).as_json()
    assert [c["fitted"] for c in calibrated["cases"]] == [True, False]
    assert calibrated["n"] == calibrated["groups"][0]["n"] == 1
    zero_shot = compare_file(path, mode="zero-shot").as_json()
    assert [c["fitted"] for c in zero_shot["cases"]] == [False, False]
    assert {c["mode"] for c in zero_shot["cases"]} == {zero_shot["mode"]} == {"zero-shot"}
    assert zero_shot["n"] == 2
    errors = [result["cases"][1]["error"] for result in (calibrated, zero_shot)]
    assert errors[0] != errors[1]


def test_groups_that_accuracy_is_followed_by(tmp_path: Path) -> None:
    rows = [
        MATMUL.replace("5.5,1.0", "5.5,1.2"),
        MATMUL.replace("a1,", "a2,").replace("bf16", "fp8").replace("a100-sxm4", "h100-sxm5"),
        MATMUL.replace("a1,", "a3,").replace("a100-sxm4-80gb", "t4").replace("bf16", "fp16"),
        MATMUL.replace("a1,", "a4,").replace("kernel", "pytorch-eager").replace("bf16", "fp32"),
        "a5,nvidia-t4,1,pytorch-eager,add,fp32,,,,,,,,,,,100,,9.9,1.0,1,somebody,\n",
    ]
    comparison = compare_file(written(tmp_path, OPERATOR_HEADER + "".join(rows)))
    found = {name: (s.n, spread) for name, s, spread in comparison.followed()}
    assert found == {
        "BF16/FP16 GEMM on A100, H100, L40S": (1, pytest.approx(0.2)),
        "FP8 GEMM": (1, None),
        "FP32 GEMM, norms, softmax, elementwise (eager)": (2, None),
    }
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(followed_table(comparison))
    text = console.export_text()
    assert "FP8 GEMM" in text
    assert "20.0" in text


def test_every_case_has_an_interval_and_tables_say_how_many_hold(tmp_path: Path) -> None:
    far = PREFILL.replace("f1", "f2").replace("3.5,", "350,")
    comparison = compare_file(written(tmp_path, FORWARD_HEADER + PREFILL + far))
    near, missed = comparison.cases
    assert near.interval is not None
    assert near.interval.low_s < near.predicted_us * 1e-6 < near.interval.high_s
    assert missed.inside is False
    assert comparison.statistics.inside == pytest.approx(bool(near.inside) / 2)
    data = comparison.as_json()
    assert data["cases"][0]["low_us"] == pytest.approx(near.interval.low_s * 1e6)
    assert data["cases"][0]["high_us"] == pytest.approx(near.interval.high_s * 1e6)
    assert data["followed"][0]["inside"] == comparison.statistics.inside
    for shown in (table(comparison), followed_table(comparison)):
        assert "in 80 %" in [column.header for column in shown.columns]


def test_the_interval_of_an_equal_case_is_the_same(tmp_path: Path) -> None:
    """The second is not simulated again."""
    again = PREFILL.replace("f1", "f2")
    first, second = compare_file(written(tmp_path, FORWARD_HEADER + PREFILL + again)).cases
    assert first.interval == second.interval
    assert first.interval is not None


def test_a_calibrated_pass_has_the_residuals_of_its_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A million held out cases were predicted too slow by 0.1 to 0.3: so will this one be."""
    scales = ForwardScales(
        fitted_on=("other",), held_out=10**6, log_residuals=(0.1, 0.2, 0.3), source="set by hand"
    )
    monkeypatch.setattr(Predictor, "scales_of", lambda self, case: scales)
    (case,) = compare_file(written(tmp_path, FORWARD_HEADER + PREFILL)).cases
    assert case.interval is not None
    predicted_s = case.predicted_us * 1e-6
    assert case.interval.low_s == pytest.approx(predicted_s * exp(-0.3), rel=1e-4)
    assert case.interval.high_s == pytest.approx(predicted_s)  # the prediction stays inside
    (zero,) = compare_file(written(tmp_path, FORWARD_HEADER + PREFILL), mode="zero-shot").cases
    assert zero.interval is not None
    assert zero.interval.high_s > zero.predicted_us * 1e-6
