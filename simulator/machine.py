"""Puts a program on a machine: fusions, traffic, demands and the engine's plan."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from simulator.demand import Context, Demand, demand_of
from simulator.engine import FlatGraph, Plan
from simulator.fold import Block, column, fold, with_demands
from simulator.memory import Hierarchy, Traffic, hierarchy
from simulator.placing import places_of, with_nodes
from simulator.shared_work import Reuse
from simulator.sharing import RATE_ONE
from workloads import InputError
from workloads.moment import RowShape
from workloads.transforms import Fusion

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hardware_profiles.schema import Profile
    from simulator.runtime import OnDevice, Runtime
    from workloads.flat import FlatProgram
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
    blocks: Sequence[Block] | None = None
    """The same in blocks of instances that are alike; None where the program cannot be folded."""
    order: FlatGraph | None = None
    """The edges that the engine keeps to, where a schedule adds some to those of `flat`."""


@dataclass(frozen=True)
class Placed:
    """A fused program and where its bytes are found, whatever the clock; see Job."""

    program: Program
    flat: FlatProgram
    traffic: Sequence[Traffic]
    levels: Hierarchy
    blocks: Sequence[Block] | None


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


def place(
    program: Program,
    profile: Profile,
    runtime: Runtime,
    *,
    warm: Mapping[str, int] | None = None,
    must_hold: MustHold = "everything",
    folded: bool = True,
    reuse: Reuse | None = None,
) -> Placed:
    """Fuse as the runtime does, and find where the bytes are, in blocks if it is to be `folded`.

    `warm`: for roles of tensors, how many times each moment's bytes lie between the last use before
    the run and the first in it (1: the same moment was just run). `reuse`: see there. Raises
    InputError when the runtime does not run on this kind of machine or the model does not fit.
    """
    section = runtime.on(profile.kind)
    program = with_nodes(program, profile)
    common = (reuse or Reuse()).common(program, section, fusion_of(section, program))
    fused, flat = common.fused, common.flat
    check_fits(fused, profile, must_hold)  # fused attention stores no scores
    levels = hierarchy(profile)
    blocks = None
    if folded and section.policy == "stream":
        blocks = fold(fused, levels, warm) if reuse is None else common.blocks(levels, warm)
    traffic: Sequence[Traffic]
    if blocks:
        traffic = column(blocks, lambda block, _, position: block.traffic[position])
    else:
        blocks, traffic = None, common.traffic(levels, warm)
    return Placed(fused, flat, traffic, levels, blocks)


def prepare(
    program: Program,
    profile: Profile,
    runtime: Runtime,
    *,
    warm: Mapping[str, int] | None = None,
    must_hold: MustHold = "everything",
) -> Job:
    """Place a program and compute its demands, as `place` and `job_on` do one after the other."""
    return job_on(
        place(program, profile, runtime, warm=warm, must_hold=must_hold), profile, runtime
    )


def job_on(placed: Placed, profile: Profile, runtime: Runtime) -> Job:
    """Compute the demand of every moment on `profile`, whose clock may be lower than it was."""
    section = runtime.on(profile.kind)
    program, flat = placed.program, placed.flat
    context = Context(profile, section, placed.levels)
    asked = _Demands(context, program)
    starts = _pass_starts(program)
    plan = _plan(context, section, _awaited_starts(program, starts))
    if placed.blocks is not None:
        blocks = with_demands(placed.blocks, asked.of, lambda b, d: asked.first(b.pass_index, d))
        alike = column(blocks, lambda block, _, position: block.demands[position])
        return Job(program, flat, placed.traffic, alike, placed.levels, plan, blocks)
    demands = [asked.of(m, t) for m, t in zip(flat.moments, placed.traffic, strict=True)]
    for pass_index, start in enumerate(starts):
        demands[start] = asked.first(pass_index, demands[start])
    places, home = places_of(
        flat, demands, plan.core_count, plan.memory_rate, stream=plan.policy == "stream"
    )
    if places:
        plan = replace(plan, places=places, home=home)
    return Job(program, flat, placed.traffic, demands, placed.levels, plan)


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


class _Demands:
    """Demands of a program's moments; equal work (the same moment and traffic) is computed once."""

    def __init__(self, context: Context, program: Program) -> None:
        self._context, self._program = context, program
        self._known: dict[tuple[int, Traffic], Demand] = {}
        self._firsts: dict[int, Demand] = {}
        host = context.runtime.host
        self._forward_cycles = 0 if host is None else context.host_cycles(host.per_pass_s)

    def of(self, moment: Moment, moved: Traffic) -> Demand:
        """What a moment of the program asks for."""
        key = (id(moment), moved)
        demand = self._known.get(key)
        if demand is None:
            demand = self._known[key] = demand_of(moment, moved, self._context)
        return demand

    def first(self, pass_index: int, demand: Demand) -> Demand:
        """The demand of a pass's first moment, with the host time of a forward around operators."""
        phase = self._program.passes[pass_index].phase
        if not self._forward_cycles or phase == "operator":  # which has no model around it
            return demand
        known = self._firsts.get(id(demand))
        if known is None:
            cycles = demand.dispatch_cycles + self._forward_cycles
            known = self._firsts[id(demand)] = replace(demand, dispatch_cycles=cycles)
        return known


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
