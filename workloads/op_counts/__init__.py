"""One operation, one formula: shapes in, a moment with its counts and tensors out.

Counting rules. A multiply-accumulate of a matrix product is one MAC. `vector_ops` is one per add,
subtract, multiply, negate, compare; `special_ops` is one per exp, rsqrt, tanh, erf, division.
Conversions between dtypes, index arithmetic and addresses are not counted. A moment reads each of
its operands once and writes its result once, in bytes of the stored dtype; what a kernel reads
twice is the affair of the machine and its runtime, not of the operation. Masks are counted as
one add per score but not as bytes, because a causal or window mask follows from the indices.

Every function is pure. A size below 1 raises ValueError, and so does an unknown function: nothing
that is not understood counts 0. Moves without arithmetic (embedding look-ups, copies, cache
appends) have zero counts and their bytes.
"""

from workloads.op_counts.attention import (
    attended_pairs,
    attention,
    attention_context,
    attention_scores,
    attention_softmax,
    is_masked,
)
from workloads.op_counts.collective import COLLECTIVES, collective, sent_bytes
from workloads.op_counts.elementwise import (
    ACTIVATIONS,
    Activation,
    activation,
    add,
    capped,
    multiply,
    pointwise,
    rope,
    weighted_sum,
)
from workloads.op_counts.experts import expert_linear, loaded_experts
from workloads.op_counts.matrix import convolution, linear, matmul
from workloads.op_counts.moves import (
    TOKEN_BYTES,
    cache_append,
    copy,
    embedding,
    join,
    sample,
    top_k,
)
from workloads.op_counts.rows import (
    layer_norm,
    layer_norm_counts,
    max_pool,
    mean_rows,
    reduction,
    rms_norm,
    rms_norm_counts,
    softmax,
    softmax_counts,
)

__all__ = [
    "ACTIVATIONS",
    "COLLECTIVES",
    "TOKEN_BYTES",
    "Activation",
    "activation",
    "add",
    "attended_pairs",
    "attention",
    "attention_context",
    "attention_scores",
    "attention_softmax",
    "cache_append",
    "capped",
    "collective",
    "convolution",
    "copy",
    "embedding",
    "expert_linear",
    "is_masked",
    "join",
    "layer_norm",
    "layer_norm_counts",
    "linear",
    "loaded_experts",
    "matmul",
    "max_pool",
    "mean_rows",
    "multiply",
    "pointwise",
    "reduction",
    "rms_norm",
    "rms_norm_counts",
    "rope",
    "sample",
    "sent_bytes",
    "softmax",
    "softmax_counts",
    "top_k",
    "weighted_sum",
]
