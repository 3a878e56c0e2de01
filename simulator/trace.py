"""What happened in a run: integer cycles for every moment, and nothing else."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, NamedTuple

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


class Spans(NamedTuple):
    """`times` moments with the same demand that held equally many cores equally long.

    `first`: the first of them.
    """

    first: int
    times: int
    demand: Demand
    core_count: int
    held: int


@dataclass(frozen=True, slots=True)
class Stretch:
    """`count` instances of a block, of which each runs as the one before, in order and later.

    Lists are by position in the segment. Moment j of instance k retires at cycle `retired[j]` +
    k x `period` + `anchor[j]` + k x `host_period`, the last two in cycles of the host's clock that
    are converted, rounded up; it was issued `held[j]` before. Its dispatch took the host from
    `started[j]` to `dispatched[j]`, both + k x `dispatch_period`.

    `block`: what ran, as the engine was given it. `ready_first`: of instance 0. For the others
    `sources` says: j >= 0, when moment j of the instance retired; -1, as for instance 0; -2 - j,
    when moment j of the instance before retired. `elapsed`: cycles between each moment's retirement
    and that of the one before it, of all instances together.
    """

    block: Any
    first: int
    count: int
    demands: tuple[Demand, ...]
    cores: Sequence[tuple[int, ...]]
    held: Sequence[int]
    retired: Sequence[int]
    period: int
    anchor: Sequence[int]
    host_period: int
    started: Sequence[int]
    dispatched: Sequence[int]
    dispatch_period: int
    ready_first: Sequence[int]
    sources: Sequence[int]
    elapsed: Sequence[int]
    host_cycles: int

    @property
    def width(self) -> int:
        return len(self.held)

    def spans(self) -> Iterator[Spans]:
        """What ran in it, by position."""
        count = self.count
        columns = zip(self.demands, self.cores, self.held, strict=True)
        for index, (demand, cores, held) in enumerate(columns, self.first):
            yield Spans(index, count, demand, len(cores), held)


class SpanRow(NamedTuple):
    """What a moment of a segment did in passes that are held as one.

    `demand`, `cores` and `held`: the same in all passes, or for one after another. `elapsed`: as in
    Stretch, of all instances in all passes.
    """

    block: Any
    position: int
    demand: Demand | tuple[Demand, ...]
    cores: tuple[int, ...] | list[tuple[int, ...]]
    held: int | list[int]
    elapsed: int


@dataclass(frozen=True)
class StepStretch:
    """`count` passes of the same blocks, one after another, in order; see Stretch.

    `ends`: the cycles in which they end. `rows`: their moments. `follow` gives the stretches of one
    pass, from its number.
    """

    block: Any
    first: int
    count: int
    ends: Sequence[int]
    host_cycles: int
    rows: Sequence[SpanRow]
    follow: Callable[[int], list[Stretch]]

    @property
    def width(self) -> int:
        """Moments of one pass."""
        return int(self.block.width)

    def find(self, number: int, position: int) -> tuple[Stretch, int, int]:
        """The stretch that a moment of a pass is in, with its instance and position there."""
        if number not in self._followed:
            self._followed.clear()  # readers go from pass to pass
            self._followed[number] = self.follow(number)
        index = self.first + number * self.width + position
        inner = self._followed[number]
        stretch = inner[bisect_right(inner, index, key=lambda s: s.first) - 1]
        return stretch, *divmod(index - stretch.first, stretch.width)

    @cached_property
    def _followed(self) -> dict[int, list[Stretch]]:
        return {}

    def spans(self) -> Iterator[Spans]:
        """What ran in it; moments that changed alike from pass to pass are together."""
        together: dict[int, list[Any]] = {}
        for row in self.rows:
            index, times = self.first + row.block.first + row.position, row.block.count
            if isinstance(row.held, list):
                together.setdefault(id(row.demand), [index, 0, row])[1] += times
            elif isinstance(row.demand, Demand):
                yield Spans(index, times * self.count, row.demand, len(row.cores), row.held)
        for index, times, row in together.values():
            changing = zip(row.demand, row.cores, row.held, strict=True)
            for number, (demand, cores, held) in enumerate(changing):
                yield Spans(index + number * self.width, times, demand, len(cores), held)


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

    stretches: Sequence[Stretch | StepStretch] = ()
    """The same in blocks, where the run was folded; the columns then compute what they are asked.
    """

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

    def spans(self) -> Iterator[Spans]:
        """All moments in graph order, those of a folded run that were alike together."""
        if self.stretches:
            for stretch in self.stretches:
                yield from stretch.spans()
            return
        columns = zip(self.demands, self.cores, self.issued, self.retired, strict=True)
        for index, (demand, cores, issued, retired) in enumerate(columns):
            yield Spans(index, 1, demand, len(cores), retired - issued)

    @cached_property
    def host_cycles(self) -> int:
        """Device cycles in which a host was dispatching, of all hosts together."""
        if self.stretches:
            return sum(stretch.host_cycles for stretch in self.stretches)
        return sum(self.dispatch_cycles)

    def elapsed(self) -> Sequence[int]:
        """For each moment the cycles since the last retirement; they add up to `cycles`."""
        order: Sequence[int] = range(len(self))
        if not self.in_order:
            order = sorted(order, key=lambda i: self.retired[i])
        found, now = [0] * len(self), 0
        for index in order:
            found[index] = self.retired[index] - now
            now = self.retired[index]
        return found

    def seconds(self, cycles: int) -> float:
        return cycles / self.clock_hz

    def __len__(self) -> int:
        return len(self.retired)
