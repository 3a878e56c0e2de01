"""The critical path of a run: from its last retirement back to cycle 0, through what it waited for.

Every cycle of the run lies on it once: a moment that runs, a dispatch on the host, or the launch of
one. Shortening anything that is not on it does not make this run faster.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from simulator.run import Run
    from simulator.trace import Trace

What = Literal["run", "dispatch", "launch"]
Wait = Literal["start", "dependency", "dispatch", "cores"]


@dataclass(frozen=True)
class Step:
    """Cycles `start` to `end` of the path: what moment `index` did in them.

    `after`: why it could not begin earlier: a moment before it (`dependency`), its `dispatch`, or
    the cores, the link or the lane that another held (`cores`).
    """

    index: int
    what: What
    start: int
    end: int
    after: Wait


@dataclass(frozen=True)
class CriticalPath:
    """Steps from the first to the last; `cycles` by part of the model and by kind of moment."""

    steps: tuple[Step, ...]
    by_stage: dict[str, int]
    by_kind: dict[str, int]
    by_wait: dict[str, int]
    """Cycles of steps by what they came after."""

    @property
    def moment_count(self) -> int:
        return len({step.index for step in self.steps if step.what == "run"})


def critical_path(run: Run) -> CriticalPath:
    """The path of a finished run; its cycles add up to the run's exactly."""
    steps = path_steps(run.trace, run.job.flat.predecessors)
    by_stage: dict[str, int] = {}
    by_kind: dict[str, int] = {}
    by_wait: dict[str, int] = {}
    for step in steps:
        moment, cycles = run.moments[step.index], step.end - step.start
        stage, kind = moment.stage if step.what == "run" else step.what, moment.kind
        by_stage[stage] = by_stage.get(stage, 0) + cycles
        by_kind[kind] = by_kind.get(kind, 0) + cycles
        by_wait[step.after] = by_wait.get(step.after, 0) + cycles
    return CriticalPath(tuple(steps), _sorted(by_stage), _sorted(by_kind), _sorted(by_wait))


def _sorted(cycles: dict[str, int]) -> dict[str, int]:
    return dict(sorted(cycles.items(), key=lambda item: -item[1]))


def path_steps(trace: Trace, predecessors: Sequence[Sequence[int]]) -> list[Step]:
    """The steps of the path in order of time."""
    return _Walk(trace, predecessors).steps()


class _Walk:
    """Goes back through a trace."""

    def __init__(self, trace: Trace, predecessors: Sequence[Sequence[int]]) -> None:
        self._trace = trace
        self._predecessors = predecessors
        self._by_end = sorted(range(len(trace)), key=lambda i: (trace.retired[i], i))
        self._ends = [trace.retired[i] for i in self._by_end]
        self._before = self._dispatched_before()

    def _dispatched_before(self) -> list[int]:
        """The moment that the same host dispatched before each one, -1 for its first."""
        latest: dict[int, int] = {}
        before = []
        for i in range(len(self._trace)):
            place = self._trace.place_of(i)
            device = 0 if place is None else place.device
            before.append(latest.get(device, -1))
            latest[device] = i
        return before

    def steps(self) -> list[Step]:
        trace, found = self._trace, []
        index = self._by_end[-1] if len(trace) else -1
        end = trace.cycles
        while index >= 0 and end > 0:
            issued = trace.issued[index]
            following, why = self._waited_for(index, issued)
            found.append(Step(index, "run", issued, end, why))
            index, end = following, issued
            if why == "dispatch":
                index, end = self._dispatches(index, end, found)
        return found[::-1]

    def _waited_for(self, index: int, issued: int) -> tuple[int, Wait]:
        """What ended when the moment was issued: another moment, or its own dispatch."""
        trace = self._trace
        if issued == 0:
            return -1, "start"
        if trace.ready[index] == issued:
            for before in self._predecessors[index]:
                if trace.retired[before] == issued:
                    return before, "dependency"
        if trace.dispatched[index] == issued:
            return index, "dispatch"
        return self._ended_by(issued, index), "cores"

    def _ended_by(self, cycle: int, index: int) -> int:
        """The last moment to retire by `cycle`; of several that on a core of moment `index`."""
        last = bisect_right(self._ends, cycle) - 1
        if last < 0:
            return -1
        cores = set(self._trace.cores[index])
        at, best = last, self._by_end[last]
        while at >= 0 and self._ends[at] == self._ends[last]:
            if cores & set(self._trace.cores[self._by_end[at]]):
                return self._by_end[at]
            at -= 1
        return best

    def _dispatches(self, index: int, end: int, found: list[Step]) -> tuple[int, int]:
        """Back through dispatches that followed one another, to the moment the host waited for."""
        trace = self._trace
        if trace.launch_cycles:
            begin = trace.dispatch_span(index)[1]
            found.append(Step(index, "launch", begin, end, "dispatch"))
            end = begin
        while True:
            begin, before = trace.dispatch_span(index)[0], self._before[index]
            if begin <= 0:
                found.append(Step(index, "dispatch", 0, end, "start"))
                return -1, 0
            if before >= 0 and trace.dispatch_span(before)[1] == begin:
                found.append(Step(index, "dispatch", begin, end, "dispatch"))
                index, end = before, begin
                continue
            # the host waited for a retirement; its own clock rounds the start up to a whole cycle
            ended = self._ended_by(begin, index)
            begin = trace.retired[ended] if ended >= 0 else 0
            found.append(
                Step(index, "dispatch", begin, end, "dependency" if ended >= 0 else "start")
            )
            return ended, begin
