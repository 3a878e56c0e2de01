"""One operator, one formula: a worked number each, with the arithmetic beside it."""

from __future__ import annotations

from typing import Any

import pytest

from workloads.importers.imported.steps import Steps, lower
from workloads.importers.operators import onnx_names, torch_names
from workloads.importers.operators.values import Node, OperatorGraph, Value
from workloads.importers.operators.work import Formula
from workloads.moment import MatmulShape, Moment

Shape = tuple[int, ...]
TABLES: dict[str, dict[str, Formula]] = {"onnx": onnx_names.TABLE, "torch": torch_names.TABLE}


def steps(
    source: str, op: str, inputs: list[Shape | None], output: Shape, dtype: str, **more: Any
) -> Steps:
    """The steps of one operator; `weights` numbers the inputs that are stored."""
    stored = more.pop("weights", ())
    kinds = more.pop("dtypes", {})
    free = more.pop("free", False)
    values = [
        None
        if shape is None
        else Value(
            f"in{i}", shape, kinds.get(i, "fp32"), "weight" if i in stored else "input",
            fixed=i in stored,
        )
        for i, shape in enumerate(inputs)
    ]  # fmt: skip
    node = Node(op, op, tuple(values), (Value("out", output, dtype),), more, free=free)
    graph = OperatorGraph("g", (node,), frozenset(("out",)))
    return lower(graph, TABLES[source], folds_weights=False)


def one(
    source: str,
    op: str,
    inputs: list[Shape | None],
    output: Shape,
    dtype: str = "fp32",
    **more: Any,
) -> Moment:
    (step,) = steps(source, op, inputs, output, dtype, **more).steps
    return step.moment


def counts(moment: Moment) -> tuple[int, int, int]:
    return (moment.counts.macs, moment.counts.vector_ops, moment.counts.special_ops)


