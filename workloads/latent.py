"""Latent attention (DeepSeek-AI 2024, arXiv:2405.04434, section 2.1): Q, K, V through narrow rows.

The cache holds the latent rows and the one rotated key. There are two ways to use them. Expanded,
as the published module does in every pass (transformers 5.23): keys and values of all heads are
computed from all cached rows. Absorbed, as vLLM and SGLang do in decode steps: since the score of a
query q with the key W r of a latent row r is (W'q) r, each head's query is brought to the width of
the rows, attends to the rows themselves as to one head of keys and values, and the result is
brought to the width of a value. That costs a product of heads x plain x rank for each query, its
like for the value, and more for each pair of positions, but nothing for each cached row.

One layer of DeepSeek-V3, one query, 1,024 rows: expanded 128 (128 + 128) 512 x 1024 MACs for keys
and values and 128 (192 + 128) 1024 for the pairs, 17,221,812,224 in all; absorbed 128 x 512 (128 +
128) for query and value and 128 (576 + 512) 1024 for the pairs, 159,383,552.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from workloads import op_counts
from workloads.attention import attention_core, cache_width, value_width
from workloads.moment import AttentionShape, Moment
from workloads.op_counts.common import tensor
from workloads.step import Step, norm, projection

if TYPE_CHECKING:
    from workloads.model import Model


def latent_projections(
    model: Model, step: Step, kv_len: int, source: str
) -> tuple[list[Moment], str, str]:
    """Queries, keys and values ("value"), and the names of the rotated queries and keys.

    The rotated part of the keys is one for all heads and is copied to each, beside its own part.
    """
    moments = [*_cached_rows(model, step, source), *_expansion(model, step, kv_len)]
    return moments, "query_rotated", "key_whole"


def absorbed_attention(
    model: Model, step: Step, shape: AttentionShape, source: str
) -> list[Moment]:
    """From the rows `source` to "context", by way of the latent rows themselves."""
    rank, plain, value = model.kv_rank, model.head_dim - model.rotary_dim, value_width(model)
    wide = replace(shape, kv_heads=1, head_dim=rank + model.rotary_dim, value_dim=rank)
    rows = step.rows * model.heads
    whole = op_counts.join(
        "join_query", "attention",
        parts={"query_absorbed": rows * rank, "query_rotated": rows * model.rotary_dim},
        elements=rows * wide.head_dim, dtype=step.dtype, target="query_whole",
    )  # fmt: skip
    cache = ("query_whole", "latent_cache", "latent_cache")
    scores, softmax, context = attention_core(model, step, wide, cache, "kv_cache")
    cached = [
        tensor(name, shape.batch * shape.kv_len * width, step.dtype, "kv_cache")
        for name, width in (("latent_cache", rank), ("key_cache", model.rotary_dim))
    ]
    scores = replace(scores, reads=(scores.reads[0], *cached))
    context = replace(context, writes=(replace(context.writes[0], name="latent_context"),))
    return [
        *_cached_rows(model, step, source),
        _each_head(model, step, "key", (plain, rank), "query_rotated", "query_absorbed"),
        whole,
        *(scores, softmax, context),
        _each_head(model, step, "value", (rank, value), "latent_context", "context"),
    ]


def _each_head(
    model: Model, step: Step, name: str, widths: tuple[int, int], source: str, target: str
) -> Moment:
    """Each head's rows times its part of the weights that expand keys or values."""
    made = op_counts.matmul(
        f"absorb_{name}", "attention", batch=model.heads, m=step.rows, n=widths[1], k=widths[0],
        dtype=step.dtype, left=source, target=target,
    )  # fmt: skip
    size = model.heads * widths[0] * widths[1]
    weights = tensor(f"{name}.weight", size, step.weight_dtype, "weight")
    return replace(
        made, reads=(made.reads[0], weights), parts=1, group="per_head",
        weight_dtype=step.weight_dtype,
    )  # fmt: skip


def _cached_rows(model: Model, step: Step, source: str) -> list[Moment]:
    """Rotated queries, and what the cache takes up: the latent rows and the rotated keys."""
    return [
        *_queries(model, step, source),
        projection(step, "kv_down", "attention", (model.hidden, cache_width(model)),
                   model.qkv_bias, source, "kv_latent", group="qkv"),
        norm(model, step, "kv_norm", "attention", "kv_latent", "kv_normalized",
             columns=model.kv_rank),
        _rotation(model, step, "query", model.heads, model.head_dim, "query"),
        _rotation(model, step, "key", 1, model.rotary_dim, "kv_latent"),
        *_appends(model, step),
    ]  # fmt: skip


def _queries(model: Model, step: Step, source: str) -> list[Moment]:
    out = model.heads * model.head_dim
    if not model.query_rank:
        widths = (model.hidden, out)
        return [projection(step, "query", "attention", widths, False, source, "query", "qkv")]
    return [
        projection(step, "query_down", "attention", (model.hidden, model.query_rank),
                   model.qkv_bias, source, "query_latent", group="qkv"),
        norm(model, step, "query_norm", "attention", "query_latent", "query_normalized",
             columns=model.query_rank),
        projection(step, "query", "attention", (model.query_rank, out), False, "query_normalized",
                   "query"),
    ]  # fmt: skip


def _rotation(
    model: Model, step: Step, name: str, heads: int, head_dim: int, source: str
) -> Moment:
    return op_counts.rope(
        f"rope_{name}",
        tokens=step.rows,
        positions=step.tokens,
        heads=heads,
        head_dim=head_dim,
        rotary_dim=model.rotary_dim,
        dtype=step.dtype,
        source=source,
        target=f"{name}_rotated",
        group="rope",
    )


def _appends(model: Model, step: Step) -> list[Moment]:
    return [
        op_counts.cache_append(
            f"append_{name}", elements=step.rows * width, dtype=step.dtype, source=source,
            target=f"{name}_cache", group="append",
        )
        for name, width, source in (
            ("latent", model.kv_rank, "kv_normalized"),
            ("key", model.rotary_dim, "key_rotated"),
        )
    ]  # fmt: skip


def _expansion(model: Model, step: Step, kv_len: int) -> list[Moment]:
    """Keys and values of all heads and positions from what is cached."""
    plain, rows = model.head_dim - model.rotary_dim, step.batch * kv_len
    latent = tensor("latent_cache", rows * model.kv_rank, step.dtype, "kv_cache")
    widths = {"key": plain, "value": model.value_dim or model.head_dim}
    products = [
        projection(step, name, "attention", (model.kv_rank, model.heads * width), False,
                   latent.name, name, group="kv_up", rows=rows)
        for name, width in widths.items()
    ]  # fmt: skip
    whole = op_counts.join(
        "join_key", "attention",
        parts={"key": rows * model.heads * plain, "key_cache": rows * model.rotary_dim},
        elements=rows * model.heads * model.head_dim, dtype=step.dtype, target="key_whole",
    )  # fmt: skip
    cached = replace(whole.reads[1], role="kv_cache")
    return [
        *(replace(moment, reads=(latent, *moment.reads[1:])) for moment in products),
        replace(whole, reads=(whole.reads[0], cached)),
    ]
