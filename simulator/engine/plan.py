"""What the engine is given: the graph as it sees it, and how the machine takes in moments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from simulator.trace import Place


class FlatGraph(Protocol):
    """What the engine needs of a program: edges by graph order, and names for its messages."""

    @property
    def predecessors(self) -> Sequence[Sequence[int]]: ...

    @property
    def successors(self) -> Sequence[Sequence[int]]: ...

    def name(self, index: int) -> str: ...


@dataclass(frozen=True)
class Plan:
    """How the machine takes in moments.

    `stream`: one moment at a time, in graph order, with the whole device. `dataflow`: every ready
    moment, in graph order, on as many free cores as it can use. `host`: "none" (moments need no
    dispatch), "asynchronous" (the host runs ahead by at most `queue_depth` moments), "synchronous"
    (the host starts the next dispatch when the last moment has retired). Before each moment in
    `waits_before` an asynchronous host waits until every earlier moment has retired.
    `launch_cycles` (of the device) pass between the end of an asynchronous dispatch and its arrival
    at the device; meanwhile the host goes on. `memory_rate`: bytes per cycle x RATE_ONE, shared by
    all flows. With several devices each has a host of its own, and `places` say what runs where.
    """

    core_count: int
    clock_hz: int
    memory_rate: int
    policy: Literal["stream", "dataflow"] = "stream"
    host: Literal["none", "asynchronous", "synchronous"] = "none"
    host_clock_hz: int = 1_000_000_000
    queue_depth: int = 1024
    launch_cycles: int = 0
    waits_before: frozenset[int] = frozenset()
    places: tuple[Place, ...] = ()
    """Several devices and their links; none: one device of `core_count` and `memory_rate`."""
    home: Sequence[int] = ()
    """For each moment its place among `places`; none: the one device."""

    priority: Sequence[int] = ()
    """In dataflow order, for each moment a number: of the ready ones the least goes first, ties in
    graph order, and one that is not dispatched yet holds up no other. None: graph order alone."""

    def rate_of(self, index: int) -> int:
        """The rate of the memory or link that moment `index` draws on."""
        return self.places[self.home[index]].rate if self.places else self.memory_rate

    @property
    def device_count(self) -> int:
        return 1 + max((place.device for place in self.places), default=0)
