"""How tokens are chosen: which passes over the vocabulary, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from workloads import InputError, Moment, compile_forward, load_model

GPT2 = load_model("gpt2")
VOCAB = 50257


def last_moments(**options: Any) -> list[Moment]:
    program = compile_forward(GPT2, batch=3, prompt=5, generate=2, dtype="fp16", **options)
    segment = program.passes[-1].repeats[-1].segment
    return [m for m in segment.moments if m.stage == "decode"]


def test_greedy_reads_the_logits_once() -> None:
    (sample,) = last_moments()
    assert sample.read_bytes == 3 * VOCAB * 2


def test_top_k_by_hand() -> None:
    found = last_moments(sample="top-k")
    assert [m.name for m in found] == ["top_k", "threshold", "sample_softmax", "sample"]
    row = 3 * VOCAB * 2
    # logits; logits and 50 values with places a row; what is kept; probabilities
    assert [m.read_bytes for m in found] == [row, row + 3 * 50 * (2 + 8), row, row]


def test_top_p_sorts_the_whole_vocabulary() -> None:
    found = last_moments(sample="top-p")
    assert [m.name for m in found] == [
        *("sort", "sorted_softmax", "running_sum", "unsort"),
        *("threshold", "sample_softmax", "sample"),
    ]
    assert found[0].counts.vector_ops == 3 * VOCAB * 16  # log2(50257), rounded up


def test_beam_search_by_hand() -> None:
    found = last_moments(beams=4)
    assert [m.name for m in found] == ["log_softmax", "add_beam_scores", "top_k", "select_beams"]
    rows = 3 * 4
    assert found[0].counts.special_ops == rows * VOCAB + rows
    assert found[1].counts.vector_ops == rows * VOCAB
    # a row for each sequence, the vocabulary of its four beams beside each other
    assert found[2].shape.rows == 3  # type: ignore[union-attr]
    assert found[2].shape.columns == 4 * VOCAB  # type: ignore[union-attr]
    assert found[3].write_bytes == 2 * rows * 8


def test_a_choice_adds_no_product() -> None:
    plain = compile_forward(GPT2, prompt=5, generate=3)
    for sample in ("top-k", "top-p"):
        other = compile_forward(GPT2, prompt=5, generate=3, sample=sample)
        assert other.matrix_flops == plain.matrix_flops
        assert [p.chosen for p in other.passes] == [1, 1, 1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sample": "topk"}, r"sample = 'topk': expected greedy, top-k, top-p; did you mean"),
        ({"beams": 0}, r"beams = 0: expected a whole number of beams"),
        ({"beams": 2.5}, r"beams = 2.5: expected a whole number of beams"),
        ({"beams": 2, "sample": "top-p"}, r"beam search keeps the likeliest"),
        ({"beams": 30_000}, r"a step keeps 2 x beams candidates of 50257 tokens"),
        ({"beams": 2, "generate": 0}, r"a search generates; give generate = tokens"),
        ({"sample": "top-k", "generate": 0}, r"no token is chosen; give generate = tokens"),
    ],
)
def test_refusals(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        compile_forward(GPT2, **{"prompt": 5, "generate": 2, **options})
