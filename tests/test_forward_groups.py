"""The groups of whole passes: by the kind of device, and whether the model generates text."""

from simulator.forward_groups import LANGUAGE, ON_CPU, ON_GPU, forward_group


def test_groups_by_device_and_model() -> None:
    assert forward_group("nvidia-t4", "gpu", causal=False) == ON_GPU
    assert forward_group("nvidia-t4", "gpu", causal=True) == LANGUAGE
    assert forward_group("apple-m2-ultra-cpu", "cpu", causal=True) == LANGUAGE
    assert forward_group("apple-m2-ultra-cpu", "cpu", causal=False) == ON_CPU
    assert forward_group("amd-epyc-7742-1s", "cpu", causal=True) == ON_CPU
