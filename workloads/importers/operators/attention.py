"""Formulas of attention operators: from the call's shapes to scores, softmax and context.

An operator that computes attention as a whole is three moments of the group "core", as in compiled
models, so that a runtime decides whether they run as one. Sources: the torch documentation of
scaled_dot_product_attention, the ONNX operator Attention (opset 23), and the contrib operators of
ONNX Runtime (docs/ContribOperators.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from workloads import op_counts
from workloads.importers.operators.values import ELEMENT_BITS, Node, Value
from workloads.importers.operators.work import STAGE, Answer, Read, Work, dtype_of
from workloads.moment import AttentionShape, Dtype, OperationCounts, Tensor


def core(
    node: Node,
    shape: AttentionShape,
    queries: Read | Tensor,
    keys: Read | Tensor,
    values: Read | Tensor,
    *,
    adds: Sequence[int] = (),
) -> list[Work]:
    """Scores, softmax and context of one call; inputs `adds` are added to the scores."""
    dtype: Dtype = dtype_of(node)
    size = shape.batch * shape.heads * shape.q_len * shape.kv_len * ELEMENT_BITS[dtype] // 8
    scores = Tensor(f"{node.out.name}.scores", size, "activation")
    weights = Tensor(f"{node.out.name}.probabilities", size, "activation")
    softmax = op_counts.attention_softmax("softmax", shape, dtype, adds=len(adds))
    return [
        Work("scores", op_counts.attention_scores("scores", shape, dtype), (queries, keys),
             (scores,)),
        Work("softmax", softmax, (scores, *(Read(i) for i in adds)), (weights,)),
        Work("context", op_counts.attention_context("context", shape, dtype), (weights, values),
             (0,)),
    ]  # fmt: skip


def scaled_dot_product(node: Node) -> Answer:
    """(..., heads, length, width) queries, keys, values, and a mask; `enable_gqa` shares keys."""
    query, key, value = (node.need(i) for i in range(3))
    shape = AttentionShape(
        batch=max(1, query.elements // _last(query, 3)),
        heads=query.shape[-3] if len(query.shape) > 2 else 1,
        kv_heads=key.shape[-3] if len(key.shape) > 2 else 1,
        head_dim=query.shape[-1],
        q_len=query.shape[-2],
        kv_len=key.shape[-2],
        causal=bool(node.attributes.get("is_causal", False)),
        value_dim=0 if value.shape[-1] == query.shape[-1] else value.shape[-1],
    )
    mask = (3,) if node.input(3) is not None else ()
    return core(node, shape, Read(0), Read(1), Read(2), adds=mask)


def _last(value: Value, axes: int) -> int:
    size = 1
    for extent in value.shape[-axes:]:
        size *= extent
    return max(1, size)


def onnx_attention(node: Node) -> Answer:
    """ONNX Attention: rank 4 (batch, heads, length, width), or rank 3 with head counts beside."""
    query, key, value = (node.need(i) for i in range(3))
    past = node.input(4)
    cached = past.shape[-2] if past is not None and past.elements else 0
    heads = int(node.attributes.get("q_num_heads", query.shape[1]))
    kv_heads = int(node.attributes.get("kv_num_heads", key.shape[1]))
    flat = len(query.shape) == 3
    width = query.shape[-1] // heads if flat else query.shape[-1]
    value_dim = value.shape[-1] // kv_heads if flat else value.shape[-1]
    shape = AttentionShape(
        query.shape[0], heads, kv_heads, width, query.shape[-2], key.shape[-2] + cached,
        bool(node.attributes.get("is_causal", 0)), value_dim=0 if value_dim == width else value_dim,
    )  # fmt: skip
    mask = (3,) if node.input(3) is not None else ()
    works, keys, values = _appended(node, shape, (Read(1), Read(2)), cached, (4, 5), (1, 2))
    return [*works, *core(node, shape, Read(0), keys, values, adds=mask)]


def contrib_attention(node: Node) -> Answer:
    """com.microsoft.Attention: the projection to queries, keys and values, then the core."""
    source, weight = node.need(0), node.need(1)
    heads = int(node.attributes["num_heads"])
    batch, length, inner = source.shape
    n = weight.shape[1]
    sizes = node.attributes.get("qkv_hidden_sizes") or (n // 3,) * 3
    dtype = dtype_of(node)
    bits = ELEMENT_BITS[dtype] // 8
    past = node.input(4)
    cached = past.shape[-2] if past is not None and past.elements else 0
    projected = [
        Tensor(f"{node.out.name}.{name}", batch * length * size * bits, "activation")
        for name, size in zip(("query", "key", "value"), sizes, strict=True)
    ]
    bias = node.input(2) is not None
    linear = op_counts.linear("qkv", STAGE, m=batch * length, n=n, k=inner, dtype=dtype, bias=bias)
    reads = (Read(0), Read(1), *((Read(2),) if bias else ()))
    width, value_dim = sizes[0] // heads, sizes[2] // heads
    shape = AttentionShape(
        batch, heads, heads, width, length, length + cached,
        bool(node.attributes.get("unidirectional", 0)),
        value_dim=0 if value_dim == width else value_dim,
    )  # fmt: skip
    adds = tuple(i for i in (3, 5) if node.input(i) is not None)
    works, keys, values = _appended(
        node, shape, (projected[1], projected[2]), cached, (4, 4), (1, 1)
    )
    return [
        Work("linear", linear, reads, tuple(projected)),
        *works,
        *core(node, shape, projected[0], keys, values, adds=adds),
    ]


def multi_head(node: Node) -> Answer:
    """com.microsoft.MultiHeadAttention: queries (batch, length, width), keys and values alike.

    Keys may also come as (batch, heads, length, width). Packed forms raise ValueError.
    """
    query, key, value = (node.need(i) for i in range(3))
    heads = int(node.attributes["num_heads"])
    if len(query.shape) != 3:
        raise ValueError("packed queries, keys and values are not known")
    width = query.shape[2] // heads
    value_dim = value.shape[-1] // heads if len(value.shape) == 3 else value.shape[-1]
    past = node.input(6)
    cached = past.shape[-2] if past is not None and past.elements else 0
    shape = AttentionShape(
        query.shape[0], heads, heads, width, query.shape[1], key.shape[-2] + cached,
        bool(node.attributes.get("unidirectional", 0)),
        value_dim=0 if value_dim == width else value_dim,
    )  # fmt: skip
    adds = tuple(i for i in (4, 5) if node.input(i) is not None)
    works, keys, values = _appended(node, shape, (Read(1), Read(2)), cached, (6, 7), (1, 2))
    return [*works, *core(node, shape, Read(0), keys, values, adds=adds)]


def group_query(node: Node) -> Answer:
    """com.microsoft.GroupQueryAttention: causal, with rotary positions where do_rotary says so.

    A cache of a shared buffer counts as filled to its end, as its shape says. Queries, keys and
    values packed into one input are taken as three parts of it.
    """
    heads, kv_heads = (int(node.attributes[name]) for name in ("num_heads", "kv_num_heads"))
    query, dtype = node.need(0), dtype_of(node)
    packed = node.input(1) is None
    width = query.shape[2] // (heads + 2 * kv_heads) if packed else query.shape[2] // heads
    batch, length = query.shape[0], query.shape[1]
    each = batch * length * width * ELEMENT_BITS[dtype] // 8
    sources: list[Read | Tensor] = [
        Read(0, heads * each), Read(0 if packed else 1, kv_heads * each),
        Read(0 if packed else 2, kv_heads * each),
    ]  # fmt: skip
    works: list[Work] = []
    if node.attributes.get("do_rotary", 0):
        for i, (name, count) in enumerate((("query", heads), ("key", kv_heads))):
            rope = op_counts.rope(
                f"rope_{name}", tokens=batch * length, heads=count, head_dim=width,
                rotary_dim=width, dtype=dtype, group="rope",
            )  # fmt: skip
            turned = Tensor(f"{node.out.name}.{name}", count * each, "activation")
            tables = [
                Read(j, min(t.bytes, length * width * ELEMENT_BITS[t.dtype] // 16))
                for j in (7, 8)
                if (t := node.input(j)) is not None
            ]
            works.append(Work("rope", rope, (sources[i], *tables), (turned,)))
            sources[i] = turned
    past = node.input(3)
    present = node.outputs[1].shape[-2] if len(node.outputs) > 1 else 0
    cached = past.shape[-2] if past is not None and past.elements else 0
    kv_len = max(length, present or cached + length)
    window = int(node.attributes.get("local_window_size", -1))
    shape = AttentionShape(batch, heads, kv_heads, width, length, kv_len, True,
                           None if window < 1 else window)  # fmt: skip
    appends, keys, values = _appended(
        node, shape, (sources[1], sources[2]), kv_len - length, (3, 4), (1, 2)
    )
    return [*works, *appends, *core(node, shape, sources[0], keys, values)]


def _appended(
    node: Node,
    shape: AttentionShape,
    new: tuple[Read | Tensor, Read | Tensor],
    cached: int,
    past: tuple[int, int],
    present: tuple[int, int],
) -> tuple[list[Work], Read | Tensor, Read | Tensor]:
    """Appends of new keys and values to a cache, and what attention then reads.

    Without a past there is nothing to append to, and attention reads the new ones themselves.
    """
    if not cached:
        return [], new[0], new[1]
    dtype = dtype_of(node)
    works: list[Work] = []
    found: list[Tensor] = []
    for i, name in enumerate(("key", "value")):
        width = shape.head_dim if i == 0 else shape.value_dim or shape.head_dim
        rows = shape.batch * shape.kv_heads * width
        append = op_counts.cache_append(
            f"append_{name}", elements=rows * (shape.kv_len - cached), dtype=dtype, group="append"
        )
        written = Tensor(f"{node.out.name}.{name}_cache", append.write_bytes, "kv_cache")
        works.append(Work("cache_append", append, (new[i],), (written,)))
        found.append(replace(written, bytes=rows * shape.kv_len * ELEMENT_BITS[dtype] // 8))
    return works, found[0], found[1]


def rotary(node: Node) -> Answer:
    """A rotary embedding as one operator: 3 vector operations for each element."""
    source = node.need(0)
    moment = op_counts.rope(
        "rope", tokens=source.elements, heads=1, head_dim=1, rotary_dim=1, dtype=dtype_of(node),
        group="rope",
    )  # fmt: skip
    counts = OperationCounts(vector_ops=3 * source.elements)
    return Work("rope", replace(moment, counts=counts))