@pytest.mark.parametrize(
    ("source", "op", "inputs", "output", "more", "expected"),
    [
        # 2 x 3 rows of 4, each times a stored 4 x 5
        ("onnx", "MatMul", [(2, 3, 4), (4, 5)], (2, 3, 5), {"weights": (1,)}, (120, 0, 0)),
        # A is stored turned: 3 x 4 times 4 x 5, and a bias of 15 adds
        ("onnx", "Gemm", [(4, 3), (4, 5), (5,)], (3, 5), {"transA": 1}, (60, 15, 0)),
        ("torch", "linear", [(2, 4), (5, 4), (5,)], (2, 5), {}, (40, 10, 0)),
        ("torch", "addmm", [(5,), (2, 4), (4, 5)], (2, 5), {}, (40, 10, 0)),
        ("torch", "bmm", [(2, 3, 4), (2, 4, 5)], (2, 3, 5), {}, (120, 0, 0)),
        ("torch", "baddbmm", [(2, 3, 5), (2, 3, 4), (2, 4, 5)], (2, 3, 5), {}, (120, 30, 0)),
        # b=2, h=3, q=4, k=5, d=6: 2 x 3 x 4 x 5 x 6
        ("torch", "einsum", [(2, 3, 4, 6), (2, 3, 5, 6)], (2, 3, 4, 5),
         {"equation": "bhqd,bhkd->bhqk"}, (720, 0, 0)),
        # 5 positions out, 4 channels, 2 x 3 / 1 deep; bias 20
        ("torch", "conv1d", [(1, 2, 7), (4, 2, 3), (4,)], (1, 4, 5), {"groups": 1}, (120, 20, 0)),
        # depthwise: 4 x 4 positions x 3 channels x 9
        ("onnx", "Conv", [(1, 3, 6, 6), (3, 1, 3, 3)], (1, 3, 4, 4), {"group": 3}, (432, 0, 0)),
        # 7 positions in, each adds 3 values to 4 channels from 2
        ("torch", "conv_transpose1d", [(1, 2, 7), (2, 4, 3)], (1, 4, 9), {}, (168, 0, 0)),
        # 6 rows of 10: compare, subtract, add; exp and division
        ("onnx", "Softmax", [(2, 3, 10)], (2, 3, 10), {"axis": -1}, (0, 180, 120)),
        # over the first axis: the same elements, other rows
        ("onnx", "Softmax", [(2, 3, 10)], (2, 3, 10), {"axis": 0}, (0, 180, 120)),
        # 6 rows x (7 x 10 + 1), 3 special each
        ("torch", "layer_norm", [(2, 3, 10), (10,), (10,)], (2, 3, 10),
         {"normalized_shape": [10]}, (0, 426, 18)),
        # 6 rows x (4 x 10 + 1), 2 special each
        ("onnx", "SimplifiedLayerNormalization", [(2, 3, 10), (10,)], (2, 3, 10),
         {"axis": -1}, (0, 246, 12)),
        # 2 x 2 groups of 2 x 5 values: 4 x (7 x 10 + 1)
        ("torch", "group_norm", [(2, 4, 5), (4,), (4,)], (2, 4, 5), {"num_groups": 2},
         (0, 284, 12)),
        ("onnx", "BatchNormalization", [(2, 4, 5), (4,), (4,), (4,), (4,)], (2, 4, 5), {},
         (0, 80, 0)),
        ("onnx", "Add", [(4, 5), (5,)], (4, 5), {}, (0, 20, 0)),
        ("onnx", "Max", [(4, 5), (4, 5), (4, 5)], (4, 5), {}, (0, 40, 0)),
        ("onnx", "Where", [(4, 5), (4, 5), (1,)], (4, 5), {}, (0, 20, 0)),
        ("onnx", "Erf", [(4, 5)], (4, 5), {}, (0, 0, 20)),
        ("torch", "sigmoid", [(4, 5)], (4, 5), {}, (0, 40, 40)),
        ("onnx", "Gelu", [(4, 5)], (4, 5), {}, (0, 80, 20)),
        ("torch", "gelu", [(4, 5)], (4, 5), {"approximate": "tanh"}, (0, 160, 20)),
        # 20 values into 4 sums, and 4 divisions
        ("onnx", "ReduceMean", [(4, 5)], (4, 1), {}, (0, 20, 4)),
        ("torch", "sum", [(4, 5)], (4,), {}, (0, 20, 0)),
        # 4 rows of 5, one chosen
        ("onnx", "ArgMax", [(4, 5)], (4, 1), {"axis": 1}, (0, 20, 0)),
        ("torch", "topk", [(4, 5)], (4, 2), {"dim": -1}, (0, 40, 0)),
        # windows of 2 x 2
        ("onnx", "MaxPool", [(1, 1, 4, 4)], (1, 1, 2, 2), {"kernel_shape": [2, 2]}, (0, 16, 0)),
        # a quarter of the image in each
        ("onnx", "GlobalAveragePool", [(1, 2, 4, 4)], (1, 2, 1, 1), {}, (0, 32, 0)),
        # sum of two, a bias, and the norm: 6 x 71 + 2 x 60
        ("onnx", "com.microsoft.SkipLayerNormalization",
         [(2, 3, 10), (2, 3, 10), (10,), (10,), (10,)], (2, 3, 10), {}, (0, 546, 18)),
        ("onnx", "com.microsoft.BiasGelu", [(4, 5), (5,)], (4, 5), {}, (0, 100, 20)),
        ("onnx", "com.microsoft.FastGelu", [(4, 5)], (4, 5), {}, (0, 160, 20)),
        ("onnx", "com.microsoft.FusedMatMul", [(2, 3, 4), (2, 5, 4)], (2, 3, 5),
         {"transB": 1}, (120, 0, 0)),
        # minimum, maximum, then multiply, add, round, clip
        ("onnx", "DynamicQuantizeLinear", [(4, 5)], (4, 5), {}, (0, 120, 0)),
    ],
)  # fmt: skip
def test_counts_by_hand(
    source: str,
    op: str,
    inputs: list[Shape | None],
    output: Shape,
    more: dict[str, Any],
    expected: tuple[int, int, int],
) -> None:
    assert counts(one(source, op, inputs, output, **more)) == expected


