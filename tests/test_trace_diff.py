"""Traces against runs: totals add up, real traces align, other formats, refusals."""

from __future__ import annotations

import gzip
import io
import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from simulator.run import Run
from simulator.scenario import Scenario
from simulator.trace_diff import Diff, align, diff_file, reading
from simulator.trace_diff.diff import diff_run
from simulator.trace_diff.measured import Measured, Operator, one_after_another
from simulator.trace_diff.repetition import repetitions
from simulator.trace_diff.views import draw_diff, table
from workloads import InputError

DATA = Path(__file__).parent / "data"
TORCH = DATA / "bert_tiny_torch.json.gz"
ORT = DATA / "bert_tiny_onnxruntime.json.gz"
CONFIG = {
    "model_type": "bert", "architectures": ["BertModel"], "hidden_size": 128,
    "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 512, "vocab_size": 1000,
    "max_position_embeddings": 512, "type_vocab_size": 2, "hidden_act": "gelu",
}  # fmt: skip


@pytest.fixture
def scenario(tmp_path: Path) -> Scenario:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(CONFIG))
    return Scenario(str(path), "amd-epyc-7763-1s", prompt=32, threads=1)


def written(folder: Path, value: Any, name: str = "trace.json") -> Path:
    path = folder / name
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return path


def op(name: str, ts: float, dur: float, dims: list[Any] | None = None, **more: Any) -> Any:
    args = {"Input Dims": dims or [], **more.pop("args", {})}
    found = {"ph": "X", "cat": "cpu_op", "name": name, "pid": 1, "tid": 1, "ts": ts, "dur": dur}
    return {**found, "args": args, **more}


def adds_up(diff: Diff) -> None:
    """Exactly, in whole nanoseconds, on both sides, by kind and by layer."""
    rest = sum(row.measured_ns for row in diff.left_over()) + diff.between().measured_ns
    assert sum(row.measured_ns for row in diff.by_kind()) + rest == diff.total().measured_ns
    assert sum(row.measured_ns for row in diff.by_layer()) + rest == diff.total().measured_ns
    rest = sum(row.predicted_ns for row in diff.left_over()) + diff.between().predicted_ns
    assert sum(row.predicted_ns for row in diff.by_kind()) + rest == diff.total().predicted_ns
    assert sum(row.predicted_ns for row in diff.by_layer()) + rest == diff.total().predicted_ns


def test_a_real_trace_of_torch(scenario: Scenario) -> None:
    diff = diff_file(TORCH, scenario)
    adds_up(diff)
    events = json.loads(gzip.decompress(TORCH.read_bytes()))["traceEvents"]
    start = min(e["ts"] for e in events)
    end = max(e["ts"] + e["dur"] for e in events)
    assert diff.total().measured_ns == pytest.approx(1000 * (end - start), abs=2)
    assert diff.predicted_total_ns == pytest.approx(scenario.run().latency_s * 1e9, abs=1)
    # 2 layers of query, key, value, output, up, down, and the pooler
    counts = {row.name: row.count for row in diff.by_kind()}
    assert counts["matmul"] == 2 * 6 + 1
    assert (counts["attention"], counts["gelu"], counts["layer_norm"]) == (2, 2, 1 + 2 * 2)
    assert [row.name for row in diff.by_layer()] == ["embed", "layer.0", "layer.1", "output"]
    assert diff.aligned_share_of_operators > 0.9
    assert "2 layers of 12 operators repeat in the trace" in diff.notes


def test_each_product_meets_the_moment_of_its_size(scenario: Scenario) -> None:
    diff = diff_file(TORCH, scenario)
    names = [pair.moments[0].name for pair in diff.pairs if pair.kind == "matmul"]
    parts = ("query", "key", "value", "attention_output", "up", "down")
    layers = [f"layer.{i}/{name}" for i in range(2) for name in parts]
    assert names == [*layers, "output/pooler"]
    up = next(p for p in diff.pairs if p.moments[0].name == "layer.1/up")
    assert up.operators[0].sizes == (1, 32, 512, 128)


def test_a_real_profile_of_onnx_runtime(scenario: Scenario) -> None:
    from dataclasses import replace

    diff = diff_file(ORT, replace(scenario, runtime="onnxruntime"))
    adds_up(diff)
    assert "the profile holds 2 passes; pass 2 is taken (--step)" in diff.notes
    assert diff.total().measured_ns == 981_000  # the duration of its model_run
    assert diff.aligned_share_of_operators > 0.75  # the rest: Reshape nodes, Transpose
    attention = next(row for row in diff.by_kind() if row.name == "attention")
    assert attention.count >= 2 * 5  # product, add, softmax, IsNaN, Where, product of each layer
    other = diff_file(ORT, replace(scenario, runtime="onnxruntime"), step=1)
    adds_up(other)
    assert other.total().measured_ns != diff.total().measured_ns


