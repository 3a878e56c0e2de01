"""The attention half of a layer: projections, positions, cache, core, output projection."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from workloads import op_counts
from workloads.banded import banded_core, global_attention
from workloads.detection import placed
from workloads.disentangled import added_scores, distance_scores
from workloads.layers import LayerKind
from workloads.moment import AttentionShape, Moment, Role, Tensor
from workloads.op_counts.common import tensor
from workloads.relative import position_scores, relative_projections
from workloads.step import Step, norm, projection

if TYPE_CHECKING:
    from workloads.model import Model


def cached_positions(window: int | None, length: int) -> int:
    """Positions that a cache holds once `length` have been seen: a window forgets the oldest."""
    return length if window is None else min(length, window)


def value_width(model: Model) -> int:
    """Elements of one head's value."""
    return model.value_dim or model.head_dim


def cache_width(model: Model) -> int:
    """Elements that the cache of one layer holds for each position."""
    if model.kv_rank:
        return model.kv_rank + model.rotary_dim
    if model.positions == "relative":
        return model.hidden
    return model.kv_heads * (model.head_dim + value_width(model))


def attention_shape(model: Model, step: Step, kind: LayerKind) -> AttentionShape:
    """The attention call of one layer.

    All new keys are read (a window then masks, it does not shorten), and of the cache what the
    first of the new tokens still sees: of a window, all but the place of the token itself.
    """
    seen = step.context if kind.window is None else min(step.context, kind.window - 1)
    kv_len = seen + step.tokens
    return AttentionShape(
        batch=step.batch,
        heads=model.heads,
        kv_heads=model.kv_heads,
        head_dim=model.head_dim,
        q_len=step.tokens,
        kv_len=kv_len,
        causal=model.causal,
        window=kind.window,
        value_dim=model.value_dim,
    )


def attention_block(
    model: Model, step: Step, kind: LayerKind, source: str, target: str
) -> list[Moment]:
    """From the (normalized) rows `source` to the output projection `target`.

    Q, K and V are three moments that depend only on `source`; scores, softmax and context have
    one part per sequence and head. A decoder's keys and values pass through the cache.
    """
    shape = attention_shape(model, step, kind)
    widths = (model.heads * value_width(model), model.hidden)
    result = projection(
        step, "attention_output", "attention", widths, model.output_bias, "context", target
    )
    if step.absorbs and model.kv_rank:
        from workloads.latent import absorbed_attention

        return [*absorbed_attention(model, step, shape, source), result]
    moments, query, key = _queries_and_keys(model, step, shape.kv_len, source)
    value = "value"
    # latent attention and memories have put rows into a cache, and read them again, themselves
    cached = model.causal and not model.kv_rank and model.positions != "relative"
    role: Role = "kv_cache" if cached else "activation"
    if cached:
        moments += _appends(model, step, key, value)
        key, value = "key_cache", "value_cache"
    if model.banded:
        moments += [*banded_core(model, step), *global_attention(model, step, source)]
    else:
        moments += attention_core(model, step, shape, (query, key, value), role)
    return [*moments, result]


def _queries_and_keys(
    model: Model, step: Step, kv_len: int, source: str
) -> tuple[list[Moment], str, str]:
    """Projections with their norms and positions; the names of the queries and keys they end in."""
    if model.kv_rank:
        from workloads.latent import latent_projections

        return latent_projections(model, step, kv_len, source)
    if model.positions == "relative":
        return relative_projections(model, step, kv_len, source)
    moments = _projections(model, step, source)
    query, key = "query", "key"
    if model.qk_norm != "none":
        moments += [_head_norm(model, step, name) for name in ("query", "key")]
        query, key = "query_normalized", "key_normalized"
    if model.cosine:
        moments += [_unit_length(model, step, name) for name in ("query", "key")]
        query, key = "query_normalized", "key_normalized"
    if model.positions == "rope":
        moments += _rotations(model, step, query, key)
        query, key = "query_rotated", "key_rotated"
    if model.positions == "disentangled":
        moments += distance_scores(model, step)
    return moments, query, key


