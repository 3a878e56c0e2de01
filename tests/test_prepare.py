"""What ships of fits to whole passes reaches every run, and is said."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from hardware_profiles import load_profile
from simulator.explain.difference import explain_difference
from simulator.forward_calibration import forward_scales
from simulator.scenario import Scenario
from tests.test_cli import bad, good

T4 = Scenario(
    "bert-base", "nvidia-t4", runtime="tensorrt", prompt=128, dtype="fp16", mode="calibrated"
)


def test_a_run_takes_what_was_fitted_to_its_machine() -> None:
    prepared = T4.prepared()
    scales = forward_scales("tensorrt", prepared.profile)
    assert scales is not None
    assert scales.fitted_on
    assert prepared.scales == scales
    assert "under NVIDIA TensorRT reach on this machine" in " ".join(prepared.notes)
    run, plain = prepared.run(), replace(T4, mode=None).run()
    assert run.scales == scales
    assert plain.scales is None
    assert run.latency_s != plain.latency_s
    width = [r.interval.high_s / r.interval.low_s for r in (run, plain)]
    assert width[0] < width[1]  # what was measured on the machine is known better


def test_a_machine_of_ones_own_says_itself_what_it_reaches(tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    text = 'extends = "nvidia-t4"\nname = "own"\ntitle = "Mine"\n'
    own.write_text(text, encoding="utf-8")
    assert load_profile(own).name == "own"
    assert replace(T4, hardware=str(own)).prepared().scales is None


def test_bars_between_calibrated_runs_add_up() -> None:
    a, b = T4.prepared(), replace(T4, hardware="nvidia-a30").prepared()
    assert a.scales != b.scales
    found = explain_difference(a, b)
    assert sum(part.value_s for part in found.parts) == found.after_s - found.before_s


def test_mode_is_one_of_two() -> None:
    said = ["run", "bert-base", "--on", "nvidia-t4", "--runtime", "tensorrt", "--mode"]
    assert bad(*said, "zeroshot").endswith("expected calibrated or zero-shot")
    assert "on this machine" not in good(*said, "zero-shot").stderr
    assert "on this machine" in good(*said, "calibrated").stderr
