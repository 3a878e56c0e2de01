"""Cross-attention: the decoder's queries on the encoder's positions.

Keys and values of the encoder's output are computed once, by the first pass of the decoder, and
stay in a cache of their own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from workloads import op_counts
from workloads.detection import placed
from workloads.moment import AttentionShape, Moment, Role
from workloads.step import Step, projection

if TYPE_CHECKING:
    from workloads.model import Model

ENCODED = "encoded"
"""The encoder's output, which every layer of the decoder reads."""


_SOURCES = ("key", "value")


def cross_shape(model: Model, step: Step) -> AttentionShape:
    """Every query sees all positions of the encoder."""
    return AttentionShape(
        batch=step.batch,
        heads=model.heads,
        kv_heads=model.kv_heads,
        head_dim=model.head_dim,
        q_len=step.tokens,
        kv_len=step.source,
        causal=False,
    )


def cross_block(model: Model, step: Step, source: str, target: str) -> list[Moment]:
    """From the (normalized) rows `source` to the output projection `target`."""
    shape = cross_shape(model, step)
    inner = model.heads * model.head_dim
    kept: Role = "kv_cache" if model.causal else "activation"
    names = [f"cross_{name}_cache" if model.causal else f"cross_{name}" for name in _SOURCES]
    moments = []
    if model.positions == "each_layer":
        moments = [placed(model, step, "cross_query", source, step.rows, model.hidden)]
        source = "cross_query_placed"
    return [
        *moments,
        projection(step, "cross_query", "attention", (model.hidden, inner), model.qkv_bias, source,
                   "cross_query"),
        *(_keys_and_values(model, step) if step.crosses else ()),
        op_counts.attention_scores(
            "cross_scores", shape, step.dtype, query="cross_query", key=names[0],
            target="cross_scores", role=kept,
        ),
        op_counts.attention_softmax(
            "cross_softmax", shape, step.dtype, source="cross_scores",
            target="cross_probabilities", scaled=model.positions != "bias",
        ),
        op_counts.attention_context(
            "cross_context", shape, step.dtype, source="cross_probabilities",
            value=names[1], target="cross_context", role=kept,
        ),
        projection(step, "cross_output", "attention", (inner, model.hidden), model.output_bias,
                   "cross_context", target),
    ]  # fmt: skip


def _keys_and_values(model: Model, step: Step) -> list[Moment]:
    reader = model.encoder or model
    rows, width = step.batch * step.source, model.kv_heads * model.head_dim
    sources = dict.fromkeys(_SOURCES, ENCODED)
    moments = []
    if model.positions == "each_layer":
        sources["key"] = "cross_key_placed"
        moments = [placed(model, step, "cross_key", ENCODED, rows, reader.hidden)]
    moments += [
        projection(
            step, f"cross_{name}", "attention", (reader.hidden, width),
            model.qkv_bias and (name != "key" or model.key_bias), sources[name], f"cross_{name}",
            group="cross_kv", rows=rows,
        )
        for name in _SOURCES
    ]  # fmt: skip
    if not model.causal:
        return moments
    moments += [
        op_counts.cache_append(
            f"append_cross_{name}", elements=rows * width, dtype=step.dtype,
            source=f"cross_{name}", target=f"cross_{name}_cache",
        )
        for name in _SOURCES
    ]  # fmt: skip
    return moments


def cross_cache_elements(model: Model, batch: int, source: int) -> int:
    """Keys and values of `source` positions of the encoder in all layers of the decoder."""
    return 2 * model.layers * batch * model.kv_heads * model.head_dim * source
