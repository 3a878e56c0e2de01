"""Attention in bands: the pairs that one counts, and the linear layers that torch counts."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workloads import compile_forward, flatten, load_model
from workloads.banded import band_pairs


@given(st.integers(1, 40), st.integers(2, 50))
def test_pairs_in_a_band_are_those_that_one_counts(length: int, window: int) -> None:
    pairs = [
        (query, key)
        for query, key in product(range(length), repeat=2)
        if abs(query - key) <= window // 2
    ]
    assert band_pairs(length, window) == len(pairs)


def test_macs_of_longformer_by_hand() -> None:
    program = compile_forward(load_model("longformer-base-4096"), prompt=1024)
    core = sum(m.counts.macs for m in flatten(program).moments if m.group == "core")
    # 12 layers, scores and context of 12 heads of 64: bands of 256 to each side and itself, cut
    # off at both ends, the first token that all see, and itself on all
    pairs = 1024 * 513 - 256 * 257 + 1024 + 1024
    assert core == 12 * 2 * 12 * 64 * pairs


@pytest.mark.real
def test_linear_layers_agree_with_torch(tmp_path: Path) -> None:
    from torch.utils.flop_counter import FlopCounterMode

    from tests.real_modules import build, counted_parameters, ids, torch

    small = {"hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 99}
    small |= {"intermediate_size": 80, "max_position_embeddings": 66, "attention_window": 8}
    case = ("LongformerModel", "LongformerConfig", {**small, "pad_token_id": 1})
    module, model = build(case, tmp_path, device="cpu")
    assert model.parameters == counted_parameters(module)
    seen_by_all = torch.zeros((3, 32), dtype=torch.long)
    seen_by_all[:, 0] = 1
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        module(input_ids=2 * ids(module, 3, 32), global_attention_mask=seen_by_all)
    counted = counter.get_flop_counts()["Global"]
    linear = counted[torch.ops.aten.addmm] + counted[torch.ops.aten.mm]
    moments = flatten(compile_forward(model, batch=3, prompt=32)).moments
    assert linear == 2 * sum(m.counts.macs for m in moments if m.group != "core")
