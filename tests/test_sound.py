"""wav2vec 2.0 by hand: from samples to positions."""

from __future__ import annotations

from workloads import compile_forward, flatten, load_model
from workloads.sound import filter_lengths

BASE = load_model("wav2vec2-base-960h")
STABLE = load_model("wav2vec2-large-960h-lv60")


def test_the_fewest_samples_of_so_many_positions() -> None:
    # strides 5 and six times 2: a position every 320 samples; the first sees 400 (25 ms)
    assert filter_lengths(BASE, 1) == [400, 79, 39, 19, 9, 4, 2, 1]
    assert filter_lengths(BASE, 49)[0] == 400 + 48 * 320


def test_macs_by_hand() -> None:
    program = compile_forward(BASE, prompt=49)
    lengths = filter_lengths(BASE, 49)
    assert lengths[1:] == [3151, 1575, 787, 393, 196, 98, 49]
    total = 3151 * 10 * 512
    total += (1575 + 787 + 393 + 196) * 3 * 512**2 + (98 + 49) * 2 * 512**2
    # 512 to 768; 128 taps in 16 groups, for one position more than is kept
    total += 49 * 512 * 768 + 50 * 128 * 768 * (768 // 16)
    total += 12 * (49 * 12 * 768**2 + 2 * 49 * 49 * 768) + 49 * 768 * 32
    assert program.counts.macs == total


def test_only_the_first_filter_has_a_norm_or_each() -> None:
    for model, expected in ((BASE, 1), (STABLE, 7)):
        moments = flatten(compile_forward(model, prompt=9)).moments
        norms = [m for m in moments if m.name.startswith("filter_") and m.kind == "layer_norm"]
        assert len(norms) == expected
    first = flatten(compile_forward(BASE, prompt=9, batch=2)).moments[1]
    # a row for each channel of each recording, as long as the sound; a gain and a bias a channel
    assert first.reads[0].bytes == 4 * 2 * 512 * filter_lengths(BASE, 9)[1]
    assert first.reads[1].bytes == 4 * 2 * 512


def test_all_weights_but_those_of_training_are_read_once() -> None:
    moments = flatten(compile_forward(BASE, prompt=49)).moments
    read = sum(t.bytes for m in moments for t in m.reads if t.role == "weight")
    # not the vector for what is masked, nor the 128 lengths of the weight norm
    assert read == 4 * (BASE.parameters - 768 - 128)
