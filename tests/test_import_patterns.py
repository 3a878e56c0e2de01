"""Activations, norms and rotations that a graph writes out are one moment each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.onnx_graphs import Graph, gelu
from workloads import Moment, from_onnx, op_counts

ROWS, WIDTH = 6, 8


def found(g: Graph, result: str, tmp_path: Path, *more: str) -> list[Moment]:
    file = g.save(tmp_path / "p.onnx", result, *more)
    program = from_onnx(file).program
    return [m for r in program.passes[0].repeats for m in r.segment.moments]


def layer_norm(g: Graph, x: str, power: bool) -> str:
    centred = g.add("Sub", x, g.add("ReduceMean", x, g.numbers(-1)))
    square = g.add("Pow", centred, g.number(2)) if power else g.add("Mul", centred, centred)
    variance = g.add("Add", g.add("ReduceMean", square, g.numbers(-1)), g.number(1e-5))
    scaled = g.add("Div", centred, g.add("Sqrt", variance))
    return g.add("Add", g.add("Mul", scaled, g.weight("gain", WIDTH)), g.weight("bias", WIDTH))


def rms_norm(g: Graph, x: str, form: str) -> str:
    mean = g.add("ReduceMean", g.add("Pow", x, g.number(2)), g.numbers(-1))
    root = g.add("Sqrt", g.add("Add", mean, g.number(1e-6)))
    if form == "divide":
        scaled = g.add("Div", x, root)
    elif form == "reciprocal":
        scaled = g.add("Mul", x, g.add("Reciprocal", root))
    else:
        scaled = g.add("Mul", x, g.add("Div", g.number(1), root))
    return g.add("Mul", g.weight("gain", WIDTH), scaled)


def gelu_tanh(g: Graph, x: str) -> str:
    cube = g.add("Mul", g.add("Pow", x, g.number(3)), g.number(0.044715))
    inner = g.add("Mul", g.add("Add", x, cube), g.number(0.797))
    grown = g.add("Add", g.add("Tanh", inner), g.number(1))
    return g.add("Mul", g.add("Mul", x, g.number(0.5)), grown)


def halved_gelu(g: Graph, x: str) -> str:
    grown = g.add("Add", g.add("Erf", g.add("Mul", x, g.number(0.7))), g.number(1))
    return g.add("Mul", x, g.add("Mul", g.number(0.5), grown))


def rope(g: Graph, x: str) -> str:
    halves = [g.add("Slice", x, g.numbers(a), g.numbers(b), g.numbers(1))
              for a, b in ((0, WIDTH // 2), (WIDTH // 2, WIDTH))]  # fmt: skip
    turned = g.add("Concat", g.add("Neg", halves[1]), halves[0], axis=1)
    cosine, sine = g.input("cos", (ROWS, WIDTH)), g.input("sin", (ROWS, WIDTH))
    return g.add("Add", g.add("Mul", x, cosine), g.add("Mul", turned, sine))


FORMS: list[tuple[str, Callable[[Graph, str], str]]] = [
    ("layer_norm", lambda g, x: layer_norm(g, x, power=True)),
    ("layer_norm", lambda g, x: layer_norm(g, x, power=False)),
    ("rms_norm", lambda g, x: rms_norm(g, x, "divide")),
    ("rms_norm", lambda g, x: rms_norm(g, x, "reciprocal")),
    ("rms_norm", lambda g, x: rms_norm(g, x, "inverse")),
    ("gelu", lambda g, x: gelu(g, x, "")),
    ("gelu", halved_gelu),
    ("gelu_tanh", gelu_tanh),
    ("silu", lambda g, x: g.add("Mul", g.add("Sigmoid", x), x)),
    ("rope", rope),
]


@pytest.mark.parametrize(("kind", "write_out"), FORMS)
def test_a_chain_is_one_moment(
    kind: str, write_out: Callable[[Graph, str], str], tmp_path: Path
) -> None:
    g = Graph()
    result = write_out(g, g.input("x", (ROWS, WIDTH)))
    (moment,) = found(g, result, tmp_path)
    assert moment.kind == kind
    assert moment.writes[0].name == result
    assert moment.reads[0].bytes == 4 * ROWS * WIDTH


def test_its_counts_are_those_of_the_formula(tmp_path: Path) -> None:
    g = Graph()
    result = layer_norm(g, g.input("x", (ROWS, WIDTH)), power=True)
    (moment,) = found(g, result, tmp_path)
    assert moment.counts == op_counts.layer_norm_counts(ROWS, WIDTH)
    assert moment.read_bytes == 4 * (ROWS * WIDTH + 2 * WIDTH)


def test_a_chain_whose_inside_is_a_result_stays_apart(tmp_path: Path) -> None:
    g = Graph()
    x = g.input("x", (ROWS, WIDTH))
    gate = g.add("Sigmoid", x)
    moments = found(g, g.add("Mul", gate, x), tmp_path, gate)
    assert [m.kind for m in moments] == ["multiply", "multiply"]


def test_a_chain_of_two_tensors_is_no_activation(tmp_path: Path) -> None:
    g = Graph()
    x, y = g.input("x", (ROWS, WIDTH)), g.input("y", (ROWS, WIDTH))
    assert len(found(g, g.add("Mul", g.add("Sigmoid", y), x), tmp_path)) == 2


def test_masks_and_scales_between_the_products_are_part_of_the_core(tmp_path: Path) -> None:
    g = Graph()
    q, k, v = (g.input(n, (2, 4, ROWS, WIDTH)) for n in "qkv")
    mask = g.input("mask", (2, 1, ROWS, ROWS))
    scores = g.add("MatMul", q, g.add("Transpose", k, perm=[0, 1, 3, 2]))
    weights = g.add("Softmax", g.add("Add", g.add("Mul", scores, g.number(0.3)), mask), axis=-1)
    kinds = found(g, g.add("MatMul", weights, v), tmp_path)
    assert [(m.kind, m.group, m.parts) for m in kinds] == [
        ("matmul", "core", 8), ("softmax", "core", 8), ("matmul", "core", 8),
    ]  # fmt: skip
    # of each score: 3 of the softmax itself, its scale, its mask
    assert kinds[1].counts.vector_ops == 5 * 8 * ROWS * ROWS
    assert {t.name for t in kinds[1].reads} == {scores, "mask"}


def test_scores_that_are_a_result_themselves_still_are_computed(tmp_path: Path) -> None:
    g = Graph()
    q, k, v = (g.input(n, (2, 4, ROWS, WIDTH)) for n in "qkv")
    scores = g.add("MatMul", q, g.add("Transpose", k, perm=[0, 1, 3, 2]))
    weights = g.add("Softmax", scores, axis=-1)
    moments = found(g, g.add("MatMul", weights, v), tmp_path, weights)
    assert [m.kind for m in moments].count("matmul") == 2
    assert not [m for m in moments if m.group == "core"]
