"""The trace while it is written."""

from __future__ import annotations

from sys import maxsize

NEVER = maxsize
"""A cycle later than all others."""


class Columns:
    """The trace while it is written."""

    def __init__(self, count: int) -> None:
        self.left = count
        self.ready = [-1] * count
        self.dispatched = [0] * count
        self.issued = [-1] * count
        self.retired = [-1] * count
        self.cores: list[tuple[int, ...]] = [()] * count
        self.dispatch_cycles = [0] * count