def test_one_product_for_query_key_and_value_and_a_gelu_written_out(tmp_path: Path) -> None:
    config = {"model_type": "gpt2", "n_embd": 64, "n_head": 2, "n_layer": 1, "vocab_size": 100}
    config |= {"n_positions": 64}
    path = written(tmp_path, {**config, "architectures": ["GPT2Model"]}, "config.json")
    rows, wide = [1, 8, 64], [1, 8, 256]
    elements = ["mul", "pow", "mul", "add", "mul", "tanh", "add", "mul"]
    names: list[tuple[str, list[Any]]] = [
        ("aten::layer_norm", [rows]), ("aten::addmm", [[192], [8, 64], [64, 192]]),
        ("aten::split", [[1, 8, 192]]), ("aten::cat", []), ("aten::cat", []),
        ("aten::scaled_dot_product_attention", [[1, 2, 8, 32]] * 3),
        ("aten::addmm", [[64], [8, 64], [64, 64]]), ("aten::add", [rows, rows]),
        ("aten::layer_norm", [rows]), ("aten::addmm", [[256], [8, 64], [64, 256]]),
        *((f"aten::{name}", [wide]) for name in elements),
        ("aten::addmm", [[64], [8, 256], [256, 64]]), ("aten::add", [rows, rows]),
    ]  # fmt: skip
    events = [op(name, 10 * i, 7, dims) for i, (name, dims) in enumerate(names)]
    trace = written(tmp_path, {"traceEvents": events})
    diff = diff_file(trace, Scenario(str(path), "amd-epyc-7763-1s", prompt=8))
    adds_up(diff)
    found = {tuple(m.name.split("/")[-1] for m in p.moments): len(p.operators) for p in diff.pairs}
    assert found["query", "key", "value"] == 1
    assert found[("activation",)] == len(elements)
    assert not diff.operators_alone
    assert [view.name for view in diff.views] == ["aten::split"]
    # 20 operators of 7 us every 10 us: 20 x 10 - 3 in all, 3 after each but the last
    assert diff.total().measured_ns == 197_000
    assert diff.between().measured_ns == 19 * 3_000


def test_what_is_unknown_is_listed_with_its_time(tmp_path: Path, scenario: Scenario) -> None:
    rows = [1, 32, 128]
    events = [
        op("aten::fft_fft", 0, 40),
        op("aten::linear", 50, 30, [rows, [128, 128], [128]]),
        op("aten::reshape", 90, 5, [rows]),
        op("aten::reshape", 100, 9, [rows]),
        op("aten::clone", 101, 7, [rows]),
    ]
    diff = diff_file(written(tmp_path, {"traceEvents": events}), scenario)
    adds_up(diff)
    left = {row.name: row.measured_ns for row in diff.left_over() if row.measured_ns}
    assert left == {"aten::fft_fft": 40_000, "aten::reshape (view)": 5_000, "aten::reshape": 9_000}
    assert len(diff.pairs) == 1


def test_on_a_gpu_kernels_are_the_operators_that_launched_them(
    tmp_path: Path, scenario: Scenario
) -> None:
    def kernel(name: str, ts: float, dur: float, external: int, correlation: int) -> Any:
        args = {"External id": external, "correlation": correlation}
        return op(name, ts, dur, cat="kernel", tid=7, args=args)

    rows = [1, 32, 128]
    events = [
        op("aten::linear", 0, 9, [rows, [512, 128], [512]], args={"External id": 1}),
        op("aten::addmm", 1, 7, [], args={"External id": 2}),
        op("aten::gelu", 10, 5, [[1, 32, 512]], args={"External id": 3}),
        op("cudaLaunchKernel", 11, 2, cat="cuda_runtime", args={"correlation": 12}),
        kernel("some_gemm", 100, 20, 2, 10),
        kernel("splitKreduce", 120, 5, 2, 11),
        kernel("vectorized_elementwise_kernel", 124, 10, 99, 12),  # overlaps by 1 us
    ]
    diff = diff_file(written(tmp_path, events), scenario)
    adds_up(diff)
    assert diff.measured.source == "torch.profiler, on the device"
    assert {row.name: row.measured_ns for row in diff.by_kind()} == {
        "matmul": 25_000,
        "gelu": 9_000,
    }
    assert diff.total().measured_ns == 34_000
    assert [pair.moments[0].name for pair in diff.pairs] == ["layer.0/up", "layer.0/activation"]


