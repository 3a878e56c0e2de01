"""A model as its file or exporter states it: operators on named values of known shapes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any

from workloads.moment import Role

ELEMENT_BITS = {
    "fp64": 64,
    "fp32": 32,
    "fp16": 16,
    "bf16": 16,
    "fp8": 8,
    "int64": 64,
    "int32": 32,
    "int16": 16,
    "int8": 8,
    "int4": 4,
    "bool": 8,
}
"""Bits of one stored element; unsigned integers are as wide as signed ones."""

FLOATS = ("fp64", "fp32", "fp16", "bf16", "fp8")


@dataclass(frozen=True, slots=True)
class Value:
    """One tensor of a model: `dtype` is a name of ELEMENT_BITS, `role` that of moments.

    `fixed`: known before the run (a weight, a buffer, a constant, what follows from sizes alone).
    `constant`: written into the graph itself, not stored as one of the model's weights.
    `trained`: a parameter, as far as the source tells parameters from buffers.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    role: Role = "activation"
    fixed: bool = False
    constant: bool = False
    trained: bool = False

    @property
    def elements(self) -> int:
        return prod(self.shape)

    @property
    def bytes(self) -> int:
        return -(-self.elements * ELEMENT_BITS[self.dtype] // 8)


@dataclass(frozen=True, slots=True)
class Node:
    """One operator: `op` is its name in the source's own terms, `scope` the module it is in.

    An absent optional input is None. `attributes` hold plain numbers, texts and tuples of them;
    `free` says that the source knows it to be only another view of its first input.
    """

    op: str
    name: str
    inputs: tuple[Value | None, ...]
    outputs: tuple[Value, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    scope: str = ""
    free: bool = False

    def input(self, index: int) -> Value | None:
        """An input, or None where it is not given."""
        return self.inputs[index] if index < len(self.inputs) else None

    def need(self, index: int) -> Value:
        """An input that the operator cannot be without; ValueError where it is not given."""
        value = self.input(index)
        if value is None:
            raise ValueError(f"input {index} is missing")
        return value

    @property
    def out(self) -> Value:
        return self.outputs[0]


@dataclass(frozen=True)
class OperatorGraph:
    """The operators of one model in an order in which each follows what it reads."""

    name: str
    nodes: tuple[Node, ...]
    outputs: frozenset[str]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class UnknownOperators:
    """Operators without a formula: name -> (how often, the name of one such node)."""

    found: Mapping[str, tuple[int, str]]

    def __str__(self) -> str:
        listed = sorted(self.found.items())
        return ", ".join(f"{op} ({count} x, such as {node!r})" for op, (count, node) in listed)
