"""Programs written to files come back equal; what is wrong with a file is said in one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hardware_profiles import load_profile
from simulator import simulate
from workloads import (
    Fusion,
    InputError,
    Program,
    compile_forward,
    fuse,
    load_model,
    load_program,
    load_workload,
    program_table,
)


def write(table: Any, path: Path) -> Path:
    path.write_text(json.dumps(table))
    return path


@pytest.fixture
def program() -> Program:
    return compile_forward(load_model("gpt2"), prompt=8, generate=3, dtype="fp16")


@pytest.mark.parametrize(
    "name", ["bert-base", "mixtral-8x7b", "t5-small", "swin-tiny", "gemma-2-2b"]
)
def test_a_program_comes_back_equal(name: str, tmp_path: Path) -> None:
    model = load_model(name)
    program = compile_forward(model, prompt=model.fixed_input or 8, weight_dtype="int8")
    assert load_program(write(program_table(program), tmp_path / "p.json")) == program


def test_segments_that_passes_share_stay_shared(program: Program, tmp_path: Path) -> None:
    table = program_table(program)
    read = load_program(write(table, tmp_path / "p.json"))
    segments = {id(r.segment) for p in read.passes for r in p.repeats}
    assert len(segments) == len(table["segments"])
    assert read == program


def test_it_takes_as_long_on_a_machine(program: Program, tmp_path: Path) -> None:
    read = load_workload(write(program_table(program), tmp_path / "p.json"))
    assert isinstance(read, Program)
    profile = load_profile("nvidia-a100-sxm4-80gb")
    assert simulate(read, profile).cycles == simulate(program, profile).cycles


def test_what_a_transform_has_merged_is_not_written(program: Program) -> None:
    with pytest.raises(
        InputError, match="fused and pruned moments and collectives are not written"
    ):
        program_table(fuse(program, Fusion(attention="fused")))


def changed(program: Program, *path: str | int, to: Any) -> Any:
    table = json.loads(json.dumps(program_table(program)))
    place = table
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = to
    return table


FIRST = ("segments", 0, "moments", 0)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("version",), 2, "version = 2: this release reads version 1; import the model again"),
        (("batch",), 0, "batch: Input should be greater than or equal to 1 (found 0)"),
        (("batch",), True, "batch: Input should be a valid integer (found True)"),
        (("dtype",), "fp12", "dtype: Input should be"),
        (("extra",), 1, "extra: Extra inputs are not permitted (found 1)"),
        ((*FIRST, "kind"), "cook", "segments.0.moments.0.kind: Input should be"),
        ((*FIRST, "kind"), "matmul", "a matmul has a shape of type matmul, not rows"),
        ((*FIRST, "weight_dtype"), "q9", "weight_dtype = 'q9' is no known format"),
        ((*FIRST, "shape", "rows"), -1, "Input should be greater than or equal to 1 (found -1)"),
        ((*FIRST, "shape", "rows"), 1 << 60, "Input should be less than"),
        ((*FIRST, "counts", "macs"), 1.5, "Input should be a valid integer"),
        ((*FIRST, "reads", 0, "bytes"), 1 << 70, "Input should be less than"),
        (("segments", 0, "edges"), [[1, 0]], "edge (1, 0) does not go forward among 3 moments"),
        (("segments",), [], "segments: List should have at least 1 item"),
        (("passes", 0, "repeats", 0, "segment"), 99, "segment 99 is repeated, but there are"),
        (("passes", 0, "repeats", 1, "count"), 5_000_000, "moments in all; at most 5000000"),
    ],
)
def test_what_does_not_fit_is_named(
    program: Program, tmp_path: Path, path: tuple[str | int, ...], value: Any, message: str
) -> None:
    file = write(changed(program, *path, to=value), tmp_path / "p.json")
    with pytest.raises(InputError) as caught:
        load_program(file)
    assert message in str(caught.value)
    assert str(caught.value).startswith(f"{file}: ")
    assert "\n" not in str(caught.value)


def test_another_json_file_is_no_program(tmp_path: Path) -> None:
    with pytest.raises(InputError, match='expected "format": "moments program"'):
        load_program(write({"model_type": "bert"}, tmp_path / "c.json"))


def test_a_config_is_still_a_model(tmp_path: Path) -> None:
    table = {"model_type": "bert", "architectures": ["BertModel"]}
    with pytest.raises(InputError) as caught:
        load_workload(write(table, tmp_path / "c.json"))
    assert "program" not in str(caught.value)


def test_sizes_are_for_onnx_files_only() -> None:
    with pytest.raises(InputError, match=r"--dim is for \.onnx files; the shapes of 'gpt2'"):
        load_workload("gpt2", dims={"batch": 1})
