"""One simulated run: the facade over compiler, machine, engine and views."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, partial
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any

from hardware_profiles.variants import at_clock_share
from simulator import engine
from simulator.attribution import attribute
from simulator.capacity import bounds_s, utilization
from simulator.demand import Context
from simulator.machine import Job, MustHold, job_on, place
from simulator.power import default_limit_watts, power_report, within_limit
from simulator.runtime import Runtime, default_runtime, load_runtime
from simulator.tally import Tally, tallies
from workloads.graph import program_from_graph
from workloads.moment import STAGES, Program
from workloads.passes import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    import networkx as nx
    import pandas as pd

    from hardware_profiles.schema import Profile
    from simulator.forward_calibration import ForwardScales
    from simulator.intervals import Interval
    from simulator.machine import Placed
    from simulator.power import PowerReport
    from simulator.scheduling import Schedule
    from simulator.shared_work import Reuse
    from simulator.trace import Trace
    from workloads.moment import Moment


def simulate(
    program: Program | nx.DiGraph[Any],
    profile: Profile,
    runtime: Runtime | str | None = None,
    *,
    warm: Mapping[str, int] | None = None,
    must_hold: MustHold = "everything",
    clock_share: float | None = None,
    limit_watts: float | None = None,
    fold: bool = True,
    reuse: Reuse | None = None,
    schedule: Schedule | None = None,
    scales: ForwardScales | None = None,
) -> Run:
    """Predict how `program` runs on `profile` under `runtime` (default: pytorch-eager).

    `program` may be a graph whose nodes carry a `moment`. `warm`: roles of tensors that may be in
    cache at the start, see simulator.machine.place; `must_hold`: what has to fit in memory.
    `clock_share`: of the machine's clocks, for a board whose power limit holds them down; None: all
    of them, or what `limit_watts` leave (default: simulator.power.default_limit_watts). `fold`:
    instances of a segment met in the same state are simulated once; the result is the same.
    `reuse`: for many runs of the same program on variants of a machine, see simulator.shared_work.
    `schedule`: in which order moments are issued, on how many cores; None: as the runtime does.
    `scales`: what machine and runtime reach together in whole passes (None: what they declare), see
    simulator.forward_calibration.
    Raises InputError for a graph with a cycle, a runtime that is unknown or does not run on this
    kind of machine, and a model that does not fit.
    """
    if not isinstance(program, Program):
        program = program_from_graph(program)
    if runtime is None:
        runtime = default_runtime(profile.kind)
    if isinstance(runtime, str):
        runtime = load_runtime(runtime)
    if schedule is not None:
        runtime = schedule.of_runtime(runtime, profile)
    placed = place(
        program,
        profile,
        runtime,
        warm=warm,
        must_hold=must_hold,
        folded=fold and schedule is None,
        reuse=reuse,
    )
    at = _at_shares(placed, profile, runtime, schedule, scales)
    if clock_share is not None:
        return at(clock_share)
    return _limited(at, profile, program, limit_watts)


def simulate_placed(
    placed: Placed, profile: Profile, runtime: Runtime, scales: ForwardScales | None = None
) -> Run:
    """As `simulate`, of a program placed before on a machine with the same caches and fusions."""
    at = _at_shares(placed, profile, runtime, None, scales)
    return _limited(at, profile, placed.program, None)


def _at_shares(
    placed: Placed,
    profile: Profile,
    runtime: Runtime,
    schedule: Schedule | None,
    scales: ForwardScales | None,
) -> Callable[[float], Run]:
    """The run at a share of the machine's clocks; scaled kernels are those of that clock."""
    machine_at = partial(_at_clock_share, profile)
    if scales is None:
        return partial(_run_at, placed, machine_at, runtime, schedule, None)
    from simulator.forward_calibration import calibrated_profile, calibrated_runtime

    dtype = placed.program.dtype
    runtime = calibrated_runtime(runtime, profile.kind, scales, dtype)

    def scaled_at(share: float) -> Profile:
        return calibrated_profile(machine_at(share), scales, dtype)

    return partial(_run_at, placed, scaled_at, runtime, schedule, scales)


