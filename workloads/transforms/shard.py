"""Tensor parallelism: one rank's part of a program, with the collectives that join the parts.

Which products are split follows from the graph (as in Megatron-LM, arXiv:1909.08053, and with
`sequence`, arXiv:2205.05198). A product with weights whose result only meets operations that treat
heads or columns apart, until another product with weights takes it in, is split by columns; the
other by rows, and its result is a partial sum until it is reduced. What fits neither pattern
(routers, norms, latent projections) is done by every rank.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from workloads.errors import InputError
from workloads.footprint import live_activation_bytes
from workloads.moment import Footprint, Program
from workloads.transforms.parts import Part
from workloads.transforms.rewrite import distinct_segments, imported_names, rewrite
from workloads.transforms.shard_layout import Layout, find_layout
from workloads.transforms.shard_segment import shard_segment

if TYPE_CHECKING:
    from collections.abc import Mapping

    from workloads.moment import Segment


def shard_tensors(
    program: Program,
    ranks: int,
    *,
    rank: int = 0,
    sequence: bool = False,
    expert_parallel: bool = False,
) -> Program:
    """What rank `rank` of `ranks` computes; the first ranks have the most where parts are unequal.

    MACs and weights that are split add up over the ranks to the whole exactly; keys and values with
    fewer heads than ranks, and what fits no pattern, are repeated on each. `sequence`: norms and
    residuals work on a part of the rows, between a reduce-scatter and an all-gather. Experts are
    split inside, by columns and rows; with `expert_parallel` each rank has whole ones of its own
    and works on all rows that choose them. InputError: more ranks than heads, or not a rank.
    Not modelled: norms over the whole width of split queries exchange a sum of squares for each
    row, which is left out; a tied table of embeddings counts once in the footprint.
    """
    if ranks < 1 or not 0 <= rank < ranks:
        raise InputError(f"rank = {rank} of {ranks}: expected ranks >= 1 and 0 <= rank < ranks")
    if ranks == 1:
        return program
    part = Part(rank, ranks)
    kept = imported_names(program)
    layouts = {id(s): find_layout(s, kept, ranks) for s in distinct_segments(program)}
    if not any(layout.atoms for layout in layouts.values()):
        raise InputError(
            f"{program.workload}: nothing in it can be split among {ranks} devices by heads or"
            " columns"
        )
    heads = min((layout.heads for layout in layouts.values() if layout.heads), default=ranks)
    if ranks > heads:
        raise InputError(
            f"{program.workload}: tensor parallel over {ranks} devices, but it has {heads} heads;"
            f" expected at most {heads}"
        )

    def change(segment: Segment) -> Segment:
        layout = layouts[id(segment)]
        return shard_segment(
            segment, layout, part, sequence=sequence, whole_experts=expert_parallel
        )

    sharded = rewrite(program, change)
    return replace(sharded, footprint=_footprint(program, sharded, layouts, part))


def _footprint(
    program: Program, sharded: Program, layouts: Mapping[int, Layout], part: Part
) -> Footprint:
    """Weights that every rank repeats stay; all else is divided (tables and experts too)."""
    whole, here = _read_weights(program), _read_weights(sharded)
    shared = _partly_read(program)
    known = {key: size for key, size in whole.items() if key not in shared}
    rest = program.footprint.weight_bytes - sum(known.values())
    weights = sum(here[key] for key in known if key in here) + part.evenly(max(0, rest))
    caches, here_caches = _appended(program), _appended(sharded)
    cache = program.footprint.kv_cache_bytes
    if caches:
        cache = -(-cache * here_caches // caches)
    live = max(live_activation_bytes(s) for s in distinct_segments(sharded))
    return Footprint(weights, cache, live)


def _read_weights(program: Program) -> dict[tuple[str, str], int]:
    """Bytes of each weight that a program's first pass reads, by place and name."""
    found: dict[tuple[str, str], int] = {}
    for instance in program.instances():
        place = instance.storage
        for moment in instance.segment.moments:
            for tensor in moment.reads:
                if tensor.role == "weight":
                    key = (place, tensor.name)
                    found[key] = max(found.get(key, 0), tensor.bytes)
    return found


def _partly_read(program: Program) -> set[tuple[str, str]]:
    """Weights of which a moment reads only a part: tables, and experts that somebody chose."""
    return {
        (instance.storage, tensor.name)
        for instance in program.instances()
        for moment in instance.segment.moments
        if moment.kind == "embedding" or moment.name.startswith("expert_")
        for tensor in moment.reads
        if tensor.role == "weight"
    }


def _appended(program: Program) -> int:
    """Bytes that the program's layers write to their caches, as a measure of the caches."""
    return sum(
        tensor.bytes
        for instance in program.instances()
        for moment in instance.segment.moments
        for tensor in moment.writes
        if tensor.role == "kv_cache"
    )
