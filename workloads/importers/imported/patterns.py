"""Activations and norms that exporters write out as chains of small operators, found again.

A pattern is an expression in the words of steps. "x" stands for the tensor that the whole works on,
None for a number written into the graph, "w" for a weight, "?" for anything. Both sides of a sum or
product may be exchanged, and casts and slices in between are looked through and become part of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import TypeAlias

from workloads import op_counts
from workloads.importers.imported.steps import Step, Steps
from workloads.moment import Moment, Tensor

Pattern: TypeAlias = "str | tuple[str, *tuple[Pattern, ...]] | None"

_COMMUTES = ("add", "multiply")
_LOOKED_THROUGH = ("cast", "slice", "split")

_CDF = ("add", ("erf", ("*", "x")), None)
_TANH = (
    "add",
    ("tanh", ("multiply", ("add", "x", ("multiply", ("power", "x"), None)), None)),
    None,
)
_MEAN_SQUARE = ("add", ("mean", ("power", "x")), None)
_UNIT: tuple[Pattern, ...] = (
    ("multiply", "x", ("rsqrt", _MEAN_SQUARE)),
    ("multiply", "x", ("reciprocal", ("sqrt", _MEAN_SQUARE))),
    ("multiply", "x", ("divide", None, ("sqrt", _MEAN_SQUARE))),
    ("divide", "x", ("sqrt", _MEAN_SQUARE)),
)
_CENTRED = ("subtract", "x", ("mean", "x"))
_SCALED: tuple[Pattern, ...] = tuple(
    form
    for square in (("power", _CENTRED), ("multiply", _CENTRED, _CENTRED))
    for form in (
        ("divide", _CENTRED, ("sqrt", ("add", ("mean", square), None))),
        ("multiply", _CENTRED, ("rsqrt", ("add", ("mean", square), None))),
    )
)

PATTERNS: tuple[tuple[str, Pattern], ...] = (
    *(("layer_norm", ("add", ("multiply", form, "w"), "w")) for form in _SCALED),
    *(("rms_norm", ("multiply", form, "w")) for form in _UNIT),
    *(("gelu", form) for form in (
        ("multiply", ("multiply", "x", _CDF), None),
        ("multiply", ("multiply", "x", None), _CDF),
        ("multiply", "x", ("multiply", _CDF, None)),
    )),
    *(("gelu_tanh", form) for form in (
        ("multiply", ("multiply", "x", None), _TANH),
        ("multiply", ("multiply", "x", _TANH), None),
        ("multiply", "x", ("multiply", _TANH, None)),
    )),
    ("silu", ("multiply", "x", ("sigmoid", "x"))),
    ("rope", ("add", ("multiply", "x", "?"),
              ("multiply", ("concat", ("negate", "x"), "x"), "?"))),
)  # fmt: skip


@dataclass
class _Match:
    steps: set[int]
    x: str | None = None


class _Finder:
    """Who wrote and who reads each tensor, among steps."""

    def __init__(self, steps: Sequence[Step], results: frozenset[str], weights: frozenset[str]):
        self.steps, self.results, self.weights = steps, results, weights
        self.writer = {t.name: i for i, s in enumerate(steps) for t in s.moment.writes}
        self.readers: dict[str, set[int]] = {}
        for i, step in enumerate(steps):
            for name in step.args:
                if name is not None:
                    self.readers.setdefault(name, set()).add(i)

    def match(self, root: int, pattern: Pattern) -> _Match | None:
        """The steps that `pattern` describes with its last one at `root`, if nobody else looks."""
        for found in self._step(root, pattern, _Match(set())):
            inner = found.steps - {root}
            if found.x is not None and all(self._private(i, found.steps) for i in inner):
                return found
        return None

    def _private(self, position: int, inside: set[int]) -> bool:
        outs = [t.name for t in self.steps[position].moment.writes]
        return not any(
            name in self.results or not self.readers.get(name, set()) <= inside for name in outs
        )

    def _step(self, position: int, pattern: Pattern, so_far: _Match) -> Iterator[_Match]:
        step = self.steps[position]
        if not isinstance(pattern, tuple):
            return
        word, *operands = pattern
        if word == "*" and step.op in ("multiply", "divide"):  # a scale
            word = step.op
        if step.op != word:
            return
        here = _Match({*so_far.steps, position}, so_far.x)
        # numbers that a source hands over as attributes are no tensors
        given = [a for a in step.args if a is not None]
        wanted = [p for p in operands if p is not None]
        if len(given) != len(wanted):
            return
        orders = [given, given[::-1]] if word in _COMMUTES and len(given) == 2 else [given]
        for order in orders:
            yield from self._all(order, wanted, here)

    def _all(
        self, names: Sequence[str], patterns: Sequence[Pattern], so_far: _Match
    ) -> Iterator[_Match]:
        if not names:
            yield so_far
            return
        for found in self._value(names[0], patterns[0], so_far):
            yield from self._all(names[1:], patterns[1:], found)

    def _value(self, name: str, pattern: Pattern, so_far: _Match) -> Iterator[_Match]:
        if pattern == "?":
            yield so_far
        elif pattern == "w":
            if name in self.weights:
                yield so_far
        elif pattern == "x":
            if so_far.x is None and name not in self.weights:
                yield _Match(so_far.steps, name)
            elif so_far.x == name:
                yield so_far
        elif name in self.writer:
            yield from self._step(self.writer[name], pattern, so_far)
        through = self.writer.get(name)
        if pattern != "?" and through is not None and self.steps[through].op in _LOOKED_THROUGH:
            inner = self.steps[through].args[0]
            if inner is not None:
                seen = _Match({*so_far.steps, through}, so_far.x)
                yield from self._value(inner, pattern, seen)


def recognise(found: Steps) -> None:
    """Replace each chain that is a known activation, norm or rotation by one step."""
    for kind, pattern in PATTERNS:
        _replace_all(found, kind, pattern)


def _replace_all(found: Steps, kind: str, pattern: Pattern) -> None:
    last = pattern[0] if isinstance(pattern, tuple) else ""
    finder = _Finder(found.steps, found.results, frozenset(found.weights))
    gone: set[int] = set()
    for position, step in enumerate(found.steps):
        if step.op != last:
            continue
        match = finder.match(position, pattern)
        if match is None or match.steps & gone:
            continue
        found.steps[position] = _whole(found.steps, sorted(match.steps), position, kind, match.x)
        gone |= match.steps - {position}
    found.steps = [step for i, step in enumerate(found.steps) if i not in gone]


def _whole(steps: Sequence[Step], members: list[int], root: int, kind: str, x: str | None) -> Step:
    """The members as one step: what they read from outside, the root's result, `kind`'s counts."""
    inside = {t.name for i in members for t in steps[i].moment.writes}
    reads: dict[str, Tensor] = {}
    for i in members:
        for tensor in steps[i].moment.reads:
            known = reads.get(tensor.name)
            if tensor.name not in inside and (known is None or known.bytes < tensor.bytes):
                reads[tensor.name] = tensor
    step = steps[root]
    formula = _counted(step, kind)
    name = step.moment.name
    moment = replace(formula, name=name, reads=tuple(reads.values()), writes=step.moment.writes)
    args = (x, *(name for name in reads if name != x))
    return Step(kind, moment, args, (), step.out_shape, step.scope)


def _counted(step: Step, kind: str) -> Moment:
    stage, dtype = step.moment.stage, step.moment.dtype
    elements, columns = prod(step.out_shape), step.out_shape[-1]
    rows = elements // columns
    if kind == "layer_norm":
        return op_counts.layer_norm(kind, stage, rows=rows, columns=columns, dtype=dtype)
    if kind == "rms_norm":
        return op_counts.rms_norm(kind, stage, rows=rows, columns=columns, dtype=dtype)
    if kind == "rope":
        return op_counts.rope(
            kind, stage, tokens=rows, heads=1, head_dim=columns, rotary_dim=columns, dtype=dtype,
            group="rope",
        )  # fmt: skip
    function = next(known for known in op_counts.ACTIVATIONS if known == kind)
    return op_counts.activation(kind, stage, function=function, elements=elements, dtype=dtype)
