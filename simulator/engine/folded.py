"""One device in order, many instances of a segment, or many passes, at a time."""

from __future__ import annotations

from collections.abc import Sequence

from simulator.blocks import AnyBlock, Block, StepBlocks
from simulator.engine.lazy import lazy_trace
from simulator.engine.line import Line
from simulator.engine.plan import Plan
from simulator.engine.steps import follow_steps
from simulator.trace import Trace


def run_folded(blocks: Sequence[AnyBlock], plan: Plan) -> Trace | None:
    """The trace that simulator.engine.run gives for the same program, in the same cycles.

    None where the plan is not that of one device in order, or a moment can never retire.
    """
    if plan.policy != "stream" or plan.places or not blocks:
        return None
    every: list[Block] = []
    for block in blocks:
        every += block.blocks if isinstance(block, StepBlocks) else [block]
    line = Line(plan, frozenset(name for b in every for name, _ in b.segment.imports))
    for block in blocks:
        ran = follow_steps(line, block) if isinstance(block, StepBlocks) else line.follow(block)
        if not ran:
            return None
    return lazy_trace(plan, line.stretches, line.now)
