"""Layers of a trace, recognised by what repeats in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from simulator.trace_diff.measured import Operator
    from workloads.moment import Program

_LONGEST = 400
"""Operators of a layer, at most."""


def repetitions(operators: Sequence[Operator]) -> tuple[int, int]:
    """(operators in a layer, layers) of the stretch that covers most; (0, 1): none repeats.

    Of periods that cover equally many operators the shortest is taken.
    """
    signs = [(op.name, op.kinds, op.sizes) for op in operators]
    best, covered = (0, 1), 0
    for period in range(2, min(_LONGEST, len(signs) // 2) + 1):
        longest = length = 0
        for i in range(period, len(signs)):
            length = length + 1 if signs[i] == signs[i - period] else 0
            longest = max(longest, length)
        count = longest // period + 1
        if count > 1 and count * period > covered:
            best, covered = (period, count), count * period
    return best


def repeats_note(operators: Sequence[Operator], program: Program) -> list[str]:
    """A line that says so where the trace has another number of layers than the program."""
    period, measured = repetitions(operators)
    if len(program.passes) > 1 or not period:
        return []
    layers = max(repeat.count for repeat in program.passes[0].repeats)
    line = f"{measured} layers of {period} operators repeat in the trace"
    if measured == layers:
        return [line]
    return [f"{line}, {layers} in the simulated pass: another model, or several passes?"]
