"""Puts a program on a machine: fusions, traffic, demands and the engine's plan."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from simulator.demand import Context, Demand, demand_of
from simulator.engine import Plan
from simulator.memory import Hierarchy, Traffic, hierarchy, run_traffic
from simulator.placing import places_of, with_nodes
from simulator.sharing import RATE_ONE
from workloads import InputError
from workloads.flat import FlatProgram, flatten
from workloads.moment import RowShape
from workloads.transforms import Fusion, copy_caches, fuse, share_caches

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hardware_profiles.schema import Profile
    from simulator.runtime import HostTable, OnDevice, Runtime
    from workloads.moment import Moment, Program


@dataclass(frozen=True)
class Job:
    """All that the engine needs, and what views need to explain its trace."""

    program: Program
    flat: FlatProgram
    traffic: Sequence[Traffic]
    demands: Sequence[Demand]
    levels: Hierarchy
    plan: Plan


MustHold = Literal["everything", "weights"]


def check_fits(program: Program, profile: Profile, must_hold: MustHold = "everything") -> None:
    """InputError when weights, cache and activations exceed the memory, with what would fit.

    With "weights" only these have to fit: for what is known to have run, in smaller pieces.
    """
    capacity = profile.memory["dram"].capacity_bytes
    need = program.footprint
    if (need.total_bytes if must_hold == "everything" else need.weight_bytes) <= capacity:
        return
    moving = need.kv_cache_bytes + need.activation_bytes
    room = capacity - need.weight_bytes
    if room <= 0:
        bits = 8 * need.weight_bytes / capacity
        advice = (
            f"the weights alone do not fit in {program.dtype}: they need {bits / 8:.2f} times the "
            "memory; narrower weights, a smaller model or a machine with more memory would fit"
        )
    else:
        batch = program.batch * room // max(1, moving)
        advice = (
            f"a batch of {batch} would fit"
            if batch >= 1
            else f"the weights fit; sequences of about {room / moving:.0%} of the length would fit"
        )
    each = f" on each of {program.layout.devices} devices" if program.layout.devices > 1 else ""
    raise InputError(
        f"{program.workload} needs {_gb(need.total_bytes)} (weights {_gb(need.weight_bytes)}, KV "
        f"cache {_gb(need.kv_cache_bytes)}, activations {_gb(need.activation_bytes)}){each} but "
        f"{profile.name} has {_gb(capacity)}; {advice}"
    )


def _gb(count: int) -> str:
    return f"{count / 1e9:.2f} GB"


def prepare(
    program: Program,
    profile: Profile,
    runtime: Runtime,
    *,
    warm: Mapping[str, int] | None = None,
    must_hold: MustHold = "everything",
) -> Job:
    """Fuse as the runtime does, find where the bytes are, and compute every moment's demand.

    `warm`: for roles of tensors, how many times each moment's bytes lie between the last use before
    the run and the first in it (1: the same moment was just run). Raises
    InputError when the runtime does not run on this kind of machine or the model does not fit.
    """
    section = runtime.on(profile.kind)
    program = with_nodes(program, profile)
    if section.copies_caches:
        program = copy_caches(program)
    if section.beams == "indirect":
        program = share_caches(program)
    fused = fuse(program, fusion_of(section, program))
    check_fits(fused, profile, must_hold)  # fused attention stores no scores
    flat = flatten(fused)
    levels = hierarchy(profile)
    traffic = run_traffic(fused.instances(), levels, warm or {})
    context = Context(profile, section, levels)
    demands = _demands(flat.moments, traffic, context)
    starts = _pass_starts(fused)
    waits = _awaited_starts(fused, starts)
    if section.host is not None:
        _add_forward_costs(demands, fused, starts, context, section.host)
    plan = _plan(context, section, waits)
    places, home = places_of(
        flat, demands, plan.core_count, plan.memory_rate, stream=plan.policy == "stream"
    )
    if places:
        plan = replace(plan, places=places, home=home)
    return Job(fused, flat, traffic, demands, levels, plan)


def fusion_of(section: OnDevice, program: Program) -> Fusion:
    """The runtime's fusions as far as its kernels take this program's type and lengths."""
    table = section.fusion
    attention = table.attention
    if attention == "fused":
        keys = _longest_row(program)
        known = not table.fused_dtypes or program.dtype in table.fused_dtypes
        if not known or (table.fused_keys is not None and keys > table.fused_keys):
            attention = "batched"
    return Fusion(
        qkv=table.qkv,
        gate_up=table.gate_up,
        attention=attention,
        epilogue=table.epilogue,
        residual_norm=table.residual_norm,
        cache=table.cache,
    )


def _longest_row(program: Program) -> int:
    """Keys of the longest softmax of attention: of a window, where queries see no more."""
    segments = {id(r.segment): r.segment for step in program.passes for r in step.repeats}
    shapes = [
        moment.shape
        for segment in segments.values()
        for moment in segment.moments
        if moment.kind == "softmax" and moment.stage == "attention"
    ]
    return max((shape.columns for shape in shapes if isinstance(shape, RowShape)), default=0)


def _demands(
    moments: Sequence[Moment], traffic: Sequence[Traffic], context: Context
) -> list[Demand]:
    """Demands by moment; equal work (the same moment object and traffic) is computed once."""
    known: dict[tuple[int, Traffic], Demand] = {}
    found: list[Demand] = []
    for moment, moved in zip(moments, traffic, strict=True):
        key = (id(moment), moved)
        demand = known.get(key)
        if demand is None:
            demand = known[key] = demand_of(moment, moved, context)
        found.append(demand)
    return found


def _add_forward_costs(
    demands: list[Demand],
    program: Program,
    starts: Sequence[int],
    context: Context,
    host: HostTable,
) -> None:
    """Host time of a model's forward around its operators, before the first moment of a pass."""
    forward = context.host_cycles(host.per_pass_s)
    for step, start in zip(program.passes, starts, strict=True):
        if forward and step.phase != "operator":  # an operator has no model around it
            cycles = demands[start].dispatch_cycles + forward
            demands[start] = replace(demands[start], dispatch_cycles=cycles)


def _pass_starts(program: Program) -> list[int]:
    starts, first = [], 0
    for step in program.passes:
        starts.append(first)
        first += step.moment_count
    return starts


def _awaited_starts(program: Program, starts: Sequence[int]) -> frozenset[int]:
    """Where a pass begins that needs a chosen token, as the pieces of a prompt do not."""
    pairs = zip(program.passes, program.passes[1:], starts[1:], strict=False)
    return frozenset(
        start for before, step, start in pairs if {before.phase, step.phase} != {"prefill"}
    )


def _plan(context: Context, section: OnDevice, awaited: frozenset[int]) -> Plan:
    host = section.host
    waits = host is not None and host.mode == "asynchronous" and host.waits_for_token
    return Plan(
        core_count=context.cores,
        clock_hz=context.clock_hz,
        memory_rate=int(context.dram_bytes_per_cycle * RATE_ONE),
        policy=section.policy,
        host="none" if host is None else host.mode,
        host_clock_hz=context.host_clock_hz,
        queue_depth=1024 if host is None else host.queue_depth,
        launch_cycles=0 if host is None else context.cycles(host.launch_s),
        waits_before=awaited if waits else frozenset(),
    )
