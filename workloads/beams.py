"""Beam search: the rows of its passes, and the caches that follow the beams that survive."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from workloads.attention import cached_positions
from workloads.errors import InputError, shown
from workloads.moment import ElementShape, Moment, OperationCounts, Segment, Tensor
from workloads.op_counts import TOKEN_BYTES
from workloads.op_counts.common import tensor

if TYPE_CHECKING:
    from workloads.layers import LayerKind
    from workloads.model import Model
    from workloads.request import Request
    from workloads.step import Step

REORDER = "reorder"
"""Group of the moments that gather a cache."""


def with_beams(
    model: Model, requests: Sequence[Request], beams: int, prompt_once: bool
) -> list[Request]:
    """The passes of a greedy generation as those of a search with `beams` beams a sequence.

    A decode pass has a row for each beam, and first gathers the caches of the beams that survived
    the choice before it. The prompt is read once a sequence (`prompt_once`), so that the first
    gathering also spreads its cache over the beams, or once a beam. The decoder of an
    encoder-decoder has a row for each beam from its first pass on; the encoder has not. All beams
    run to the full length: none ends early.
    """
    if beams == 1:
        return list(requests)
    if model.memory:
        raise InputError(f"beams = {shown(beams)}: {model.name} keeps a memory, not a cache")
    if len(requests) == 1 and requests[0].phase == "prefill":
        raise InputError(f"beams = {shown(beams)}: a search generates; give generate = tokens")
    found: list[Request] = []
    spread = False
    for request in requests:
        first = request.phase == "prefill"
        rows = 1 if first and prompt_once and model.encoder is None else beams
        gathers = 0
        if not first:
            gathers = 1 if found and not spread else beams
        spread = rows == beams
        found.append(replace(request, rows=rows, gathers=gathers))
    return found


def gather_caches(model: Model, step: Step, kind: LayerKind, segment: Segment) -> Segment:
    """The layer with its caches gathered first, in the order of the beams that survived.

    Each new row's cache is read from the row that it comes from and written: cached positions x
    width x rows in and out, as index_select does. Where one row a sequence becomes many, each is
    read once. The caches of cross-attention, alike for all beams, are gathered too, as Hugging
    Face does; runtimes that keep a table instead drop these moments (transforms.share_caches).
    """
    positions = cached_positions(kind.window, step.context)
    indices = Tensor("beam_indices", step.batch * TOKEN_BYTES, "activation")
    gathers: list[Moment] = []
    rest: list[Moment] = []
    crossed = {
        t.name: t.elements
        for m in segment.moments
        for t in m.reads
        if t.role == "kv_cache" and t.name.startswith("cross_")
    }
    for name, size in crossed.items():
        gathers.append(_gather(name, size, size, indices, step))
    for moment in segment.moments:
        if moment.kind != "cache_append":
            rest.append(moment)
            continue
        target = moment.writes[0]
        size = target.elements // step.tokens * positions
        gathers.append(_gather(target.name, size * step.gathers // step.beams, size, indices, step))
        # the append adds to what was gathered: it touches no byte of it, but has to follow
        after = Tensor(target.name, 0, "kv_cache")
        rest.append(replace(moment, reads=(*moment.reads, after)))
    return Segment.from_moments(segment.name, [*gathers, *rest])


def _gather(name: str, read: int, written: int, indices: Tensor, step: Step) -> Moment:
    """`read` values of a cache become `written` ones, in the order that `indices` say."""
    return Moment(
        f"reorder_{name}",
        "copy",
        "decode",
        ElementShape(written),
        step.dtype,
        OperationCounts(),
        (tensor(name, read, step.dtype, "kv_cache"), indices),
        (tensor(name, written, step.dtype, "kv_cache"),),
        group=REORDER,
    )
