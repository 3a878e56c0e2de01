"""What is expected of machines that nobody has measured."""

from __future__ import annotations

import pytest

from hardware_profiles import ProfileError, load_profile
from hardware_profiles.efficiency import efficiency_of, generation_efficiency, with_kernels
from hardware_profiles.expected import Expected, dies, expectations, expected_kernel
from hardware_profiles.schema import Calibration

A100 = load_profile("nvidia-a100-sxm4-80gb")


def test_times_follow_from_the_latency_of_memory() -> None:
    made_up = Expected(
        latency=5, arithmetic=0.8, bandwidth=0.9, ramp=2, reduction=0.5, depth=0.5, throttle=0.5,
        sustained=0.9, source="made up for a test",
    )  # fmt: skip
    found = made_up.on(A100, "matmul", 2)
    dram_s, l2_s = 403e-9, 225e-9
    assert found.latency_s == pytest.approx(5 * dram_s, rel=0.01)
    assert found.ramp_s == pytest.approx(2 * dram_s, rel=0.01)
    assert found.reduction_s == pytest.approx(0.5 * 5 * dram_s, rel=0.01)
    # half of the latency of L2, divided among the 96 elements that 192 bytes are
    assert found.depth_s == pytest.approx(0.5 * l2_s / 96, rel=0.01)
    clock = (1.275 / 1.41) ** 0.5
    assert found.arithmetic == pytest.approx(0.8 * clock)
    assert found.sustained == pytest.approx(0.9 * clock)
    # the vector unit draws less power: only long products meet the limit
    assert made_up.on(A100, "matmul_vector", 4).arithmetic == 0.8


def test_a_machine_is_expected_without_its_own_die() -> None:
    """Neither A100, A800 nor A30 may lend anything to each other."""
    everything, without = expectations(), expectations("GA100")
    assert everything["matmul"] != without["matmul"]
    assert "none of GA100" in without["matmul"].source
    for name in ("nvidia-a100-pcie-40gb", "nvidia-a800-sxm4-80gb", "nvidia-a30"):
        kernel = expected_kernel(load_profile(name), "matmul", 2)
        assert "none of GA100" in kernel.source


def test_form_factors_of_a_die_are_one_machine() -> None:
    assert {dies()[k].die for k in ("nvidia-ad10x", "nvidia-ad10x-geforce")} == {"AD102"}
    for name in ("nvidia-h20-sxm-96gb", "nvidia-h100-sxm5-80gb"):
        kernel = expected_kernel(load_profile(name), "matmul", 2)
        assert "none of GH100" in kernel.source


@pytest.mark.parametrize(
    ("name", "tflops"),
    [("nvidia-h20-sxm-96gb", 141.9), ("nvidia-rtx-4090", 165.0), ("nvidia-h100-sxm5-80gb", 783.7)],
)
def test_room_under_the_tdp_is_speed(name: str, tflops: float) -> None:
    """zzc0721/torch-performance-test-data, bf16: H20 and RTX 4090 keep their clock, H100 cannot."""
    profile = load_profile(name)
    kernel = expected_kernel(profile, "matmul", 2)
    peak = 2e-12 * profile.width.matrix["bf16"] * profile.cores.count * profile.clock.burst_hz
    reached = tflops / peak
    assert kernel.arithmetic * kernel.sustained == pytest.approx(reached, abs=0.05)
    assert (kernel.sustained == 1) == (reached > 0.9)
    assert expected_kernel(profile, "matmul_vector", 4).sustained < 1  # left as it was


def test_zero_shot_uses_no_calibration() -> None:
    assert isinstance(efficiency_of(A100, "matmul"), Calibration)
    zero = with_kernels(A100, "bf16", mode="zero-shot")
    for kernel in zero.efficiency.values():
        assert not isinstance(kernel, Calibration)
        assert kernel.source.startswith("expected of a machine like this")


def test_what_a_profile_says_itself_wins() -> None:
    own = efficiency_of(A100, "row").model_copy(update={"bandwidth": 0.123})
    profile = A100.model_copy(update={"efficiency": {"row": own}})
    for mode in ("calibrated", "zero-shot"):
        assert efficiency_of(profile, "row", mode=mode).bandwidth == 0.123


def test_an_unknown_generation_is_an_error() -> None:
    with pytest.raises(ProfileError, match="kernels = 'nvidia-gx999': no such file"):
        generation_efficiency("nvidia-gx999")
    assert generation_efficiency("nvidia-gh100") == {}
