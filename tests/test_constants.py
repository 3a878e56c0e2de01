"""Constants folded when a model is loaded: what goes, what stays, and what reads the results."""

from __future__ import annotations

from hardware_profiles import load_profile
from simulator import simulate
from simulator.runtime import load_runtime
from workloads import compile_forward, load_model
from workloads.moment import Program
from workloads.transforms import Fusion, fold_constants, fuse


def moments(program: Program) -> list[str]:
    return [
        moment.name
        for step in program.passes
        for repeat in step.repeats
        for moment in repeat.segment.moments
        for _ in range(repeat.count)
    ]


def test_biases_of_positions_in_windows_are_computed_once() -> None:
    swin = compile_forward(load_model("swin-tiny"), prompt=3136, dtype="fp16")
    folded = fold_constants(swin)
    gone = len(moments(swin)) - len(moments(folded))
    assert gone == moments(swin).count("position_bias") == 12  # one in each block
    readers = [
        tensor.role
        for step in folded.passes
        for repeat in step.repeats
        for moment in repeat.segment.moments
        for tensor in moment.reads
        if tensor.name == "position_bias"
    ]
    assert set(readers) == {"weight"}


def test_what_depends_on_the_input_stays() -> None:
    program = compile_forward(load_model("bert-base"), prompt=16, dtype="fp16")
    before, after = moments(program), moments(fold_constants(program))
    assert [name for name in before if name != "position_embedding"] == after


def test_copies_ride_along_with_the_norm_before_them() -> None:
    swin = compile_forward(load_model("swin-tiny"), prompt=3136, dtype="fp16")
    plain, fused = moments(swin), moments(fuse(swin, Fusion(copies=True)))
    # every other block shifts, but the last, whose window is all of the image: norm + shift +
    # partition are one moment, and join + shift_back
    assert [plain.count(n) for n in ("partition", "shift", "join", "shift_back")] == [12, 5, 12, 5]
    assert len(plain) - len(fused) == 12 + 5 + 5
    assert "partition" not in fused
    assert fused.count("join") == 12


def test_a_runtime_that_folds_takes_less_time() -> None:
    program = compile_forward(load_model("swin-tiny"), prompt=3136, dtype="fp16")
    runtime = load_runtime("fastertransformer")
    assert runtime.gpu is not None
    eager = runtime.model_copy(
        update={"gpu": runtime.gpu.model_copy(update={"folds_constants": False})}
    )
    machine = load_profile("nvidia-a10")
    assert simulate(program, machine, runtime).cycles < simulate(program, machine, eager).cycles
