"""A cold start: what waits for the weights, how long they take, and whose time it is."""

from __future__ import annotations

from typing import Any

import pytest

from hardware_profiles import load_profile
from hardware_profiles.links import HostLink
from simulator import simulate
from simulator.demand import load
from simulator.runtime import list_runtimes, load_runtime
from tests.programs import BERT, GPT2
from workloads import InputError, Program, compile_forward, load_model
from workloads.transforms import load_weights

H100 = load_profile("nvidia-h100-sxm5-80gb")
EPYC = load_profile("amd-epyc-7763-1s")


def link_of(bandwidth: str) -> HostLink:
    table = {"bus": "by hand", "bandwidth": bandwidth, "source": "written by hand"}
    return HostLink.model_validate(table)


def test_the_moment() -> None:
    program = load_weights(GPT2, "disk")
    moment = program.passes[0].repeats[0].segment.moments[0]
    assert (moment.name, moment.kind, moment.stage) == ("load_weights", "load", "initialise")
    assert moment.read_bytes == GPT2.footprint.weight_bytes
    assert program.counts == GPT2.counts
    assert program.footprint == GPT2.footprint
    assert [p.moment_count for p in program.passes] == [
        p.moment_count + (i == 0) for i, p in enumerate(GPT2.passes)
    ]


@pytest.mark.parametrize("machine", [H100, EPYC], ids=lambda p: p.name)
@pytest.mark.parametrize("program", [BERT, GPT2], ids=lambda p: p.workload)
def test_nothing_begins_before_the_weights_are_there(program: Program, machine: Any) -> None:
    cold = load_weights(program, "disk")
    for name in list_runtimes():
        if getattr(load_runtime(name), machine.kind) is None:
            continue
        run = simulate(cold, machine, name)
        arrived = run.trace.retired[0]
        assert min(run.trace.issued[1:]) >= arrived, name
        assert run.attribution["load"] == arrived - run.trace.issued[0], name
        assert sum(run.attribution.values()) == run.cycles


def test_from_the_host_by_hand() -> None:
    program = compile_forward(load_model("llama-2-7b"), prompt=8, generate=2, dtype="fp16")
    link = link_of("63 GB/s")
    run = simulate(
        load_weights(program, "host"), H100.model_copy(update={"host_link": link}), "kernel"
    )
    warm = simulate(program, H100, "kernel")
    # 6,738,415,616 parameters of 2 bytes over 0.8 x 63 GB/s, after 10 us
    expected = 10e-6 + 13_476_831_232 / 50.4e9
    assert run.trace.seconds(run.attribution["load"]) == pytest.approx(expected, rel=1e-6)
    assert run.ttft_s is not None
    assert warm.ttft_s is not None
    assert run.ttft_s == pytest.approx(warm.ttft_s + expected, rel=1e-3)
    assert run.tpot_s == pytest.approx(warm.tpot_s, rel=1e-6)
    assert run.utilization["cores_busy"] < 0.2
    assert run.memory_bytes["activations"] == warm.memory_bytes["activations"]


def test_the_slower_of_disk_and_link_counts() -> None:
    program = load_weights(GPT2, "disk")
    size = GPT2.footprint.weight_bytes
    for bandwidth, rate in (("63 GB/s", load.DISK_BYTES_PER_S), ("4 GB/s", 3.2e9)):
        link = link_of(bandwidth)
        run = simulate(program, H100.model_copy(update={"host_link": link}), "kernel")
        seconds = run.trace.seconds(run.attribution["load"])
        assert seconds == pytest.approx(100e-6 + size / rate, rel=1e-6)


def test_a_cpu_reads_from_disk_alone() -> None:
    run = simulate(load_weights(GPT2, "disk"), EPYC)
    expected = 100e-6 + GPT2.footprint.weight_bytes / load.DISK_BYTES_PER_S
    assert run.trace.seconds(run.attribution["load"]) == pytest.approx(expected, rel=1e-6)
    # the host sets out first, with the forward's own cost
    assert run.by_kind_cycles["load"] == run.trace.retired[0]


def test_refusals() -> None:
    unknown: Any = "dsk"
    with pytest.raises(InputError, match=r"cold = \'dsk\': expected disk or host; did you mean"):
        load_weights(GPT2, unknown)
    with pytest.raises(InputError, match="nothing has to be loaded; cold = disk"):
        simulate(load_weights(GPT2, "host"), EPYC)
