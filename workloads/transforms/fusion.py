"""Fusion: moments that a runtime executes as one kernel become one moment."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

from workloads.footprint import peak_activation_bytes
from workloads.moment import ElementShape, MatmulShape, Moment, Program, Segment
from workloads.passes import on_steps
from workloads.transforms.heads import split_segment
from workloads.transforms.rewrite import (
    Merge,
    contract,
    extreme_segments,
    imported_names,
    rewrite,
    with_activation_bytes,
)
from workloads.transforms.shift_norms import shift_norms

_QKV_GROUPS = ("qkv", "kv_up", "cross_kv", "global_kv")
"""Of attention, of latent attention's expansion, of cross-attention, of global tokens."""

_GATE_UP_GROUPS = ("gate_up", "expert_gate_up", "shared_gate_up")


@dataclass(frozen=True, slots=True)
class Fusion:
    """Which moments a runtime executes as one.

    `qkv`: the projections to queries, keys and values, as one product with the widths summed.
    `gate_up`: the two projections of a gated feed-forward likewise. `attention`: "separate", one
    moment per sequence and head; "batched", one per operation for all heads (as compiled);
    "fused", one for the whole core, whose scores are never stored. `epilogue`: an activation and
    its gating with the matrix product before it. `residual_norm`: a residual sum with the norm
    that follows it, also across the border of two layers. Where activations are quantized, the
    last two do that too for what they write. `cache`: the rotations of queries and keys and the
    appends to the cache, as one. `copies`: rows that are moved (shifted, cut into windows, joined
    again), once for each run of copies, by the norm before them where there is one. The default is
    as compiled.
    """

    qkv: bool = False
    gate_up: bool = False
    attention: Literal["separate", "batched", "fused"] = "batched"
    epilogue: bool = False
    residual_norm: bool = False
    cache: bool = False
    copies: bool = False


@on_steps
def fuse(program: Program, fusion: Fusion) -> Program:
    """The program as a runtime with these fusions executes it.

    Operation counts are conserved exactly and the graph stays acyclic. What is merged reads each
    of its operands once, and tensors that only pass between merged moments vanish; the footprint's
    activations are estimated anew. Each distinct segment is worked on once.
    """
    if fusion.attention not in ("separate", "batched", "fused"):
        raise ValueError(
            f'attention = {fusion.attention!r}: expected "separate", "batched" or "fused"'
        )
    if fusion.residual_norm:
        program = shift_norms(program)
    keep = imported_names(program)
    program = rewrite(program, lambda segment: _fuse_segment(segment, fusion, keep))
    return with_activation_bytes(program, peak_activation_bytes(extreme_segments(program)))


def _fuse_segment(segment: Segment, fusion: Fusion, keep: frozenset[str]) -> Segment:
    rules: list[tuple[bool, Callable[[Segment], list[Merge]]]] = [
        *((fusion.qkv, partial(_side_by_side, group=group)) for group in _QKV_GROUPS),
        *((fusion.gate_up, partial(_side_by_side, group=group)) for group in _GATE_UP_GROUPS),
        (fusion.epilogue, _epilogues),
        (fusion.residual_norm, _residual_norms),
        (fusion.residual_norm, partial(_quantizations, kinds=("layer_norm", "rms_norm"))),
        (fusion.epilogue, partial(_quantizations, kinds=("matmul",))),
        (fusion.cache, _cache_updates),
        (fusion.copies, _copies),
        (fusion.attention == "fused", _cores),
    ]
    for wanted, find in rules:
        if wanted:
            segment = contract(segment, find(segment), keep)
    return split_segment(segment, keep) if fusion.attention == "separate" else segment


def _side_by_side(segment: Segment, group: str) -> list[Merge]:
    """Products of one group that read the same rows: one product, their widths summed."""
    producers = segment.producers
    # the same name may mean another value further on, hence the producers
    found: dict[tuple[str, tuple[int, ...]], list[int]] = {}
    for position, moment in enumerate(segment.moments):
        if moment.group == group and moment.kind == "matmul":
            key = (moment.reads[0].name, producers[position])
            found.setdefault(key, []).append(position)
    merges = []
    for members in found.values():
        if len(members) < 2:
            continue
        shapes = [segment.moments[position].shape for position in members]
        first = shapes[0]
        if not isinstance(first, MatmulShape):
            continue
        width = sum(shape.n for shape in shapes if isinstance(shape, MatmulShape))
        merges.append(Merge(tuple(members), members[0], group, "matmul", replace(first, n=width)))
    return merges


def _as(segment: Segment, members: list[int], primary: int) -> Merge:
    """Members merged under the name, kind and shape of one of them."""
    moment = segment.moments[primary]
    return Merge(tuple(members), primary, moment.name, moment.kind, moment.shape)


