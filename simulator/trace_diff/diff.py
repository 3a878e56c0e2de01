"""The difference between a trace and a simulated run: by kind, layer and operator."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from simulator.trace_diff.align import align
from simulator.trace_diff.llama_bench import read_llama_bench
from simulator.trace_diff.measured import Measured, Operator
from simulator.trace_diff.ort_profile import read_ort
from simulator.trace_diff.reading import read_events
from simulator.trace_diff.repetition import repeats_note
from simulator.trace_diff.torch_trace import read_torch
from workloads.errors import InputError

if TYPE_CHECKING:
    from simulator.run import Run
    from simulator.scenario import Scenario


@dataclass(frozen=True)
class Simulated:
    """One moment of a run on the simulated time line, in whole nanoseconds."""

    name: str
    kind: str
    layer: str
    start_ns: int
    duration_ns: int


@dataclass(frozen=True)
class Pair:
    """Operators and the moments that they do."""

    operators: tuple[Operator, ...]
    moments: tuple[Simulated, ...]

    @property
    def kind(self) -> str:
        return " + ".join(dict.fromkeys(moment.kind for moment in self.moments))

    @property
    def layer(self) -> str:
        return self.moments[0].layer

    @property
    def measured_ns(self) -> int:
        return sum(op.duration_ns for op in self.operators)

    @property
    def predicted_ns(self) -> int:
        return sum(moment.duration_ns for moment in self.moments)


@dataclass(frozen=True)
class Row:
    """A line of a table; `count`: measured operators or, where there are none, moments."""

    name: str
    count: int
    measured_ns: int
    predicted_ns: int

    @property
    def residual_ns(self) -> int:
        """Predicted less measured."""
        return self.predicted_ns - self.measured_ns

    def as_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "count": self.count,
            "measured_ns": self.measured_ns,
            "predicted_ns": self.predicted_ns,
            "residual_ns": self.residual_ns,
        }


@dataclass(frozen=True)
class Diff:
    """A pass of a trace beside its simulation.

    Measured: the pairs, the operators left alone, the views and the time between operators add up
    to the measured total exactly. Predicted: the pairs, the moments left alone and the time in
    which no moment runs (dispatch) add up to the predicted total exactly.
    """

    title: str
    measured: Measured
    pairs: tuple[Pair, ...]
    operators_alone: tuple[Operator, ...]
    views: tuple[Operator, ...]
    moments: tuple[Simulated, ...]
    moments_alone: tuple[Simulated, ...]
    predicted_total_ns: int
    notes: tuple[str, ...] = ()

    @property
    def aligned_ns(self) -> int:
        return sum(pair.measured_ns for pair in self.pairs)

    @property
    def aligned_share(self) -> float:
        """Part of the measured total that is aligned with moments."""
        return self.aligned_ns / self.measured.total_ns if self.measured.total_ns else 0.0

    @property
    def aligned_share_of_operators(self) -> float:
        """The same of the time in which operators run, without that between them."""
        busy = self.measured.total_ns - self.measured.between_ns
        return self.aligned_ns / busy if busy else 0.0

    @property
    def predicted_between_ns(self) -> int:
        return self.predicted_total_ns - sum(m.duration_ns for m in self.moments)

    def by_kind(self) -> list[Row]:
        """Pairs by kind of moment, the longest measured first."""
        rows = _rows((p.kind, len(p.operators), p.measured_ns, p.predicted_ns) for p in self.pairs)
        return sorted(rows, key=lambda row: -row.measured_ns)

    def by_layer(self) -> list[Row]:
        """Pairs by layer, in order."""
        return _rows((p.layer, len(p.operators), p.measured_ns, p.predicted_ns) for p in self.pairs)

    def left_over(self) -> list[Row]:
        """What is not in pairs: operators alone, views, moments alone; the longest first each."""
        alone = _rows((op.name, 1, op.duration_ns, 0) for op in self.operators_alone)
        views = _rows((f"{op.name} (view)", 1, op.duration_ns, 0) for op in self.views)
        missing = _rows((f"{m.kind} (moment)", 1, 0, m.duration_ns) for m in self.moments_alone)
        order = [sorted(rows, key=lambda row: -row.measured_ns) for rows in (alone, views)]
        return [*order[0], *order[1], *sorted(missing, key=lambda row: -row.predicted_ns)]

    def between(self) -> Row:
        """Time in which nothing runs: the framework, the language around it, dispatch."""
        return Row("between operators", 0, self.measured.between_ns, self.predicted_between_ns)

    def total(self) -> Row:
        count = len(self.measured.operators)
        return Row("total", count, self.measured.total_ns, self.predicted_total_ns)

    def as_json(self) -> dict[str, Any]:
        """All of it as plain data; times in nanoseconds."""
        return {
            "title": self.title,
            "source": self.measured.source,
            "aligned_share": self.aligned_share,
            "aligned_share_of_operators": self.aligned_share_of_operators,
            "total": self.total().as_dict(),
            "between": self.between().as_dict(),
            "by_kind": [row.as_dict() for row in self.by_kind()],
            "by_layer": [row.as_dict() for row in self.by_layer()],
            "left_over": [row.as_dict() for row in self.left_over()],
            "pairs": [
                {
                    "operators": [op.name for op in pair.operators],
                    "moments": [moment.name for moment in pair.moments],
                    "measured_ns": pair.measured_ns,
                    "predicted_ns": pair.predicted_ns,
                }
                for pair in self.pairs
            ],
            "notes": list(self.notes),
        }


def diff_file(
    path: str | Path,
    scenario: Scenario,
    *,
    step: int | None = None,
    progress: Callable[[str], None] | None = None,
) -> Diff:
    """Hold the trace in a .json or .json.gz file against the run of `scenario`.

    Which program wrote the file is seen from its content. `step`: which pass, counted from 1, where
    it holds several (default: the last). For llama-bench the lengths are those of its tests.
    InputError for a file that cannot be used, and as Scenario.prepared.
    """
    events = read_events(path)
    first = next(events, None)
    if first is None:
        raise InputError(f"{path}: an empty list; nothing was measured")
    every = chain([first], events)
    if "n_prompt" in first and "n_gen" in first:
        return _diff_tests(str(path), every, scenario, step)
    if first.get("cat") == "Session" or "op_name" in str(first.get("args", "")):
        measured = read_ort(str(path), every, step)
    elif "ph" in first:
        measured = read_torch(str(path), every, step)
    else:
        keys = ", ".join(map(str, list(first)[:4]))
        raise InputError(
            f"{path}: its objects have the keys {keys}; expected events of torch.profiler or ONNX "
            "Runtime (ph, ts, dur), or tests of llama-bench (n_prompt, n_gen)"
        )
    prepared = scenario.prepared(progress)
    return diff_run(measured, prepared.run(), notes=prepared.notes)


def diff_run(measured: Measured, run: Run, *, notes: Sequence[str] = ()) -> Diff:
    """Align a pass of a trace with a run of one device; InputError where that is too large."""
    if run.trace.device_count > 1:
        raise InputError("a trace is that of one device; the scenario spreads over several")
    ops = measured.operators
    order = measured.order or range(len(ops))
    real = [i for i in order if not ops[i].is_view]
    moments = simulated(run)
    matches = align([ops[i] for i in real], run.moments)
    pairs = tuple(
        Pair(tuple(ops[real[i]] for i in m.operators), tuple(moments[j] for j in m.moments))
        for m in matches
    )
    taken = {real[i] for m in matches for i in m.operators}
    done = {j for m in matches for j in m.moments}
    found = [*measured.notes, *notes, *repeats_note([ops[i] for i in real], run.program)]
    return Diff(
        title=f"{run.program.workload} on {run.profile.title}, runtime {run.runtime.name}",
        measured=measured,
        pairs=pairs,
        operators_alone=tuple(ops[i] for i in sorted(real) if i not in taken),
        views=tuple(op for op in ops if op.is_view),
        moments=moments,
        moments_alone=tuple(m for j, m in enumerate(moments) if j not in done),
        predicted_total_ns=_ns(run.cycles, run.trace.clock_hz),
        notes=tuple(found),
    )


def simulated(run: Run) -> tuple[Simulated, ...]:
    """The moments of a run in graph order, each without what one before it covers."""
    layers: list[str] = []
    several = len(run.program.passes) > 1
    for instance in run.program.instances():
        layer = instance.prefix.rstrip("/")
        layer = layer if several else layer.split("/", 1)[-1]
        layers += [layer] * len(instance.segment.moments)
    trace = run.trace
    found = []
    end = 0
    for i, moment in enumerate(run.moments):
        start = max(end, _ns(trace.issued[i], trace.clock_hz))
        stop = max(start, _ns(trace.retired[i], trace.clock_hz))
        name = f"{layers[i]}/{moment.name}"
        found.append(Simulated(name, moment.kind, layers[i], start, stop - start))
        end = stop
    return tuple(found)


def _ns(cycles: int, clock_hz: int) -> int:
    return cycles * 1_000_000_000 // clock_hz


def _diff_tests(
    path: str, rows: Iterable[dict[str, Any]], scenario: Scenario, step: int | None
) -> Diff:
    if step is not None:
        raise InputError(f"{path}: --step is for traces; llama-bench has tests")
    if scenario.prompt is not None or scenario.context is not None or scenario.generate:
        raise InputError(
            f"{path}: llama-bench's tests have their own lengths; leave out --prompt, --context "
            "and --generate"
        )
    tests, measured = read_llama_bench(path, rows)
    notes: list[str] = []
    pairs, alone, moments = [], [], []
    at = 0
    title = ""
    for test, op in zip(tests, measured.operators, strict=True):
        described = test.scenario(scenario)
        if described is None:
            alone.append(op)
            continue
        prepared = described.prepared()
        run = prepared.run()
        notes += [line for line in prepared.notes if line not in notes]
        title = f"{run.program.workload} on {run.profile.title}, runtime {run.runtime.name}"
        moment = Simulated(test.name, test.kind, test.name, at, round(run.latency_s * 1e9))
        at += moment.duration_ns
        moments.append(moment)
        pairs.append(Pair((op,), (moment,)))
    return Diff(
        title, measured, tuple(pairs), tuple(alone), (), tuple(moments), (), at, tuple(notes)
    )


def _rows(items: Iterable[tuple[str, int, int, int]]) -> list[Row]:
    sums: dict[str, list[int]] = {}
    for name, *figures in items:
        found = sums.setdefault(name, [0, 0, 0])
        for k, figure in enumerate(figures):
            found[k] += figure
    return [Row(name, *figures) for name, figures in sums.items()]
