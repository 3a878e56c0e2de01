"""Why the cores of several devices held no moment, cycle by cycle."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from simulator.demand.types import Cause

if TYPE_CHECKING:
    from collections.abc import Iterator

    from simulator.trace import Trace


def idle_on_devices(trace: Trace) -> Iterator[tuple[Cause, int]]:
    """Core-cycles of idle cores by cause; with what moments held they are cores x cycles x devices.

    While one moment has a device in order, the cores that it cannot use are `uneven`. Else a core
    waits for the `link` while something goes over it that a moment of this device reads, for the
    host while a moment is ready but not dispatched, and otherwise has nothing to do.
    """
    for device in range(trace.device_count):
        changes = _changes(trace, device)
        state = [0, 0, 0, 0]
        for (now, change), (then, _) in pairwise(sorted(changes.items())):
            state = [a + b for a, b in zip(state, change, strict=True)]
            busy, waiting, under_way, alone = state
            idle = (trace.core_count - busy) * (then - now)
            if idle:
                yield _cause(waiting, under_way, alone), idle


def _cause(waiting: int, under_way: int, alone: int) -> Cause:
    if alone:
        return "uneven"
    if under_way:
        return "link"
    return "dispatch" if waiting else "dependency"


def _changes(trace: Trace, device: int) -> dict[int, list[int]]:
    """By cycle, how many more: busy cores, moments that wait for the host, moments on a link that
    this device waits for, moments that have the device to themselves."""
    changes: dict[int, list[int]] = {0: [0, 0, 0, 0], trace.cycles: [0, 0, 0, 0]}

    def add(start: int, end: int, column: int, value: int) -> None:
        changes.setdefault(start, [0, 0, 0, 0])[column] += value
        changes.setdefault(end, [0, 0, 0, 0])[column] -= value

    for i in range(len(trace)):
        place = trace.places[trace.home[i]]
        if place.kind == "link":
            if device in trace.readers[i]:
                add(trace.issued[i], trace.retired[i], 2, 1)
            continue
        if place.device != device:
            continue
        add(trace.issued[i], trace.retired[i], 0, len(trace.cores[i]))
        if place.in_order:
            add(trace.issued[i], trace.retired[i], 3, 1)
        if trace.dispatched[i] > trace.ready[i]:
            add(trace.ready[i], trace.dispatched[i], 1, 1)
    return changes
