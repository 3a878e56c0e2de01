"""What-ifs on one line: what follows from a change, what is refused, and what it predicts."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hardware_profiles import ProfileError, load_profile
from hardware_profiles.efficiency import usual_efficiency
from hardware_profiles.schema import Profile
from hardware_profiles.variants import made_changes, with_changes, with_one_socket
from simulator import Scenario

A100 = "nvidia-a100-sxm4-80gb"
EPYC = "amd-epyc-7763-1s"
NUMBERS = ("cores", "clock", "bandwidth", "capacity", "l1.bandwidth", "simd", "matrix", "special")


def refusal(*changes: str, machine: str = A100) -> str:
    with pytest.raises(ProfileError) as caught:
        with_changes(load_profile(machine), changes)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_more_cores_bring_their_own_caches_and_peaks() -> None:
    before = load_profile(A100)
    after = with_changes(before, ["cores=2x"])
    assert after.cores.count == after.memory["l1"].instances == 216
    assert after.memory["l1"].bandwidth_bytes_per_s == 2 * before.memory["l1"].bandwidth_bytes_per_s
    assert after.memory["l2"] == before.memory["l2"]
    assert after.memory["dram"] == before.memory["dram"]
    assert after.peak is not None
    assert after.peak.flops_per_s["fp16"] == 624e12


def test_one_socket_has_half_of_everything_shared() -> None:
    both = load_profile("intel-xeon-platinum-8380-2s")
    one = with_one_socket(both)
    assert one.cores.count == both.cores.count / 2
    for name in ("l3", "dram"):
        whole, half = both.memory[name], one.memory[name]
        assert half.bandwidth_bytes_per_s == whole.bandwidth_bytes_per_s // 2
        assert half.total_bytes == whole.total_bytes / 2
    odd = both.model_copy(update={"cores": both.cores.model_copy(update={"count": 7})})
    with pytest.raises(ProfileError, match="7 cores: no two equal sockets"):
        with_one_socket(odd)


def test_half_the_cores_are_half_the_chiplets() -> None:
    after = with_changes(load_profile(EPYC), ["cores=32"])
    assert after.memory["l2"].instances == 32
    assert after.memory["l3"].instances == 4
    assert after.memory["dram"].bandwidth_bytes_per_s == 204_800_000_000


def test_few_cores_cannot_draw_all_of_a_shared_level() -> None:
    after = with_changes(load_profile(EPYC), ["cores=4"])
    assert after.memory["dram"].bandwidth_bytes_per_s == 4 * 25_000_000_000


def test_a_faster_clock_speeds_caches_not_dram() -> None:
    before = load_profile(A100)
    after = with_changes(before, ["clock=2.82 GHz"])
    assert after.memory["l2"].bandwidth_bytes_per_s == 2 * before.memory["l2"].bandwidth_bytes_per_s
    assert after.memory["l2"].latency_s == pytest.approx((before.memory["l2"].latency_s or 0) / 2)
    assert after.memory["dram"] == before.memory["dram"]
    assert after.peak is not None
    assert after.peak.flops_per_s["fp16"] == 624e12


def test_clocks_that_are_quoted_apart_scale_along() -> None:
    after = with_changes(load_profile("nvidia-h100-sxm5-80gb"), ["clock=0.5x"])
    assert after.peak is not None
    assert after.peak.clock_hz["fp32"] == 990_000_000


def test_a_core_draws_more_of_a_faster_memory() -> None:
    after = with_changes(load_profile(EPYC), ["dram.bandwidth=+100%"])
    assert after.memory["dram"].bandwidth_per_core_bytes_per_s == 50_000_000_000


def test_a_dtype_may_be_added_and_a_whole_unit_widened() -> None:
    after = with_changes(load_profile(A100), ["matrix.fp8=2048", "matrix=2x"])
    assert after.width.matrix["fp8"] == 4096
    assert after.width.matrix["fp16"] == 2048


def test_efficiencies_of_the_generation_may_be_changed() -> None:
    before = load_profile(A100)
    after = with_changes(before, ["matmul.arithmetic=0.9"])
    assert after.efficiency["matmul"].arithmetic == 0.9
    usual = usual_efficiency(before, "matmul")
    assert after.efficiency["matmul"].latency_s == usual.latency_s
    (line,) = made_changes(before, after)
    assert line.startswith("efficiency.matmul.arithmetic: ")
    assert line.endswith(" -> 0.9")


def test_links_prices_and_power_may_be_changed() -> None:
    before = load_profile(A100)
    after = with_changes(before, ["links.nvlink.bandwidth=2x", "price=3", "tdp=300W"])
    assert after.links["nvlink"].bandwidth_bytes_per_s == 600 * 10**9
    assert after.price is not None
    assert after.price.per_hour == 3
    assert after.power is not None
    assert after.power.tdp_watts == 300


def test_what_was_changed_is_listed_with_what_follows() -> None:
    before = load_profile(EPYC)
    assert made_changes(before, with_changes(before, ["tdp=-50%", "bandwidth=2x"])) == [
        "memory.dram.bandwidth: 204.8 GB/s -> 409.6 GB/s",
        "memory.dram.bandwidth_per_core: 25 GB/s -> 50 GB/s",
        "memory.dram.data_rate: 3.2 Gbit/s -> 6.4 Gbit/s",
        "power.tdp: 280 W -> 140 W",
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("dram.bandwidth=900 GB", "a rate is needed here: GB/s?"),
        ("l2.capacity=80 GB/s", "an amount is needed here, not a rate: GB?"),
        ("l2.capacity=80 Mb", "b is a bit and B a byte: MB?"),
        ("clock=2", "'2' is not a number with a unit, such as \"1.83 GHz\""),
        ("clock=2 MHz", "is below 50 MHz"),
        ("bandwith=2x", "'bandwith' is not known; nearest: bandwidth"),
        ("memory.l4.capacity=1 MB", "'memory.l4.capacity' is not known; nearest: memory.l2.cap"),
        ("colour=3", "'colour' is not known; "),
        ("matrix=3", "matrix has a figure for each dtype"),
        ("matrix.fp17=3", "'fp17' is not one of fp64"),
        ("matrix.fp8=2x", "width.matrix.fp8 is not known of this machine"),
        ("cores=1/7x", "cores.count would be 15.4286; a whole number is needed"),
        ("cores=1.5", "'1.5' is not a whole number; it has no unit"),
        ("cores=-5", "cores.count"),
        ("tdp=0x", "expected a factor above 0"),
        ("tdp=-100%", "expected a factor above 0"),
        ("tdp=1/0x", "a division by 0"),
        ("l2.capacity=100 kB", "is less than memory.l1.capacity"),
        ("kernels=3x", "kernels is not a number"),
        ("kernels", "expected key=value"),
        ("name=other", "'name' is not known"),
        ("matmul.arithmetic=1.5", "efficiency.matmul.arithmetic"),
        ("x" * 1000 + "=1", "expected key=value"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(change: str, message: str) -> None:
    found = refusal(change)
    assert found.startswith("--set ")
    assert message in found
    assert len(found) < 500


@given(
    st.sampled_from((A100, EPYC, "nvidia-h100-sxm5-80gb", "apple-m3")),
    st.lists(st.tuples(st.sampled_from(NUMBERS), st.integers(1, 50)), min_size=1, max_size=4),
)
@settings(max_examples=40, deadline=None)
def test_a_change_and_its_inverse_leave_the_machine_as_it_was(
    machine: str, changes: list[tuple[str, int]]
) -> None:
    before = load_profile(machine)
    if not before.width.matrix:
        changes = [(key, n) for key, n in changes if key != "matrix"]
    there = [f"{key}={n}x" for key, n in changes if _stays_a_machine(before, key, n)]
    back = [text.replace("=", "=1/") for text in reversed(there)]
    assert with_changes(before, [*there, *back]) == before


def _stays_a_machine(profile: Profile, key: str, factor: int) -> bool:
    try:
        with_changes(profile, [f"{key}={factor}x"])
    except ProfileError:
        return False
    return True


RUNS = (
    Scenario("gpt2", A100, runtime="pytorch-cuda-graphs", context=64, dtype="fp16"),
    Scenario("gpt2", A100, runtime="tensorrt", prompt=256, batch=4, dtype="fp16"),
    Scenario("bert-base", EPYC, prompt=64, dtype="fp32"),
    Scenario("gpt2", EPYC, context=64, dtype="fp32"),
    Scenario("bert-base", "apple-m3", prompt=64, dtype="fp32"),
)


@given(
    st.sampled_from(RUNS),
    st.sampled_from(("cores", "clock", "bandwidth", "l2.bandwidth", "simd", "matrix", "special")),
    st.sampled_from((1.5, 2)),
)
@settings(max_examples=40, deadline=None)
def test_more_of_anything_never_slows_a_single_stream(
    scenario: Scenario, key: str, factor: float
) -> None:
    before = scenario.run()
    if key == "matrix" and not before.profile.width.matrix:
        return
    after = replace(scenario, changes=(f"{key}={factor}x",)).run()
    # each moment's times are rounded up to whole cycles, at either clock
    rounding = 8 * len(before.trace) / before.trace.clock_hz
    # a kernel that was the fastest may be divided a little less evenly among more cores, and keys
    # of decode attention into more parts, whose sums take time
    uneven = 0.01 * before.latency_s if key == "cores" else 0.0
    assert after.latency_s <= before.latency_s + rounding + uneven


def test_twice_the_bandwidth_halves_the_memory_time_of_decoding() -> None:
    decode = Scenario(
        "llama-3-8b", A100, runtime="pytorch-cuda-graphs", context=512, dtype="fp16", batch=1
    )
    before, after = decode.run(), replace(decode, changes=("dram.bandwidth=2x",)).run()
    memory = after.attribution["memory"] / before.attribution["memory"]
    assert memory == pytest.approx(0.5, abs=0.01)
    assert before.latency_s / after.latency_s > 1.5  # the rest is fixed times of kernels


@pytest.mark.parametrize("change", ["cores=2x", "matrix=2x"])
def test_twice_the_arithmetic_halves_the_compute_time_of_prefill(change: str) -> None:
    prefill = Scenario("llama-3-8b", A100, runtime="pytorch-cuda-graphs", prompt=4096, dtype="fp16")
    before, after = prefill.run(), replace(prefill, changes=(change,)).run()
    seconds = [run.trace.seconds(run.attribution["compute"]) for run in (before, after)]
    assert seconds[1] / seconds[0] == pytest.approx(0.5, abs=0.06)
    assert before.latency_s / after.latency_s > 1.6


def test_twice_the_clock_leaves_the_steps_of_a_kernel_that_are_fixed_in_time() -> None:
    prefill = Scenario("llama-3-8b", A100, runtime="pytorch-cuda-graphs", prompt=4096, dtype="fp16")
    before, after = prefill.run(), replace(prefill, changes=("clock=2x",)).run()
    seconds = [run.trace.seconds(run.attribution["compute"]) for run in (before, after)]
    assert 0.5 < seconds[1] / seconds[0] < 0.7
