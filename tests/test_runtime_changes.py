"""What-ifs of the software: times of the host and habits of the library, on one line."""

from __future__ import annotations

import pytest

from hardware_profiles import ProfileError
from simulator import Scenario
from simulator.runtime import HostTable, Runtime, load_runtime
from simulator.runtime_changes import is_runtime_change, runtime_differences, with_runtime_changes
from workloads import InputError


def host_of(runtime: Runtime) -> HostTable:
    host = runtime.on("gpu").host
    assert host is not None
    return host


def test_changes_of_the_runtime_are_told_apart_by_their_prefix() -> None:
    assert is_runtime_change("runtime.host.moment=2us")
    assert is_runtime_change("dispatch=0.5x")
    assert not is_runtime_change("clock=2x")


def test_a_time_of_the_host_is_given_or_scaled() -> None:
    eager = load_runtime("pytorch-eager")
    changed = with_runtime_changes(eager, "gpu", ["runtime.host.moment=2us", "runtime.launch=2x"])
    assert host_of(changed).moment_s == 2e-6
    assert host_of(changed).launch_s == pytest.approx(2 * host_of(eager).launch_s)
    assert changed.cpu == eager.cpu
    before = runtime_differences(eager, changed, "gpu")[0]
    assert before.startswith("runtime.host.moment: ")
    assert before.endswith(" -> 2 us")


def test_dispatch_is_all_that_the_host_spends() -> None:
    runtime = load_runtime("pytorch-eager")
    eager = host_of(runtime)
    half = host_of(with_runtime_changes(runtime, "gpu", ["dispatch=0.5x"]))
    assert half.moment_s == eager.moment_s / 2
    assert half.per_pass_s == eager.per_pass_s / 2
    assert {k: 2 * s for k, s in half.by_kind_s.items()} == pytest.approx(eager.by_kind_s)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("runtime.host.moment=2", "'2' is not a number with a unit"),
        ("runtime.host.momnt=2us", "'host.momnt' is not known; nearest: host.moment"),
        ("dispatch=2us", "dispatch has several times; write dispatch=0.5x"),
        ("runtime.fusion.attention=fast", "is one of separate, batched, fused"),
        ("runtime.host.waits_for_token=maybe", "is true or false"),
        ("runtime.policy=2x", "policy is not a number"),
        ("runtime.host.queue_depth=0", "runtime.host.queue_depth"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(change: str, message: str) -> None:
    with pytest.raises(ProfileError) as caught:
        with_runtime_changes(load_runtime("pytorch-eager"), "gpu", [change])
    assert str(caught.value).startswith("--set ")
    assert message in str(caught.value)


def test_a_runtime_without_a_host_has_no_dispatch() -> None:
    with pytest.raises(ProfileError, match="no host that dispatches"):
        with_runtime_changes(load_runtime("ideal"), "gpu", ["dispatch=2x"])
    with pytest.raises(InputError, match="does not run on a cpu"):
        with_runtime_changes(load_runtime("tensorrt"), "cpu", ["dispatch=2x"])


def test_both_kinds_of_changes_reach_the_run_and_its_notes() -> None:
    scenario = Scenario("gpt2", "nvidia-a100-sxm4-80gb", context=8, dtype="fp16")
    changed = Scenario(
        "gpt2",
        "nvidia-a100-sxm4-80gb",
        context=8,
        dtype="fp16",
        changes=("dispatch=0.5x", "tdp=300W"),
    ).prepared()
    assert changed.run().latency_s < 0.7 * scenario.run().latency_s
    assert changed.changed[0] == "power.tdp: 400 W -> 300 W"
    assert "changed power.tdp: 400 W -> 300 W, runtime.host.moment: " in changed.notes[1]
