"""From operators to steps: one moment each, with the tensors that it really touches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from workloads import op_counts
from workloads.errors import InputError
from workloads.importers.operators.formulas import move
from workloads.importers.operators.values import (
    ELEMENT_BITS,
    Node,
    OperatorGraph,
    UnknownOperators,
    Value,
)
from workloads.importers.operators.work import Answer, Formula, Read, View, Work, dtype_of
from workloads.moment import Moment, Role, Tensor

_JOINS = ("Concat", "cat")

_LOOKUPS = ("gather",)
"""Formulas whose table is a weight and which nevertheless run every time."""


@dataclass(slots=True)
class Step:
    """One moment on its way into a program.

    `op` says what it does in words common to all sources; `args` are the tensors of the operator
    in its own order, None for a number written into the graph; `shapes` are theirs.
    """

    op: str
    moment: Moment
    args: tuple[str | None, ...]
    shapes: tuple[tuple[int, ...], ...]
    out_shape: tuple[int, ...]
    scope: str = ""

    @property
    def out(self) -> str:
        return self.moment.writes[0].name if self.moment.writes else ""


@dataclass(frozen=True, slots=True)
class _Stored:
    """Where the bytes of a value are: a view has the name of what it looks at."""

    name: str
    role: Role
    bits: int
    bytes: int
    fixed: bool
    constant: bool


@dataclass
class Steps:
    """All steps of a graph, its weights (each once, by name), its results, what is unknown."""

    steps: list[Step] = field(default_factory=list)
    weights: dict[str, Value] = field(default_factory=dict)
    caches: dict[str, int] = field(default_factory=dict)
    constants: set[str] = field(default_factory=set)
    results: frozenset[str] = frozenset()
    unknown: UnknownOperators = field(default_factory=lambda: UnknownOperators({}))


def lower(
    graph: OperatorGraph,
    table: Mapping[str, Formula],
    *,
    folds_weights: bool,
) -> Steps:
    """Each operator's moments.

    What follows from constants alone is computed once, when the model is loaded, and is no moment;
    with `folds_weights` so is what follows from weights, look-ups in tables apart. An operator
    without a formula is kept in `unknown`, and counted as a move of its bytes.
    InputError: a formula that cannot make sense of a node, which is named.
    """
    lowering = _Lowering(table, folds_weights)
    for node in graph.nodes:
        lowering.node(node)
    results = frozenset(
        lowering.stored[name].name for name in graph.outputs if name in lowering.stored
    )
    found = lowering.found
    found.results, found.unknown = results, UnknownOperators(lowering.unknown)
    return found


class _Lowering:
    def __init__(self, table: Mapping[str, Formula], folds_weights: bool) -> None:
        self.table, self.folds_weights = table, folds_weights
        self.found = Steps()
        self.stored: dict[str, _Stored] = {}
        self.origin: dict[str, Value] = {}
        self.unknown: dict[str, tuple[int, str]] = {}

    def node(self, node: Node) -> None:
        formula = self.table.get(node.op) or self._unknown(node)
        known = [self.where(value) for value in node.inputs if value is not None]
        if not any(value.elements for value in node.outputs):
            for value in node.outputs:
                self._define(value, fixed=True, constant=True)
            return
        if node.op in _JOINS and any(stored.role == "kv_cache" for stored in known):
            self._append(node)
            return
        answer = self._answer(formula, replace(node, inputs=tuple(map(self._known, node.inputs))))
        constant = all(stored.constant for stored in known)
        fixed = all(stored.fixed for stored in known)
        if isinstance(answer, View):
            self._view(node, answer)
        elif constant or (fixed and self.folds_weights and not _looks_up(answer)):
            trained = sum(v.elements for v in node.inputs if v is not None and self._trained(v))
            for value in node.outputs:
                kept = replace(value, trained=bool(trained) and value.elements == trained)
                self._define(kept if constant else replace(kept, role="weight"),
                             fixed=True, constant=constant)  # fmt: skip
        else:
            works = [answer] if isinstance(answer, Work) else answer
            for work in works:
                self._step(node, work)

    def _unknown(self, node: Node) -> Formula:
        """Note it, and count its bytes: without `as_copy` these figures are never used."""
        count, example = self.unknown.get(node.op, (0, node.name))
        self.unknown[node.op] = (count + 1, example)
        return move("unknown")

    def _answer(self, formula: Formula, node: Node) -> Answer:
        try:
            return formula(node)
        except (ValueError, KeyError, IndexError, TypeError, ZeroDivisionError) as error:
            shapes = ", ".join(str(v.shape) if v else "-" for v in node.inputs)
            raise InputError(
                f"operator {node.op} (node {node.name!r}) on tensors of shapes {shapes}: {error}"
            ) from error

    def where(self, value: Value) -> _Stored:
        """Where a value is: known from its producer, or from outside the graph."""
        if value.name not in self.stored:
            self._define(value, fixed=value.fixed, constant=value.constant)
        return self.stored[value.name]

    def _trained(self, value: Value) -> bool:
        source = self.origin.get(self.where(value).name)
        return source is not None and source.trained

    def _define(self, value: Value, *, fixed: bool, constant: bool) -> None:
        role: Role = value.role
        if role == "weight":
            self.origin[value.name] = value
        if fixed and role == "activation":
            role = "input"  # computed when the model was loaded: nothing in the program writes it
        self.stored[value.name] = _Stored(
            value.name, role, ELEMENT_BITS[value.dtype], value.bytes, fixed, constant
        )

    def _view(self, node: Node, view: View) -> None:
        source = node.input(view.of)
        for value in node.outputs:
            if source is None:
                self._define(value, fixed=True, constant=True)
            else:
                self.stored[value.name] = self.where(source)

    def _known(self, value: Value | None) -> Value | None:
        """An input with what has been found out about it: a weight that was transposed is one."""
        if value is None:
            return None
        stored = self.where(value)
        if (stored.fixed, stored.constant) == (value.fixed, value.constant):
            return value
        return replace(value, fixed=stored.fixed, constant=stored.constant)

    def _append(self, node: Node) -> None:
        """New keys or values behind those cached: only the new ones move."""
        values = [value for value in node.inputs if value is not None]
        new = [v for v in values if self.where(v).role != "kv_cache" and v.elements]
        if not new:  # nothing comes behind what is cached
            cached = next(v for v in values if self.where(v).role == "kv_cache")
            self.stored[node.out.name] = self.where(cached)
            return
        out = node.out
        self.stored[out.name] = replace(
            self.where(out), role="kv_cache", bytes=out.bytes, fixed=False, constant=False
        )
        for value in values:
            self.found.caches.pop(self.where(value).name, None)
        self.found.caches[out.name] = out.bytes
        moment = op_counts.cache_append(
            node.name, elements=sum(value.elements for value in new),
            dtype=dtype_of(node), group="append",
        )  # fmt: skip
        reads = tuple(self.tensor(value) for value in new)
        size = sum(tensor.bytes for tensor in reads)
        moment = replace(moment, reads=reads, writes=(Tensor(out.name, size, "kv_cache"),))
        args = tuple(tensor.name for tensor in reads)
        shapes = tuple(value.shape for value in new)
        self.found.steps.append(Step("cache_append", moment, args, shapes, out.shape, node.scope))

    def tensor(self, value: Value, size: int | None = None) -> Tensor:
        """A value as a moment touches it: its own bytes, or less."""
        stored = self.where(value)
        own = -(-value.elements * stored.bits // 8) if size is None else size
        if stored.role == "weight":
            self.found.weights.setdefault(stored.name, self.origin[stored.name])
        if stored.constant:
            self.found.constants.add(stored.name)
        if stored.role == "kv_cache" and value.role == "kv_cache":
            self.found.caches.setdefault(stored.name, stored.bytes)
        return Tensor(stored.name, min(own, stored.bytes), stored.role)

    def _step(self, node: Node, work: Work) -> None:
        reads = work.reads
        if reads is None:
            reads = [Read(i) for i in range(len(node.inputs))]
        taken: dict[str, Tensor] = {}
        seen: set[str] = set()
        args: list[str | None] = []
        shapes: list[tuple[int, ...]] = []
        for read in reads:
            if isinstance(read, Tensor):
                taken[read.name] = read
                args.append(read.name)
                shapes.append(())
                continue
            value = node.input(read.index)
            if value is None or not value.elements:
                continue
            number = self.where(value).constant and value.elements == 1
            tensor = self.tensor(value, read.bytes)
            args.append(None if number else tensor.name)
            shapes.append(value.shape)
            if number or value.name in seen:
                continue
            seen.add(value.name)
            known = taken.get(tensor.name)
            if known is not None:  # another view of the same bytes
                both = min(self.where(value).bytes, known.bytes + tensor.bytes)
                tensor = replace(tensor, bytes=both)
            taken[tensor.name] = tensor
        writes = self._written(node, work)
        moment = replace(
            work.moment, name=node.name, reads=tuple(taken.values()), writes=tuple(writes)
        )
        self.found.steps.append(
            Step(work.op, moment, tuple(args), tuple(shapes), node.out.shape, node.scope)
        )

    def _written(self, node: Node, work: Work) -> list[Tensor]:
        indices = range(len(node.outputs)) if work.writes is None else work.writes
        writes: list[Tensor] = []
        for item in indices:
            if isinstance(item, Tensor):
                writes.append(item)
                continue
            value = node.outputs[item]
            self._define(value, fixed=False, constant=False)
            if value.elements:
                writes.append(Tensor(value.name, value.bytes, value.role))
        return writes


def _looks_up(answer: Answer) -> bool:
    return isinstance(answer, Work) and answer.op in _LOOKUPS
