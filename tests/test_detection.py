"""Objects in images by hand: DETR with its residual network, YOLOS with its tokens."""

from __future__ import annotations

import pytest

from workloads import InputError, compile_forward, flatten, load_model
from workloads.backbone import feature_sides

DETR = load_model("detr-resnet-50")
YOLOS = load_model("yolos-small")


def test_sides_are_halved_and_rounded_up() -> None:
    assert feature_sides(800, 1066, 4) == (25, 34)
    assert feature_sides(224, 224, 4) == (7, 7)
    assert DETR.fixed_input == 25 * 34


def test_macs_of_the_residual_network_by_hand() -> None:
    # ResNet-50 on 224 x 224 pixels; with its classifier of 2,048 x 1,000 4.09 G as published
    assert DETR.encoder is not None
    encoder = DETR.encoder.model_copy(
        update={"image": 224, "image_width": 224, "max_positions": 49}
    )
    model = DETR.model_copy(update={"encoder": encoder})
    program = compile_forward(model, prompt=49)
    found = sum(
        r.count * moment.counts.macs
        for r in program.passes[0].repeats
        if r.segment.name.startswith("encoder_backbone")
        for moment in r.segment.moments
    )
    total = 112 * 112 * 49 * 3 * 64
    # side of the stage, blocks, channels before, inside and after
    stages = ((56, 3, 64, 64, 256), (28, 4, 256, 128, 512), (14, 6, 512, 256, 1024),
              (7, 3, 1024, 512, 2048))  # fmt: skip
    for side, blocks, before, inner, after in stages:
        # the first 1 x 1 convolution of a stage works on twice the side, but in the first stage
        opening = side if before == 64 else 2 * side
        total += opening**2 * before * inner + side**2 * (9 * inner**2 + inner * after)
        total += side**2 * before * after
        total += (blocks - 1) * side**2 * (2 * inner * after + 9 * inner**2)
    assert found == total
    assert round((total + 2048 * 1000) / 1e9, 2) == 4.09


def test_bytes_of_a_convolution() -> None:
    program = compile_forward(DETR, prompt=DETR.fixed_input, dtype="fp16")
    segments = {r.segment.name: r.segment for r in program.passes[0].repeats}
    stem = segments["encoder_backbone_stem"].moments[0]
    # image in, 7 x 7 weights, half the sides out
    assert [t.bytes for t in stem.reads] == [2 * 800 * 1066 * 3, 2 * 49 * 3 * 64]
    assert stem.write_bytes == 2 * 400 * 533 * 64
    pool = segments["encoder_backbone_stem"].moments[-1]
    assert pool.counts.vector_ops == 8 * 200 * 267 * 64
    assert (pool.read_bytes, pool.write_bytes) == (2 * 400 * 533 * 64, 2 * 200 * 267 * 64)


def test_positions_are_added_for_queries_and_keys_but_not_for_values() -> None:
    program = compile_forward(DETR, prompt=DETR.fixed_input)
    layer = {
        m.name: m
        for r in program.passes[0].repeats
        if r.segment.name == "layer"
        for m in r.segment.moments
    }
    source = {name: layer[name].reads[0].name for name in layer}
    assert (source["query"], source["key"], source["value"]) == (
        *("content_placed", "content_placed"), "hidden",
    )  # fmt: skip
    assert [t.name for t in layer["content_positions"].reads] == ["hidden", "object_positions"]
    assert source["cross_key"] == "cross_key_placed"
    assert source["cross_value"] == "encoded"
    assert [t.name for t in layer["cross_key_positions"].reads] == ["encoded", "spatial_positions"]
    # 100 queries on 850 positions, not one after another
    assert layer["cross_scores"].counts.macs == 100 * 850 * 256
    assert program.footprint.kv_cache_bytes == 0
    assert not any(m.kind == "cache_append" for m in layer.values())


def test_every_object_gets_a_class_and_a_box() -> None:
    moments = {m.name: m for m in flatten(compile_forward(DETR, prompt=850, batch=2)).moments}
    assert moments["class_1"].write_bytes == 4 * 2 * 100 * 92
    assert moments["box_sigmoid"].write_bytes == 4 * 2 * 100 * 4
    tokens = YOLOS.fixed_input
    moments = {m.name: m for m in flatten(compile_forward(YOLOS, prompt=tokens)).moments}
    # 32 x 54 patches, a class token, 100 objects
    assert tokens == 32 * 54 + 101
    assert moments["class_3"].write_bytes == 4 * 100 * 92
    assert moments["object_rows"].write_bytes == 4 * 100 * 384


def test_every_layer_but_the_last_adds_positions() -> None:
    program = compile_forward(YOLOS, prompt=YOLOS.fixed_input)
    flat = flatten(program)
    added = [flat.name(i) for i in range(len(flat)) if flat.name(i).endswith("layer_position")]
    assert [name for name in added if "/add_" in name] == [
        f"prefill/layer.{i}/add_layer_position" for i in range(11)
    ]
    read = sum(
        t.bytes for m in flat.moments for t in m.reads
        if t.role == "weight"
    )  # fmt: skip
    # all weights but class token and objects, which are copied with the patches
    assert read == 4 * (YOLOS.parameters - 101 * 384)


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"generate": 3}, "generate = 3 with detr-resnet-50: its decoder reads its 100 queries"),
        ({"context": 3}, "context = 3 with detr-resnet-50"),
        ({"target": 3}, "target = 3 with detr-resnet-50"),
        ({"prompt": 7}, "prompt = 7 with detr-resnet-50: its input always gives 850 positions"),
        ({}, "prompt is missing"),
    ],
)
def test_what_a_detector_cannot_be_asked(request_: dict[str, int], message: str) -> None:
    with pytest.raises(InputError) as caught:
        compile_forward(DETR, **{"prompt": 850, **request_} if request_ else {})  # type: ignore[arg-type]
    assert message in str(caught.value)
