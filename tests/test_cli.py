"""The command line: what a user does, and what it says when that cannot be done."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from simulator.cli import app
from simulator.scenario import Scenario

A100 = ("--on", "nvidia-a100-sxm4-80gb")
BERT = {
    "model_type": "bert",
    "architectures": ["BertModel"],
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 128,
    "vocab_size": 100,
    "max_position_embeddings": 32,
    "type_vocab_size": 2,
    "hidden_act": "gelu",
}
MACHINE = """
extends = "teaching"
name = "mine"
title = "My machine"
[memory.dram]
bandwidth = "{bandwidth}"
bandwidth_per_core = "{bandwidth}"
source = "measured by nobody"
"""


def moments(*arguments: str | Path) -> Result:
    """Run a command in this process; an error without a line of its own fails the test."""
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def good(*arguments: str | Path) -> Result:
    result = moments(*arguments)
    assert result.exit_code == 0, result.stderr
    return result


def bad(*arguments: str | Path) -> str:
    """The one line that a command answers with when it exits with 2."""
    result = moments(*arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    lines = [line for line in result.stderr.splitlines() if not line.startswith("note: ")]
    assert len(lines) == 1
    assert lines[0].startswith("moments: error: ")
    assert "Traceback" not in result.stderr
    return lines[0]


def config(folder: Path, **changes: object) -> Path:
    path = folder / "config.json"
    path.write_text(json.dumps({**BERT, **changes}), encoding="utf-8")
    return path


def process(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False
    )


MAIN = "from simulator.cli import main; main()"


def test_run_shows_a_summary_and_says_what_it_assumed() -> None:
    result = good("run", "bert-base", *A100)
    assert "NVIDIA A100 SXM4 80 GB" in result.stdout
    assert "where each cycle went" in result.stdout
    assert "assumed --prompt 128, --dtype fp16, --runtime pytorch-eager" in result.stderr


def test_run_writes_all_that_is_asked_for(tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = good(
        *("run", "bert-base", *A100, "--prompt", "8", "--gantt", out / "gantt.png"),
        *("--trace", out / "trace.json", "--json", out / "run.json", "--csv", out / "run.csv"),
    )
    assert result.stderr.count("wrote ") == 4
    assert (out / "gantt.png").read_bytes().startswith(b"\x89PNG")
    data = json.loads((out / "run.json").read_text(encoding="utf-8"))
    assert len(json.loads((out / "trace.json").read_text(encoding="utf-8"))["traceEvents"]) > 400
    with (out / "run.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == data["moments"]
    assert rows[0]["name"] == "prefill/embed/token_embedding"
    assert len(list(out.iterdir())) == 4


def test_json_to_stdout_is_nothing_but_json() -> None:
    result = good(
        *("run", "gpt2", *A100, "--runtime", "pytorch-cuda-graphs", "--prompt", "64"),
        *("--generate", "4", "--dtype", "fp16", "--json", "-"),
    )
    data: dict[str, Any] = json.loads(result.stdout)
    keys = {"workload", "hardware", "runtime", "latency_s", "ttft_s", "tpot_s", "cycles"}
    keys |= {"clock_hz", "moments", "utilization", "attribution_s", "by_stage_s", "by_kind_s"}
    keys |= {"bounds_s", "memory_bytes", "tokens_per_s", "batch", "dtype", "notes"}
    assert keys <= set(data)
    assert data["workload"] == "gpt2"
    assert data["runtime"] == "pytorch-cuda-graphs"
    for part in ("attribution_s", "by_stage_s", "by_kind_s"):
        assert sum(data[part].values()) == pytest.approx(data["latency_s"], rel=1e-12)
    assert data["ttft_s"] + 3 * data["tpot_s"] == pytest.approx(data["latency_s"])


def test_times_to_tokens_are_null_without_tokens() -> None:
    data = json.loads(good("run", "bert-base", *A100, "--json", "-").stdout)
    assert (data["ttft_s"], data["tpot_s"], data["tokens_per_s"]) == (None, None, None)


def test_run_takes_files_of_the_users(tmp_path: Path) -> None:
    machine = tmp_path / "my-machine.toml"
    machine.write_text(MACHINE.format(bandwidth="2 GB/s"), encoding="utf-8")
    path = config(tmp_path)
    arguments = ("--on", machine, "--batch", "4", "--prompt", "16", "--json", "-")
    data = json.loads(good("run", path, *arguments).stdout)
    assert (data["hardware"], data["batch"], data["dtype"]) == ("mine", 4, "fp32")
    again = json.loads(good("run", tmp_path, *arguments).stdout)
    assert again == data


def test_run_on_this_machine() -> None:
    data = json.loads(
        good(
            "run", "bert-base", "--on", "host", "--no-probe", "--prompt", "8", "--json", "-"
        ).stdout
    )
    assert data["hardware"] == "host"
    assert data["dtype"] == "fp32"
    assert any("not measured" in note for note in data["notes"])


def test_threads_use_a_part_of_the_machine() -> None:
    arguments = ("run", "bert-base", "--on", "amd-epyc-7763-1s", "--prompt", "64", "--json", "-")
    whole = json.loads(good(*arguments).stdout)
    part = json.loads(good(*arguments, "--threads", "2").stdout)
    assert part["latency_s"] > 4 * whole["latency_s"]


def test_figures_are_changed_on_the_line() -> None:
    decode = ("run", "gpt2", *A100, "--context", "8", "--json", "-")
    changes = ("--set", "dram.bandwidth=2x", "--set", "dispatch=1/2x")
    before, after = good(*decode), good(*decode, *changes)
    assert json.loads(after.stdout)["latency_s"] < 0.7 * json.loads(before.stdout)["latency_s"]
    assert "note: changed memory.dram.bandwidth: 2.039 TB/s -> 4.078 TB/s" in after.stderr


def test_run_can_start_from_a_context() -> None:
    data = json.loads(good("run", "gpt2", *A100, "--context", "100", "--json", "-").stdout)
    assert (data["tokens"], data["context"], data["ttft_s"]) == (1, 100, None)
    assert data["tpot_s"] == pytest.approx(data["latency_s"])


def test_the_default_prompt_fits_the_model(tmp_path: Path) -> None:
    path = config(tmp_path)
    assert json.loads(good("run", path, *A100, "--json", "-").stdout)["tokens"] == 32
    assert json.loads(good("run", "vit-b-16-224", *A100, "--json", "-").stdout)["tokens"] == 197


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("workloads", ["bert-base", "109,482,240", "64 / 8 kv"]),
        ("hardware", ["nvidia-a100-sxm4-80gb", "312 T", "2.04 TB/s", "80 GiB", "host"]),
        ("runtimes", ["pytorch-eager", "asynchronous", "synchronous", "tensorrt"]),
    ],
)
def test_list(what: str, words: list[str]) -> None:
    text = good("list", what).stdout
    for word in words:
        assert word in text
    assert "…" not in text
    rows = json.loads(good("list", what, "--json").stdout)
    assert all(row["name"] in text for row in rows)


def test_hardware_fits_a_terminal_of_100_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    for choice in ((), ("--kind", "cpu")):
        text = good("list", "hardware", *choice).stdout
        assert "…" not in text
        assert max(len(line) for line in text.splitlines()) <= 100
        assert ("kind" in text.splitlines()[0]) == (not choice)


def test_hardware_is_chosen_by_its_figures() -> None:
    chosen = ("--vendor", "NVIDIA", "--kind", "gpu", "--min-memory", "70GB", "--max-tdp", "400 W")
    rows = json.loads(good("list", "hardware", *chosen, "--sort", "bandwidth", "--json").stdout)
    names = [row["name"] for row in rows]
    assert "nvidia-a100-sxm4-80gb" in names
    assert "nvidia-h100-sxm5-80gb" not in names
    rates = [row["memory_bytes_per_s"] for row in rows]
    assert rates == sorted(rates, reverse=True)
    fast = json.loads(good("list", "hardware", "--min-bandwidth", "4TB/s", "--json").stdout)
    assert {row["memory_bytes_per_s"] >= 4e12 for row in fast} == {True}
    cheapest = json.loads(good("list", "hardware", "--sort", "price", "--json").stdout)
    assert cheapest[0]["price_per_hour"] > 1
    assert cheapest[-1]["price_per_hour"] is None


def test_the_bundled_hardware_is_not_in_doubt() -> None:
    result = good("lint")
    assert result.stdout == ""
    assert "0 figures in doubt" in result.stderr


def test_lint_shows_what_is_in_doubt_and_exits_with_1(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(MACHINE.format(bandwidth="1 MB/s"), encoding="utf-8")
    result = moments("lint", path, "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)[0]["findings"][0]["key"] == "memory.dram.bandwidth"
    table = moments("lint", path)
    assert table.exit_code == 1
    assert table.stdout.split()[:6] == ["file", "key", "value", "expected", "likely", "slip"]
    assert "below 50 MB/s" in " ".join(table.stdout.split())


def test_show_a_workload() -> None:
    text = good("show", "gpt2").stdout
    for words in ("124,439,808", "one token after 511", "249 MB", "KV cache a token"):
        assert words in text
    data = json.loads(good("show", "bert-base", "--json").stdout)
    assert data["parameters"] == 109_482_240
    assert [row["weight_dtype"] for row in data["memory_bytes"]] == ["fp32", "fp16", "int8", "int4"]
    assert data["memory_bytes"][0]["weights"] == 4 * 109_482_240


def test_show_hardware_with_every_source() -> None:
    result = good("show", "nvidia-a100-sxm4-80gb")
    for words in ("burst: 1.41 GHz", "memory.dram", "80 GiB", "matrix fp16: 1024", "whitepaper"):
        assert words in result.stdout
    # 2 x 108 cores x 1.41 GHz x 1024; by 2.039 TB/s
    assert "fp16: 312 TFLOP/s, 153 a byte" in result.stdout
    data = json.loads(good("show", "nvidia-a100-sxm4-80gb", "--json").stdout)
    assert data["clock"]["burst"] == "1.41 GHz"
    assert all("source" in entry for entry in data["efficiency"].values())


def test_show_hardware_begins_with_its_note_and_leaves_defaults_out() -> None:
    text = good("show", "apple-m2-max-cpu").stdout
    assert text.splitlines()[2].startswith("Note: One thread can use")
    assert "ramp" not in text
    assert "sparse_2_4" not in text
    lines = text.splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith("efficiency.matmul "))
    assert lines[at + 1].startswith("efficiency.matmul_vector ")  # one row for both
    data = json.loads(good("show", "apple-m2-max-cpu", "--json").stdout)
    assert data["efficiency"]["matmul_vector"]["ramp"] == "0 s"


def test_show_a_runtime() -> None:
    text = good("show", "pytorch-eager").stdout
    assert "cpu.host" in text
    assert "mode: asynchronous" in text


def test_show_tells_files_apart(tmp_path: Path) -> None:
    machine = tmp_path / "mine.toml"
    machine.write_text(MACHINE.format(bandwidth="2 GB/s"), encoding="utf-8")
    assert "My machine" in good("show", machine).stdout
    runtime = tmp_path / "runtime.toml"
    source = "source = 'made up for a test'\n"
    runtime.write_text(f"name='r'\ntitle='Mine'\n{source}[gpu]\n{source}", encoding="utf-8")
    assert "Mine" in good("show", runtime).stdout
    assert "parameters" in good("show", config(tmp_path)).stdout


def test_show_this_machine() -> None:
    assert "cores" in good("show", "host", "--no-probe").stdout


def test_help_and_version() -> None:
    for arguments in ((), ("--help",), ("-h",)):
        text = good(*arguments).stdout
        assert all(f"  {name} " in text for name in ("run", "list", "show", "compare"))
    assert good("--version").stdout.startswith("moments 0.")
    assert "--on HARDWARE" in good("run", "--help").stdout


@pytest.mark.parametrize("command", ["run", "explain"])
def test_help_has_sections_and_every_option_of_a_scenario(command: str) -> None:
    text = good(command, "--help").stdout
    for heading in ("Request", "Runtime", "Types and smaller models", "Several devices", "Other"):
        assert f"\n{heading}:\n" in text
    names = {field.name for field in fields(Scenario)} - {"workload", "hardware", "stretch"}
    spelled = {"changes": "set", "dims": "dim"}
    for name in names:
        assert f"--{spelled.get(name, name).replace('_', '-')} " in text, name


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("run", "bert-bse", *A100), "bert-base"),
        (("run", "bert-base", "--on", "nvidia-a100"), "nvidia-a100-sxm4-40gb"),
        (("run", "bert-base", *A100, "--runtime", "pytorch-egaer"), "pytorch-eager"),
        (("run", "bert-base", *A100, "--dtype", "fp17"), "fp16"),
        (("run", "bert-base", *A100, "--weight-dtype", "in8"), "int8"),
        (("run", "bert-base", *A100, "--kv-dtype", "fp17"), "fp8"),
        (("run", "bert-base", *A100, "--weight-dtype", "fp8", "--activation-dtype", "fp8"), "unit"),
        (("run", "bert-base", *A100, "--density", "50"), "50 % is 0.5"),
        (("run", "bert-base", *A100, "--prune", "1:4"), "2:4"),
        (("run", "bert-base", *A100, "--prune-heads", "12"), "12 heads"),
        (("run", "bert-base", *A100, "--drop-layers", "12"), "1 to 11"),
        (("run", "bert-base", *A100, "--fuse", "qvk"), "qkv"),
        (("run", "bert-base", *A100, "--prompt", "0"), "prompt = 0"),
        (("run", "bert-base", *A100, "--prompt", "-5"), "prompt = -5"),
        (("run", "bert-base", *A100, "--batch", "0"), "batch = 0"),
        (("run", "gpt2", *A100, "--generate", "-1"), "generate = -1"),
        (("run", "gpt2", *A100, "--context", "0"), "context = 0"),
        (("run", "bert-base", *A100, "--prompt", "513"), "max_positions = 512"),
        (("run", "gpt2", *A100, "--prompt", "1000", "--generate", "25"), "max_positions = 1024"),
        (("run", "bert-base", *A100, "--generate", "2"), "encoder"),
        (("run", "gpt2", *A100, "--prompt", "1", "--context", "1"), "--prompt and --context"),
        (("run", "bert-base", *A100, "--prompt", "x"), "--prompt"),
        (("run", "bert-base", "--on", "teaching", "--threads", "3"), "teaching has 2 cores"),
        (("run", "bert-base"), "--on"),
        (("run",), "argument"),
        (("run", "bert-base", "--on", "amd-epyc-7763-1s", "--runtime", "tensorrt"), "cpu"),
        (("run", "bert-base", "--on", "missing.toml"), "missing.toml"),
        (("run", "missing/config.json", *A100), "missing/config.json"),
        (("list", "models"), "workloads"),
        (("list",), "argument"),
        (("show", "nvidia-h10"), "did you mean"),
        (("show", "xyzzy"), "moments list"),
        (("compare", "missing.csv"), "missing.csv"),
        (("simulate",), "simulate"),
        (("--frobnicate",), "--frobnicate"),
        (("run", "gpt2", *A100, "--set", "l2=2 GB/s"), "--set l2=2 GB/s: 'l2' is not known"),
        (("run", "gpt2", *A100, "--set", "dispatch=2"), "--set dispatch=2: dispatch has several"),
        (("list", "hardware", "--min-memory", "40"), "--min-memory: '40' is not a number with"),
        (("list", "hardware", "--max-tdp", "40 GB"), "--max-tdp: '40 GB': unit 'GB' is not one"),
        (("list", "hardware", "--kind", "tpu"), "--kind 'tpu': known: cpu, gpu"),
        (("list", "hardware", "--vendor", "nvidea"), 'did you mean "nvidia"?'),
        (("list", "hardware", "--sort", "colour"), "--sort 'colour': known: name, cores"),
        (("list", "workloads", "--kind", "cpu"), "--kind cpu: chooses among hardware, not among"),
        (("lint", "nothing.toml"), "nothing.toml: no such file"),
        (("lint", "nvidia-a1000"), "nvidia-a1000' is not known"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(arguments: tuple[str, ...], words: str) -> None:
    assert words in bad(*arguments)


def test_transforms_are_options() -> None:
    data = json.loads(
        good(
            *("run", "gpt2", *A100, "--context", "100", "--weight-dtype", "int8-channel"),
            *("--quantize-head", "--kv-dtype", "int8", "--activation-dtype", "int8", "--prune"),
            *("2:4", "--prune-heads", "4", "--drop-layers", "2", "--no-fuse", "attention"),
            *("--fuse", "qkv", "--json", "-"),
        ).stdout
    )
    said = " ".join(data["notes"])
    for words in ("8 of 12 heads", "10 of 12 layers", "quantized weights", "fuses qkv"):
        assert words in said


def test_a_model_that_does_not_fit_leaves_no_file(tmp_path: Path) -> None:
    out = tmp_path / "out"
    line = bad(
        *("run", "llama-2-70b", *A100, "--gantt", out / "a.png", "--trace", out / "a.json"),
        *("--json", out / "b.json", "--csv", out / "a.csv"),
    )
    assert "llama-2-70b needs " in line
    assert "85.90 GB" in line
    assert not out.exists()


def test_a_slip_in_a_profile_names_file_and_key(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(MACHINE.format(bandwidth="2 GB"), encoding="utf-8")
    line = bad("run", "bert-base", "--on", path)
    for words in (str(path), "memory.dram.bandwidth", "GB/s"):
        assert words in line


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"hidden_size": 65}, "divisible"),
        ({"num_hidden_layers": 0}, "layers"),
        ({"num_attention_heads": None}, "num_attention_heads"),
        ({"model_type": "nonsense"}, "nonsense"),
    ],
)
def test_a_bad_config_says_what_is_wrong(
    changes: dict[str, object], words: str, tmp_path: Path
) -> None:
    assert words in bad("run", config(tmp_path, **changes), *A100)


def test_a_broken_config_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text("{not json", encoding="utf-8")
    assert str(path) in bad("run", path, *A100)


@pytest.mark.parametrize("option", ["--gantt", "--trace", "--json", "--csv"])
def test_what_cannot_be_written_is_said_before_the_work(option: str, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    name = "a.png" if option == "--gantt" else "a.json"
    assert "is not a folder" in bad("run", "bert-base", *A100, option, file / name)
    assert "is a folder" in bad("run", "bert-base", *A100, option, tmp_path)
    assert list(tmp_path.iterdir()) == [file]


def test_outputs_are_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    assert "two outputs" in bad("run", "bert-base", *A100, "--json", path, "--trace", path)
    assert "png, svg, pdf" in bad("run", "bert-base", *A100, "--gantt", path)
    assert not list(tmp_path.iterdir())


def test_blocked_runs_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    from simulator import engine

    def blocked(*_: object) -> None:
        raise engine.BlockedError("1 moments can never run: a: waits for b")

    monkeypatch.setattr(engine, "run_folded", blocked)
    assert "can never run" in bad("run", "bert-base", *A100)


def test_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    from simulator import engine

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(engine, "run_folded", interrupted)
    result = moments("run", "bert-base", *A100)
    assert result.exit_code == 130
    assert "Traceback" not in result.stderr


def test_faults_of_ours_keep_their_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    from simulator import engine

    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(engine, "run_folded", broken)
    with pytest.raises(ZeroDivisionError):
        moments("run", "bert-base", *A100)


@pytest.mark.parametrize(
    "arguments", [("list", "hardware"), ("run", "bert-base", *A100, "--json", "-"), ("--help",)]
)
def test_a_closed_pipe_is_quiet(arguments: tuple[str, ...]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    result = subprocess.run(
        [sys.executable, "-c", MAIN, *arguments],
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(writer)
    assert [line for line in result.stderr.splitlines() if not line.startswith("note: ")] == []


def test_the_process_exits_with_2() -> None:
    result = process(MAIN, "run", "bert-base", "--on", "nowhere")
    assert result.returncode == 2
    assert result.stderr.startswith("moments: error: hardware 'nowhere' is not known")


def test_a_plain_run_imports_no_slow_library() -> None:
    code = """
