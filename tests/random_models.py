"""Hypothesis strategies: small models of every family, and what may be asked of them."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from workloads import Fusion, Model, Program, compile_forward
from workloads.model import build_model


@st.composite
def models(draw: st.DrawFn, generates: bool = False) -> Model:
    """Any combination of blocks that the families allow, or that `generates` tokens."""
    kv_heads = draw(st.integers(1, 3))
    heads = kv_heads * draw(st.integers(1, 3))
    head_dim = 2 * draw(st.integers(1, 4))
    families = ["encoder", "decoder", "encoder_decoder"][generates:]
    family = draw(st.sampled_from(families))
    parallel = family != "encoder_decoder" and draw(st.booleans())
    table: dict[str, Any] = {
        "name": "random",
        "family": family,
        "layers": draw(st.integers(1, 4)),
        "hidden": heads * draw(st.integers(1, 9)),
        "heads": heads,
        "kv_heads": kv_heads,
        "head_dim": head_dim,
        "intermediate": draw(st.integers(1, 40)),
        "activation": draw(st.sampled_from(["gelu", "gelu_tanh", "silu", "relu"])),
        "norm": draw(st.sampled_from(["layer_norm", "rms_norm"])),
        "norm_position": "pre"
        if parallel
        else draw(st.sampled_from(["pre", "post", "output", "both"])),
        "qk_norm": draw(st.sampled_from(["none", "head", "width"])),
        "parallel_block": parallel,
        "shared_norm": parallel and draw(st.booleans()),
        "positions": draw(
            st.sampled_from(["learned", "sinusoidal", "rope", "alibi", "bias", "none"])
        ),
        "max_positions": 64,
        "vocab": draw(st.integers(1, 50)),
        "token_types": draw(st.integers(0, 2)),
        "window": draw(st.none() | st.integers(1, 70)),
        "classes": 3,
        "head": draw(st.sampled_from(["none", "classifier", HEAD[family]][2 * generates :])),
    }
    flags = (
        "gated",
        "embedding_norm",
        "final_norm",
        "qkv_bias",
        "output_bias",
        "mlp_bias",
        "tied_embeddings",
        "pooler",
        "head_bias",
        "classify_every",
        "embedding_scale",
        "attention_softcap",
        "logit_softcap",
        "attention_sinks",
        "shared_layers",
    )
    table |= {flag: draw(st.booleans()) for flag in flags}
    if table["positions"] == "bias":
        table["relative_buckets"] = draw(st.integers(1, 32))
    if family == "encoder" and heads == kv_heads and draw(st.booleans()):
        table |= draw(distances())
    if table["window"] is not None:
        spans = st.lists(st.sampled_from(["local", "global"]), max_size=3)
        table["pattern"] = draw(spans)
    if not parallel and draw(st.booleans()):
        table |= draw(mixtures())
    if family == "encoder_decoder":
        table["encoder"] = {"layers": draw(st.integers(1, 3))}
    return build_model(table, "random")


@st.composite
def distances(draw: st.DrawFn) -> dict[str, Any]:
    """The keys of disentangled attention."""
    return {
        "positions": "disentangled",
        "window": None,
        "qk_norm": "none",
        "relative_buckets": draw(st.integers(2, 20)),
        "relative_norm": draw(st.booleans()),
        "position_products": draw(st.lists(st.sampled_from(["c2p", "p2c"]), unique=True)),
        "shared_position_keys": draw(st.booleans()),
        "short_span": draw(st.booleans()),
        "convolution_kernel": draw(st.sampled_from([0, 1, 3])),
    }


@st.composite
def mixtures(draw: st.DrawFn) -> dict[str, Any]:
    """The keys of a mixture of experts."""
    experts = draw(st.integers(1, 6))
    return {
        "experts": experts,
        "experts_per_token": draw(st.integers(1, experts)),
        "expert_intermediate": draw(st.integers(1, 20)),
        "shared_intermediate": draw(st.integers(0, 9)),
        "shared_gate": draw(st.booleans()),
        "dense_layers": draw(st.integers(0, 3)),
        "expert_period": draw(st.integers(1, 2)),
        "router_bias": draw(st.booleans()),
    }


HEAD = {"encoder": "mlm", "decoder": "lm", "encoder_decoder": "lm"}


@st.composite
def programs(draw: st.DrawFn) -> tuple[Model, Program]:
    """A model and a prefill, a decode step or a generation with it."""
    model = draw(models())
    request: dict[str, Any] = {"prompt": draw(st.integers(1, 9))}
    if model.causal:
        if draw(st.booleans()):
            request["context"] = draw(st.integers(1, 20))
        elif model.encoder is not None and draw(st.booleans()):
            request["target"] = draw(st.integers(1, 9))
        if model.head == "lm":
            request["generate"] = draw(st.integers(0, 3))
    program = compile_forward(
        model,
        batch=draw(st.integers(1, 3)),
        dtype=draw(st.sampled_from(["fp32", "fp16", "int4"])),
        body_only=not request.get("generate") and draw(st.booleans()),
        **request,
    )
    return model, program


@st.composite
def generations(draw: st.DrawFn) -> Program:
    """A random model generates a dozen tokens or less."""
    model = draw(models(generates=True))
    request: dict[str, Any] = {"prompt": draw(st.integers(1, 9))}
    if draw(st.booleans()):
        request["context"] = draw(st.integers(1, 20))
    return compile_forward(
        model,
        batch=draw(st.integers(1, 3)),
        dtype=draw(st.sampled_from(["fp32", "fp16", "int4"])),
        generate=draw(st.integers(2, 12)),
        beams=draw(st.sampled_from([1, 1, 2] if model.vocab >= 4 else [1])),
        **request,
    )


fusions = st.builds(
    Fusion,
    qkv=st.booleans(),
    gate_up=st.booleans(),
    attention=st.sampled_from(["separate", "batched", "fused"]),
    epilogue=st.booleans(),
    residual_norm=st.booleans(),
    cache=st.booleans(),
)
