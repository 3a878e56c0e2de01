"""How values are stored: dtypes of the arithmetic, formats of quantized weights, their bytes."""

from __future__ import annotations

from typing import Literal

Dtype = Literal["fp64", "fp32", "tf32", "bf16", "fp16", "fp8", "fp4", "int8", "int4"]
DTYPE_BITS: dict[Dtype, int] = {
    "fp64": 64,
    "fp32": 32,
    "tf32": 32,  # stored as fp32; only the multiplier is narrower
    "bf16": 16,
    "fp16": 16,
    "fp8": 8,
    "fp4": 4,
    "int8": 8,
    "int4": 4,
}


WEIGHT_FORMAT_BYTES: dict[str, tuple[int, int]] = {
    # name: (bytes of a block, weights of a block), with the scales and offsets of the block
    "int8-g128": (130, 128),
    "int4-g32": (18, 32),
    "int4-g64": (34, 64),
    "int4-g128": (66, 128),
    "q4_0": (18, 32),
    "q4_1": (20, 32),
    "q5_0": (22, 32),
    "q5_1": (24, 32),
    "q8_0": (34, 32),
    "q2_k": (84, 256),
    "q3_k": (110, 256),
    "q4_k": (144, 256),
    "q5_k": (176, 256),
    "q6_k": (210, 256),
    "iq1_s": (50, 256),
    "iq1_m": (56, 256),
    "iq2_xxs": (66, 256),
    "iq2_xs": (74, 256),
    "iq2_s": (82, 256),
    "iq3_xxs": (98, 256),
    "iq3_s": (110, 256),
    "iq4_nl": (18, 32),
    "iq4_xs": (136, 256),
    "tq1_0": (54, 256),
    "tq2_0": (66, 256),
    "mxfp4": (17, 32),
    "nvfp4": (36, 64),
    # mixtures of the formats above over the matrices of a model: their mean on Llama models
    "iq2_m": (2700, 8000),
    "q2_k_s": (2630, 8000),
    "q3_k_s": (3500, 8000),
    "q3_k_m": (3910, 8000),
    "q4_k_s": (4580, 8000),
    "q4_k_m": (4850, 8000),
    "q5_k_s": (5540, 8000),
    "q5_k_m": (5690, 8000),
}
"""Quantized storage of weights. Blocks: structures of ggml-common.h (llama.cpp); groups of 32,
64 or 128 with one 16-bit scale. Mixtures: bits per weight that llama-quantize prints for Llama
models, to about 1 %."""


def storage_bytes(elements: int, dtype: str) -> int:
    """Bytes that `elements` values occupy in a dtype or weight format, rounded up."""
    if dtype in WEIGHT_FORMAT_BYTES:
        block_bytes, block_weights = WEIGHT_FORMAT_BYTES[dtype]
        return -(-elements * block_bytes // block_weights)
    return -(-elements * DTYPE_BITS[dtype] // 8)  # type: ignore[index]
