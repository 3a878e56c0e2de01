"""What belongs together, so that transforms apply: projections, gates, epilogues, residuals."""

from __future__ import annotations

import re
from dataclasses import replace

from workloads import op_counts
from workloads.importers.imported.cores import cores
from workloads.importers.imported.steps import Step
from workloads.moment import Stage

_PASSED = (
    "rope", "multiply", "divide", "transpose", "split", "slice", "cast", "cache_append", "rms_norm",
    "layer_norm", "contiguous", "reshape", "expand", "concat",
)  # fmt: skip
_OF_HEADS = ("linear", "split", "rope", "transpose")
"""A norm of what these write is one of queries or keys, not of the residual stream."""

_NORMS = ("layer_norm", "rms_norm")

_FEED_FORWARD = re.compile(
    r"(^|[._/])(mlp|ffn|ff|feed_?forward|fc1|fc2|fc_in|fc_out|intermediate|densereludense|experts"
    r"|gate_proj|up_proj|down_proj)([._/]|$)",
    re.IGNORECASE,
)


def mark(steps: list[Step], weights: frozenset[str]) -> None:
    """Set groups and stages of all steps in place.

    Stages go by position: what comes before the projections of the first core of attention is
    "initialise"; from there to the residual sum behind the core "attention" (with the norm of that
    sum where nothing else reads the sum); from there to the next core, or to the residual sum
    behind the last feed-forward, "feed_forward"; what follows "output". Where a feed-forward stands
    beside attention, the names of modules tell them apart. Without any core all is "feed_forward",
    table look-ups apart.
    """
    writer = {t.name: i for i, s in enumerate(steps) for t in s.moment.writes}
    readers: dict[str, list[int]] = {}
    for i, step in enumerate(steps):
        for tensor in step.moment.reads:
            readers.setdefault(tensor.name, []).append(i)
    found = list(cores(steps))
    sources = [_projections(steps, writer, ends) for ends in found]
    for linears in sources:
        for same in _by_input(steps, linears):
            if len(same) > 1:
                _group(steps, same, "qkv")
    _gates_and_epilogues(steps, writer)
    _residuals(steps, writer, weights)
    _stages(
        steps, readers, [(min(s, default=e[0]), e[1]) for s, e in zip(sources, found, strict=True)]
    )


def _group(steps: list[Step], positions: list[int], group: str) -> None:
    for position in positions:
        step = steps[position]
        step.moment = replace(step.moment, group=group)


def _projections(steps: list[Step], writer: dict[str, int], ends: tuple[int, int]) -> list[int]:
    """The linear layers from which the queries, keys and values of one core come."""
    pending = [name for end in ends for name in _read(steps[end])]
    found: set[int] = set()
    seen: set[str] = set()
    while pending:
        name = pending.pop()
        if name in seen or name not in writer:
            continue
        seen.add(name)
        step = steps[writer[name]]
        if step.op == "linear":
            found.add(writer[name])
        elif step.op in _PASSED or step.moment.group in ("rope", "append"):
            pending += _read(step)
    return sorted(found)


def _read(step: Step) -> list[str]:
    return [t.name for t in step.moment.reads if t.role in ("activation", "kv_cache")]


def _by_input(steps: list[Step], positions: list[int]) -> list[list[int]]:
    found: dict[str | None, list[int]] = {}
    for position in positions:
        found.setdefault(steps[position].args[0], []).append(position)
    return list(found.values())


def _gates_and_epilogues(steps: list[Step], writer: dict[str, int]) -> None:
    def made_by(name: str | None, ops: tuple[str, ...]) -> int | None:
        position = writer.get(name or "")
        return position if position is not None and steps[position].op in ops else None

    for position, step in enumerate(steps):
        if step.op in op_counts.ACTIVATIONS:
            if made_by(step.args[0], ("linear",)) is not None:
                _group(steps, [position], "epilogue")
        elif step.op == "multiply" and len(step.args) == 2:
            for gated, plain in (step.args, step.args[::-1]):
                active = made_by(gated, op_counts.ACTIVATIONS)
                up = made_by(plain, ("linear",))
                gate = None if active is None else made_by(steps[active].args[0], ("linear",))
                if gate is None or up is None or steps[gate].args[0] != steps[up].args[0]:
                    continue
                _group(steps, sorted((gate, up)), "gate_up")
                _group(steps, [position], "epilogue")


def _residuals(steps: list[Step], writer: dict[str, int], weights: frozenset[str]) -> None:
    for position, step in enumerate(steps):
        names = [a for a in step.args if a is not None]
        if step.op == "add" and len(names) == 2 and not weights & set(names):
            _group(steps, [position], "residual_norm")
        elif step.op in _NORMS and step.moment.kind in _NORMS and names:
            source = writer.get(names[0])
            if source is None or steps[source].op not in _OF_HEADS:
                _group(steps, [position], "residual_norm")


def _stages(
    steps: list[Step], readers: dict[str, list[int]], ranges: list[tuple[int, int]]
) -> None:
    stages: list[Stage] = ["feed_forward"] * len(steps)
    if not ranges:
        _set(steps, [
            "initialise" if step.moment.kind == "embedding" else "feed_forward" for step in steps
        ])  # fmt: skip
        return
    post = False
    end = -1
    for number, (first, context) in enumerate(ranges):
        start = _with_norm(steps, readers, first)
        if number == 0:
            stages[:start] = ["initialise"] * start
        end = _next_sum(steps, context)
        if number == 0:
            post = _normed_alone(steps, readers, end) is not None
        if post:
            end = _normed_alone(steps, readers, end) or end
        for i in range(start, end + 1):
            beside = bool(_FEED_FORWARD.search(steps[i].scope))
            stages[i] = "feed_forward" if beside else "attention"
    last = _next_sum(steps, end)
    if post:
        last = _normed_alone(steps, readers, last) or last
    if last > end:
        stages[last + 1 :] = ["output"] * (len(steps) - last - 1)
    _set(steps, stages)


def _set(steps: list[Step], stages: list[Stage]) -> None:
    for step, stage in zip(steps, stages, strict=True):
        step.moment = replace(step.moment, stage=stage)


def _with_norm(steps: list[Step], readers: dict[str, list[int]], first: int) -> int:
    """`first`, or the norm right before it when only projections read it."""
    before = first - 1
    if before >= 0 and steps[before].op in _NORMS:
        users = readers.get(steps[before].out, [])
        if all(steps[user].op == "linear" for user in users):
            return before
    return first


def _next_sum(steps: list[Step], position: int) -> int:
    """The next residual sum behind `position`, or `position` where there is none."""
    for i in range(position + 1, len(steps)):
        if steps[i].op == "add" and steps[i].moment.group == "residual_norm":
            return i
        if steps[i].op in ("scores", "context"):
            break
    return position


def _normed_alone(steps: list[Step], readers: dict[str, list[int]], position: int) -> int | None:
    """The norm that alone reads the sum at `position`."""
    users = readers.get(steps[position].out, []) if steps[position].moment.writes else []
    if len(users) == 1 and steps[users[0]].op in _NORMS:
        return users[0]
    return None
