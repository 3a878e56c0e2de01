"""DeBERTa by hand: products of contents with distances, and the convolution beside a layer."""

from __future__ import annotations

from workloads import Moment, compile_forward, flatten, load_model

V3 = load_model("deberta-v3-base")


def named(name: str, tokens: int, batch: int = 1) -> dict[str, Moment]:
    program = compile_forward(load_model(name), prompt=tokens, batch=batch)
    (layer,) = [r.segment for p in program.passes for r in p.repeats if r.segment.name == "layer"]
    return {moment.name: moment for moment in layer.moments}


def test_macs_of_a_layer_by_hand() -> None:
    program = compile_forward(V3, prompt=128)
    # four projections and the two of the feed-forward of 768 to 3072; scores and context; two
    # projections of 512 rows of distances; two products of 128 rows with these
    layer = 128 * 12 * 768**2 + 2 * 128 * 128 * 768
    layer += 2 * 512 * 768**2 + 2 * 128 * 512 * 768
    assert program.counts.macs == 12 * layer


def test_distances_are_projected_once_for_all_sequences() -> None:
    one, three = named("deberta-v3-base", 16), named("deberta-v3-base", 16, batch=3)
    assert three["position_key"].counts == one["position_key"].counts
    assert three["c2p"].counts.macs == 3 * one["c2p"].counts.macs
    # with the weights of the contents
    assert [t.name for t in one["position_key"].reads] == ["distances", "key.weight", "key.bias"]
    assert one["c2p"].reads[0].name == "query"
    assert one["p2c"].reads[0].name == "key"


def test_the_first_version_looks_at_distances_that_occur() -> None:
    short, long = named("deberta-base", 16), named("deberta-base", 512)
    # 16 tokens have distances from -16 to 15; 512 are as far apart as the table goes
    assert short["position_key"].counts.macs == 32 * 768**2
    assert long["position_key"].counts.macs == 1024 * 768**2
    assert "position_key.weight" in [t.name for t in short["position_key"].reads]


def test_the_softmax_reads_both_products_and_scales_them() -> None:
    softmax = named("deberta-v3-base", 16)["softmax"]
    scores = 12 * 16 * 16
    assert [(t.name, t.bytes) for t in softmax.reads] == [
        *(("scores", 4 * scores), ("c2p_scores", 4 * scores), ("p2c_scores", 4 * scores)),
    ]
    # three and the scale; and for both products a scale and a sum
    assert softmax.counts.vector_ops == (3 + 1 + 2 * 2) * scores


def test_the_convolution_stands_beside_the_first_layer() -> None:
    program = compile_forward(load_model("deberta-v2-xlarge"), prompt=16)
    order = [(r.segment.name, r.first, r.count) for r in program.passes[0].repeats]
    assert order == [
        *(("embed", None, 1), ("convolution", None, 1), ("layer", 0, 1)),
        *(("convolution_sum", None, 1), ("layer", 1, 23)),
    ]
    flat = flatten(program)
    names = [flat.name(i) for i in range(len(flat))]
    number = names.index("prefill/convolution/convolution")
    assert flat.moments[number].counts.macs == 16 * 3 * 1536**2
    # it reads the embeddings, as the first layer does, and neither waits for the other
    first = names.index("prefill/layer.0/query")
    assert flat.predecessors[number] == flat.predecessors[first]
    summed = names.index("prefill/convolution_sum/convolution_residual")
    assert [names[i].split("/")[1] for i in flat.predecessors[summed]] == ["convolution", "layer.0"]