@pytest.mark.parametrize(
    ("source", "op", "inputs", "output", "read", "written"),
    [
        ("onnx", "Concat", [(2, 3), (2, 4)], (2, 7), 56, 56),
        ("onnx", "Split", [(2, 6)], (2, 6), 48, 48),
        ("onnx", "Slice", [(10, 4)], (2, 4), 32, 32),
        ("onnx", "Pad", [(2, 3)], (2, 5), 24, 40),
        ("onnx", "Expand", [(1, 4)], (3, 4), 16, 48),
        ("onnx", "Gather", [(50, 4), (3,)], (3, 4), 60, 48),  # three numbers of 4 and three rows
        ("onnx", "Transpose", [(3, 4)], (4, 3), 48, 48),
        ("torch", "zeros_like", [(3, 4)], (3, 4), 0, 48),
    ],
)
def test_moves_by_hand(
    source: str, op: str, inputs: list[Shape | None], output: Shape, read: int, written: int
) -> None:
    moment = one(source, op, inputs, output)
    assert counts(moment) == (0, 0, 0)
    assert (moment.read_bytes, moment.write_bytes) == (read, written)


@pytest.mark.parametrize(
    ("source", "op"),
    [("onnx", "Reshape"), ("onnx", "Squeeze"), ("onnx", "Identity"), ("onnx", "Dropout"),
     ("torch", "view"), ("torch", "transpose"), ("torch", "expand"), ("torch", "dropout")],
)  # fmt: skip
def test_views_are_free(source: str, op: str) -> None:
    assert steps(source, op, [(3, 4)], (12,), "fp32").steps == []


def test_a_cast_to_the_same_type_is_free_and_another_moves_bytes() -> None:
    assert steps("onnx", "Cast", [(3, 4)], (3, 4), "fp32").steps == []
    moment = one("onnx", "Cast", [(3, 4)], (3, 4), "fp16")
    assert (moment.read_bytes, moment.write_bytes) == (48, 24)


def test_integers_are_multiplied_as_integers() -> None:
    moment = one("onnx", "MatMulInteger", [(2, 3, 4), (4, 5)], (2, 3, 5), "int32", weights=(1,),
                 dtypes={0: "int8", 1: "int8"})  # fmt: skip
    assert (moment.dtype, moment.counts.macs) == ("int8", 120)
    assert (moment.read_bytes, moment.write_bytes) == (24 + 20, 120)


def test_a_stored_weight_is_dequantized_by_the_product_that_reads_it() -> None:
    more: dict[str, Any] = {"weights": (0, 1), "dtypes": {0: "int8"}}
    assert steps("onnx", "DequantizeLinear", [(4, 5), (1,)], (4, 5), "fp32", **more).steps == []
    moment = one("onnx", "DequantizeLinear", [(4, 5), (1,)], (4, 5), dtypes={0: "int8"})
    assert counts(moment) == (0, 40, 0)


def test_attention_of_torch_is_three_moments_of_one_core() -> None:
    found = steps(
        "torch", "scaled_dot_product_attention",
        [(2, 4, 6, 8), (2, 2, 10, 8), (2, 2, 10, 8), (2, 1, 6, 10)], (2, 4, 6, 8), "fp32",
    ).steps  # fmt: skip
    assert [counts(s.moment) for s in found] == [
        (3840, 0, 0),  # 2 x 4 x 6 x 10 x 8
        (0, 480 * 5, 960),  # 480 scores: 3, scale, and the mask that is added
        (3840, 0, 0),
    ]
    assert {s.moment.group for s in found} == {"core"}
    assert found[0].moment.attention is not None
    assert found[0].moment.attention.kv_heads == 2


def test_a_convolution_is_one_product_a_group() -> None:
    moment = one("onnx", "Conv", [(1, 4, 6), (8, 2, 3)], (1, 8, 4), group=2)
    assert moment.shape == MatmulShape(2, 4, 4, 6)
    assert moment.read_bytes == 4 * (24 + 48)


def test_every_name_is_one_of_onnx() -> None:
    onnx = pytest.importorskip("onnx")
    known = {schema.name for schema in onnx.defs.get_all_schemas_with_history()}
    ours = {name for name in onnx_names.TABLE if "." not in name}
    assert ours - known == {"SimplifiedLayerNormalization"}  # ONNX Runtime's, in ONNX's domain
