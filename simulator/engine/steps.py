"""One device in order, many passes at a time: those that wait for the host at their start, if ever.

Where the host waits for the device before each pass and is ahead of it from one of the pass's first
moments on, or where there is no host, or one with the device's clock that waits after each moment,
what a pass takes depends on nothing before it but the rounding of its start. So its moments are
added up, and followed one by one only when somebody asks for them. All other passes are followed
block by block.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from operator import add
from typing import TypeAlias

from simulator.blocks import Asked, Block, StepBlocks
from simulator.engine.alone import State
from simulator.engine.line import Line
from simulator.engine.plan import Plan
from simulator.trace import SpanRow, StepStretch, Stretch

Held: TypeAlias = int | list[int]
"""Cycles that a moment holds the device: the same in all passes, or in one after another."""


def follow_steps(line: Line, steps: StepBlocks) -> bool:
    """Run the passes; False where one of their moments can never retire."""
    known: dict[int, _Alone] = {}
    pairs = zip(steps.blocks, steps.asked, strict=True)
    work = [_work_of(line, block, asked, known) for block, asked in pairs]
    if any(-1 in (held if isinstance(held, list) else (held,)) for w in work for held in w.held):
        return False
    leading = _leading(line.plan, work) if _begins_apart(line.plan, steps) else None
    if leading is None:
        return all(line.follow(block) for k in range(steps.count) for block in steps.at(k))
    before = State(line.now, line.host_now, line.waited_at, dict(line.written))
    ran = _run(line, steps, work, leading)
    line.keep(
        StepStretch(
            steps,
            steps.first,
            steps.count,
            ran.ends,
            ran.host_cycles,
            _rows(line.plan, steps, work, ran.waited),
            _Pass(line.plan, line.wanted, steps, before, ran.starts),
        )
    )
    _write(line, work)
    return True


@dataclass(frozen=True, slots=True)
class _Work:
    """A block, with the cycles of device and host of its moments by position."""

    block: Block
    asked: Sequence[Asked]
    held: list[Held]
    cores: list[tuple[int, ...] | list[tuple[int, ...]]]
    spent: list[int]
    """-1 where it is not the same in all passes."""


_Alone: TypeAlias = tuple[Held, tuple[int, ...] | list[tuple[int, ...]], int]


def _work_of(line: Line, block: Block, asked: Sequence[Asked], known: dict[int, _Alone]) -> _Work:
    """`known`: by identity, so that moments which ask for the same are told to be alike."""
    work = _Work(block, asked, [], [], [])
    for own in asked:
        if id(own) not in known:
            demands = own if isinstance(own, tuple) else (own,)
            each, cores = line.alone(demands)
            spent = {demand.dispatch_cycles for demand in demands}
            only = spent.pop() if len(spent) == 1 else -1
            changes = isinstance(own, tuple)
            known[id(own)] = (each, cores, only) if changes else (each[0], cores[0], only)
        for column, value in zip((work.held, work.cores, work.spent), known[id(own)], strict=True):
            column.append(value)  # type: ignore[attr-defined]
    return work


def _begins_apart(plan: Plan, steps: StepBlocks) -> bool:
    """Whether no pass depends on the queue of an asynchronous host when it begins."""
    if plan.host != "asynchronous":
        return True
    starts = range(steps.first, steps.first + steps.count * steps.width, steps.width)
    waits = sorted(plan.waits_before)
    inside = bisect_left(waits, starts.stop) - bisect_left(waits, starts.start)
    awaited = all(start in plan.waits_before for start in starts)
    return awaited and inside == len(starts) and steps.width <= plan.queue_depth


def _slack(plan: Plan, work: Sequence[_Work]) -> tuple[list[int], int]:
    """How far ahead of the device the host is at each moment, in parts of a cycle of either clock.

    That is of the first blocks, those with one instance, and the least of all others, along whose
    instances it grows or shrinks evenly. Moments whose cycles change count with the fewest.
    """
    leading: list[int] = []
    rest: list[int] = []
    device = host = 0
    for own in work:
        found = rest if rest or own.block.count > 1 else leading
        held = [min(cycles) if isinstance(cycles, list) else cycles for cycles in own.held]
        period, pace = sum(held), sum(own.spent)
        for instance in {0, own.block.count - 1}:
            free, arrived = device + instance * period, host + instance * pace
            for cycles, spent in zip(held, own.spent, strict=True):
                arrived += spent
                found.append(free * plan.host_clock_hz - arrived * plan.clock_hz)
                free += cycles
        device += own.block.count * period
        host += own.block.count * pace
    return leading, min(rest, default=leading[-1])


def _leading(plan: Plan, work: Sequence[_Work]) -> int | None:
    """How many moments of a pass may wait for the host, whatever the rounding of its start.

    None where others may than the first of blocks with one instance. Where the device needs c
    cycles from the issue of a moment on, and the host as long as d for the dispatches behind it,
    a dispatch arrives in time if ceil(d) <= c: where the host is as far ahead as it was.
    """
    if any(-1 in own.spent for own in work):
        return None
    if plan.host == "none" or (plan.host == "synchronous" and plan.host_clock_hz == plan.clock_hz):
        return 0
    if plan.host == "synchronous" or work[0].block.count > 1:
        return None
    leading, least = _slack(plan, work)
    found = None
    for number in reversed(range(len(leading))):
        if leading[number] <= least:
            found, least = number + 1, leading[number]
    return found


def _busy(work: Sequence[_Work], count: int) -> list[int]:
    """Cycles of all moments of each pass."""
    even = 0
    often: dict[int, tuple[list[int], list[int]]] = {}
    for own in work:
        for held in own.held:
            if isinstance(held, list):
                often.setdefault(id(held), (held, [0]))[1][0] += own.block.count
            else:
                even += own.block.count * held
    busy = [even] * count
    for held, (times,) in often.values():
        busy = list(map(add, busy, [times * cycles for cycles in held]))
    return busy


@dataclass(slots=True)
class _Ran:
    """Device and host at the start of each pass, its end; cycles that leading moments waited."""

    starts: list[tuple[int, int]]
    ends: list[int]
    waited: list[int]
    host_cycles: int = 0


def _run(line: Line, steps: StepBlocks, work: Sequence[_Work], leading: int) -> _Ran:
    found = _Ran([], [], [0] * leading)
    busy = _busy(work, steps.count)
    if line.plan.host == "asynchronous":
        _run_ahead(line, work, busy, found)
        line.waited_at = steps.first + (steps.count - 1) * steps.width
        return found
    spent = 0
    if line.plan.host == "synchronous":
        spent = sum(own.block.count * sum(own.spent) for own in work)
    last = work[-1].held[-1]
    for number, cycles in enumerate(busy):
        found.starts.append((line.now, line.host_now))
        line.now += cycles + spent
        found.ends.append(line.now)
        if spent:
            line.host_now = line.now - (last[number] if isinstance(last, list) else last)
    found.host_cycles = steps.count * spent
    return found


def _run_ahead(line: Line, work: Sequence[_Work], busy: Sequence[int], found: _Ran) -> None:
    """With an asynchronous host that waits before each pass: the leading moments one by one."""
    plan, count = line.plan, len(found.waited)
    device_hz, host_hz, launch = plan.clock_hz, plan.host_clock_hz, plan.launch_cycles
    held = [h if isinstance(h, list) else [h] * len(busy) for own in work for h in own.held][:count]
    spent = [s for own in work for s in own.spent][:count]
    behind = sum(own.block.count * sum(own.spent) for own in work) - sum(spent)
    now, host_now = line.now, line.host_now
    for number, rest in enumerate(busy):
        found.starts.append((now, host_now))
        begun = host_now = max(host_now, -(-now * host_hz // device_hz))
        for at in range(count):
            host_now += spent[at]
            arrived = -(-host_now * device_hz // host_hz) + launch
            if arrived > now:
                found.waited[at] += arrived - now
                now = arrived
            now += held[at][number]
            rest -= held[at][number]
        now += rest
        found.ends.append(now)
        host_now += behind
        found.host_cycles -= -host_now * device_hz // host_hz - -begun * device_hz // host_hz
    line.now, line.host_now = now, host_now


def _rows(
    plan: Plan, steps: StepBlocks, work: Sequence[_Work], waited: Sequence[int]
) -> list[SpanRow]:
    found: list[SpanRow] = []
    for own in work:
        for position, held in enumerate(own.held):
            times = own.block.count
            total = sum(held) if isinstance(held, list) else steps.count * held
            if plan.host == "synchronous":
                total += steps.count * own.spent[position]
            found.append(
                SpanRow(
                    own.block, position, own.asked[position], own.cores[position], held,
                    times * total + (waited[len(found)] if len(found) < len(waited) else 0),
                )
            )  # fmt: skip
    return found


def _write(line: Line, work: Sequence[_Work]) -> None:
    """When the last pass wrote its tensors: so many cycles before its end."""
    dispatches = line.plan.host == "synchronous"
    at, seen = line.now, set()
    for own in reversed(work):
        held = [cycles[-1] if isinstance(cycles, list) else cycles for cycles in own.held]
        each = [h + s for h, s in zip(held, own.spent, strict=True)] if dispatches else held
        for name, position in own.block.segment.exports.items():
            if name in line.wanted and name not in seen:
                seen.add(name)
                line.written[name] = at - sum(each[position + 1 :])
        at -= own.block.count * sum(each)


@dataclass(frozen=True, slots=True)
class _Pass:
    """Follows one of the passes, from its number, block by block, as it ran.

    It begins with the pass before, which wrote what this one reads.
    """

    plan: Plan
    wanted: frozenset[str]
    steps: StepBlocks
    before: State
    starts: Sequence[tuple[int, int]]

    def __call__(self, number: int) -> list[Stretch]:
        steps, begin = self.steps, max(0, number - 1)
        waited_at = self.before.waited_at
        if begin and self.plan.host == "asynchronous":
            waited_at = steps.first + (begin - 1) * steps.width
        state = State(*self.starts[begin], waited_at, self.before.written)
        line = Line(self.plan, self.wanted, state)
        kept: list[Block] = []  # line goes by identity
        for k in range(begin, number + 1):
            kept += steps.at(k)
            for block in steps.at(k):
                line.follow(block)
        first = steps.first + number * steps.width
        return [s for s in line.stretches if isinstance(s, Stretch) and s.first >= first]
