"""Which of many cases a calibration is fitted to: few, one of each neighbourhood of shapes."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from simulator.calibrate.observe import Observation

CASES_A_KIND = 24
"""At most so many cases are fitted of a kernel class, width and library."""
SEED = 7
_ITERATIONS = 30
_VARIES = 1e-6


def chosen(
    seen: Sequence[Observation], expected_s: Sequence[float], most: int = CASES_A_KIND
) -> list[int]:
    """Indices of at most `most` observations, by a fixed seed.

    They are those nearest to the centres of as many clusters of sizes and expected times, on
    logarithmic scales: measured times have no part in the choice, so that it does not look at what
    is to be predicted. Observations of the same work count once.
    """
    first: dict[object, int] = {}
    for index, one in enumerate(seen):
        first.setdefault(one.work, index)
    unique = sorted(first.values())
    if len(unique) <= most:
        return unique
    points = _points([seen[i] for i in unique], [expected_s[i] for i in unique])
    return sorted(unique[i] for i in _medoids(points, most))


def _points(seen: Sequence[Observation], expected_s: Sequence[float]) -> np.ndarray:
    """Standardised logarithms of the sizes of each observation and of its expected time."""
    import numpy as np

    names = list(seen[0].case.sizes)
    columns = [[1 + one.case.sizes[name] for one in seen] for name in names]
    logs = np.log2(np.array([*columns, [1e9 * s for s in expected_s]])).T
    spread = logs.std(axis=0)
    kept = spread > _VARIES
    points: np.ndarray = (logs - logs.mean(axis=0))[:, kept] / spread[kept]
    return points


def _medoids(points: np.ndarray, most: int) -> list[int]:
    """The point nearest to each centre of k-means; fewer than `most` where clusters are empty."""
    import numpy as np
    from scipy.cluster.vq import kmeans2

    with warnings.catch_warnings():  # an empty cluster gives no case, which is no fault
        warnings.simplefilter("ignore", UserWarning)
        centres, labels = kmeans2(
            points, most, minit="++", iter=_ITERATIONS, seed=np.random.default_rng(SEED)
        )
    found = []
    for cluster in range(most):
        members = np.flatnonzero(labels == cluster)
        if members.size:
            distances = ((points[members] - centres[cluster]) ** 2).sum(axis=1)
            found.append(int(members[np.argmin(distances)]))
    return found