def attention_core(
    model: Model, step: Step, shape: AttentionShape, sources: tuple[str, str, str], role: Role
) -> list[Moment]:
    """Scores, softmax and "context" from the names of queries, keys and values."""
    query, key, value = sources
    reads: list[Tensor] = []
    if model.positions == "bias":
        size = model.heads * shape.q_len * shape.kv_len
        reads.append(tensor("position_bias", size, step.dtype))
    if model.positions == "relative":
        reads.append(position_scores(model, step, shape.kv_len))
    if model.positions == "disentangled":
        reads += added_scores(model, step)
    if model.cosine:
        reads.append(tensor("logit_scale.weight", model.heads, step.dtype, "weight"))
    if model.attention_sinks:
        reads.append(tensor("sinks.weight", model.heads, step.dtype, "weight"))
    softmax = op_counts.attention_softmax(
        "softmax",
        shape,
        step.dtype,
        scaled=model.positions != "bias" or bool(model.window_side),
        capped=model.attention_softcap,
        # each product of distances is scaled by itself, then added
        adds=int(model.positions in ("bias", "alibi", "relative"))
        + 2 * len(model.position_products),
        also_reads=tuple(reads),
    )
    return [
        op_counts.attention_scores("scores", shape, step.dtype, query=query, key=key, role=role),
        softmax,
        op_counts.attention_context("context", shape, step.dtype, value=value, role=role),
    ]


def _projections(model: Model, step: Step, source: str) -> list[Moment]:
    widths = {"query": model.heads, "key": model.kv_heads, "value": model.kv_heads}
    moments, with_positions = [], source
    if model.positions == "each_layer":
        moments = [placed(model, step, "content", source, step.rows, model.hidden)]
        with_positions = moments[0].writes[0].name
    return moments + [
        projection(
            step,
            name,
            "attention",
            (model.hidden, heads * model.head_dim),
            model.qkv_bias and (name != "key" or model.key_bias),
            source if name == "value" else with_positions,
            name,
            group="qkv",
        )
        for name, heads in widths.items()
    ]


def _head_norm(model: Model, step: Step, name: str) -> Moment:
    """The norm of queries or keys, of each head or of the whole width."""
    heads = model.heads if name == "query" else model.kv_heads
    rows, columns = step.rows * heads, model.head_dim
    if model.qk_norm == "width":
        rows, columns = step.rows, heads * model.head_dim
    return norm(
        model,
        step,
        f"{name}_norm",
        "attention",
        name,
        f"{name}_normalized",
        rows=rows,
        columns=columns,
    )


def _unit_length(model: Model, step: Step, name: str) -> Moment:
    """Each head's query or key divided by its length: counted as the norm of a row without gain."""
    moment = op_counts.rms_norm(
        f"{name}_length", "attention", rows=step.rows * model.heads, columns=model.head_dim,
        dtype=step.dtype, source=name, target=f"{name}_normalized",
    )  # fmt: skip
    return replace(moment, reads=moment.reads[:1])


def _rotations(model: Model, step: Step, query: str, key: str) -> list[Moment]:
    return [
        op_counts.rope(
            f"rope_{name}",
            tokens=step.rows,
            positions=step.tokens,
            heads=heads,
            head_dim=model.head_dim,
            rotary_dim=model.rotary_dim,
            dtype=step.dtype,
            source=source,
            target=f"{name}_rotated",
            group="rope",
        )
        for name, heads, source in (
            ("query", model.heads, query),
            ("key", model.kv_heads, key),
        )
    ]


def _appends(model: Model, step: Step, key: str, value: str) -> list[Moment]:
    widths = {"key": (key, model.head_dim), "value": (value, value_width(model))}
    return [
        op_counts.cache_append(
            f"append_{name}",
            elements=step.rows * model.kv_heads * width,
            dtype=step.dtype,
            source=source,
            target=f"{name}_cache",
            group="append",
        )
        for name, (source, width) in widths.items()
    ]