def _epilogues(segment: Segment) -> list[Merge]:
    """Each "epilogue" joins the latest moment that it follows, if that is (part of) a product."""
    root = list(range(len(segment.moments)))
    producers = segment.producers
    for position, moment in enumerate(segment.moments):
        if moment.group != "epilogue" or not producers[position]:
            continue
        latest = max(producers[position])
        if segment.moments[root[latest]].kind == "matmul":
            root[position] = root[latest]
    return _clusters(segment, root, primary=min)


def _clusters(
    segment: Segment, root: list[int], primary: Callable[[list[int]], int]
) -> list[Merge]:
    members: dict[int, list[int]] = {}
    for position, top in enumerate(root):
        members.setdefault(top, []).append(position)
    return [
        _as(segment, cluster, primary(cluster)) for cluster in members.values() if len(cluster) > 1
    ]


def _residual_norms(segment: Segment) -> list[Merge]:
    """Each sum joins the norm that reads it, or the sum that alone reads it."""
    moments = segment.moments
    consumers: dict[int, list[int]] = {}
    for producer, consumer in segment.edges:
        consumers.setdefault(producer, []).append(consumer)
    root = list(range(len(moments)))
    for position in reversed(range(len(moments))):
        if not _sums(moments[position]):
            continue
        followers = consumers.get(position, [])
        norms = [c for c in followers if _norms(moments[c])]
        if norms:
            root[position] = root[norms[0]]
        elif len(followers) == 1 and _sums(moments[followers[0]]):
            root[position] = root[followers[0]]
    return _clusters(segment, root, primary=max)


def _sums(moment: Moment) -> bool:
    return moment.kind == "add" and moment.group == "residual_norm"


def _norms(moment: Moment) -> bool:
    return moment.kind in ("layer_norm", "rms_norm") and moment.group == "residual_norm"


def _quantizations(segment: Segment, kinds: tuple[str, ...]) -> list[Merge]:
    """Each quantization of rows joins the one moment that writes them, a kernel of one of `kinds`.

    A product only if it has an epilogue already: what follows it is then work on its outputs.
    """
    root = list(range(len(segment.moments)))
    producers = segment.producers
    for position, moment in enumerate(segment.moments):
        if moment.kind != "quantize" or len(producers[position]) != 1:
            continue
        before = segment.moments[producers[position][0]]
        has_epilogue = any(kind != "matmul" for kind in before.fused)
        if before.kind in kinds and (before.kind != "matmul" or has_epilogue):
            root[position] = producers[position][0]
    return _clusters(segment, root, primary=min)


def _copies(segment: Segment) -> list[Merge]:
    """Each copy joins the copy or norm that writes its rows, unless others read those too."""
    root = list(range(len(segment.moments)))
    producers = segment.producers
    readers = Counter(producer for producer, _ in segment.edges)
    for position, moment in enumerate(segment.moments):
        if moment.kind == "copy" and len(producers[position]) == 1:
            (before,) = producers[position]
            kind = segment.moments[before].kind
            if kind in ("copy", "layer_norm", "rms_norm") and readers[before] == 1:
                root[position] = root[before]
    return _clusters(segment, root, primary=min)


def _cache_updates(segment: Segment) -> list[Merge]:
    """The rotations and cache appends of one attention call: one moment.

    Those that follow each other without another moment between them belong to one call.
    """
    runs: list[list[int]] = []
    for position, moment in enumerate(segment.moments):
        if moment.group in ("rope", "append"):
            if runs and runs[-1][-1] == position - 1:
                runs[-1].append(position)
            else:
                runs.append([position])
    return [_cache_update(segment, run) for run in runs if len(run) > 1]


def _cache_update(segment: Segment, run: list[int]) -> Merge:
    consumers: dict[int, set[int]] = {}
    for producer, consumer in segment.edges:
        consumers.setdefault(producer, set()).add(consumer)
    elements = 0
    for position in run:
        shape = segment.moments[position].shape
        inside = consumers.get(position, set()) <= set(run) and position in consumers
        if isinstance(shape, ElementShape) and not inside:
            elements += shape.elements
    first = segment.moments[run[0]]
    return Merge(tuple(run), run[0], "cache_update", first.kind, ElementShape(elements))


def _cores(segment: Segment) -> list[Merge]:
    """Scores, softmax and context of one call: one moment of the kind attention."""
    producers = segment.producers
    merges = []
    for position, moment in enumerate(segment.moments):
        if moment.group != "core" or moment.kind != "matmul" or moment.attention is None:
            continue
        softmax = [p for p in producers[position] if segment.moments[p].kind == "softmax"]
        scores = [
            p
            for s in softmax
            for p in producers[s]
            if segment.moments[p].group == "core" and segment.moments[p].kind == "matmul"
        ]
        if len(softmax) == len(scores) == 1:
            members = (*scores, *softmax, position)
            name = moment.name.replace("context", "attention")
            merges.append(Merge(members, position, name, "attention", moment.attention))
    return merges
