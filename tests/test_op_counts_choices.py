"""Choosing tokens: each formula with one worked number, the arithmetic beside it."""

from __future__ import annotations

import pytest

from workloads.moment import OperationCounts, Tensor
from workloads.op_counts import choices


def test_selection_compares() -> None:
    # one compare each for 1,000 values; 10 (1 + ln 100) = 56.05 -> 57 get in, 4 compares each
    assert choices.selection_compares(1000, 10) == 1000 + 57 * 4
    # all of 8: a sort, 8 log2(8)
    assert choices.selection_compares(8, 8) == 24
    assert choices.selection_compares(1, 5) == 1
    with pytest.raises(ValueError, match="chosen = 0"):
        choices.selection_compares(8, 0)


def test_partial_sort() -> None:
    moment = choices.partial_sort("top", rows=2, columns=1000, chosen=10, dtype="fp16")
    assert moment.counts == OperationCounts(vector_ops=2 * 1228)
    # in 2*1000*2 bytes; out 2*10 values of 2 bytes and 2*10 places of 8
    assert (moment.read_bytes, moment.write_bytes) == (4000, 40 + 160)


def test_log_softmax() -> None:
    moment = choices.log_softmax("log", rows=2, columns=5, dtype="fp32")
    # 10 values: 4 vector and an exp each; a logarithm a row
    assert moment.counts == OperationCounts(vector_ops=40, special_ops=12)
    assert (moment.read_bytes, moment.write_bytes) == (40, 40)


def test_threshold_and_running_sum() -> None:
    bound = Tensor("largest", 100, "activation")
    moment = choices.threshold(
        "t", rows=2, columns=5, dtype="fp16", source="logits", bound=bound, target="kept"
    )
    assert moment.counts == OperationCounts(vector_ops=20)
    assert (moment.read_bytes, moment.write_bytes) == (20 + 100, 20)
    summed = choices.cumulative("c", rows=2, columns=5, dtype="fp16", source="a", target="b")
    assert summed.counts == OperationCounts(vector_ops=20)


def test_draw() -> None:
    moment = choices.draw("sample", rows=3, columns=7, dtype="fp32")
    # 21 values: a compare, a logarithm, a division each; one token of 8 bytes a row
    assert moment.counts == OperationCounts(vector_ops=21, special_ops=42)
    assert (moment.read_bytes, moment.write_bytes) == (84, 24)


def test_select_beams() -> None:
    moment = choices.select_beams(
        "s", rows=2, candidates=8, beams=4, dtype="fp16", source="candidates"
    )
    assert moment.counts == OperationCounts(vector_ops=16)
    # 16 candidates of 2 + 8 bytes; tokens and origins of 8 beams, 8 bytes each
    assert (moment.read_bytes, moment.write_bytes) == (160, 128)
    assert [t.name for t in moment.writes] == ["tokens", "beam_indices"]


def test_lookup() -> None:
    moment = choices.lookup("l", rows=2, known=100, width=2, drafts=4, dtype="fp16")
    assert moment.counts == OperationCounts(vector_ops=400)
    # the known tokens and the last of each sequence; 4 drafts each
    assert (moment.read_bytes, moment.write_bytes) == (1600 + 16, 64)
