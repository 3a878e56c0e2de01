"""What happened in a run: integer cycles for every moment, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from simulator.demand import Demand


@dataclass(frozen=True)
class Place:
    """Where moments run: the cores and memory of a device, or a link.

    `rate`: bytes per cycle (x RATE_ONE of simulator.sharing) that all flows share: the memory's, or
    the link's. A link has a "core" for each flow that it carries at once. `in_order`: one moment at
    a time, in graph order. `device`: whose host dispatches to it.
    """

    name: str
    device: int
    kind: Literal["device", "link"]
    core_count: int
    rate: int
    in_order: bool = False


@dataclass(frozen=True)
class Trace:
    """All the spans of a run, as parallel columns indexed by moment in graph order.

    Times are cycles of the device's core clock since the start of the run, with
    ready <= issued <= retired and dispatched <= issued. `cores` holds the cores given to each
    moment (one shared tuple where a moment has the whole device); `in_order` says that moments
    were issued one at a time, in graph order. With several devices `core_count` is that of each,
    `places` are the devices and links, and `home` says for each moment at which place it ran.
    """

    clock_hz: int
    core_count: int
    cycles: int
    in_order: bool
    demands: Sequence[Demand]
    ready: Sequence[int]
    dispatched: Sequence[int]
    issued: Sequence[int]
    retired: Sequence[int]
    cores: Sequence[tuple[int, ...]]
    dispatch_cycles: Sequence[int]
    """Host time of each dispatch, converted to device cycles; 0 where the host does nothing."""

    launch_cycles: int = 0
    """Cycles from the end of a dispatch on the host to `dispatched`, its arrival at the device."""

    places: Sequence[Place] = ()
    home: Sequence[int] = ()
    readers: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    """For each moment on a link the devices that wait for it."""

    @property
    def device_count(self) -> int:
        return 1 + max((place.device for place in self.places), default=0)

    def place_of(self, index: int) -> Place | None:
        """Where a moment ran; None: on the only device."""
        return self.places[self.home[index]] if self.places else None

    def on_link(self, index: int) -> bool:
        """Whether a moment held a link and no core."""
        return bool(self.places) and self.places[self.home[index]].kind == "link"

    def dispatch_span(self, index: int) -> tuple[int, int]:
        """Device cycles from which and until when the host is busy dispatching a moment."""
        end = self.dispatched[index] - self.launch_cycles
        return end - self.dispatch_cycles[index], end

    def seconds(self, cycles: int) -> float:
        return cycles / self.clock_hz

    def __len__(self) -> int:
        return len(self.retired)
