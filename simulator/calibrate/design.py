"""Which of many cases a calibration is fitted to: few, spread over sizes, by a fixed seed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from simulator.calibrate.observe import Observation

CASES_A_KIND = 24
"""At most so many cases are fitted of a kernel class, type and library."""
SEED = 7


def chosen(
    seen: Sequence[Observation], expected_s: Sequence[float], most: int = CASES_A_KIND
) -> list[int]:
    """Indices of at most `most` observations, one of each stratum of expected time, drawn by lot.

    `expected_s` orders them before anything is known of their measured times, so that the choice
    does not look at what it is to predict. Observations of the same work count once.
    """
    import numpy as np

    first: dict[object, int] = {}
    for index, one in enumerate(seen):
        first.setdefault(one.work, index)
    order = sorted(first.values(), key=lambda i: (expected_s[i], seen[i].case.case_id))
    if len(order) <= most:
        return sorted(order)
    random = np.random.default_rng(SEED)
    strata = np.array_split(np.array(order), most)
    return sorted(int(random.choice(stratum)) for stratum in strata)
