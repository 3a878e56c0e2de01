"""Which points of a table no other is better than in everything."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


def pareto_front(
    table: pd.DataFrame, minimize: Sequence[str], maximize: Sequence[str] = ()
) -> pd.DataFrame:
    """The rows of `table` that no other is as good as in all columns and better in one.

    Rows without a value in one of them are left out, and of equal rows the first is kept. In the
    order of the first column, best first.
    """
    import numpy as np

    columns = [*minimize, *maximize]
    rows = table.dropna(subset=columns)
    values = rows[columns].to_numpy(dtype=float) * ([1] * len(minimize) + [-1] * len(maximize))
    order = np.lexsort(values.T[::-1])
    front: list[int] = []
    for index in order:
        best = values[front]
        if not len(front) or not np.any(np.all(best <= values[index], axis=1)):
            front.append(int(index))
    return rows.iloc[front]
