"""A user's fusions over a runtime's: what changes, what is said, what is refused."""

from __future__ import annotations

import pytest

from simulator.fusions import with_fusions
from simulator.runtime import load_runtime
from workloads import InputError


def test_fusions_are_added_and_taken_away() -> None:
    eager = load_runtime("pytorch-eager")
    assert eager.on("gpu").fusion.qkv is False
    changed, notes = with_fusions(eager, "gpu", "qkv, gate-up,attention", "cache")
    table = changed.on("gpu").fusion
    assert (table.qkv, table.gate_up, table.cache, table.attention) == (True, True, False, "fused")
    assert "pytorch-eager fuses qkv" in notes[0]
    assert notes[0].endswith("as asked")
    # all else stays, and so does the other kind of machine
    assert changed.on("cpu") == eager.on("cpu")
    assert changed.on("gpu").host == eager.on("gpu").host
    assert load_runtime("pytorch-eager").on("gpu").fusion.qkv is False


def test_attention_apart() -> None:
    changed, notes = with_fusions(load_runtime("vllm"), "gpu", None, "attention")
    assert changed.on("gpu").fusion.attention == "batched"
    assert notes == ["vllm does not fuse attention here, as asked"]
    # heads of the ideal runtime are separate moments, and stay so
    ideal, notes = with_fusions(load_runtime("ideal"), "cpu", None, "attention")
    assert (ideal.on("cpu").fusion.attention, notes) == ("separate", [])


def test_fused_attention_for_every_type_and_length() -> None:
    older = load_runtime("fastertransformer")
    assert older.on("gpu").fusion.fused_keys == 384
    changed, notes = with_fusions(older, "gpu", "attention", None)
    assert (changed.on("gpu").fusion.fused_keys, changed.on("gpu").fusion.fused_dtypes) == (
        None,
        (),
    )
    assert notes == ["fastertransformer fuses attention of every type and length here, as asked"]


def test_nothing_said_nothing_changed() -> None:
    runtime = load_runtime("vllm")
    assert with_fusions(runtime, "gpu", None, None) == (runtime, [])
    assert with_fusions(runtime, "gpu", "qkv", None) == (runtime, [])


@pytest.mark.parametrize(
    ("fuse", "no_fuse", "said"),
    [
        ("qvk", None, "fuse = 'qvk': expected names of qkv, gate_up.*did you mean \"qkv\""),
        (None, "qkv,,cache", "no_fuse = 'qkv,,cache'"),
        ("qkv", "qkv", "qkv: both in fuse and in no_fuse"),
    ],
)
def test_what_cannot_be(fuse: str | None, no_fuse: str | None, said: str) -> None:
    with pytest.raises(InputError, match=said):
        with_fusions(load_runtime("vllm"), "gpu", fuse, no_fuse)
