"""Which parameters a calibration may move, how far it expects to, and within what bounds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hardware_profiles.schema import KernelName


@dataclass(frozen=True)
class Free:
    """A parameter that is fitted: `spread` is the expected change of its logarithm."""

    spread: float
    low: float
    high: float
    unit_s: bool = False


def _time(spread: float, high: float = 1e-4) -> Free:
    return Free(spread, 1e-9, high, unit_s=True)


def _share(spread: float, high: float = 1.0, low: float = 0.01) -> Free:
    return Free(spread, low, high)


_PRODUCT: Mapping[str, Free] = {
    "latency_s": _time(0.3),
    "arithmetic": _share(0.15),
    "sustained": _share(0.2, low=0.2),
    "bandwidth": _share(0.12),
    "cache": _share(0.5, 3.0),
    "operands": _share(0.5, 5.0),
    "overlap_exponent": Free(0.3, 1.0, 8.0),
    "depth_s": Free(0.7, 1e-11, 1e-7, unit_s=True),
    "wave": _share(0.6),
    "reduction_s": _time(0.4),
    "start_s": _time(0.7, 1e-5),
    "ramp_s": _time(0.5, 2e-5),
    "write": _share(0.8, 1.5),
    "tile": Free(1.0, 0.005, 1.5),
}

_OF_MATRIX_UNITS = ("depth_s", "reduction_s", "start_s", "ramp_s")
"""What the longer products of the vector unit do not tell: it stays as expected."""

FREE: Mapping[KernelName, Mapping[str, Free]] = {
    "matmul": _PRODUCT,
    "matmul_vector": {
        **{k: v for k, v in _PRODUCT.items() if k not in _OF_MATRIX_UNITS},
        "batched": Free(1.0, 0.005, 1.5),
    },
    "attention": {
        "latency_s": _time(0.3),
        "arithmetic": _share(0.2),
        "special": _share(0.3),
        "bandwidth": _share(0.3),
        "cache": _share(0.5, 3.0),
        "overlap_exponent": Free(0.4, 1.0, 8.0),
        "unit_s": _time(0.7, 5e-5),
        "wave": _share(0.7),
        "serial": _share(0.7),
        "depth_s": Free(0.7, 1e-11, 1e-7, unit_s=True),
        "reduction_s": _time(0.7),
        "write": _share(1.0, 10.0),
    },
    "decode_attention": {
        "latency_s": _time(0.3),
        "arithmetic": _share(0.4),
        "bandwidth": _share(0.12),
        "cache": _share(0.5, 3.0),
        "overlap_exponent": Free(0.4, 1.0, 8.0),
        "unit_s": _time(0.6, 5e-5),
        "group_s": _time(0.7, 5e-5),
        "single": _share(0.4),
        "wave": _share(0.7),
        "operands": _share(0.7, 5.0),
        "reduction_s": _time(0.7),
        "ramp_s": _time(1.0, 5e-5),
    },
    "row": {
        "latency_s": _time(0.5),
        "bandwidth": _share(0.15),
        "cache": _share(0.5, 3.0),
        "vector": _share(0.5),
        "special": _share(0.5),
        "overlap_exponent": Free(0.3, 1.0, 8.0),
        "held": _share(0.7, 10.0, 0.02),
        "ramp_s": _time(0.7, 2e-5),
    },
    "element": {
        "latency_s": _time(0.4),
        "bandwidth": _share(0.12),
        "cache": _share(0.5, 3.0),
        "ramp_s": _time(0.7, 2e-5),
    },
}
"""By kernel class. Decode attention is bound by memory and starts, so its arithmetic is not free;
elementwise kernels are bound by memory."""
