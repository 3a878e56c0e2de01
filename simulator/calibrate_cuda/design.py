"""Which operators of a GPU are measured: a few sizes of each class of kernels, as cases."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from simulator.cases import OPERATOR_SIZES, Case

if TYPE_CHECKING:
    from simulator.calibrate_cuda.device import CudaDevice

_ROWS = (1, 8, 32, 128, 512, 2048, 8192)
_MATRICES = ((1024, 1024), (4096, 4096), (11008, 4096), (4096, 11008))
_PROMPTS = (
    (1, 16, 64, 128), (8, 12, 64, 128), (1, 16, 64, 512), (8, 16, 64, 512),
    (1, 32, 128, 1024), (4, 32, 128, 1024), (1, 32, 128, 2048), (1, 32, 128, 4096),
)  # fmt: skip
"""(batch, heads, columns a head, tokens) of attention over a prompt."""
_CACHED = (
    (1, 16, 64, 1024), (1, 32, 128, 512), (1, 32, 128, 4096), (4, 32, 128, 1024),
    (8, 32, 128, 512), (8, 32, 128, 2048), (32, 32, 128, 1024), (64, 16, 64, 512),
)  # fmt: skip
"""(batch, heads, columns a head, cached tokens) of attention of one token."""
_ROW_WISE = tuple((m, n) for m in (64, 1024, 8192, 32768) for n in (1024, 4096))
_ELEMENTS = tuple(2**power for power in range(14, 27, 2))
COPIES = tuple(2**power for power in range(20, 31))
"""Bytes that are copied, from what fits L2 to what no cache holds."""
_TORCH = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}


def cases(hardware: str, dtypes: tuple[str, ...], source: str) -> list[Case]:
    """The cases of a machine, with no time yet."""
    blank = Case("", hardware, 1, "kernel", "", "", "", "", {}, 1.0, source, "warm caches")
    found = [
        replace(blank, what=what, dtype=dtype, weight_dtype=dtype, sizes=sizes)
        for dtype in dtypes
        for what, sizes in _sizes(dtype)
    ]
    return [replace(one, case_id=f"{one.what}-{i}") for i, one in enumerate(found)]


def _sizes(dtype: str) -> Iterator[tuple[str, Mapping[str, int]]]:
    for n, k in _MATRICES if dtype != "fp32" else _MATRICES[:2]:
        for m in _ROWS:
            yield "matmul", {"batch": 1, "m": m, "n": n, "k": k}
    if dtype != "fp32":
        for causal in (0, 1):
            for batch, heads, width, tokens in _PROMPTS:
                yield "attention", _attention(batch, heads, width, tokens, tokens, causal)
        for batch, heads, width, cached in _CACHED:
            yield "attention", _attention(batch, heads, width, 1, cached, 0)
    for m, n in _ROW_WISE:
        yield "layer_norm", {"m": m, "n": n}
        yield "softmax", {"m": m, "n": n}
    for elements in _ELEMENTS:
        yield "add", {"elements": elements}
        yield "gelu", {"elements": elements}


def _attention(
    batch: int, heads: int, width: int, queries: int, keys: int, causal: int
) -> dict[str, int]:
    names = OPERATOR_SIZES["attention"]
    return dict(zip(names, (batch, heads, heads, width, queries, keys, causal), strict=True))


def call_of(case: Case, device: CudaDevice) -> Callable[[], Any]:
    """The operator of a case, on tensors that it owns."""
    functional, sizes = device.torch.nn.functional, case.sizes
    dtype = _TORCH[case.dtype]
    if case.what == "matmul":
        left = device.tensor(sizes["m"], sizes["k"], dtype=dtype)
        weight = device.tensor(sizes["n"], sizes["k"], dtype=dtype)
        return lambda: functional.linear(left, weight)
    if case.what == "attention":
        shape = (sizes["batch"], sizes["heads"])
        query = device.tensor(*shape, sizes["q_len"], sizes["head_dim"], dtype=dtype)
        key, value = (
            device.tensor(*shape, sizes["kv_len"], sizes["head_dim"], dtype=dtype) for _ in range(2)
        )
        attend, causal = functional.scaled_dot_product_attention, bool(sizes["causal"])
        return lambda: attend(query, key, value, is_causal=causal)
    if "m" in sizes:
        x = device.tensor(sizes["m"], sizes["n"], dtype=dtype)
        if case.what == "softmax":
            return lambda: functional.softmax(x, dim=-1)
        gain = device.tensor(sizes["n"], dtype=dtype)
        return lambda: functional.layer_norm(x, (sizes["n"],), gain, gain)
    one, two = (device.tensor(sizes["elements"], dtype=dtype) for _ in range(2))
    if case.what == "gelu":
        return lambda: functional.gelu(one)
    return lambda: device.torch.add(one, two)


def host_calls(device: CudaDevice, dtype: str) -> dict[str, Callable[[], Any]]:
    """Calls by the kind of moment whose dispatch they are, on tensors that take no time."""
    torch = device.torch
    x = device.tensor(2, 64, dtype=_TORCH[dtype])
    heads = device.tensor(1, 1, 2, 64, dtype=_TORCH[dtype])
    gain = device.tensor(64, dtype=_TORCH[dtype])
    functional = torch.nn.functional
    weight = device.tensor(64, 64, dtype=_TORCH[dtype])
    return {
        "linear": lambda: functional.linear(x, weight, gain),
        "matmul": lambda: torch.matmul(x, weight),
        "attention": lambda: functional.scaled_dot_product_attention(heads, heads, heads),
        "layer_norm": lambda: functional.layer_norm(x, (64,), gain, gain),
        "softmax": lambda: functional.softmax(x, dim=-1),
        "gelu": lambda: functional.gelu(x),
        "add": lambda: torch.add(x, x),
    }