def _limited(
    at: Callable[[float], Run], profile: Profile, program: Program, limit_watts: float | None
) -> Run:
    if limit_watts is None:
        limit_watts = default_limit_watts(profile, program)
    return at(1.0) if limit_watts is None else within_limit(at, limit_watts)


def _at_clock_share(profile: Profile, share: float) -> Profile:
    return profile if share == 1.0 else at_clock_share(profile, share)


def _run_at(
    placed: Placed,
    machine_at: Callable[[float], Profile],
    runtime: Runtime,
    schedule: Schedule | None,
    scales: ForwardScales | None,
    clock_share: float,
) -> Run:
    at = machine_at(clock_share)
    job = job_on(placed, at, runtime)
    if schedule is not None:
        job = schedule.of_job(job)
    trace = None if job.blocks is None else engine.run_folded(job.blocks, job.plan)
    if trace is None:
        trace = engine.run(job.order or job.flat, job.demands, job.plan)
    return Run(at, runtime, job, trace, clock_share, machine_at(1.0), scales)


@dataclass(frozen=True)
class Run:
    """What a simulated run was and what came out. Seconds end in _s, cycles are device cycles.

    `profile`: the machine at the clock that it ran at, `clock_share` of that of `declared` (None:
    they are the same).
    """

    profile: Profile
    runtime: Runtime
    job: Job
    trace: Trace
    clock_share: float = 1.0
    declared: Profile | None = None
    scales: ForwardScales | None = None
    """What profile and runtime were fitted with, already in both."""

    @property
    def program(self) -> Program:
        """The program as it ran, after the runtime's fusions."""
        return self.job.program

    @property
    def moments(self) -> list[Moment]:
        return self.job.flat.moments

    @property
    def cycles(self) -> int:
        return self.trace.cycles

    @property
    def latency_s(self) -> float:
        return self.trace.seconds(self.trace.cycles)

    @cached_property
    def pass_end_cycles(self) -> tuple[int, ...]:
        """For each pass the cycle in which its last moment retires."""
        widths = [(s.moment_count, count) for s, count in counted(self.program.passes)]
        bounds = accumulate([w for w, count in widths for _ in range(count)], initial=0)
        return tuple([self._end_cycle(first, after) for first, after in pairwise(bounds)])

    def _end_cycle(self, first: int, after: int) -> int:
        """When the last of some moments in a row retires."""
        if self.trace.in_order:
            return self.trace.retired[after - 1]
        return max(self.trace.retired[first:after])

    @property
    def _first_token_cycles(self) -> int | None:
        """When the pass ends that chooses the first token."""
        number = self._first_choice
        if number is None:
            return None
        first = sum(step.moment_count for step in self.program.passes[:number])
        return self._end_cycle(first, first + self.program.passes[number].moment_count)

    @property
    def ttft_s(self) -> float | None:
        """Time to first token: from the start to the end of the pass that chooses it, or None.

        Everything before it counts: all pieces of the prompt, and the loading of weights.
        """
        cycles = self._first_token_cycles
        return None if cycles is None else self.trace.seconds(cycles)

    @property
    def _first_choice(self) -> int | None:
        """The pass of a prefill that chooses the first token."""
        first = 0
        for step, count in counted(self.program.passes):
            if step.chosen:
                return first if self.program.passes[0].phase == "prefill" else None
            first += count
        return None

    @property
    def tpot_s(self) -> float | None:
        """Time per output token of a sequence after the first, or None where there is none."""
        first = self._first_choice
        tokens = self._chosen
        if first is not None:
            tokens -= self.program.passes[first].chosen
        if not tokens:
            return None
        start = self._first_token_cycles or 0
        return self.trace.seconds(self.cycles - start) / tokens

    @property
    def tokens_per_s(self) -> float | None:
        """Generated tokens of all sequences per second of the whole run; None without any.

        Of beam search the one result of each sequence counts, of drafted tokens those accepted.
        """
        chosen = self._chosen * self.program.batch * self.program.layout.data
        return chosen / self.latency_s if chosen else None

    @property
    def token_count(self) -> int:
        """Tokens generated in all sequences; those read where none is generated."""
        batch = self.program.batch
        read = sum(step.tokens * count for step, count in counted(self.program.passes))
        return (self._chosen or read) * batch

    @property
    def _chosen(self) -> int:
        """Tokens added to each sequence's output."""
        return sum(step.chosen * count for step, count in counted(self.program.passes))

    @cached_property
    def tallies(self) -> list[Tally]:
        """The moments, those alike counted together."""
        section = self.runtime.on(self.profile.kind)
        context = Context(self.profile, section, self.job.levels)
        return tallies(self.job, self.trace, context.timed_macs)

    @cached_property
    def attribution(self) -> dict[str, int]:
        """Cycles of the latency by cause; they add up to `cycles` exactly."""
        shares = attribute(self.trace).latency_cycles()
        return {cause: cycles for cause, cycles in shares.items() if cycles}

    @cached_property
    def by_stage_cycles(self) -> dict[str, int]:
        """Cycles of the latency by stage; they add up to `cycles` exactly.

        Time passes in the name of the moment that retires next.
        """
        return self._by(dict.fromkeys(STAGES, 0), lambda moment: moment.stage)

    @cached_property
    def by_kind_cycles(self) -> dict[str, int]:
        """Cycles of the latency by kind of moment, counted as for stages."""
        return self._by({}, lambda moment: moment.kind)

    def _by(self, found: dict[str, int], name_of: Any) -> dict[str, int]:
        for tally in self.tallies:
            name = name_of(tally.moment)
            found[name] = found.get(name, 0) + tally.elapsed
        return {name: cycles for name, cycles in found.items() if cycles}

    @cached_property
    def bounds_s(self) -> dict[str, float]:
        """Lower bounds of the latency: critical path, each resource without a gap, the roofline."""
        return bounds_s(self)

    @cached_property
    def utilization(self) -> dict[str, float]:
        """Parts of the machine's capacity used over the run; see simulator.capacity.utilization."""
        return utilization(self)

    @cached_property
    def power(self) -> PowerReport | None:
        """Energy by cause and average power; None where nothing is known of the machine's."""
        return power_report(self)

    @cached_property
    def interval(self) -> Interval:
        """Where four of five measurements of such a run are expected; see simulator.intervals."""
        from simulator.intervals import run_interval

        return run_interval(self)

    @property
    def memory_bytes(self) -> dict[str, int]:
        """What must be resident, against the machine's capacity."""
        need = self.program.footprint
        return {
            "weights": need.weight_bytes,
            "kv_cache": need.kv_cache_bytes,
            "activations": need.activation_bytes,
            "total": need.total_bytes,
            "capacity": self.profile.memory["dram"].capacity_bytes,
        }

    def to_frame(self) -> pd.DataFrame:
        """One row a moment, in graph order; see simulator.summary.frame."""
        from simulator.summary import frame

        return frame(self)

    def gantt(self, path: str | Path) -> Path:
        """Draw the Gantt chart to a PNG, SVG or PDF file; see simulator.gantt.draw_gantt."""
        from simulator.gantt import draw_gantt

        return draw_gantt(self, path)

    def perfetto(self, path: str | Path) -> Path:
        """Write a Chrome/Perfetto trace; see simulator.perfetto.write_trace."""
        from simulator.perfetto import write_trace

        return write_trace(self, path)

    def to_json(self) -> dict[str, Any]:
        """The run's figures as plain data; see simulator.summary.as_json."""
        from simulator.summary import as_json

        return as_json(self)
