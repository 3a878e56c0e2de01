"""Expert parallelism: each rank has some of the experts, and tokens travel to theirs and back."""

from __future__ import annotations

from dataclasses import replace
from math import ceil

from workloads.errors import InputError
from workloads.moment import (
    CollectiveShape,
    Footprint,
    MatmulShape,
    Moment,
    Program,
    Segment,
)
from workloads.op_counts import collective, loaded_experts
from workloads.transforms.rewrite import distinct_segments, rewrite
from workloads.transforms.storage import stored_as


def spread_experts(program: Program, ranks: int) -> Program:
    """One of `ranks` ranks that have a part of the batch (this program's) and of the experts each.

    Every rank sends the rows of its tokens to the experts that they chose, wherever these are, and
    takes in as many (the choice is balanced, as `loaded_experts` has it): its MACs stay the same,
    but its experts serve the tokens of all ranks. Rows go out and come back by all-to-all.
    InputError: no experts, or more ranks than experts. Not modelled: unbalanced choice, rows that
    two experts of one rank need sent only once, redundant copies of experts.
    """
    if ranks == 1:
        return program
    routers = [m for s in distinct_segments(program) for m in s.moments if m.name == "router"]
    if not routers:
        raise InputError(f"{program.workload}: expert parallel over {ranks}, but it has no experts")
    experts = min(m.shape.n for m in routers if isinstance(m.shape, MatmulShape))
    if ranks > experts:
        raise InputError(
            f"{program.workload}: expert parallel over {ranks} ranks, but it has {experts} experts"
        )
    spread = rewrite(program, lambda segment: _spread(segment, ranks))
    return replace(spread, footprint=_footprint(program, ranks))


def _spread(segment: Segment, ranks: int) -> Segment:
    router = next((m for m in segment.moments if m.name == "router"), None)
    if router is None or not isinstance(router.shape, MatmulShape):
        return segment
    moments: list[Moment] = []
    for moment in segment.moments:
        if moment.name == "dispatch":
            moments += _sent(moment, "dispatched", ranks)
        elif moment.name == "expert_down":
            moments += _sent(_on_rank(moment, router.shape, ranks), "expert_rows", ranks)
        elif moment.name.startswith("expert_") and isinstance(moment.shape, MatmulShape):
            moments.append(_on_rank(moment, router.shape, ranks))
        else:
            moments.append(moment)
    return Segment.from_moments(segment.name, _shared_meanwhile(moments))


def _shared_meanwhile(moments: list[Moment]) -> list[Moment]:
    """The products of a shared expert right behind the rows' departure, which they need not await.

    As serving engines do, on a second stream.
    """
    left = next(i for i, m in enumerate(moments) if m.name == "dispatched_all_to_all") + 1
    rest = {t.name for m in moments[left:] for t in m.writes}
    early: list[Moment] = []
    for moment in moments[left:]:
        free = moment.name.startswith("shared_") and not rest & {t.name for t in moment.reads}
        if free:
            early.append(moment)
            rest -= {t.name for t in moment.writes}
    late = [m for m in moments[left:] if m not in early]
    return [*moments[:left], *early, *late]


def _sent(moment: Moment, name: str, ranks: int) -> list[Moment]:
    """A moment whose result then travels: it writes a name of its own, the all-to-all the old."""
    tensor = next(t for t in moment.writes if t.name == name)
    here = f"{name}.here"
    writes = tuple(replace(t, name=here) if t is tensor else t for t in moment.writes)
    shape = CollectiveShape("all_to_all", max(1, tensor.bytes), ranks)
    moved = collective(
        f"{name}_all_to_all", moment.stage, shape=shape, dtype=moment.dtype, source=here,
        target=name,
    )  # fmt: skip
    return [replace(moment, writes=writes), moved]


def _on_rank(moment: Moment, router: MatmulShape, ranks: int) -> Moment:
    """A product of this rank's experts with the rows that all ranks send to them."""
    shape = moment.shape
    assert isinstance(shape, MatmulShape)  # noqa: S101 - for the type checker
    rows = moment.counts.macs // (shape.n * shape.k)
    experts, chosen = router.n, max(1, rows // router.m)
    loaded = loaded_experts(router.m * ranks, experts, chosen) / ranks
    products = max(1, round(loaded))
    values = max(1, round(loaded * shape.n * shape.k))
    stored = stored_as(moment).value_bytes(values, -(-values // shape.k))
    reads = tuple(
        replace(t, bytes=stored, elements=values) if t.name.endswith(".weight") else t
        for t in moment.reads
    )
    return replace(moment, shape=replace(shape, batch=products, m=ceil(rows / products)),
                   reads=reads)  # fmt: skip


def _footprint(program: Program, ranks: int) -> Footprint:
    """The experts of all layers divided by the ranks, all else whole."""
    seen: set[str] = set()
    in_experts = 0
    for instance in program.instances():
        router = next((m for m in instance.segment.moments if m.name == "router"), None)
        if router is None or instance.storage in seen or not isinstance(router.shape, MatmulShape):
            continue
        seen.add(instance.storage)
        for moment in instance.segment.moments:
            if moment.name.startswith("expert_") and isinstance(moment.shape, MatmulShape):
                elements = router.shape.n * moment.shape.n * moment.shape.k
                rows = router.shape.n * moment.shape.n
                in_experts += stored_as(moment).total_bytes(elements, rows, router.shape.n)
    need = program.footprint
    moved = in_experts - -(-in_experts // ranks)
    return Footprint(need.weight_bytes - moved, need.kv_cache_bytes, need.activation_bytes)
