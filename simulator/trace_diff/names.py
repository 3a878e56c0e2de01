"""Names of operators in frameworks, and the kinds of moments that they are.

Names are those of PyTorch's ATen operators (native_functions.yaml of PyTorch 2) and of ONNX and
ONNX Runtime's contributed operators (docs/ContribOperators.md of ONNX Runtime). A name that is in
no table is an operator of its own kind: it is never dropped, and aligned with nothing.
"""

from __future__ import annotations

import re

_words = str.split

TORCH_VIEWS = frozenset(
    _words("""view reshape _reshape_alias transpose t permute expand expand_as as_strided slice
    select split split_with_sizes unbind chunk narrow unsqueeze squeeze detach detach_
    alias flatten unflatten contiguous to _unsafe_view view_as movedim swapaxes T mT real
    lift_fresh resolve_conj resolve_neg empty empty_like empty_strided resize_ set_
    dropout size item _local_scalar_dense is_nonzero result_type numpy_T diagonal
    new_empty""")
)
"""They move no data, unless a copy is found inside them (reshape, contiguous, to)."""

TORCH_KINDS: dict[str, str] = {
    **dict.fromkeys(("linear", "addmm", "mm", "bmm", "matmul", "baddbmm", "addbmm"), "matmul"),
    **dict.fromkeys(("conv1d", "conv2d", "convolution", "_convolution"), "matmul"),
    **dict.fromkeys(("softmax", "_softmax", "_safe_softmax", "log_softmax"), "softmax"),
    **dict.fromkeys(("layer_norm", "native_layer_norm"), "layer_norm"),
    **dict.fromkeys(("rms_norm", "_fused_rms_norm"), "rms_norm"),
    **dict.fromkeys(("add", "add_", "sub", "sub_", "rsub"), "add"),
    **dict.fromkeys(("mul", "mul_", "div", "div_"), "multiply"),
    **dict.fromkeys(("embedding", "index_select"), "embedding"),
    **dict.fromkeys(("cat", "index_copy_", "index_put_", "index_copy"), "cache_append"),
    **dict.fromkeys(("copy_", "clone", "_to_copy"), "copy"),
    **dict.fromkeys(("argmax", "multinomial"), "sample"),
    **dict.fromkeys(("silu", "silu_"), "silu"),
    **dict.fromkeys(("relu", "relu_"), "relu"),
    "gelu": "gelu",
    "tanh": "tanh",
    "topk": "top_k",
}
KNOWN_KINDS = frozenset({*TORCH_KINDS.values(), "attention", ""})
"""Operators of these kinds are taken whole, with all that runs inside them; "": a view."""

TORCH_WEIGHTED = frozenset({"linear", "addmm"})

ORT_VIEWS = frozenset(
    _words("""Reshape Squeeze Unsqueeze Identity Shape Flatten Constant ConstantOfShape Slice Split
    Expand""")
)
ORT_KINDS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("MatMul", "Gemm", "FusedMatMul", "MatMulNBits", "MatMulInteger"), ("matmul",)),
    **dict.fromkeys(("DynamicQuantizeMatMul", "MatMulIntegerToFloat", "QGemm"), ("matmul",)),
    **dict.fromkeys(("MultiHeadAttention", "GroupQueryAttention"), ("attention",)),
    **dict.fromkeys(("Gelu", "BiasGelu", "FastGelu", "QuickGelu"), ("gelu",)),
    **dict.fromkeys(("SimplifiedLayerNormalization", "RMSNormalization"), ("rms_norm",)),
    **dict.fromkeys(("Add", "Sub"), ("add",)),
    **dict.fromkeys(("Mul", "Div"), ("multiply",)),
    **dict.fromkeys(("Transpose", "Cast"), ("copy",)),
    "Softmax": ("softmax",),
    "LayerNormalization": ("layer_norm",),
    "SkipLayerNormalization": ("add", "layer_norm"),
    "SkipSimplifiedLayerNormalization": ("add", "rms_norm"),
    "Attention": ("matmul", "matmul", "matmul", "attention"),
    "EmbedLayerNormalization": (*("embedding",) * 3, "add", "add", "layer_norm"),
    "FusedGemm": ("matmul", "activation"),
    "RotaryEmbedding": ("rope",),
    "Gather": ("embedding",),
    "Concat": ("cache_append",),
    "Relu": ("relu",),
    "Tanh": ("tanh",),
    "ArgMax": ("sample",),
    "TopK": ("top_k",),
}

_KERNELS: tuple[tuple[str, str], ...] = (
    (r"fmha|flash|attention", "attention"),
    (r"gemm|gemv|cutlass|splitK|xmma|nvjet|cublas", "matmul"),
    (r"softmax", "softmax"),
    (r"rms_?norm", "rms_norm"),
    (r"layer_?norm", "layer_norm"),
    (r"gelu", "gelu"),
    (r"silu", "silu"),
    (r"indexSelect|embedding|index_select", "embedding"),
    (r"catarray|reshape_and_cache", "cache_append"),
    (r"rotary|rope", "rope"),
    (r"memcpy|memset|copy", "copy"),
    (r"mulfunctor|mul_", "multiply"),
    (r"add|elementwise", "add"),
)


def torch_name(name: str) -> str:
    """'aten::add_' as 'add_', without the name of its overload; other names as they are."""
    return name.removeprefix("aten::").split(".")[0] if name.startswith("aten::") else name


def torch_kind(name: str) -> str:
    """The kind of an ATen operator, its own bare name where no moment is like it."""
    if "scaled_dot_product" in name or "flash_attention" in name or "efficient_attention" in name:
        return "attention"
    return TORCH_KINDS.get(name, name)


def kernel_kind(name: str) -> str:
    """The kind that the name of a GPU kernel suggests, where no operator is known to launch it."""
    for pattern, kind in _KERNELS:
        if re.search(pattern, name, re.IGNORECASE):
            return kind
    return "kernel"