def test_steps_of_a_schedule(tmp_path: Path, scenario: Scenario) -> None:
    steps = [op(f"ProfilerStep#{i}", 100 * i, 90, cat="user_annotation") for i in range(2)]
    events = [*steps, op("aten::gelu", 10, 5), op("aten::gelu", 110, 7)]
    trace = written(tmp_path, events)
    assert diff_file(trace, scenario).total().measured_ns == 7_000
    assert diff_file(trace, scenario, step=1).total().measured_ns == 5_000
    with pytest.raises(InputError, match="--step 3: expected 1 to 2"):
        diff_file(trace, scenario, step=3)
    with pytest.raises(InputError, match="not divided into steps"):
        diff_file(TORCH, scenario, step=1)


def test_llama_bench(tmp_path: Path) -> None:
    rows = [
        {"n_prompt": 64, "n_gen": 0, "avg_ns": 1, "samples_ns": [30e6, 10e6, 20e6]},
        {"n_prompt": 0, "n_gen": 4, "n_depth": 16, "avg_ns": 8_000_000},
        {"n_prompt": 32, "n_gen": 0, "n_depth": 16, "avg_ns": 5_000_000},
    ]
    base = Scenario("gpt2", "amd-epyc-7763-1s", runtime="llama.cpp", threads=2)
    diff = diff_file(written(tmp_path, rows), base)
    adds_up(diff)
    assert diff.total().measured_ns == 33_000_000
    assert [row.name for row in diff.by_layer()] == ["pp64", "tg4 @ d16"]
    assert [op.name for op in diff.operators_alone] == ["pp32 @ d16"]  # no run starts there
    alone = Scenario("gpt2", base.hardware, runtime="llama.cpp", threads=2, context=16, generate=4)
    assert diff.moments[1].duration_ns == round(alone.run().latency_s * 1e9)
    with pytest.raises(InputError, match="leave out --prompt"):
        diff_file(written(tmp_path, rows), alone)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "starts with ''"),
        ("[]", "an empty list; nothing was measured"),
        ('{"a": 1}', 'has no list "traceEvents"'),
        ('[{"ph": "X"}', "event 1: the list is cut off"),
        ("[3]", "event 0: expected an object, found 3"),
        ("[" + '{"a":' * 9000 + "1", "event 0: nested too deeply"),
        ('[{"a": }]', "event 0: not valid JSON"),
        ('[{"a": 1}]', "its objects have the keys a; expected events"),
        ([{"ph": "M", "name": "x"}], "holds no operators"),
        ([op("aten::mm", 0, -1)], "dur = -1: expected microseconds"),
        ('[{"ph": "X", "cat": "cpu_op", "ts": NaN, "dur": 1}]', "expected microseconds"),
        ([{"cat": "Session", "ph": "X", "name": "x"}], 'holds no "model_run"'),
        (
            [{"cat": "Session", "ph": "X", "name": "model_run", "ts": 0, "dur": 1}],
            "pass 1 holds no operators",
        ),
        ([{"n_prompt": 0, "n_gen": 0}], "test 1: n_prompt and n_gen are both 0"),
        ([{"n_prompt": "8", "n_gen": 0}], "test 1: n_prompt = '8': expected a number of tokens"),
        ([{"n_prompt": 8, "n_gen": 0}], "test 1: avg_ns = None: expected nanoseconds"),
        ([{"n_prompt": 8, "n_gen": 0, "samples_ns": [0]}], "samples_ns = 0: expected nanoseconds"),
        ([op("x", 0, 300 - i) for i in range(250)], "nested more than 200 deep"),
    ],
)
def test_refusals_are_one_clear_line(tmp_path: Path, content: Any, message: str) -> None:
    path = written(tmp_path, content)
    with pytest.raises(InputError) as caught:
        diff_file(path, Scenario("bert-base", "amd-epyc-7763-1s"))
    assert message in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = Scenario("bert-base", "amd-epyc-7763-1s")
    monkeypatch.setattr(reading, "MAX_BYTES", 2000)
    bomb = tmp_path / "bomb.json.gz"
    bomb.write_bytes(gzip.compress(b"[" + b" " * 100_000))
    with pytest.raises(InputError, match=r"larger than 0 MiB; profile a single pass"):
        diff_file(bomb, base)
    bomb.write_bytes(b"not gzip")
    with pytest.raises(InputError, match="cannot be read"):
        diff_file(bomb, base)
    monkeypatch.setattr(reading, "MAX_EVENTS", 2)
    with pytest.raises(InputError, match="more than 2 events"):
        diff_file(written(tmp_path, [op("aten::mm", i, 1) for i in range(3)]), base)
    with pytest.raises(InputError, match="there is no such file"):
        diff_file(tmp_path / "none.json", base)
    (tmp_path / "bytes.json").write_bytes(b"[\xff]")
    with pytest.raises(InputError, match="not UTF-8 text"):
        diff_file(tmp_path / "bytes.json", base)


