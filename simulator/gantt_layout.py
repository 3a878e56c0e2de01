"""What a Gantt chart shows and where, in cycles: panels, rows and spans, before any drawing."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING

from simulator.counters import bin_means, memory_steps, step_spans
from simulator.look import amount_text
from simulator.sharing import RATE_ONE
from workloads.moment import STAGES

if TYPE_CHECKING:
    from simulator.run import Run
    from workloads.moment import Instance, Stage

MAX_SPANS = 700
NARROW = 1 / 1500
"""With more spans, or with most of the time in spans that are a smaller part of the window than
this (less than about a pixel), a row shows the share of each stage in every bin instead."""
MAX_CORE_ROWS = 16
MAX_BINS = 600
ENLARGE_ABOVE = 40
"""A window with more moments than this is followed by a panel that enlarges a part of it."""
_LARGEST_PART = 0.45
"""What is more than this part of the panel before it is not worth enlarging."""
_NARROW_PART = 0.3
_MARGIN = 0.04
_SHORT = (
    ("attention", "attn"),
    ("feed_forward", "ffn"),
    ("embedding", "emb"),
    ("activation", "act"),
    ("residual", "res"),
    ("append", "app"),
    ("output", "out"),
    ("softmax", "smax"),
)


@dataclass(frozen=True, slots=True)
class Span:
    """From cycle `start` to cycle `end`; `labels` from the best to the shortest."""

    start: int
    end: int
    stage: Stage | None
    labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class SpanRow:
    """A resource as spans that do not overlap. `role`: "program", "device" or "host"."""

    name: str
    role: str
    spans: tuple[Span, ...]


@dataclass(frozen=True)
class AreaRow:
    """A resource as areas on top of each other: parts of the full height between two edges.

    `edges` are cycles, one more than there are values in each of the `areas`. `role`: "device",
    "host" or "memory".
    """

    name: str
    role: str
    edges: tuple[float, ...]
    areas: tuple[tuple[Stage | None, tuple[float, ...]], ...]


@dataclass(frozen=True)
class Panel:
    """A window of the run. `focus`: the part of it that the next panel enlarges."""

    title: str
    start: int
    end: int
    rows: tuple[SpanRow | AreaRow, ...]
    focus: tuple[int, int] | None = None


@dataclass(frozen=True)
class _Window:
    title: str
    start: int
    end: int
    program: tuple[Span, ...]


def layout(run: Run) -> list[Panel]:
    """The whole run, then, where it is long, one step of it and one layer of that step."""
    windows: list[_Window] = []
    for window in _windows(run):
        room = windows[-1].end - windows[-1].start if windows else 0
        if not windows or window.end - window.start <= _LARGEST_PART * room:
            windows.append(window)
    rows = _Rows(run)
    panels = [Panel(w.title, w.start, w.end, tuple(rows.of(w))) for w in windows]
    for i, inner in enumerate(windows[1:]):
        panels[i] = replace(panels[i], focus=(inner.start, inner.end))
    return panels


def _windows(run: Run) -> Iterator[_Window]:
    program, trace = run.program, run.trace
    instances = run.job.flat.instances
    whole = _passes(run) if len(program.passes) > 1 else _segments(run, instances)
    yield _Window("the whole run", 0, trace.cycles, whole)
    if len(trace) <= ENLARGE_ABOVE:
        return
    middle = len(program.passes) // 2
    step = program.passes[middle]
    inside = [x for x in instances if x.pass_index == middle]
    if len(program.passes) > 1:
        start, end = _extent(run, inside[0].first, inside[0].first + step.moment_count)
        name = f"{step.name}: {_tokens(step.tokens)} on {step.context} cached"
        yield _Window(name, start, end, _segments(run, inside))
    repeated = max(step.repeats, key=lambda repeat: repeat.count)
    if step.moment_count > ENLARGE_ABOVE and repeated.count > 1:
        layers = [x for x in inside if x.segment is repeated.segment]
        layer = layers[len(layers) // 2]
        start, end = _extent(run, layer.first, layer.first + len(layer.segment.moments))
        margin = int(_MARGIN * (end - start))
        start, end = max(0, start - margin), min(trace.cycles, end + margin)
        yield _Window(layer.prefix.rstrip("/"), start, end, ())


def _tokens(count: int) -> str:
    return "1 token" if count == 1 else f"{count} tokens"


def _extent(run: Run, first: int, after: int) -> tuple[int, int]:
    """Cycles from the moment before (or the first issue, in dataflow order) to the last one's end.

    In order the time before a moment is its own: it was waited for.
    """
    trace = run.trace
    if trace.in_order:
        return (trace.retired[first - 1] if first else 0), trace.retired[after - 1]
    return min(trace.issued[first:after]), max(trace.retired[first:after])


def _passes(run: Run) -> tuple[Span, ...]:
    spans, first = [], 0
    for step in run.program.passes:
        start, end = _extent(run, first, first + step.moment_count)
        number = step.name.rpartition(".")[2]
        spans.append(Span(start, end, None, (step.name, number)))
        first += step.moment_count
    return _apart(spans)


def _segments(run: Run, instances: Sequence[Instance]) -> tuple[Span, ...]:
    spans = []
    for instance in instances:
        after = instance.first + len(instance.segment.moments)
        name = instance.prefix.rstrip("/").rpartition("/")[2]
        span = Span(*_extent(run, instance.first, after), None, (name, name.rpartition(".")[2]))
        spans.append(span)
    return _apart(spans)


def _apart(spans: list[Span]) -> tuple[Span, ...]:
    """The spans, or none at all when some overlap or when there are too many to see."""
    apart = all(a.end <= b.start for a, b in pairwise(spans))
    return tuple(spans) if apart and 1 < len(spans) <= MAX_SPANS else ()


def short_label(name: str) -> str:
    """A moment's name with the usual abbreviations."""
    for word, short in _SHORT:
        name = name.replace(word, short)
    return name


