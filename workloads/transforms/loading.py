"""A cold start: the weights come in before anything is computed."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, TypeAlias

from workloads.errors import InputError, nearest, shown
from workloads.moment import (
    ElementShape,
    Moment,
    OperationCounts,
    Program,
    Repeat,
    Segment,
    Tensor,
)
from workloads.passes import on_steps
from workloads.transforms.rewrite import rewrite

Origin: TypeAlias = Literal["disk", "host"]
ORIGINS: tuple[Origin, ...] = ("disk", "host")

_LOADED = Tensor("loaded", 0, "activation")


@on_steps
def load_weights(program: Program, origin: Origin) -> Program:
    """The program with a moment "load/load_weights" of the stage initialise before all others.

    It brings in all weights of the footprint, from "disk" or from the memory of the "host", and
    each segment waits for it: nothing is computed while weights arrive, as in a framework that
    loads a model and then runs it. Operation counts do not change. InputError: another origin.
    """
    if origin not in ORIGINS:
        hint = nearest(origin, ORIGINS) if isinstance(origin, str) else ""
        raise InputError(f"cold = {shown(origin)}: expected disk or host{hint}")
    waiting = rewrite(program, _after_loading)
    size = program.footprint.weight_bytes
    moment = Moment(
        "load_weights",
        "load",
        "initialise",
        ElementShape(size),
        program.dtype,
        OperationCounts(),
        (Tensor(f"weights_on_{origin}", size, "weight"),),
        (_LOADED,),
        group=origin,
    )
    first = waiting.passes[0]
    load = Repeat(Segment("load", (moment,), ()))
    cold = replace(first, repeats=(load, *first.repeats))
    return replace(waiting, passes=(cold, *waiting.passes[1:]))


def _after_loading(segment: Segment) -> Segment:
    """The segment whose first moments wait for the weights; they read no byte for it."""
    follows = {consumer for _, consumer in segment.edges}
    moments = tuple(
        m if i in follows else replace(m, reads=(*m.reads, _LOADED))
        for i, m in enumerate(segment.moments)
    )
    return Segment(segment.name, moments, segment.edges)
