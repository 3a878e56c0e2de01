"""ONNX files as programs: shapes, counts, layers, and what is wrong with a file."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.onnx_graphs import HEADS, HIDDEN, INNER, INT64, VOCAB, Graph, encoder, onnx
from workloads import Fusion, InputError, Moment, Program, from_onnx, fuse
from workloads.moment import AttentionShape, Tensor

BATCH, TOKENS, LAYERS = 2, 8, 4
DIMS = {"batch": BATCH, "sequence": TOKENS}


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    g, rows = encoder(LAYERS)
    return g.save(tmp_path_factory.mktemp("onnx") / "encoder.onnx", rows)


def program(path: Path) -> Program:
    return from_onnx(path, dims=DIMS).program


def moments(found: Program) -> list[Moment]:
    return [m for r in found.passes[0].repeats for m in r.segment.moments]


def test_layers_are_one_segment_however_many(path: Path) -> None:
    repeats = program(path).passes[0].repeats
    assert [(r.segment.name, r.count) for r in repeats] == [("embed", 1), ("layer", LAYERS)]
    # q, k, v, scores, softmax, context, out, sum, norm, up, GELU, down, sum, norm
    assert len(repeats[1].segment.moments) == 14


def test_matrix_flops_are_those_of_the_formulas_by_hand(path: Path) -> None:
    rows = BATCH * TOKENS
    # 4 projections of HIDDEN x HIDDEN, up and down; scores and context over all heads
    layer = rows * (4 * HIDDEN * HIDDEN + 2 * HIDDEN * INNER) + 2 * BATCH * TOKENS * TOKENS * HIDDEN
    assert program(path).matrix_flops == 2 * LAYERS * layer


def test_parameters_and_weight_bytes_count_each_weight_once(path: Path) -> None:
    layer = 4 * (HIDDEN * HIDDEN + HIDDEN) + 2 * HIDDEN * INNER + INNER + HIDDEN + 4 * HIDDEN
    imported = from_onnx(path, dims=DIMS)
    assert imported.parameters == VOCAB * HIDDEN + 2 * HIDDEN + LAYERS * layer
    assert imported.program.footprint.weight_bytes == 4 * imported.parameters


def test_stages_groups_and_the_core_are_those_of_a_compiled_model(path: Path) -> None:
    layer = program(path).passes[0].repeats[1].segment.moments
    kinds = [(m.kind, m.stage, m.group) for m in layer]
    assert kinds == [
        ("matmul", "attention", "qkv"),
        ("matmul", "attention", "qkv"),
        ("matmul", "attention", "qkv"),
        ("matmul", "attention", "core"),
        ("softmax", "attention", "core"),
        ("matmul", "attention", "core"),
        ("matmul", "attention", ""),
        ("add", "attention", "residual_norm"),
        ("layer_norm", "attention", "residual_norm"),
        ("matmul", "feed_forward", ""),
        ("gelu", "feed_forward", "epilogue"),
        ("matmul", "feed_forward", ""),
        ("add", "feed_forward", "residual_norm"),
        ("layer_norm", "feed_forward", "residual_norm"),
    ]
    shape = AttentionShape(BATCH, HEADS, HEADS, HIDDEN // HEADS, TOKENS, TOKENS, False)
    assert {m.attention for m in layer if m.group == "core"} == {shape}


def test_every_fusion_applies_and_conserves_the_counts(path: Path) -> None:
    plain = program(path)
    wanted = Fusion(qkv=True, attention="fused", epilogue=True, residual_norm=True)
    fused = fuse(plain, wanted)
    assert fused.counts == plain.counts
    layer = next(r.segment for r in fused.passes[0].repeats if r.count > 1)
    # qkv, core, out, sum + norm, up + GELU, down, sum + norm
    assert [m.kind for m in layer.moments] == [
        "matmul", "attention", "matmul", "layer_norm", "matmul", "matmul", "layer_norm",
    ]  # fmt: skip
    apart = fuse(plain, Fusion(attention="separate"))
    assert apart.counts == plain.counts


def test_shapes_computed_in_the_graph_cost_nothing(path: Path) -> None:
    assert not [m for m in moments(program(path)) if m.kind == "copy"]


def test_layers_follow_each_other_in_the_whole_graph(path: Path) -> None:
    import networkx as nx

    graph = program(path).graph
    first = [n for n in graph if n.startswith("forward/layer.0/")]
    last = [n for n in graph if n.startswith(f"forward/layer.{LAYERS - 1}/")]
    assert nx.has_path(graph, first[0], last[-1])
    assert nx.is_weakly_connected(graph)


def one(op: str, shapes: list[tuple[int, ...]], tmp_path: Path, **attributes: Any) -> Moment:
    """The one moment of a graph of one operator on inputs of these shapes."""
    g = Graph()
    names = [g.input(f"in{i}", shape) for i, shape in enumerate(shapes)]
    domain, _, name = op.rpartition(".")
    result = g.add(name, *names, domain=domain, **attributes)
    found = moments(from_onnx(g.save(tmp_path / "one.onnx", result)).program)
    assert len(found) == 1
    return found[0]


def test_a_product_of_two_activations(tmp_path: Path) -> None:
    moment = one("MatMul", [(3, 4, 5), (3, 5, 6)], tmp_path)
    assert moment.counts.macs == 360  # 3 x 4 x 6 x 5
    assert (moment.read_bytes, moment.write_bytes) == (600, 288)  # 4 (60 + 90), 4 x 72


def test_a_view_is_free_and_a_transpose_moves_bytes(tmp_path: Path) -> None:
    g = Graph()
    x = g.input("x", (4, 6))
    flat = g.add("Reshape", x, g.numbers(24))
    turned = g.add("Transpose", g.add("Reshape", flat, g.numbers(4, 6)), perm=[1, 0])
    (moment,) = moments(from_onnx(g.save(tmp_path / "v.onnx", turned)).program)
    assert moment.kind == "copy"
    assert moment.reads == (Tensor("x", 96, "input"),)
    assert moment.write_bytes == 96


def test_a_slice_reads_only_what_it_copies(tmp_path: Path) -> None:
    g = Graph()
    x = g.input("x", (10, 8))
    piece = g.add("Slice", x, g.numbers(2), g.numbers(5), g.numbers(0))
    (moment,) = moments(from_onnx(g.save(tmp_path / "s.onnx", piece)).program)
    assert (moment.read_bytes, moment.write_bytes) == (96, 96)  # 3 x 8 x 4


def test_a_convolution_is_the_product_that_it_is_with_its_own_bytes(tmp_path: Path) -> None:
    g = Graph()
    x = g.input("x", (1, 3, 8, 8))
    y = g.add("Conv", x, g.weight("w", 5, 3, 2, 2), g.weight("b", 5), strides=[2, 2])
    (moment,) = moments(from_onnx(g.save(tmp_path / "c.onnx", y)).program)
    assert moment.counts.macs == 960  # 4 x 4 positions, 5 channels, 3 x 2 x 2 deep
    assert moment.read_bytes == 4 * (192 + 60 + 5)


def test_an_embedding_reads_rows_and_not_the_table_and_a_tied_table_counts_once(
    tmp_path: Path,
) -> None:
    g = Graph()
    ids = g.input("ids", (2, 3), INT64)
    table = g.weight("table", 50, 4)
    rows = g.add("Gather", table, ids, axis=0)
    logits = g.add("MatMul", rows, g.add("Transpose", table, perm=[1, 0]))
    imported = from_onnx(g.save(tmp_path / "e.onnx", logits))
    look_up, head = moments(imported.program)
    assert [t.bytes for t in look_up.reads] == [48, 96]  # 6 numbers of 8 bytes, 6 rows of 16
    assert head.counts.macs == 1200
    assert (imported.parameters, imported.program.footprint.weight_bytes) == (200, 800)


def test_contrib_attention_is_projection_and_core(tmp_path: Path) -> None:
    g = Graph()
    x = g.input("x", (2, 8, 16))
    out = g.add("Attention", x, g.weight("w", 16, 48), g.weight("b", 48), domain="com.microsoft",
                num_heads=2)  # fmt: skip
    found = moments(from_onnx(g.save(tmp_path / "a.onnx", out)).program)
    assert [m.kind for m in found] == ["matmul", "matmul", "softmax", "matmul"]
    # 16 rows x 48 x 16; scores and context 2 x 2 x 8 x 8 x 8 each
    assert [m.counts.macs for m in found] == [12288, 2048, 0, 2048]


def test_grouped_queries_append_to_the_cache_and_read_it(tmp_path: Path) -> None:
    g = Graph()
    query, key, value = (g.input(n, (1, 1, w)) for n, w in (("q", 32), ("k", 16), ("v", 16)))
    past = [g.input(f"past_key_values.0.{n}", (1, 2, "past", 8)) for n in ("key", "value")]
    lengths = [g.input(n, (1,), INT64) for n in ("seqlens", "total")]
    names = [f"out{i}" for i in range(3)]
    g.nodes.append(
        onnx.helper.make_node(
            "GroupQueryAttention", [query, key, value, *past, *lengths], names, "gqa",
            domain="com.microsoft", num_heads=4, kv_num_heads=2,
        )
    )  # fmt: skip
    found = from_onnx(g.save(tmp_path / "g.onnx", names[0]), dims={"past": 9}).program
    assert [m.kind for m in moments(found)] == [
        "cache_append", "cache_append", "matmul", "softmax", "matmul",
    ]  # fmt: skip
    scores = moments(found)[2]
    assert scores.attention == AttentionShape(1, 4, 2, 8, 1, 10, True)
    assert [(t.role, t.bytes) for t in scores.reads] == [("input", 128), ("kv_cache", 640)]


def test_a_concatenated_cache_is_one_and_only_the_new_part_moves(tmp_path: Path) -> None:
    g = Graph()
    past = g.input("past_key_values.0.key", (1, 2, "past", 8))
    new, query = g.input("k", (1, 2, 1, 8)), g.input("q", (1, 2, 1, 8))
    joined = g.add("Concat", past, new, axis=2)
    turned = g.add("Transpose", joined, perm=[0, 1, 3, 2])
    scores = g.add("MatMul", query, turned)
    found = from_onnx(g.save(tmp_path / "k.onnx", scores), dims={"past": 9}).program
    append = moments(found)[0]
    assert (append.kind, append.read_bytes, append.write_bytes) == ("cache_append", 64, 64)
    assert found.footprint.kv_cache_bytes == 640  # 2 x 10 x 8 x 4


def test_a_cache_with_nothing_behind_it_is_not_moved(tmp_path: Path) -> None:
    g = Graph()
    past = g.input("past_key_values.0.key", (1, 2, 9, 8))
    query, nothing = g.input("q", (1, 2, 8, 1)), g.input("none", (1, 2, 0, 8))
    scores = g.add("MatMul", g.add("Concat", nothing, past, axis=2), query)
    (moment,) = moments(from_onnx(g.save(tmp_path / "k.onnx", scores)).program)
    assert [(t.name, t.bytes, t.role) for t in moment.reads] == [
        (past, 576, "kv_cache"),
        ("q", 64, "input"),
    ]


def test_a_4_bit_weight_is_read_as_such(tmp_path: Path) -> None:
    g = Graph()
    x = g.input("x", (3, 32))
    packed = onnx.helper.make_tensor("w", 2, [8, 2, 8], bytes(128), raw=True)
    g.weights.append(packed)
    y = g.add("MatMulNBits", x, "w", g.weight("scales", 16), domain="com.microsoft", N=8, K=32,
              bits=4, block_size=16)  # fmt: skip
    (moment,) = moments(from_onnx(g.save(tmp_path / "n.onnx", y)).program)
    assert (moment.counts.macs, moment.weight_dtype) == (768, "int4")
    assert [t.bytes for t in moment.reads] == [384, 128, 64]


def test_open_axes_are_asked_for_all_at_once(path: Path) -> None:
    with pytest.raises(InputError, match=r"give --dim batch=\.\.\. --dim sequence=\.\.\.$"):
        from_onnx(path)


def test_a_size_for_no_axis_is_an_error_with_the_likely_one(path: Path) -> None:
    with pytest.raises(InputError, match="no open axis is called 'sequnce'; did you mean \"seq"):
        from_onnx(path, dims={**DIMS, "sequnce": 3})


def test_a_size_that_is_none(path: Path) -> None:
    with pytest.raises(InputError, match="size of 'batch' = -1: expected 0 to"):
        from_onnx(path, dims={**DIMS, "batch": -1})


@pytest.fixture
def strange(tmp_path: Path) -> Path:
    g = Graph()
    x = g.input("x", (4, 4))
    one = g.add("Det", g.add("Foo", g.add("Foo", x, domain="acme"), domain="acme"))
    return g.save(tmp_path / "strange.onnx", one)


def test_unknown_operators_are_listed_all_at_once_with_an_example(strange: Path) -> None:
    with pytest.raises(InputError) as caught:
        from_onnx(strange)
    assert "2 operator(s): Det (1 x, such as 'Det_3'), acme.Foo (2 x, such as 'Foo_1')" in str(
        caught.value
    )
    assert "--unknown as-copy" in str(caught.value)


def test_unknown_operators_as_copies_move_their_bytes_and_are_noted(strange: Path) -> None:
    imported = from_onnx(strange, unknown="as-copy")
    assert [(m.kind, m.read_bytes) for m in moments(imported.program)][:2] == [("copy", 64)] * 2
    assert "acme.Foo (2 x" in imported.program.notes[0]


def test_unknown_how_to_treat_them(strange: Path) -> None:
    with pytest.raises(InputError, match="unknown = 'zero': expected"):
        from_onnx(strange, unknown="zero")


@pytest.mark.parametrize("data", [b"not a protobuf at all", b"", b"\x08\x07", b"\xff" * 100])
def test_what_is_no_model(tmp_path: Path, data: bytes) -> None:
    file = tmp_path / "bad.onnx"
    file.write_bytes(data)
    with pytest.raises(InputError, match=r"bad\.onnx: not an ONNX model"):
        from_onnx(file)


def test_a_file_cut_short(path: Path, tmp_path: Path) -> None:
    file = tmp_path / "short.onnx"
    file.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(InputError, match=r"short\.onnx: "):
        from_onnx(file, dims=DIMS)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no such file"):
        from_onnx(tmp_path / "none.onnx")


def test_a_cycle(tmp_path: Path) -> None:
    g = Graph()
    g.input("x", (4,))
    g.nodes += [onnx.helper.make_node("Add", ["x", "b"], ["a"], "first"),
                onnx.helper.make_node("Relu", ["a"], ["b"], "second")]  # fmt: skip
    with pytest.raises(InputError, match="has a cycle: node 'first' waits for itself"):
        from_onnx(g.save(tmp_path / "cycle.onnx", "b"))


def test_a_tensor_that_nothing_writes(tmp_path: Path) -> None:
    g = Graph()
    result = g.add("Relu", "ghost")
    with pytest.raises(InputError, match="reads 'ghost', which nothing writes"):
        from_onnx(g.save(tmp_path / "ghost.onnx", result))


def test_sizes_beyond_any_memory(tmp_path: Path) -> None:
    g = Graph()
    x = g.input("x", (1 << 30, 1 << 30))
    with pytest.raises(InputError, match="has more than"):
        from_onnx(g.save(tmp_path / "huge.onnx", g.add("Relu", x)))


def test_shapes_that_do_not_go_together(tmp_path: Path) -> None:
    g = Graph()
    product = g.add("MatMul", g.input("a", (2, 3)), g.input("b", (4, 5)))
    with pytest.raises(InputError, match="shape of the result of MatMul"):
        from_onnx(g.save(tmp_path / "wrong.onnx", product))


def test_a_shape_that_depends_on_data(tmp_path: Path) -> None:
    g = Graph()
    found = g.add("NonZero", g.input("x", (3, 3)))
    with pytest.raises(InputError, match="depends on the values of its inputs"):
        from_onnx(g.save(tmp_path / "data.onnx", found))


def external(path: Path, location: str, length: int = 400) -> Path:
    g = Graph()
    x = g.input("x", (2, 10))
    g.weight("w", 10, 10)
    weight = g.weights[0]
    weight.ClearField("raw_data")
    weight.data_location = onnx.TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", "0"), ("length", str(length))):
        weight.external_data.add(key=key, value=value)
    model = g.model(g.add("MatMul", x, "w"))
    path.write_bytes(model.SerializeToString())
    return path


def test_external_weights_are_not_read_and_may_be_absent(tmp_path: Path) -> None:
    imported = from_onnx(external(tmp_path / "m.onnx", "m.data"))
    assert imported.parameters == 100


@pytest.mark.parametrize(
    "location", ["../secret", "/etc/passwd", "a/../../b", "C:\\x", "..\\x", ""]
)
def test_external_weights_stay_in_the_folder(tmp_path: Path, location: str) -> None:
    with pytest.raises(InputError, match="is not in the folder of the model"):
        from_onnx(external(tmp_path / "m.onnx", location))


def test_a_link_does_not_lead_out_of_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "outside").write_bytes(bytes(400))
    (folder / "m.data").symlink_to(tmp_path / "outside")
    with pytest.raises(InputError, match="leads out of the folder"):
        from_onnx(external(folder / "m.onnx", "m.data"))


def test_external_weights_that_are_too_short(tmp_path: Path) -> None:
    (tmp_path / "m.data").write_bytes(bytes(100))
    with pytest.raises(InputError, match=r"up to byte 400, but m\.data has 100 bytes"):
        from_onnx(external(tmp_path / "m.onnx", "m.data"))


@given(changes=st.lists(st.tuples(st.integers(0), st.integers(0, 255)), min_size=1, max_size=4))
@settings(max_examples=60, deadline=None)
def test_a_damaged_file_is_an_input_error_or_another_model(
    changes: list[tuple[int, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    g, rows = encoder(1)
    damaged = bytearray(g.model(rows).SerializeToString())
    for place, value in changes:
        damaged[place % len(damaged)] = value
    file = tmp_path_factory.getbasetemp() / "damaged.onnx"
    file.write_bytes(bytes(damaged))
    with contextlib.suppress(InputError):
        from_onnx(file, dims=DIMS)
