"""The real transformers modules, and torch's own counters on them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from workloads import Model, compile_forward, load_model

torch = pytest.importorskip("torch", reason="needs torch: make test-real")
transformers = pytest.importorskip("transformers", reason="needs transformers: make test-real")

Case = tuple[str, str, dict[str, Any]]  # class of module, class of config, its changes


def build(
    case: Case, folder: Path, attention: str = "eager", device: str = "meta"
) -> tuple[Any, Model]:
    """The real module, and our model of the config.json that its config saves."""
    architecture, config_class, changes = case
    config = getattr(transformers, config_class)(**changes)
    config.architectures = [architecture]
    config.save_pretrained(folder)
    config._attn_implementation = attention
    with torch.device(device):
        module = getattr(transformers, architecture)(config).eval()
    return module, load_model(folder)


def counted_parameters(module: Any) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def counted_flops(module: Any, **inputs: Any) -> int:
    from torch.utils.flop_counter import FlopCounterMode

    module.requires_grad_(False)  # the counter stumbles over parameters that are handed on
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        module(**inputs)
    return int(counter.get_total_flops())


def ids(module: Any, batch: int, tokens: int) -> Any:
    return torch.ones((batch, tokens), dtype=torch.long, device=module.device)


def decode_step_flops(module: Any, batch: int, context: int) -> int:
    """One more token after `context` that fill a cache first, uncounted."""
    cache = transformers.DynamicCache(config=module.config)
    with torch.no_grad():
        module(input_ids=ids(module, batch, context), past_key_values=cache, use_cache=True)
    return counted_flops(
        module, input_ids=ids(module, batch, 1), past_key_values=cache, use_cache=True
    )


def check_prefill(module: Any, model: Model) -> None:
    assert model.parameters == counted_parameters(module)
    for batch, prompt in ((1, 8), (3, 17)):
        program = compile_forward(model, batch=batch, prompt=prompt)
        assert program.matrix_flops == counted_flops(module, input_ids=ids(module, batch, prompt))


def check_decode(module: Any, model: Model) -> None:
    for batch, context in ((1, 8), (3, 17)):
        program = compile_forward(model, batch=batch, context=context, expand_latents=True)
        assert program.matrix_flops == decode_step_flops(module, batch, context)
