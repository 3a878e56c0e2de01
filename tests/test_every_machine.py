"""Every bundled machine runs an encoder and a decoder, or says that its memory is too small."""

from __future__ import annotations

import pytest

from hardware_profiles import list_profiles, load_profile
from simulator import simulate
from workloads import InputError, compile_forward, load_model
from workloads.moment import Program


def _program(name: str, dtype: str) -> Program:
    model = load_model(name)
    if model.causal:
        return compile_forward(model, context=32, dtype=dtype)
    return compile_forward(model, prompt=32, dtype=dtype)


PROGRAMS = {
    (name, dtype): _program(name, dtype)
    for name in ("bert-base", "llama-3-8b")
    for dtype in ("fp16", "fp32")
}


@pytest.mark.parametrize("workload", ["bert-base", "llama-3-8b"])
@pytest.mark.parametrize("machine", list_profiles())
def test_a_machine_runs_it_or_has_too_little_memory(machine: str, workload: str) -> None:
    profile = load_profile(machine)
    program = PROGRAMS[workload, "fp16" if profile.kind == "gpu" else "fp32"]
    if program.footprint.total_bytes > profile.memory["dram"].capacity_bytes:
        with pytest.raises(InputError, match=rf"{workload} needs .* but {machine} has"):
            simulate(program, profile)
        return
    run = simulate(program, profile)
    assert run.latency_s >= max(run.bounds_s.values()) > 0
    assert run.latency_s < 60
