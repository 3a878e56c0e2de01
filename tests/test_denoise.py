"""DiT against its published sizes, and by hand."""

from __future__ import annotations

import pytest

from workloads import InputError, Model, compile_forward, flatten, load_model

SMALL = load_model("dit-s-2-256")


def one_image(model: Model) -> Model:
    return model.model_copy(update={"guidance": False})


def macs(model: Model) -> int:
    return compile_forward(one_image(model), prompt=model.fixed_input).counts.macs


@pytest.mark.parametrize(
    ("name", "parameters", "published_gflops"),
    [
        # table 4 of arXiv:2212.09748, where a multiply-accumulate counts as one
        ("dit-s-2-256", 33e6, 6.06),
        ("dit-b-2-256", 130e6, 23.01),
        ("dit-l-2-256", 458e6, 80.71),
        ("dit-xl-2-256", 675e6, 118.64),
        # table 3, at 512 x 512
        ("dit-xl-2-512", 675e6, 524.60),
    ],
)
def test_sizes_as_published(name: str, parameters: float, published_gflops: float) -> None:
    model = load_model(name)
    assert round(model.parameters / 1e6) == parameters / 1e6
    # they count some elementwise work as well
    assert macs(model) / 1e9 == pytest.approx(published_gflops, rel=1e-3)


def test_macs_by_hand() -> None:
    tokens, width = 256, 384
    # patches of 2 x 2 x 4; noise level of 256 sines; 12 layers, each with six rows an image
    total = tokens * 16 * width + 256 * width + width**2
    total += 12 * (tokens * 12 * width**2 + 2 * tokens**2 * width + 6 * width**2)
    # two more rows, and 2 x 2 x 8 values of each patch
    total += 2 * width**2 + tokens * width * 32
    assert macs(SMALL) == total


def test_parameters_by_hand() -> None:
    width = 384
    layer = 12 * width**2 + (4 + 4 + 1) * width + 6 * width**2 + 6 * width
    ends = 16 * width + width + 256 * width + width + width**2 + width + 1001 * width
    ends += 2 * width**2 + 2 * width + width * 32 + 32
    assert SMALL.parameters == 12 * layer + ends


def test_an_image_takes_many_passes() -> None:
    program = compile_forward(SMALL, generate=50)
    assert [step.name for step in program.passes[:2]] == ["denoise.1", "denoise.2"]
    assert len(program.passes) == 50
    assert {step.tokens for step in program.passes} == {256}
    # the same segments, so that no pass but the first costs anything to compile
    assert len({id(r.segment) for step in program.passes for r in step.repeats}) == 3
    single = compile_forward(SMALL, prompt=256)
    assert program.counts.macs == 50 * single.counts.macs
    assert single.passes[0].name == "denoise"


def test_guidance_computes_each_image_twice() -> None:
    with_guidance, without = (
        compile_forward(model, prompt=256, batch=3) for model in (SMALL, one_image(SMALL))
    )
    assert with_guidance.counts.macs == 2 * without.counts.macs
    assert with_guidance.batch == 3
    last = [flatten(program).moments[-2:] for program in (with_guidance, without)]
    values = 3 * 32 * 32 * 4
    assert [m.name for m in last[0]] == ["guidance", "less_noise"]
    assert [m.name for m in last[1]] == ["unpatch", "less_noise"]
    assert {pair[-1].write_bytes for pair in last} == {4 * values}


def test_norms_have_no_weights() -> None:
    moments = flatten(compile_forward(SMALL, prompt=256)).moments
    norm = next(m for m in moments if m.name == "attention_norm")
    assert [t.name for t in norm.reads] == ["hidden"]
    # five of seven operations a value, and one a row
    assert norm.counts.vector_ops == 2 * 256 * (5 * 384 + 1)
    read = sum(t.bytes for m in moments for t in m.reads if t.role == "weight")
    # of the table of 1,001 classes the two that are asked for; the sines of positions
    assert read == 4 * (SMALL.parameters - 999 * 384 + 256 * 384)


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"context": 3}, "context = 3 with dit-s-2-256: it has no cache"),
        ({"target": 3}, "say generate = steps to take away noise"),
        ({"prompt": 100}, "its images always give 256 positions"),
        ({"generate": -1}, "generate = -1"),
    ],
)
def test_what_a_denoiser_cannot_be_asked(request_: dict[str, int], message: str) -> None:
    with pytest.raises(InputError) as caught:
        compile_forward(SMALL, **request_)  # type: ignore[arg-type]
    assert message in str(caught.value)
