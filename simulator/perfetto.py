"""Writes a run as a Chrome trace, which ui.perfetto.dev and chrome://tracing open."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from heapq import merge
from pathlib import Path
from typing import TYPE_CHECKING, Any

from simulator.counters import Steps, busy_core_steps, memory_steps
from simulator.figures import Causes, shape_text
from simulator.output import whole_file

if TYPE_CHECKING:
    from simulator.run import Run
    from simulator.trace import Trace
    from workloads.moment import Moment

DEVICE, HOST = 1, 2
"""Process numbers in the trace."""
_PROGRAM = 1000
"""Number of the thread that shows passes and segments, above the numbers of cores."""

_Event = tuple[int, dict[str, Any]]
"""(cycle, event); the cycle is for sorting."""


def write_trace(run: Run, path: str | Path) -> Path:
    """Write the run to a JSON file and return its path; equal runs give equal files.

    One thread for each core, or one for a device that runs moments in order; one for the host's
    dispatches; counters for memory bandwidth (as in simulator.counters) and busy cores. Times are
    whole nanoseconds, rounded down at both ends of a span. InputError: cannot be written.
    """
    with whole_file(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.write('{"displayTimeUnit":"ns","otherData":')
        file.write(_json(_about(run)))
        file.write(',"traceEvents":[\n')
        file.write(",\n".join(_json(event) for event in _names(run)))
        for event in events(run):
            file.write(",\n" + _json(event))
        file.write("\n]}\n")
    return Path(path)


def events(run: Run) -> Iterator[dict[str, Any]]:
    """All spans and counters in the order of their time; `ts` and `dur` are microseconds."""
    trace, plan = run.trace, run.job.plan
    clock = trace.clock_hz
    bandwidth = [
        (cycle, round(rate * clock / 1e9, 3))
        for cycle, rate in memory_steps(trace, plan.memory_rate)
    ]
    streams = [
        _program(run),
        _moments(run),
        _dispatches(run),
        _counter("memory bandwidth", "GB/s", bandwidth, clock),
        _counter("busy cores", "cores", busy_core_steps(trace), clock),
    ]
    for _, event in merge(*streams, key=lambda entry: entry[0]):
        yield event


def _json(value: dict[str, Any]) -> str:
    return json.dumps(value, separators=(",", ":"))


def _about(run: Run) -> dict[str, Any]:
    return {
        "workload": run.program.workload,
        "hardware": run.profile.name,
        "runtime": run.runtime.name,
        "dtype": run.program.dtype,
        "batch": run.program.batch,
        "latency_s": run.latency_s,
        "cycles": run.cycles,
        "clock_hz": run.trace.clock_hz,
    }


def _names(run: Run) -> Iterator[dict[str, Any]]:
    """What the viewer calls processes and threads, and in which order it shows them."""
    trace = run.trace
    yield _meta("process_name", DEVICE, 0, name=run.profile.title)
    if trace.places:
        yield from _place_names(trace)
    elif trace.in_order:
        yield _meta("thread_name", DEVICE, _PROGRAM, name="program")
        yield _meta("thread_sort_index", DEVICE, _PROGRAM, sort_index=-1)
        yield _meta("thread_name", DEVICE, 0, name=f"device ({trace.core_count} cores)")
    else:
        for core in range(trace.core_count):
            yield _meta("thread_name", DEVICE, core, name=f"core {core}")
            yield _meta("thread_sort_index", DEVICE, core, sort_index=core)
    if run.job.plan.host != "none":
        yield _meta("process_name", HOST, 0, name=f"host ({run.runtime.title})")
        for device in range(trace.device_count):
            name = f"dispatch to device {device}" if trace.device_count > 1 else "dispatch"
            yield _meta("thread_name", HOST, device, name=name)


def _place_names(trace: Trace) -> Iterator[dict[str, Any]]:
    """Devices with their links below them; in dataflow order a thread for each core."""
    for number, place in enumerate(trace.places):
        cores = 1 if place.in_order else place.core_count
        for core in range(cores):
            thread = _thread(trace, number, core)
            name = place.name if cores == 1 else f"{place.name} core {core}"
            yield _meta("thread_name", DEVICE, thread, name=name)
            order = 2 * place.device * _PROGRAM + core + (place.kind == "link") * _PROGRAM
            yield _meta("thread_sort_index", DEVICE, thread, sort_index=order)


def _thread(trace: Trace, place: int, core: int) -> int:
    """Number of the thread that shows a core of a place, or the whole of it in order."""
    return place * _PROGRAM + (0 if trace.places[place].in_order else core)


def _meta(kind: str, process: int, thread: int, **arguments: object) -> dict[str, Any]:
    return {"ph": "M", "name": kind, "pid": process, "tid": thread, "args": arguments}


def _nanoseconds(cycle: int, clock_hz: int) -> int:
    return cycle * 1_000_000_000 // clock_hz


def _span(
    where: tuple[int, int], name: str, category: str, cycles: tuple[int, int], clock_hz: int
) -> dict[str, Any]:
    start, end = (_nanoseconds(cycle, clock_hz) for cycle in cycles)
    return {
        "ph": "X",
        "name": name,
        "cat": category,
        "pid": where[0],
        "tid": where[1],
        "ts": start / 1000,
        "dur": (end - start) / 1000,
    }


def _program(run: Run) -> Iterator[_Event]:
    """Passes with their segments inside, where these follow one another.

    In order a segment begins when the moment before it retires.
    """
    trace = run.trace
    if not trace.in_order:
        return
    where, clock = (DEVICE, _PROGRAM), trace.clock_hz
    current, start = -1, 0
    for instance in run.job.flat.instances:
        step = run.program.passes[instance.pass_index]
        if instance.pass_index != current:
            current = instance.pass_index
            end = trace.retired[instance.first + step.moment_count - 1]
            event = _span(where, step.name, "pass", (start, end), clock)
            event["args"] = {"tokens": step.tokens, "context": step.context}
            yield start, event
        end = trace.retired[instance.first + len(instance.segment.moments) - 1]
        name = instance.prefix.rstrip("/").split("/", 1)[1]
        yield start, _span(where, name, "segment", (start, end), clock)
        start = end


def _moments(run: Run) -> Iterator[_Event]:
    """Every moment on its resource, in the order of issue; on each of its cores in dataflow."""
    trace, moments = run.trace, run.moments
    causes, facts = Causes(trace), _Facts()
    order = range(len(trace))
    for i in order if trace.in_order else sorted(order, key=lambda i: (trace.issued[i], i)):
        moment, cycles = moments[i], (trace.issued[i], trace.retired[i])
        cores = len(trace.cores[i])
        arguments = {
            "moment": run.job.flat.name(i),
            **facts.of(moment),
            "dram_bytes": run.job.traffic[i].dram_bytes,
            "cores": cores,
            "cycles": cycles[1] - cycles[0],
            "bound": causes.bound(i),
            "cause_us": {
                cause: round(count / cores / trace.clock_hz * 1e6, 4)
                for cause, count in causes.split(i)
            },
        }
        for thread in _threads(trace, i):
            event = _span((DEVICE, thread), moment.name, moment.stage, cycles, trace.clock_hz)
            event["args"] = arguments
            yield cycles[0], event


def _threads(trace: Trace, index: int) -> Sequence[int]:
    if trace.places:
        home = trace.home[index]
        return sorted({_thread(trace, home, core) for core in trace.cores[index]})
    return (0,) if trace.in_order else trace.cores[index]


class _Facts:
    """What is the same in every run of a moment, made once for each."""

    def __init__(self) -> None:
        self._known: dict[int, dict[str, Any]] = {}

    def of(self, moment: Moment) -> dict[str, Any]:
        found = self._known.get(id(moment))
        if found is None:
            found = self._known[id(moment)] = {
                "kind": moment.kind,
                "stage": moment.stage,
                "shape": shape_text(moment.shape),
                "dtype": moment.dtype,
                "macs": moment.counts.macs,
                "bytes": moment.read_bytes + moment.write_bytes,
            }
        return found


def _dispatches(run: Run) -> Iterator[_Event]:
    """What the host did: one span a dispatch that took time, in graph order."""
    trace, moments = run.trace, run.moments
    if run.job.plan.host == "none":
        return
    for i, spent in enumerate(trace.dispatch_cycles):
        if spent:
            cycles = trace.dispatch_span(i)
            moment = moments[i]
            place = trace.place_of(i)
            where = (HOST, place.device if place else 0)
            event = _span(where, moment.name, moment.stage, cycles, trace.clock_hz)
            event["args"] = {"moment": run.job.flat.name(i)}
            yield cycles[0], event


def _counter(name: str, unit: str, steps: Steps, clock_hz: int) -> Iterator[_Event]:
    for cycle, value in steps:
        time_us = _nanoseconds(cycle, clock_hz) / 1000
        yield (
            cycle,
            {"ph": "C", "name": name, "pid": DEVICE, "ts": time_us, "args": {unit: value}},
        )
