"""Profiles that ONNX Runtime writes (SessionOptions.enable_profiling).

Read from profiles of ONNX Runtime 1.32: a JSON list of complete events; category "Node" with a
name that ends in "_kernel_time" is one kernel, its arguments name the operator and the shapes of
its inputs and outputs (weights that were packed before are absent); "model_run" is one pass.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import prod
from typing import Any

from simulator.trace_diff import shapes
from simulator.trace_diff.measured import Measured, Operator, one_after_another
from simulator.trace_diff.names import ORT_KINDS, ORT_VIEWS
from simulator.trace_diff.reading import dims_lists, span_ns
from workloads.errors import InputError

_KERNEL = "_kernel_time"


def read_ort(path: str, events: Iterable[dict[str, Any]], step: int | None) -> Measured:
    """The last pass (the first ones warm up), or pass `step` of those in the profile.

    InputError: no pass, no operators in it, or no such pass.
    """
    runs: list[tuple[int, int]] = []
    kernels: list[tuple[int, int, dict[str, Any]]] = []
    for event in events:
        if event.get("ph") != "X":
            continue
        if event.get("cat") == "Node" and str(event.get("name", "")).endswith(_KERNEL):
            kernels.append((*span_ns(path, event), event))
        elif event.get("name") == "model_run":
            runs.append(span_ns(path, event))
    if not runs:
        raise InputError(f'{path}: holds no "model_run"; expected a profile of ONNX Runtime')
    chosen = len(runs) if step is None else step
    if not 1 <= chosen <= len(runs):
        raise InputError(f"{path}: --step {step}: expected 1 to {len(runs)}")
    start, total = runs[chosen - 1]
    inside = [item for item in kernels if start <= item[0] < start + total]
    operators = one_after_another(_operator(*item) for item in inside)
    if not operators:
        raise InputError(f"{path}: pass {chosen} holds no operators")
    last = operators[-1]
    total = max(total, last.start_ns + last.duration_ns - start)
    notes = []
    if len(runs) > 1:
        notes.append(f"the profile holds {len(runs)} passes; pass {chosen} is taken (--step)")
    order = _core_together(operators)
    return Measured("ONNX Runtime", operators, start, total, tuple(notes), order)


def _operator(start: int, duration: int, event: dict[str, Any]) -> Operator:
    args = event.get("args")
    args = args if isinstance(args, dict) else {}
    name = str(args.get("op_name", ""))
    inputs, outputs = (_shapes(args.get(f"{end}_type_shape")) for end in ("input", "output"))
    kinds = () if name in ORT_VIEWS else ORT_KINDS.get(name, (name or "unnamed",))
    weighted = kinds[:1] == ("matmul",) and (len(inputs) < 2 or len(inputs[1]) < 3)
    return Operator(
        name or str(event.get("name"))[:80],
        kinds,
        _sizes(kinds, weighted, inputs, outputs),
        start,
        duration,
        weighted,
    )


def _shapes(value: object) -> list[list[int]]:
    """[{"float": [1, 32]}, ...] as lists of numbers."""
    if not isinstance(value, list):
        return []
    single = [next(iter(v.values()), None) if isinstance(v, dict) else None for v in value]
    return dims_lists(single)


def _sizes(
    kinds: Sequence[str],
    weighted: bool,
    inputs: Sequence[Sequence[int]],
    outputs: Sequence[Sequence[int]],
) -> tuple[int, ...] | None:
    if not kinds or not inputs or not outputs or not inputs[0] or not outputs[0]:
        return None
    out = outputs[0]
    if kinds[0] == "matmul":
        if weighted:
            return (1, prod(out[:-1]), out[-1], inputs[0][-1])
        return (prod(out[:-2]), out[-2], out[-1], inputs[0][-1]) if len(out) > 1 else None
    if kinds[0] in ("attention", "copy", "cache_append"):
        return None
    if kinds[0] in (*shapes.ROWS, "embedding"):
        return shapes.row_sizes(out)
    return shapes.element_sizes([out])


def _core_together(operators: Sequence[Operator]) -> tuple[int, ...]:
    """Positions with products of weights in front of the attention that they interrupt.

    ONNX Runtime projects the values between the scores and the context; programs project first.
    """
    order: list[int] = []
    scores: int | None = None  # where in `order` the core of an attention began
    for position, op in enumerate(operators):
        if op.kind != "matmul" or op.kinds != ("matmul",):
            order.append(position)
        elif op.weighted and scores is not None:
            order.insert(scores, position)
            scores += 1
        else:
            if not op.weighted:
                scores = len(order) if scores is None else None
            order.append(position)
    return tuple(order)
