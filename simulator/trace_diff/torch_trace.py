"""Traces that torch.profiler exports (`export_chrome_trace`): CPU operators and CUDA kernels.

Read from such traces of PyTorch 2.13: complete events of category "cpu_op" nest by time on a
thread; with `record_shapes=True` their "Input Dims" are the shapes. Kernels carry the "External id"
of the operator that launched them, or share a "correlation" with a call of the CUDA runtime in it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from simulator.trace_diff import shapes
from simulator.trace_diff.measured import Measured, Operator, one_after_another
from simulator.trace_diff.names import (
    KNOWN_KINDS,
    TORCH_VIEWS,
    TORCH_WEIGHTED,
    kernel_kind,
    torch_kind,
    torch_name,
)
from simulator.trace_diff.reading import dims_lists, span_ns
from workloads.errors import InputError

_KERNELS = ("kernel", "gpu_memcpy", "gpu_memset")
_LAUNCHES = ("cuda_runtime", "cuda_driver")
_KEPT = ("cpu_op", *_KERNELS, *_LAUNCHES)
_STEP = "ProfilerStep#"
_DEEPEST = 200


_Event = tuple[int, int, dict[str, Any]]
"""Start and duration in nanoseconds, and the event itself."""


@dataclass
class _Node:
    """A CPU operator with what ran inside it."""

    name: str
    start_ns: int
    end_ns: int
    dims: list[list[int]]
    thread: tuple[str, str]
    external: object = None
    inside: list[_Node] = field(default_factory=list)


def read_torch(path: str, events: Iterable[dict[str, Any]], step: int | None) -> Measured:
    """The pass that a trace holds; of several (torch.profiler's schedule) the last, or `step`.

    On a GPU the time line is the device's: kernels, grouped by the operator that launched them,
    from the first to the last. Else it is that of the thread with the most operator time.
    InputError: no operators, or no such step.
    """
    kept = []
    steps: list[tuple[int, int]] = []
    for event in events:
        if event.get("ph") != "X":
            continue
        if event.get("cat") in _KEPT:
            kept.append((*span_ns(path, event), event))
        elif str(event.get("name", "")).startswith(_STEP) and event.get("cat") == "user_annotation":
            start, duration = span_ns(path, event)
            steps.append((start, start + duration))
    notes: list[str] = []
    window = _window(path, sorted(steps), step, notes)
    nodes = _nodes(path, kept, window)
    kernels = [item for item in kept if item[2].get("cat") in _KERNELS]
    if kernels:
        found = _on_device(path, kernels, kept, nodes, window)
        source = "torch.profiler, on the device"
    else:
        found = _on_host(nodes, notes)
        source = "torch.profiler, on the CPU"
    operators = one_after_another(found)
    if not operators:
        raise InputError(
            f"{path}: holds no operators; expected a trace with activities CPU or CUDA"
        )
    start = operators[0].start_ns
    end = max(op.start_ns + op.duration_ns for op in operators)
    if not any(op.sizes for op in operators):
        notes.append("the trace has no shapes (record_shapes=True): aligned by kind alone")
    return Measured(source, operators, start, end - start, tuple(notes))


def _window(
    path: str, steps: Sequence[tuple[int, int]], step: int | None, notes: list[str]
) -> tuple[int, int] | None:
    if not steps:
        if step is not None:
            raise InputError(f"{path}: --step {step}: the trace is not divided into steps")
        return None
    chosen = len(steps) if step is None else step
    if not 1 <= chosen <= len(steps):
        raise InputError(f"{path}: --step {step}: expected 1 to {len(steps)}")
    if len(steps) > 1:
        notes.append(f"the trace holds {len(steps)} steps; step {chosen} is taken (--step)")
    return steps[chosen - 1]


def _nodes(
    path: str,
    kept: Sequence[_Event],
    window: tuple[int, int] | None,
) -> list[_Node]:
    """The outermost CPU operators of each thread that start in the window, with what is inside."""
    outermost: list[_Node] = []
    open_nodes: dict[tuple[str, str], list[_Node]] = {}
    ordered = (item for item in kept if item[2].get("cat") == "cpu_op")
    for start, duration, event in sorted(ordered, key=lambda item: (item[0], -item[1])):
        if window is not None and not window[0] <= start < window[1]:
            continue
        args = _args(event)
        thread = (str(event.get("pid")), str(event.get("tid")))
        node = _Node(
            torch_name(str(event.get("name", ""))),
            start,
            start + duration,
            dims_lists(args.get("Input Dims")),
            thread,
            args.get("External id", args.get("external id")),
        )
        stack = open_nodes.setdefault(thread, [])
        while stack and stack[-1].end_ns <= start:
            stack.pop()
        if len(stack) > _DEEPEST:
            raise InputError(f"{path}: operators nested more than {_DEEPEST} deep; is it a trace?")
        (stack[-1].inside if stack else outermost).append(node)
        stack.append(node)
    return outermost


def _on_host(nodes: Sequence[_Node], notes: list[str]) -> list[Operator]:
    time: Counter[tuple[str, str]] = Counter()
    for node in nodes:
        time[node.thread] += node.end_ns - node.start_ns
    if len(time) > 1:
        count = sum(node.thread != time.most_common(1)[0][0] for node in nodes)
        notes.append(f"{count} operators on other threads are not counted")
    main = time.most_common(1)[0][0] if time else None
    return [op for node in nodes if node.thread == main for op in _operators(node)]


def _operators(node: _Node) -> list[Operator]:
    """The node itself where its kind is known, else what is inside it and its own time."""
    kind = _kind(node)
    own = _operator(node, kind)
    if kind in KNOWN_KINDS or not _holds_known(node):
        return [own]
    found = []
    at = node.start_ns
    for child in node.inside:
        found.append(replace(own, start_ns=at, duration_ns=max(0, child.start_ns - at)))
        found += _operators(child)
        at = max(at, child.end_ns)
    found.append(replace(own, start_ns=at, duration_ns=max(0, node.end_ns - at)))
    return [op for op in found if op.duration_ns]


def _holds_known(node: _Node) -> bool:
    return any(_kind(child) in KNOWN_KINDS - {""} or _holds_known(child) for child in node.inside)


def _kind(node: _Node) -> str:
    """Its kind; empty for a view, unless there is a copy inside it."""
    if node.name in TORCH_VIEWS:
        return "copy" if _copies(node) else ""
    return torch_kind(node.name)


def _copies(node: _Node) -> bool:
    return any(child.name in ("copy_", "clone") or _copies(child) for child in node.inside)


def _operator(node: _Node, kind: str) -> Operator:
    return Operator(
        f"aten::{node.name}" if not node.name.count("::") else node.name,
        (kind,) if kind else (),
        _sizes(node.name, kind, node.dims),
        node.start_ns,
        node.end_ns - node.start_ns,
        node.name in TORCH_WEIGHTED,
    )


def _sizes(name: str, kind: str, dims: Sequence[Sequence[int]]) -> tuple[int, ...] | None:
    if kind == "matmul":
        at = 1 if name in ("addmm", "baddbmm", "addbmm") else 0
        if len(dims) < at + 2 or "conv" in name:
            return None
        product = shapes.linear_sizes if name == "linear" else shapes.product_sizes
        return product(dims[at], dims[at + 1])
    if kind == "attention":
        return shapes.attention_sizes(dims[0], dims[1]) if len(dims) > 1 else None
    if kind == "embedding":
        if len(dims) < 2 or len(dims[0]) != 2:
            return None
        rows = shapes.element_sizes([dims[1]]) if name == "embedding" else None
        return (*rows, dims[0][1]) if rows else None
    if kind in shapes.ROWS:
        return shapes.row_sizes(dims[0]) if dims else None
    if kind in ("copy", "cache_append", ""):
        return None
    return shapes.element_sizes(dims)


def _on_device(
    path: str,
    kernels: Sequence[_Event],
    kept: Sequence[_Event],
    nodes: Sequence[_Node],
    window: tuple[int, int] | None,
) -> list[Operator]:
    """Kernels in the words of the operators that launched them; of its own where none is known."""
    owners: dict[object, Operator] = {}
    spans: list[tuple[int, int, Operator]] = []
    for node in nodes:
        for op, ids in _launchers(node):
            owners.update(dict.fromkeys(ids, op))
            spans.append((op.start_ns, op.start_ns + op.duration_ns, op))
    calls = {
        _args(event).get("correlation"): start
        for start, _, event in kept
        if event.get("cat") in _LAUNCHES
    }
    found = []
    numbers: dict[int, int] = {}
    for start, duration, event in kernels:
        args = _args(event)
        launched = calls.get(args.get("correlation"), start)
        if window is not None and not window[0] <= launched < window[1]:
            continue
        owner = owners.get(args.get("External id", args.get("external id")))
        owner = owner or _around(spans, calls.get(args.get("correlation")))
        name = str(event.get("name", ""))
        if owner is None or owner.is_view:
            kind = kernel_kind(name)
            owner = Operator(name[:80], (kind,), None, start, duration)
        else:
            owner = replace(owner, call=numbers.setdefault(id(owner), len(numbers)))
        found.append(replace(owner, start_ns=start, duration_ns=duration))
    return found


def _launchers(node: _Node) -> list[tuple[Operator, list[object]]]:
    """Operators of a node with the ids of all that ran inside them."""
    kind = _kind(node)
    if kind in KNOWN_KINDS or not _holds_known(node):
        return [(_operator(node, kind), _ids(node))]
    return [pair for child in node.inside for pair in _launchers(child)]


def _ids(node: _Node) -> list[object]:
    own = [] if node.external is None else [node.external]
    return own + [found for child in node.inside for found in _ids(child)]


def _around(spans: Sequence[tuple[int, int, Operator]], at: int | None) -> Operator | None:
    from bisect import bisect_right

    if at is None:
        return None
    found = bisect_right(spans, at, key=lambda span: span[0]) - 1
    return spans[found][2] if found >= 0 and at < spans[found][1] else None


def _args(event: dict[str, Any]) -> dict[str, Any]:
    args = event.get("args")
    return args if isinstance(args, dict) else {}