def test_too_many_pairs_and_several_devices(scenario: Scenario) -> None:
    with pytest.raises(InputError, match="too many to align; profile a single pass"):
        align.align([Operator("x", ("add",), None, 0, 1)] * 7000, scenario.run().moments * 300)
    spread = Scenario("gpt2", "nvidia-h100-sxm5-80gb", prompt=8, pipeline_parallel=2)
    with pytest.raises(InputError, match="a trace is that of one device"):
        diff_file(TORCH, spread)


def test_operators_never_overlap() -> None:
    ops = [Operator(n, ("add",), None, s, d) for n, s, d in (("b", 5, 3), ("a", 0, 7), ("c", 6, 1))]
    found = [(o.name, o.start_ns, o.duration_ns) for o in one_after_another(ops)]
    assert found == [("a", 0, 7), ("b", 7, 1), ("c", 8, 0)]


def test_layers_are_what_repeats() -> None:
    def ops(names: str) -> list[Operator]:
        return [Operator(name, (name,), None, 0, 1) for name in names]

    assert repetitions(ops("xyabcabcabcz")) == (3, 3)
    assert repetitions(ops("abcdef")) == (0, 1)


def test_the_table_and_the_charts(tmp_path: Path, scenario: Scenario) -> None:
    from rich.console import Console

    diff = diff_file(TORCH, scenario)
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(*table(diff), sep="\n")
    text = console.export_text()
    for line in ("attention", "between operators", "layer.1", "aten::reshape (view)", "aligned: "):
        assert line in text
    path = draw_diff(diff, tmp_path / "both.svg")
    drawing = path.read_text()
    assert drawing.count('<g id="axes_') == 4
    with pytest.raises(InputError, match="not a known format"):
        draw_diff(diff, tmp_path / "both.txt")
    instant = diff_file(written(tmp_path, [op("aten::fft_fft", 0, 0)]), scenario)
    assert (instant.aligned_share, instant.total().measured_ns) == (0.0, 0)
    assert draw_diff(instant, tmp_path / "instant.png").is_file()


def test_the_command(tmp_path: Path, scenario: Scenario) -> None:
    from typer.testing import CliRunner

    from simulator.cli import app

    arguments = ["diff", str(TORCH), "--workload", scenario.workload, "--on", "amd-epyc-7763-1s"]
    arguments += ["--prompt", "32", "--threads", "1"]
    out, chart = tmp_path / "diff.json", tmp_path / "diff.png"
    done = CliRunner().invoke(app, [*arguments, "--json", str(out), "--gantt", str(chart)])
    assert done.exit_code == 0, done.output
    figures = json.loads(out.read_text())
    parts = [*figures["by_kind"], *figures["left_over"], figures["between"]]
    assert sum(row["measured_ns"] for row in parts) == figures["total"]["measured_ns"]
    assert chart.read_bytes()[:4] == b"\x89PNG"
    assert "between operators" in done.stdout
    printed = CliRunner().invoke(app, [*arguments, "--json", "-"])
    assert json.loads(printed.stdout) == figures


def test_bad_input_ends_the_command_with_one_line(tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from simulator.cli import app

    path, out = written(tmp_path, "[]"), tmp_path / "out.json"
    arguments = ["diff", str(path), "--workload", "gpt2", "--on", "amd-epyc-7763-1s"]
    done = CliRunner().invoke(app, [*arguments, "--json", str(out)])
    assert done.exit_code == 2
    assert "nothing was measured" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not out.exists()
    done = CliRunner().invoke(app, [*arguments, "--gantt", str(tmp_path / "x.gif")])
    assert done.exit_code == 2
    assert "not a known format" in done.stderr


@cache
def short_run() -> Run:
    return Scenario("bert-base", "amd-epyc-7763-1s", prompt=8, drop_layers="11").run()


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(
        st.tuples(
            st.sampled_from([(), ("matmul",), ("add",), ("softmax",), ("copy",), ("fft",),
                             ("add", "layer_norm"), ("gelu",), ("layer_norm",)]),
            st.integers(0, 50), st.integers(0, 20), st.sampled_from([-1, 0, 1]),
        ), min_size=1, max_size=40,
    )
)  # fmt: skip
def test_any_operators_add_up_and_keep_their_order(items: list[Any]) -> None:
    run = short_run()
    ops = [Operator("x", k, None, start, length, False, call) for k, start, length, call in items]
    lined = one_after_another(ops)
    end = max(o.start_ns + o.duration_ns for o in lined)
    measured = Measured("made up", lined, lined[0].start_ns, end - lined[0].start_ns)
    diff = diff_run(measured, run)
    adds_up(diff)
    assert diff.between().measured_ns >= 0
    real = [o for o in lined if not o.is_view]
    matches = align.align(real, run.moments)
    for side in ("operators", "moments"):
        positions = [i for m in matches for i in getattr(m, side)]
        assert positions == sorted(set(positions))
    for match in matches:
        assert (
            len(match.operators) == 1
            or len(match.moments) == 1
            or real[match.operators[0]].call >= 0
        )
