"""The groups of operators that accuracy is followed by, and how far sources themselves agree."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from workloads.op_counts import COLLECTIVES

if TYPE_CHECKING:
    from simulator.cases import Case

_SERVERS = ("nvidia-a100-", "nvidia-h100-", "nvidia-l40s")
_EAGER = ("layer_norm", "rms_norm", "softmax", "gelu", "relu", "add", "multiply")


def _half_products(case: Case) -> bool:
    on_server = case.hardware.startswith(_SERVERS)
    return case.what == "matmul" and case.dtype in ("bf16", "fp16") and on_server


def _byte_products(case: Case) -> bool:
    return case.what == "matmul" and case.dtype == "fp8"


def _eager(case: Case) -> bool:
    if case.runtime != "pytorch-eager":
        return False
    return case.what in _EAGER or (case.what == "matmul" and case.dtype == "fp32")


GROUPS: Mapping[str, Callable[[Case], bool]] = {
    "BF16/FP16 GEMM on A100, H100, L40S": _half_products,
    "FP8 GEMM": _byte_products,
    "fused attention, prefill and decode": lambda case: case.what == "attention",
    "FP32 GEMM, norms, softmax, elementwise (eager)": _eager,
    "collectives": lambda case: case.what in COLLECTIVES,
}
"""Names and members; a case is in none of them or in one."""


def group_of(case: Case) -> str | None:
    """The group of a case; None where it is in none."""
    if case.workload:
        return None
    return next((name for name, belongs in GROUPS.items() if belongs(case)), None)
