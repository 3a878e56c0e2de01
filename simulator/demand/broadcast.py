"""Arithmetic that takes plain numbers and NumPy arrays alike, so that a formula is written once.

A run computes one moment at a time with plain numbers; a calibration computes thousands of cases at
once with arrays. The type hints say float for both.
"""

from __future__ import annotations

import math

_PLAIN = (int, float)


def whole(value: float) -> float:
    """The next whole number."""
    if isinstance(value, _PLAIN):
        return math.ceil(value)
    import numpy as np

    return np.ceil(value)


def larger(a: float, b: float) -> float:
    if isinstance(a, _PLAIN) and isinstance(b, _PLAIN):
        return a if a > b else b
    import numpy as np

    return np.maximum(a, b)


def smaller(a: float, b: float) -> float:
    if isinstance(a, _PLAIN) and isinstance(b, _PLAIN):
        return a if a < b else b
    import numpy as np

    return np.minimum(a, b)


def where(condition: bool, a: float, b: float) -> float:
    """`a` where the condition holds, else `b`; both are computed."""
    if isinstance(condition, bool):
        return a if condition else b
    import numpy as np

    return np.where(condition, a, b)


def never(condition: bool) -> bool:
    """Whether a condition holds nowhere, so that what depends on it need not be computed."""
    if isinstance(condition, bool):
        return not condition
    return not condition.any()


def decayed(value: float) -> float:
    """exp(-value)."""
    if isinstance(value, _PLAIN):
        return math.exp(-value)
    import numpy as np

    return np.exp(-value)


def filled(seconds: float, ramp_s: float) -> float:
    """Time of a flow with what is lost until enough bytes are in flight: up to `ramp_s` more."""
    if isinstance(ramp_s, _PLAIN) and not ramp_s:
        return seconds
    return seconds + ramp_s * (1 - decayed(seconds / ramp_s))


def in_waves(units: float, cores: float, unevenness: float) -> float:
    """Rounds that the busiest core works when `units` equal units are spread over `cores`.

    At least one. `unevenness` 1: whole waves, the last one as long as a full one; 0: work flows
    evenly, as where several units share a core or finish at different times.
    """
    rounds = units / cores
    uneven = rounds + unevenness * (whole(rounds) - rounds)
    return where(rounds < 1, 1.0, uneven)