class _Rows:
    """Makes the rows of a window."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._trace = run.trace
        plan = run.job.plan
        self._memory = memory_steps(run.trace, plan.memory_rate)
        self._memory_top = plan.memory_rate * run.trace.device_count / RATE_ONE
        self._has_host = plan.host != "none"

    def of(self, window: _Window) -> Iterator[SpanRow | AreaRow]:
        trace = self._trace
        if window.program:
            yield SpanRow("program", "program", window.program)
        if trace.places:
            yield from self._place_rows(window)
        elif trace.in_order:
            yield self._row("device", "device", window, list(self._device(window)))
        elif trace.core_count <= MAX_CORE_ROWS:
            for core, spans in enumerate(self._cores(window)):
                yield self._row(f"core {core}", "device", window, spans)
        else:
            yield self._busy_cores(window)
        if self._has_host and trace.device_count == 1:
            yield self._row("host dispatch", "host", window, list(self._host(window)))
        if self._memory_top:
            yield self._memory_row(window)

    def _row(self, name: str, role: str, window: _Window, spans: list[Span]) -> SpanRow | AreaRow:
        lengths = [span.end - span.start for span in spans]
        least = NARROW * (window.end - window.start)
        narrow = sum(length for length in lengths if length < least)
        if len(spans) <= MAX_SPANS and (
            len(spans) <= ENLARGE_ABOVE or narrow <= _NARROW_PART * sum(lengths)
        ):
            return SpanRow(name, role, tuple(spans))
        weighed = ((span.start, span.end, span.stage, 1.0) for span in spans)
        return _share_row(f"{name}\n(shares of time)", role, weighed, self._edges(window))

    def _span(self, index: int, start: int, end: int) -> Span:
        moment = self._run.moments[index]
        return Span(start, end, moment.stage, (moment.name, short_label(moment.name)))

    def _device(self, window: _Window) -> Iterator[Span]:
        issued, retired = self._trace.issued, self._trace.retired
        first = bisect_right(retired, window.start)
        for i in range(first, bisect_left(issued, window.end)):
            yield self._span(i, issued[i], retired[i])

    def _host(self, window: _Window) -> Iterator[Span]:
        trace = self._trace
        first = bisect_right(trace.dispatched, window.start)  # a launch later at the earliest
        for i in range(first, len(trace)):
            start, end = trace.dispatch_span(i)
            if start >= window.end:
                return
            if end > max(start, window.start):
                yield self._span(i, start, end)

    def _place_rows(self, window: _Window) -> Iterator[SpanRow | AreaRow]:
        """A row for each device and each link that carries something, device by device."""
        trace = self._trace
        by_place: list[list[int]] = [[] for _ in trace.places]
        for i in self._inside(window):
            by_place[trace.home[i]].append(i)
        order = sorted(range(len(trace.places)), key=lambda p: (trace.places[p].device, p))
        used = [p for p in order if trace.places[p].kind == "device" or by_place[p]]
        for p in used[: 2 * MAX_CORE_ROWS]:
            place = trace.places[p]
            if place.in_order:
                spans = [self._span(i, trace.issued[i], trace.retired[i]) for i in by_place[p]]
                yield self._row(place.name, "device", window, spans)
            else:
                yield self._busy_cores(window, by_place[p], place.name)

    def _cores(self, window: _Window) -> list[list[Span]]:
        rows: list[list[Span]] = [[] for _ in range(self._trace.core_count)]
        for i in self._inside(window):
            span = self._span(i, self._trace.issued[i], self._trace.retired[i])
            for core in self._trace.cores[i]:
                rows[core].append(span)
        return [sorted(row, key=lambda span: span.start) for row in rows]

    def _busy_cores(
        self, window: _Window, moments: Iterable[int] | None = None, name: str = ""
    ) -> AreaRow:
        trace, total = self._trace, self._trace.core_count
        inside = self._inside(window) if moments is None else moments
        found = (
            (trace.issued[i], trace.retired[i], self._run.moments[i].stage, n / total)
            for i, n in ((i, len(trace.cores[i])) for i in inside)
        )
        title = f"{name}\ncores busy" if name else f"cores busy\n(of {total})"
        return _share_row(title, "device", found, self._edges(window))

    def _inside(self, window: _Window) -> Iterator[int]:
        issued, retired = self._trace.issued, self._trace.retired
        for i in range(len(issued)):
            if retired[i] > window.start and issued[i] < window.end:
                yield i

    def _memory_row(self, window: _Window) -> AreaRow:
        """The steps themselves, or the means of bins where these are many."""
        rate = self._run.profile.memory["dram"].bandwidth_bytes_per_s * self._trace.device_count
        name = f"memory\n({amount_text(rate, 'B/s')})"
        spans = list(step_spans(self._memory, window.start, window.end, self._memory_top))
        if len(spans) > MAX_SPANS:
            edges = self._edges(window)
            return AreaRow(name, "memory", edges, ((None, bin_means(spans, edges)),))
        edges = (*(start for start, _, _ in spans), window.end)
        return AreaRow(name, "memory", edges, ((None, tuple(value for _, _, value in spans)),))

    def _edges(self, window: _Window) -> tuple[float, ...]:
        """Bins that follow the program, so that equal layers look equal: segments, or passes.

        Equal parts of the window where segments run side by side.
        """
        run, start, end = self._run, window.start, window.end
        flat = run.job.flat
        if self._trace.in_order:
            firsts = [instance.first for instance in flat.instances[1:]]
            ends = [self._trace.retired[first - 1] for first in firsts]
            for marks in (ends, list(run.pass_end_cycles)):
                inside = sorted({start, end, *(x for x in marks if start < x < end)})
                if len(inside) <= MAX_BINS:
                    return tuple(inside)
            if len(run.program.passes) > 1:
                every = -(-len(inside) // MAX_BINS)
                return (*inside[:-1:every], end)
        return tuple(start + (end - start) * i / MAX_BINS for i in range(MAX_BINS + 1))


def _share_row(
    name: str,
    role: str,
    spans: Iterable[tuple[int, int, Stage | None, float]],
    edges: tuple[float, ...],
) -> AreaRow:
    """Parts of the row's capacity by stage, averaged over each bin."""
    by_stage: dict[Stage | None, list[tuple[int, int, float]]] = {}
    for start, end, stage, value in spans:
        by_stage.setdefault(stage, []).append((start, end, value))
    areas = tuple(
        (stage, bin_means(by_stage[stage], edges)) for stage in STAGES if stage in by_stage
    )
    return AreaRow(name, role, edges, areas)
