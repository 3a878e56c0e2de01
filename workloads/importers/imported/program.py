"""From steps to a program: groups, stages, layers, names and the footprint."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from workloads.errors import InputError, shown
from workloads.footprint import peak_activation_bytes
from workloads.importers.imported.cores import attach_biases, find_cores
from workloads.importers.imported.groups import mark
from workloads.importers.imported.patterns import recognise
from workloads.importers.imported.repeats import Run, find_runs
from workloads.importers.imported.steps import Step, Steps, lower
from workloads.importers.operators.values import FLOATS, OperatorGraph, Value
from workloads.importers.operators.work import Formula
from workloads.moment import (
    AttentionShape,
    Dtype,
    Footprint,
    Moment,
    Pass,
    Program,
    Repeat,
    Segment,
)

MAX_BYTES = 1 << 60
"""No machine stores a tensor of so many bytes, and sums of them still fit 64 bits."""


@dataclass(frozen=True)
class Imported:
    """A program made from somebody's graph, with what is only known of a graph.

    `parameters` counts the trained floating-point values that are read, each once;
    `unknown` says which operators were counted as copies.
    """

    program: Program
    parameters: int
    operators: int
    unknown: str = ""


def build(
    graph: OperatorGraph,
    table: Mapping[str, Formula],
    *,
    folds_weights: bool,
    unknown: str | None = None,
) -> Imported:
    """The program of one forward pass of a graph.

    `unknown` "as-copy" counts the bytes of operators without a formula, and notes it; None makes
    them an InputError that names all of them.
    """
    if unknown not in (None, "as-copy"):
        raise InputError(f'unknown = {shown(unknown)}: expected "as-copy" or nothing')
    steps = lower(graph, table, folds_weights=folds_weights)
    if steps.unknown.found and unknown is None:
        raise InputError(
            f"{graph.name}: no formula for {len(steps.unknown.found)} operator(s): "
            f"{steps.unknown}; --unknown as-copy counts them as a move of their bytes"
        )
    recognise(steps)
    attach_biases(steps)
    find_cores(steps)
    if not steps.steps:
        raise InputError(f"{graph.name}: nothing in it takes time; is it a model?")
    mark(steps.steps, frozenset(steps.weights))
    found, runs = find_runs(steps.steps, frozenset(steps.constants))
    listed = str(steps.unknown) if steps.unknown.found else ""
    notes = list(graph.notes)
    if listed:
        notes.append(f"counted as copies of their bytes, without arithmetic: {listed}")
    program = _program(graph.name, found, runs, steps, tuple(notes))
    return Imported(program, _parameters(steps.weights), len(graph.nodes), listed)


def _parameters(weights: Mapping[str, Value]) -> int:
    return sum(
        value.elements for value in weights.values() if value.trained and value.dtype in FLOATS
    )


def _program(
    name: str, steps: Sequence[Step], runs: Sequence[Run], found: Steps, notes: tuple[str, ...]
) -> Program:
    repeats: list[Repeat] = []
    done = 0
    for number, run in enumerate(runs):
        if run.start > done:
            label = "embed" if not done else f"middle{number}"
            repeats.append(Repeat(_segment(label, steps[done : run.start])))
        label = "layer" if len(runs) == 1 else f"layer{number + 1}"
        layer = _segment(label, steps[run.start : run.start + run.length])
        repeats.append(Repeat(layer, run.count))
        done = run.end
    if done < len(steps):
        repeats.append(Repeat(_segment("output" if runs else "graph", steps[done:])))
    shapes = [s.moment.attention for s in steps if s.moment.attention is not None]
    tokens, context = _lengths(shapes)
    step = Pass("forward", "prefill", tokens, context, tuple(repeats))
    weights = sum(value.bytes for value in found.weights.values())
    needs = Footprint(
        weights, sum(found.caches.values()), peak_activation_bytes(r.segment for r in repeats)
    )
    batch = max((shape.batch for shape in shapes), default=1)
    if max(needs.total_bytes, step.counts.macs) > MAX_BYTES:
        raise InputError(f"{name}: needs more than {MAX_BYTES} bytes or MACs; are the sizes right?")
    return Program(name, (step,), batch, _dtype(steps), needs, notes=notes)


def _lengths(shapes: Sequence[AttentionShape]) -> tuple[int, int]:
    """Query tokens and what was cached before them, by the longest call of attention."""
    if not shapes:
        return 1, 0
    longest = max(shapes, key=lambda shape: (shape.kv_len, shape.q_len))
    return longest.q_len, max(0, longest.kv_len - longest.q_len)


def _dtype(steps: Sequence[Step]) -> Dtype:
    """The type in which most of the arithmetic is done."""
    work: dict[Dtype, int] = {}
    for step in steps:
        counts = step.moment.counts
        total = counts.macs + counts.vector_ops + counts.special_ops
        work[step.moment.dtype] = work.get(step.moment.dtype, 0) + total
    return max(work, key=lambda dtype: work[dtype])


def _segment(name: str, steps: Sequence[Step]) -> Segment:
    return Segment.from_moments(name, _named(steps))


def _named(steps: Sequence[Step]) -> list[Moment]:
    """The moments under names of their own, without the path that most of them share."""
    names = [re.sub(r"[/.]+", ".", step.moment.name).strip(".") for step in steps]
    parent = _common_parent(names)
    taken: set[str] = set()
    found: list[Moment] = []
    for name, step in zip(names, steps, strict=True):
        own = name.removeprefix(parent) or name
        own = own if step.op not in ("scores", "softmax", "context") else _core_name(own, step.op)
        unique, number = own, 1
        while unique in taken:
            number += 1
            unique = f"{own}_{number}"
        taken.add(unique)
        found.append(replace(step.moment, name=unique))
    return found


def _core_name(name: str, op: str) -> str:
    parent = name.rpartition(".")[0]
    return f"{parent}.{op}" if parent else op


def _common_parent(names: Sequence[str]) -> str:
    """The longest path that ends in a number and is in front of most of the names."""
    counts: dict[str, int] = {}
    for name in names:
        for match in re.finditer(r"\.\d+\.", name):
            path = name[: match.end()]
            counts[path] = counts.get(path, 0) + 1
    common = [path for path, count in counts.items() if 2 * count > len(names)]
    return max(common, key=len, default="")
