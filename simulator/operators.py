"""From an operator case to a program of that one operator and what its measurement includes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from simulator.protocol import ACCELERATE, appends_to_cache, calls_in_a_row, prepares_attention
from workloads.moment import (
    WEIGHT_FORMAT_BYTES,
    AttentionShape,
    Dtype,
    Footprint,
    Moment,
    OperationCounts,
    Pass,
    Program,
    Repeat,
    RowShape,
    Segment,
)
from workloads.op_counts import (
    Activation,
    activation,
    add,
    attention,
    copy,
    embedding,
    layer_norm,
    linear,
    matmul,
    multiply,
    rms_norm,
    softmax,
)

if TYPE_CHECKING:
    from simulator.cases import Case

_DIVIDES = "FlashInfer"
"""The library that divides earlier keys among blocks when there are many queries."""
_ADDS_RESIDUAL = "adds the residual as well"
_PACKED_HEADS = 32
"""Query heads that TensorRT-LLM's decode kernels take together with their keys and values; where
there are more, each head goes by itself (inferred from its times, which jump there)."""
_QUANTIZES = "includes the dynamic quantization of the activations"


def operator_program(case: Case) -> Program:
    """A program of the one operator of a case (and what its measurement includes besides)."""
    moments = _operator(case)
    needs = Footprint(0, 0, sum(m.read_bytes + m.write_bytes for m in moments))
    segment = Segment.from_moments("operator", moments)
    calls = calls_in_a_row(case)
    single = Pass(case.what, "operator", 1, 0, (Repeat(segment, calls),))
    dtype: Dtype = case.dtype  # type: ignore[assignment]
    return Program(case.what, (single,), 1, dtype, needs)


def _operator(case: Case) -> tuple[Moment, ...]:
    sizes = case.sizes
    dtype: Dtype = case.dtype  # type: ignore[assignment]
    name = case.what
    if name == "matmul":
        return _matmul(case, dtype)
    if name == "attention":
        return _attention(case, dtype)
    if "n" in sizes:
        moment = _row_wise(name, sizes["m"], sizes["n"], dtype)
        return (_with_residual(moment) if _ADDS_RESIDUAL in case.conditions else moment,)
    return (_elementwise(name, sizes["elements"], dtype),)


def _attention(case: Case, dtype: Dtype) -> tuple[Moment, ...]:
    """The call; before it the kernel that plans it or, in TensorRT-LLM, rotates and appends."""
    sizes = case.sizes
    heads, kv_heads = sizes["heads"], sizes["kv_heads"]
    own = appends_to_cache(case)
    shape = AttentionShape(
        sizes["batch"], heads, kv_heads, sizes["head_dim"],
        sizes["q_len"], sizes["kv_len"], bool(sizes["causal"]),
        packed=_PACKED_HEADS if own else 0, divided=_DIVIDES in case.conditions,
    )  # fmt: skip
    call = attention(case.what, shape, dtype, role="kv_cache")
    if shape.q_len == 1 or not shape.causal or not (own or prepares_attention(case)):
        return (call,)
    if not own:
        plan = copy("plan", "attention", elements=shape.batch, dtype=dtype, target="blocks")
        return (plan, call)
    elements = shape.batch * shape.q_len * (heads + 2 * kv_heads) * shape.head_dim
    append = copy("append", "attention", elements=elements, dtype=dtype, target="query")
    return (append, call)


def _row_wise(name: str, rows: int, columns: int, dtype: Dtype) -> Moment:
    if name == "embedding":
        return embedding(name, rows=rows, columns=columns, dtype=dtype)
    if name == "softmax":
        return softmax(name, "attention", rows=rows, columns=columns, dtype=dtype)
    norm = layer_norm if name == "layer_norm" else rms_norm
    return norm(name, "feed_forward", rows=rows, columns=columns, dtype=dtype)


def _with_residual(norm: Moment) -> Moment:
    """The norm of a sum, in one kernel: a second operand comes in and the sum goes out as well."""
    elements = norm.shape.rows * norm.shape.columns if isinstance(norm.shape, RowShape) else 0
    source, target = norm.reads[0], norm.writes[0]
    return replace(
        norm,
        counts=norm.counts + OperationCounts(vector_ops=elements),
        reads=(*norm.reads, replace(source, name="residual")),
        writes=(target, replace(target, name="sum")),
    )


def _elementwise(name: str, elements: int, dtype: Dtype) -> Moment:
    if name == "add":
        return add(name, "feed_forward", elements=elements, dtype=dtype)
    if name == "multiply":
        return multiply(name, "feed_forward", elements=elements, dtype=dtype)
    function: Activation = "gelu" if name == "gelu" else "relu"
    return activation(name, "feed_forward", function=function, elements=elements, dtype=dtype)


def _matmul(case: Case, dtype: Dtype) -> tuple[Moment, ...]:
    """The product; where activations are quantized in the call: their maximum, scale and cast."""
    batch, m, n, k = (case.sizes[name] for name in ("batch", "m", "n", "k"))
    if batch > 1 or calls_in_a_row(case) > 1:
        return (matmul("matmul", "feed_forward", batch=batch, m=m, n=n, k=k, dtype=dtype),)
    stored = None
    if case.dtype in WEIGHT_FORMAT_BYTES:  # activations are quantized to bytes, or weights unpacked
        stored, dtype = case.dtype, "fp32" if ACCELERATE in case.conditions else "int8"
    product = linear(
        "matmul", "feed_forward", m=m, n=n, k=k, dtype=dtype, weight_dtype=stored,
        bias="call=linear" in case.conditions,
    )  # fmt: skip
    if _QUANTIZES not in case.conditions:
        return (product,)
    steps = [
        copy(f"quantize_{part}", "feed_forward", elements=size, dtype="bf16", source=source,
             target=target)
        for part, size, source, target in (
            ("maximum", m * k, "original", "maximum"),
            ("scale", 1, "maximum", "scale"),
            ("cast", m * k, "scale", "input"),
        )
    ]  # fmt: skip
    return (*steps, product)
