"""Dividing whole numbers of things among ranks without losing any."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Part:
    """What rank `rank` of `ranks` has."""

    rank: int
    ranks: int

    def count(self, things: int) -> int:
        """How many of so many things: the first ranks have one more, none has none."""
        if things < self.ranks:
            return 1
        return things // self.ranks + (self.rank < things % self.ranks)

    def of(self, amount: int, things: int) -> int:
        """This rank's part of what `things` equal things have together.

        Over all ranks the parts add up to `amount` exactly, unless there are fewer things than
        ranks: then several ranks have the same one.
        """
        if things < self.ranks:
            mine = self.rank * things // self.ranks
            return amount * (mine + 1) // things - amount * mine // things
        base, more = divmod(things, self.ranks)
        first = self.rank * base + min(self.rank, more)
        return amount * (first + self.count(things)) // things - amount * first // things

    def evenly(self, amount: int) -> int:
        """This rank's part of an amount that can be divided anywhere."""
        return amount * (self.rank + 1) // self.ranks - amount * self.rank // self.ranks