import sys
from simulator.cli import app
slow = {"numpy", "pandas", "matplotlib", "networkx"}
assert not (slow | {"rich", "pydantic", "simpy"}) & set(sys.modules), "help"
app(sys.argv[1:], standalone_mode=False)
assert not slow & set(sys.modules), sorted(slow & set(sys.modules))
"""
    result = process(code, "run", "bert-base", *A100)
    assert result.returncode == 0, result.stderr


def test_speculation_says_what_it_gains_and_a_cold_start_what_it_costs() -> None:
    options = ("--prompt", "16", "--generate", "9", "--draft", "lookup", "--cold", "host")
    result = good("run", "gpt2-xl", *A100, *options, "--runtime", "kernel", "--json", "-")
    assert "times as fast" in result.stderr
    found = json.loads(result.stdout)
    assert any(note.startswith("speculative decoding: ") for note in found["notes"])
    # 3.1 GB over 0.8 of PCIe 4 x16
    assert found["attribution_s"]["load"] == pytest.approx(3.115e9 / (0.8 * 31.5e9), rel=0.01)
    assert found["ttft_s"] > found["attribution_s"]["load"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--beams", "2", "--draft", "gpt2"), "--draft and --beams"),
        (("--sample", "best", "--generate", "2"), "sample = 'best': expected greedy"),
        (("--cold", "tape"), "cold = 'tape': expected disk or host"),
        (("--segment-length", "9999"), "gpt2 has max_positions = 1024"),
        (("--chunk", "0"), "chunk = 0"),
    ],
)
def test_ways_of_generating_that_do_not_go(options: tuple[str, ...], message: str) -> None:
    assert message in bad("run", "gpt2", *A100, *options)
