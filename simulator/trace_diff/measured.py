"""What a trace says in plain words: operators on one time line, and the time between them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Operator:
    """One measured operation, in execution order; times are whole nanoseconds.

    `kinds`: the kinds of moments that it does, in order (one, unless the software fused several;
    empty: a view, which computes nothing). `sizes`: as simulator.trace_diff.shapes gives them, or
    None where the trace does not say. `weighted`: a product with a weight matrix, never a part of
    attention. `call`: kernels of one and the same call have one number; -1: a call by itself.
    """

    name: str
    kinds: tuple[str, ...]
    sizes: tuple[int, ...] | None
    start_ns: int
    duration_ns: int
    weighted: bool = False
    call: int = -1

    @property
    def is_view(self) -> bool:
        return not self.kinds

    @property
    def kind(self) -> str:
        return self.kinds[0] if self.kinds else "view"


@dataclass(frozen=True)
class Measured:
    """One pass of a trace: `start_ns` to `start_ns + total_ns`, with operators that never overlap.

    `order`: positions of the operators in the order in which they are aligned, where the software
    ran independent ones in another order than a program names them; empty: as they ran.
    """

    source: str
    operators: tuple[Operator, ...]
    start_ns: int
    total_ns: int
    notes: tuple[str, ...] = ()
    order: tuple[int, ...] = ()

    @property
    def between_ns(self) -> int:
        """Time of the pass in which no operator ran."""
        return self.total_ns - sum(op.duration_ns for op in self.operators)


def one_after_another(operators: Iterable[Operator]) -> tuple[Operator, ...]:
    """Operators in order of their start, each cut to what none before it covers.

    Kernels of several streams overlap; so that times add up, each nanosecond is that of the one
    that started first. What is covered entirely keeps its place with no time.
    """
    found = []
    end = None
    for op in sorted(operators, key=lambda op: (op.start_ns, -op.duration_ns)):
        start = op.start_ns if end is None else max(op.start_ns, end)
        stop = max(start, op.start_ns + op.duration_ns)
        found.append(replace(op, start_ns=start, duration_ns=stop - start))
        end = stop
    return tuple(found)
