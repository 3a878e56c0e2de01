"""Bundled models against the real transformers modules of their published configs."""

from __future__ import annotations

from typing import Any

import pytest

from tests.bundled_configs import DECODERS, EXPERTS
from tests.bundled_configs import PUBLISHED as FIRST
from tests.newer_configs import NEWER
from workloads import compile_forward, list_models, load_model

pytestmark = pytest.mark.real

torch = pytest.importorskip("torch", reason="needs torch: make test-real")
transformers = pytest.importorskip("transformers", reason="needs transformers: make test-real")


def flops(module: Any, tokens: int) -> int:
    from torch.utils.flop_counter import FlopCounterMode

    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        module(input_ids=torch.ones((1, tokens), dtype=torch.long, device="meta"))
    return int(counter.get_total_flops())


PUBLISHED = {**FIRST, **NEWER}
DIFFUSION = {f"dit-{size}-2-{image}" for size in ("s", "b", "l", "xl") for image in (256, 512)}
SCALED = {f"deit-3-{size}-16-{image}" for size in ("s", "b", "l") for image in (224, 384)}
BY_HAND = {
    *("transformer-base", "transformer-big", "transformer-xl-base", "transformer-xl-large"),
    *DIFFUSION,
    *SCALED,
    "deit-3-h-14-224",
}
"""Without a module in transformers: test_model and test_denoise have the arithmetic."""


def test_every_bundled_model_is_checked_against_its_published_config() -> None:
    assert set(PUBLISHED) | BY_HAND == set(list_models())


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_bundled_models_agree_with_the_modules_of_their_configs(name: str) -> None:
    architecture, config_class, changes = PUBLISHED[name]
    config = getattr(transformers, config_class)(**changes)
    config._attn_implementation = "eager"
    with torch.device("meta"):
        module = getattr(transformers, architecture)(config)
    model = load_model(name)
    # transformers 5 ties the output matrix of Flan-T5, which is another one in its published files
    untied = model.vocab * model.hidden if name.startswith("flan-t5") else 0
    assert model.parameters - untied == sum(parameter.numel() for parameter in module.parameters())
    if name in DECODERS:
        assert compile_forward(model, prompt=16).matrix_flops == flops(module.eval(), 16)


def test_every_mixture_is_counted_with_small_weights_elsewhere() -> None:
    # the choice of experts looks at values, which the meta device has not: test_real_flops
    assert {PUBLISHED[name][1] for name in EXPERTS} == {
        "DeepseekV3Config",
        "GptOssConfig",
        "MixtralConfig",
        "Qwen3MoeConfig",
    }
