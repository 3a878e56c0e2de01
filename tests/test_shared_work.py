"""What runs share: found once, and as if it were found anew for each machine."""

from __future__ import annotations

import random

import pytest

from simulator import shared_work
from simulator.fold import fold
from simulator.machine import fusion_of
from simulator.memory import Hierarchy, run_traffic
from simulator.runtime import load_runtime
from simulator.shared_work import Common, Reuse
from workloads import compile_forward, load_model


@pytest.fixture(scope="module")
def common() -> Common:
    section = load_runtime("tensorrt-llm").on("gpu")
    program = compile_forward(load_model("gpt2"), context=200, generate=3, dtype="fp16")
    return Reuse().common(program, section, fusion_of(section, program))


def capacities() -> list[tuple[int, int]]:
    """Of two levels: some far apart, and some that differ by a byte around a reuse distance."""
    choose = random.Random(5)  # noqa: S311 - a test
    pairs = [(2 ** choose.randrange(10, 20), 2 ** choose.randrange(20, 30)) for _ in range(40)]
    near = [(768 * 2 * k + by, 768 * 768 * 2 * k + by) for k in (1, 2, 4) for by in (-1, 0, 1)]
    return pairs + near


def test_blocks_and_traffic_are_those_of_each_machine(
    common: Common, monkeypatch: pytest.MonkeyPatch
) -> None:
    folded, counted = [], 0

    def counting(*arguments: object) -> object:
        nonlocal counted
        counted += 1
        return fold(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(shared_work, "fold", counting)
    for pair in capacities():
        levels = Hierarchy(("l2", "l3", "dram"), pair)
        blocks = common.blocks(levels, None)
        assert blocks == fold(common.fused, levels, None)
        assert list(common.traffic(levels, None)) == run_traffic(common.fused.instances(), levels)
        folded.append(blocks)
    assert 1 < counted < len(folded), "some of them, but not all, are found anew"
    distinct = {tuple(b.traffic for b in blocks) for blocks in folded if blocks}
    assert len(distinct) > 3


def test_a_capacity_at_a_distance_holds_it_and_one_byte_less_does_not(common: Common) -> None:
    recording = shared_work._Recording(("l2", "dram"), (2**20,))
    run_traffic(common.fused.instances(), recording)
    for distance in sorted(recording.distances)[::20]:
        for capacity in (distance - 1, distance, distance + 1):
            levels = Hierarchy(("l2", "dram"), (capacity,))
            found = common.traffic(levels, None)
            assert list(found) == run_traffic(common.fused.instances(), levels)
