"""Models as tables of numbers: published parameter counts, and one clear line for each slip."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.module_counts import COUNTED
from workloads import InputError, Model, compile_forward, flatten, list_models, load_model
from workloads.model import build_model
from workloads.parameters import (
    embedding_parameters,
    layer_parameters,
    matrix_parameters,
    output_parameters,
)

TINY: dict[str, Any] = {
    "name": "tiny",
    "family": "decoder",
    "layers": 2,
    "hidden": 16,
    "heads": 4,
    "intermediate": 32,
    "activation": "silu",
    "positions": "rope",
    "max_positions": 64,
    "vocab": 100,
    "head": "lm",
}


@pytest.mark.parametrize("name", list_models())
def test_parameters_equal_the_published_number(name: str) -> None:
    model = load_model(name)
    assert model.parameters == COUNTED[name]
    assert model.name == name
    assert model.source
    assert not model.notes


def test_gpt2_part_by_part() -> None:
    model = load_model("gpt2")
    # tables of 50257 tokens and 1024 positions, 768 wide
    assert embedding_parameters(model) == (50257 + 1024) * 768
    # four projections 4*768*768 with biases, two matrices 768x3072 with biases, two norms
    assert layer_parameters(model) == 4 * (768 * 768 + 768) + 2 * 768 * 3072 + 3840 + 4 * 768
    # the final norm; the output matrix is the table of tokens
    assert output_parameters(model) == 2 * 768
    assert matrix_parameters(model) == 12 * (4 * 768 * 768 + 2 * 768 * 3072)


def test_the_original_transformer_part_by_part() -> None:
    model = load_model("transformer-base")
    # attention 4*512*512, feed-forward 2*512*2048 with biases 2048 + 512, a norm 2*512 behind each
    attention, feed_forward, norm = 4 * 512 * 512, 2 * 512 * 2048 + 2560, 1024
    encoder = 6 * (attention + feed_forward + 2 * norm)
    decoder = 6 * (2 * attention + feed_forward + 3 * norm)
    # one table of 37,000 tokens for both sides and the output; sines are not trained
    assert model.parameters == 37_000 * 512 + encoder + decoder


@pytest.mark.parametrize(
    ("name", "published_millions"),
    [
        # pytorch-image-models, results of deit3_*: parameters in millions
        *(("deit-3-s-16-224", 22.06), ("deit-3-s-16-384", 22.21), ("deit-3-b-16-224", 86.59)),
        *(("deit-3-b-16-384", 86.88), ("deit-3-l-16-224", 304.37), ("deit-3-l-16-384", 304.76)),
        ("deit-3-h-14-224", 632.13),
    ],
)
def test_deit_3_is_a_vit_with_scales(name: str, published_millions: float) -> None:
    model = load_model(name)
    plain = model.model_copy(update={"layer_scale": False, "class_positions": True})
    # two weights a column in each layer, and no position of the class token
    more = 2 * model.layers * model.hidden - model.hidden
    assert model.parameters == plain.parameters + more
    assert round(model.parameters / 1e6, 2) == published_millions
    if name == "deit-3-b-16-224":
        assert plain.parameters == load_model("vit-b-16-224").parameters
    moments = flatten(compile_forward(model, prompt=model.fixed_input)).moments
    read = sum(t.bytes for m in moments for t in m.reads if t.role == "weight")
    assert read == 4 * (model.parameters - model.hidden)  # but for the class token


def test_transformer_xl_large_part_by_part() -> None:
    model = load_model("transformer-xl-large")
    # clusters of 20,000, 20,000, 160,000 and 67,735 tokens, each a quarter as wide as the last
    table = 20_000 * 1024 + 20_000 * 256 + 160_000 * 64 + 67_735 * 16
    brought = 1024 * (1024 + 256 + 64 + 16)
    assert embedding_parameters(model) == table + brought
    # queries, keys, values, distances and output; two vectors a head; two norms
    layer = 5 * 1024**2 + 2 * 1024 + 2 * 1024 * 4096 + 4096 + 1024 + 2 * 2048
    assert layer_parameters(model) == layer
    # a projection of the commonest that is not tied, a bias a token, three clusters
    assert output_parameters(model) == 1024**2 + 267_735 + 3 * (1024 + 1)
    assert model.parameters == table + brought + 18 * layer + output_parameters(model)


def test_an_encoder_takes_over_what_it_does_not_say() -> None:
    table = {**TINY, "positions": "learned", "family": "encoder_decoder", "encoder": {"layers": 3}}
    model = build_model(table, "here")
    assert model.encoder is not None
    assert (model.encoder.layers, model.encoder.hidden, model.encoder.vocab) == (3, 16, 100)
    assert (model.encoder.family, model.encoder.head) == ("encoder", "none")
    apart = build_model({**table, "shared_embeddings": False}, "here")
    assert apart.parameters == model.parameters + 100 * 16
    with pytest.raises(InputError, match=r"encoder.vocab = 7 \(width 16\) contradicts vocab = 100"):
        build_model({**table, "encoder": {"vocab": 7}}, "here")


def test_what_follows_from_other_keys_is_filled_in() -> None:
    model = build_model(TINY, "here")
    assert (model.head_dim, model.kv_heads, model.rotary_dim) == (4, 4, 4)
    assert not model.tied_embeddings


def test_a_model_is_frozen() -> None:
    model = build_model(TINY, "here")
    with pytest.raises(ValidationError, match="frozen"):
        model.layers = 3


ENCODER = {"family": "encoder", "positions": "learned", "head": "none"}
SOUND = {
    **ENCODER,
    "positions": "convolution",
    "input": "sound",
    "filters": [[4, 3, 2]],
    "position_kernel": 3,
}
FEATURES = {
    "input": "features",
    "image": 8,
    "backbone": {"stem": 4, "widths": [8], "depths": [1]},
    "max_positions": 4,
}
SLIPS: list[tuple[dict[str, Any], str]] = [
    ({"heads": 3}, "hidden = 16 is not divisible by heads = 3"),
    ({"kv_heads": 3}, "heads = 4 is not divisible by kv_heads = 3"),
    ({"kv_heads": 8}, "are the two swapped"),
    ({"layers": 0}, "layers = 0: expected greater than or equal to 1"),
    ({"layers": -2}, "layers = -2: expected greater than or equal to 1"),
    ({"layers": 10**9}, "layers = 1000000000: expected less than or equal to 10000"),
    ({"layers": True}, "layers = True: expected a valid integer"),
    ({"layers": 2.0}, "layers = 2.0: expected a valid integer"),
    ({"layers": "2"}, "layers = '2': expected a valid integer; write the number without quotes"),
    ({"hidden": 1 << 5000}, "hidden = an integer of 5001 bits"),
    ({"vocab": None}, "vocab = None: expected a valid integer"),
    ({"vocab": 0}, "vocab is 0 or missing"),
    ({"activation": "mish"}, "activation = 'mish': expected 'gelu'"),
    ({"rotary_dim": 6}, "rotary_dim = 6 is not within 1 to head_dim = 4"),
    ({"rotary_dim": 3}, "rotary_dim = 3 is odd"),
    ({"positions": "learned", "rotary_dim": 4}, 'contradicts positions = "learned"'),
    ({"parallel_block": True, "norm_position": "post"}, "contradicts norm_position"),
    ({"pattern": ["local", "global"]}, "window is missing"),
    ({"pattern": ["near"]}, "pattern.0 = 'near': expected 'local' or 'global'"),
    ({"relative_buckets": 32}, 'contradicts positions = "rope"'),
    ({"positions": "bias"}, "relative_buckets = 0 contradicts"),
    ({"experts_per_token": 2}, "experts is 0 or missing"),
    ({"experts": 4, "experts_per_token": 5}, "experts_per_token = 5 is not within 1 to experts"),
    ({"experts": 4, "experts_per_token": 2}, "expert_intermediate is 0 or missing"),
    ({"query_rank": 8}, "query_rank = 8 needs a kv_rank"),
    ({"value_dim": 8}, "value_dim = 8 contradicts head_dim = 4"),
    ({"kv_rank": 8}, "rotary_dim below head_dim"),
    ({"embedding_width": 8}, 'projection = "none" contradicts embedding_width = 8'),
    ({"encoder": {}}, 'family = "decoder": an encoder_decoder, and it alone, has a table'),
    ({"encoder": {"layers": 0}}, "encoder.layers = 0: expected greater than or equal to 1"),
    ({"family": "encoder_decoder"}, "has a table encoder"),
    ({"shared_norm": True}, "shared_norm = true needs parallel_block = true"),
    ({"head": "classifier"}, "classes is 0 or missing"),
    ({"head": "mlm"}, 'head = "mlm" is for encoders'),
    ({"family": "encoder"}, 'head = "lm" is for decoders'),
    ({"hiden": 16}, 'hiden is not a key of a model; did you mean "hidden"?'),
    ({"input": "patches", "image": 30, "patch": 16}, "not a positive multiple of patch = 16"),
    ({"input": "patches", "image": 32, "patch": 16, "max_positions": 4}, "for the class token"),
    ({"input": "patches", "image": 32, "patch": 16, "max_positions": 5}, "no head over a vocab"),
    ({"positions": "convolution"}, '"convolution" goes with input = "sound"'),
    ({"position_kernel": 3}, 'filters and position_kernel need input = "sound"'),
    ({"filters": [[4, 3]]}, "filters.0.2 is missing"),
    ({**ENCODER, "positions": "disentangled"}, "relative_buckets = 0, position_products = []"),
    ({"positions": "disentangled", "relative_buckets": 4}, 'needs family = "encoder"'),
    ({"position_products": ["c2p"]}, 'need positions = "disentangled"'),
    ({"position_products": ["p2p"]}, "position_products.0 = 'p2p': expected 'c2p' or 'p2c'"),
    ({"convolution_kernel": 4}, "convolution_kernel = 4 is even"),
    ({**SOUND, "filters": []}, "filters has 0 entries"),
    ({**SOUND, "position_groups": 3}, "groups that divide hidden = 16"),
    ({**ENCODER, "input": "features"}, 'input = "features" needs a backbone with a depth'),
    ({**ENCODER, **FEATURES, "positions": "none"}, 'expected 2 x 2 features of the image, and "ea'),
    (
        {**ENCODER, **FEATURES, "backbone": {"stem": 4, "widths": [6], "depths": [1]}},
        "backbone.widths = [6]: expected multiples of 4",
    ),
    ({"head": "detector"}, "queries is 0 or missing"),
    ({"head": "detector", "queries": 2}, "classes is 0 or missing"),
    ({"layer_positions": True}, "layer_positions needs queries"),
    ({**ENCODER, "queries": 2}, "expected fewer than class_tokens, and patches"),
    ({"queries": 2}, 'expected an encoder with input = "features"'),
    ({"class_positions": False}, 'class_positions = false needs input = "patches"'),
    ({"layer_scale": True, "norm_position": "both"}, 'layer_scale needs norm_position = "pre"'),
    ({"labels": 10}, 'labels, guidance and head = "denoiser" need modulation = true'),
    ({"modulation": True}, 'modulation needs input = "patches" and class_tokens = 0'),
    ({"adaptive_cutoffs": [50, 40], "adaptive_divisor": 4}, "expected numbers of tokens that rise"),
    ({"adaptive_cutoffs": [50], "adaptive_divisor": 4}, "adaptive_cutoffs needs an adaptive_head"),
]


@pytest.mark.parametrize(("change", "message"), SLIPS, ids=[slip[1][:30] for slip in SLIPS])
def test_a_slip_gets_one_clear_line(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        build_model({**TINY, **change}, "tiny.toml")
    assert message in str(caught.value)
    assert str(caught.value).startswith("tiny.toml: ")
    assert "\n" not in str(caught.value)


def test_a_missing_key_is_named() -> None:
    table = {key: value for key, value in TINY.items() if key != "layers"}
    with pytest.raises(InputError, match=r"tiny.toml: layers is missing"):
        build_model(table, "tiny.toml")


def test_an_unknown_name_gets_the_nearest_ones() -> None:
    with pytest.raises(InputError, match=r"no workload named 'bert-bas'; did you mean \"bert-base"):
        load_model("bert-bas")
    with pytest.raises(InputError, match=r"or give the path of a config\.json"):
        load_model("")
    with pytest.raises(InputError, match="no workload named"):
        load_model("a\0b" * 100_000)


def test_a_table_of_the_users_own(tmp_path: Path) -> None:
    lines = [f"{key} = {value!r}" for key, value in TINY.items() if key != "name"]
    path = tmp_path / "mine.toml"
    path.write_text("\n".join(lines).replace("'", '"'))
    model = load_model(path)
    assert model == load_model(str(path))
    assert model.name == "mine"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"layers = ", "not valid TOML"),
        (b"\xff\xfe", "not UTF-8"),
        (b"x = 1\n" + b"#" * (1 << 20), "larger than 1048576 bytes"),
        (b"a = " + b"[" * 100_000, "nested too deeply"),
        (b"layers = nan", "family is missing"),
        (b"heads = 0x1" + b"0" * 9000 + b"\nhidden = 7", "hidden = 7 is not divisible by heads"),
    ],
)
def test_a_broken_table_gets_one_clear_line(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "broken.toml"
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        load_model(path)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no such file"):
        load_model(tmp_path / "none.toml")
    with pytest.raises(InputError, match="there is no such file"):
        load_model(tmp_path)  # a folder without config.json
    (tmp_path / "folder.toml").mkdir()
    with pytest.raises(InputError, match="is not a file"):
        load_model(tmp_path / "folder.toml")


VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(1 << 70), 1 << 70),
    st.sampled_from([0, 1, 2, 3, 4, 8, 12, 64, 1 << 400]),
    st.floats(),
    st.text(max_size=8),
    st.lists(st.integers(), max_size=3),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)


@settings(max_examples=300, deadline=None)
@given(changes=st.dictionaries(st.sampled_from(sorted(Model.model_fields)), VALUES, max_size=5))
def test_no_table_whatever_gives_a_traceback(changes: dict[str, Any]) -> None:
    try:
        model = build_model({**TINY, **changes}, "fuzz.toml")
    except InputError as error:
        message = str(error)
    else:
        message = ""
        assert model.parameters > 0
    assert "\n" not in message
    assert len(message) < 600
