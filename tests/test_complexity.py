"""How runs grow: known powers are found, crossings are exact, bad ranges are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from simulator import Scenario
from simulator.cli import app
from simulator.complexity import Point, _regions, measure_growth, parse_range
from simulator.complexity_views import draw_growth, growth_json
from workloads import InputError

A100 = "nvidia-a100-sxm4-80gb"


def points(function: Any, values: list[int]) -> list[Point]:
    return [Point(v, str(v), {"flops": {"all": function(v)}}) for v in values]


def test_a_power_is_one_region() -> None:
    (region,) = _regions(
        points(lambda v: 3.0 * v**1.5, [2**i for i in range(1, 9)]), "flops", "all"
    )
    assert (region.first, region.last) == (2, 256)
    assert region.exponent == pytest.approx(1.5)


def test_a_knee_is_found_where_it_is() -> None:
    found = _regions(
        points(lambda v: float(max(64, v)), [2**i for i in range(1, 13)]), "flops", "all"
    )
    assert [(r.first, r.last, round(r.exponent, 6)) for r in found] == [
        (2, 64, 0.0),
        (64, 4096, 1.0),
    ]


def test_products_with_weights_grow_with_the_prompt_and_the_core_with_its_square() -> None:
    growth = measure_growth(
        Scenario("gpt2", A100, runtime="tensorrt-llm"), "prompt", (64, 128, 256, 512)
    )
    (feed_forward,) = growth.regions["flops", "feed_forward"]
    (core,) = growth.regions["flops", "core"]
    (cache,) = growth.regions["kv_cache_bytes", "all"]
    assert feed_forward.exponent == pytest.approx(1.0)
    assert core.exponent == pytest.approx(2.0)
    assert cache.exponent == pytest.approx(1.0)


def test_the_crossing_is_where_scores_outweigh_products_with_weights() -> None:
    growth = measure_growth(Scenario("gpt2", A100, runtime="tensorrt-llm"), "prompt", (1024, 65536))
    # a layer: 24 s h^2 FLOPs with weights (h = 768), 4 s^2 h in the core; the head 2 s h v.
    # 12 layers: 48 s^2 h > 12 x 24 s h^2 + 2 s h v  <=>  s > 6 h + v / 24 = 4608 + 50257 / 24
    assert growth.crossovers["flops"] == int(6 * 768 + 50257 / 24) + 1
    assert "gpt2 has 1024 positions of its own" in growth.notes[-1]


def test_growth_over_models_goes_by_parameters() -> None:
    growth = measure_growth(
        Scenario("gpt2", A100, context=64), "workload", ("gpt2-xl", "gpt2", "gpt2-medium")
    )
    assert [p.label for p in growth.points] == ["gpt2", "gpt2-medium", "gpt2-xl"]
    assert growth.points[0].value == 124_439_808
    assert growth.crossovers == {}


def test_what_does_not_fit_keeps_its_counts() -> None:
    growth = measure_growth(
        Scenario("llama-2-7b", "nvidia-rtx-4090", runtime="tensorrt-llm"), "batch", (1, 4096)
    )
    refused = growth.points[1]
    assert "latency_s" not in refused.amounts
    assert refused.amounts["flops"]["all"] == 4096 * growth.points[0].amounts["flops"]["all"]
    assert "batch = 4096: no latency: llama-2-7b needs" in growth.notes[0]


def test_nothing_that_fits_is_an_error() -> None:
    with pytest.raises(InputError, match="none of the 2 runs is possible"):
        measure_growth(Scenario("gpt-3-175b", "nvidia-rtx-4090"), "batch", (1, 2))


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("prompt=128:1024", (128, 256, 512, 1024)),
        ("prompt=100:1000", (100, 200, 400, 800, 1000)),
        ("batch=1:64:3", (1, 8, 64)),
        ("context=5,50,500", (5, 50, 500)),
        ("workload=a,b", ("a", "b")),
    ],
)
def test_ranges(text: str, values: tuple[Any, ...]) -> None:
    assert parse_range(text)[1] == values


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("promt=1:2", 'expected one of prompt, context, generate, batch, workload .* "prompt"'),
        ("prompt=2:2", "2 is not above 2"),
        ("prompt=1", "expected prompt=FIRST:LAST"),
        ("prompt=a:b", "'a' is no whole number"),
        ("prompt=1:1000:100", "100 points; expected 2 to 64"),
        ("prompt=3,2", "expected two or more ascending numbers"),
        ("workload=gpt2", "with two or more"),
    ],
)
def test_bad_ranges_are_refused(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_range(text)


def test_the_command_prints_and_draws(tmp_path: Path) -> None:
    picture, figures = tmp_path / "g.png", tmp_path / "g.json"
    result = CliRunner().invoke(
        app,
        ["complexity", "gpt2", "--on", A100, "--over", "prompt=64:256", "--plot", str(picture),
         "--json", str(figures)],
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "grows as prompt" in result.output
    assert picture.stat().st_size > 10_000
    assert figures.stat().st_size > 1_000


def test_json_is_plain() -> None:
    import json

    growth = measure_growth(Scenario("gpt2", A100), "prompt", (64, 128))
    assert json.loads(json.dumps(growth_json(growth)))["over"] == "prompt"
    with pytest.raises(InputError, match="not a known format"):
        draw_growth(growth, "growth.doc")
