"""In which order ready moments are issued and on how many cores each: policies, as what-ifs.

A policy sets priorities, caps cores or adds edges before the engine starts; the engine's rules stay
as they are. Where moments run side by side under a runtime whose computing thread also dispatches,
each moment is dispatched by its own cores, as by a pool of threads between operators: the time of
the dispatch comes on top of the moment's. Not modelled: moments that wait for as many cores as they
could use (one begins on those that are free), and a share of DRAM bandwidth for each GPU stream.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from simulator.bounds import alone_cycles, busiest_resource_cycles, critical_path_cycles
from workloads.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

    from hardware_profiles.schema import Profile
    from simulator.demand import Demand
    from simulator.engine import Plan
    from simulator.machine import Job
    from simulator.prepare import Prepared
    from simulator.run import Run
    from simulator.runtime import Runtime

POLICIES = ("in-order", "graph-order", "critical-path", "longest-first", "streams:N", "best-split")
"""in-order: one moment at a time. The others issue ready moments side by side: the first in the
graph first, the one with the longest way to the end, the longest one, in N queues of which each
keeps its order and has its part of the cores, and by the longest way on the best number of cores a
moment."""


@dataclass(frozen=True)
class Schedule:
    """A policy. `cores_per_moment`: at most; None: as the runtime does, its part of N streams."""

    policy: str
    cores_per_moment: int | None = None

    @property
    def streams(self) -> int:
        """How many queues; 0 for other policies."""
        return int(self.policy.partition(":")[2] or 0)

    @property
    def text(self) -> str:
        """As one would write it."""
        each = self.cores_per_moment
        return f"{self.policy}, {each} cores a moment" if each else self.policy

    def cores_of(self, profile: Profile) -> int | None:
        """Cores that a moment gets at most, InputError where the machine has not as many."""
        have = profile.cores.count
        if self.streams > have:
            raise InputError(f"--policy {self.policy}: {profile.name} has {have} cores")
        if self.cores_per_moment is not None:
            if not 1 <= self.cores_per_moment <= have:
                raise InputError(
                    f"--cores-per-moment {self.cores_per_moment}: {profile.name} has {have} cores; "
                    f"expected 1 to {have}"
                )
            return self.cores_per_moment
        return have // self.streams if self.streams else None

    def of_runtime(self, runtime: Runtime, profile: Profile) -> Runtime:
        """The runtime with this policy, on that machine."""
        cores = self.cores_of(profile)
        update: dict[str, object] = {
            "policy": "stream" if self.policy == "in-order" else "dataflow"
        }
        if cores is not None:
            update["cores_per_moment"] = cores
        section = runtime.on(profile.kind).model_copy(update=update)
        return runtime.model_copy(update={profile.kind: section})

    def of_job(self, job: Job) -> Job:
        """The job with this policy's cores, priorities and queues; `of_runtime` came before."""
        if self.policy == "in-order":
            return job if self.cores_per_moment is None else self._capped(job)
        job = self._capped(job)
        if job.plan.host == "synchronous":
            job = _dispatched_by_its_cores(job)
        if self.streams:
            if job.plan.places:
                raise InputError(f"--policy {self.policy}: only for runs on one device")
            return replace(job, order=lanes(job, self.streams))
        return replace(job, plan=replace(job.plan, priority=self.priority(job)))

    def _capped(self, job: Job) -> Job:
        most = self.cores_per_moment
        if self.streams and most is None:
            most = job.plan.core_count // self.streams
        if most is None:
            return job
        known: dict[int, Demand] = {}
        for demand in job.demands:
            if id(demand) not in known:
                known[id(demand)] = replace(demand, cores=min(demand.cores, most))
        return replace(job, demands=[known[id(demand)] for demand in job.demands])

    def priority(self, job: Job) -> list[int]:
        """For each moment the number of which the least goes first."""
        return priorities(self.policy, job.flat.successors, job.demands, job.plan)


def priorities(
    policy: str, successors: Sequence[Sequence[int]], demands: Sequence[Demand], plan: Plan
) -> list[int]:
    """Of a list-scheduling policy; cycles are those of moments that have the machine alone."""
    if policy == "graph-order":
        return [0] * len(demands)
    alone = _alone(demands, plan)
    if policy == "longest-first":
        return [-cycles for cycles in alone]
    to_end = list(alone)
    for index in reversed(range(len(alone))):
        to_end[index] += max((to_end[s] for s in successors[index]), default=0)
    return [-cycles for cycles in to_end]


def _alone(demands: Sequence[Demand], plan: Plan) -> list[int]:
    known: dict[int, int] = {}
    found = []
    for index, demand in enumerate(demands):
        key = id(demand) if not plan.places else -1
        cycles = known.get(key)
        if cycles is None:
            cycles = alone_cycles(demand, plan.core_count, plan.rate_of(index))
            if key >= 0:
                known[key] = cycles
        found.append(cycles)
    return found


def _dispatched_by_its_cores(job: Job) -> Job:
    """No host: what it took for each moment follows the moment, on its cores."""
    plan = job.plan
    known: dict[int, Demand] = {}
    for demand in job.demands:
        if id(demand) not in known:
            cycles = -(-demand.dispatch_cycles * plan.clock_hz // plan.host_clock_hz)
            serial = (*demand.serial, ("dispatch", cycles)) if cycles else demand.serial
            known[id(demand)] = replace(demand, serial=serial, dispatch_cycles=0)
    demands = [known[id(demand)] for demand in job.demands]
    return replace(job, demands=demands, plan=replace(plan, host="none"))


@dataclass(frozen=True)
class Lanes:
    """A graph with more edges: from each moment to the next in its queue."""

    predecessors: Sequence[Sequence[int]]
    successors: Sequence[Sequence[int]]
    name: Callable[[int], str]


def lanes(job: Job, count: int) -> Lanes:
    """`count` queues that keep graph order, as edges from a moment to the next in its queue."""
    flat = job.flat
    work = _alone(job.demands, job.plan)
    predecessors = queued(flat.predecessors, work, count)
    successors: list[list[int]] = [[] for _ in predecessors]
    for index, before in enumerate(predecessors):
        for producer in before:
            successors[producer].append(index)
    return Lanes(predecessors, successors, flat.name)


def queued(
    predecessors: Sequence[Sequence[int]], work: Sequence[int], count: int
) -> list[tuple[int, ...]]:
    """The predecessors of each moment with the one before it in its queue.

    In graph order a moment joins the queue in which it could start first if all took as long as
    alone; of equals the one that ends with one of its own predecessors (the last such).
    """
    last, free_at = [-1] * count, [0] * count
    done: list[int] = []
    found: list[tuple[int, ...]] = []
    for index, before in enumerate(predecessors):
        ready = max((done[p] for p in before), default=0)
        lane = min(
            range(count),
            key=lambda lane: (
                max(ready, free_at[lane]),
                -last[lane] if last[lane] in before else 1,
                lane,
            ),
        )
        earlier = last[lane]
        more = (earlier,) if earlier >= 0 and earlier not in before else ()
        found.append(tuple(sorted((*before, *more))))
        free_at[lane] = max(ready, free_at[lane]) + work[index]
        done.append(free_at[lane])
        last[lane] = index
    return found


def parse_schedule(policy: str | None, cores_per_moment: int | None) -> Schedule | None:
    """What `--policy` and `--cores-per-moment` ask for; None for neither.

    InputError for a policy that is not known, with near ones, and for numbers below one.
    """
    if cores_per_moment is not None and cores_per_moment < 1:
        raise InputError(f"--cores-per-moment {cores_per_moment}: expected at least 1")
    if policy is None:
        return None if cores_per_moment is None else Schedule("graph-order", cores_per_moment)
    head, colon, number = policy.partition(":")
    if head == "streams":
        if not (number.isascii() and number.isdigit() and 1 <= len(number) <= 6 and int(number)):
            raise InputError(f"--policy {policy[:40]}: expected streams:N, such as streams:4")
        if cores_per_moment is not None:
            raise InputError(f"--policy {policy}: each stream has its part of the cores; leave out "
                             "--cores-per-moment")  # fmt: skip
        return Schedule(f"streams:{int(number)}")
    if colon or policy not in POLICIES:
        near = difflib.get_close_matches(policy[:40], POLICIES, n=1, cutoff=0.4)
        guess = f"; did you mean {near[0]}?" if near else ""
        known = ", ".join(POLICIES)
        raise InputError(f"--policy {policy[:40]!r} is not known (known: {known}){guess}")
    if policy == "best-split" and cores_per_moment is not None:
        raise InputError("--policy best-split finds --cores-per-moment; give one of them")
    return Schedule(policy, cores_per_moment)


def splits(core_count: int) -> list[int]:
    """Cores a moment that are tried: as many for each of 1, 2, 3 ... moments side by side."""
    return list(dict.fromkeys(core_count // lanes for lanes in range(1, core_count + 1)))


def best_split(prepared: Prepared) -> Prepared:
    """`prepared` with the number of cores a moment that makes it fastest, the largest of equals.

    Every moment gets the same number; the order is that of the critical path.
    """
    tried = []
    for cores in splits(prepared.profile.cores.count):
        one = replace(prepared, schedule=Schedule("critical-path", cores))
        tried.append((one.run().latency_s, -cores, one))
    best = min(tried, key=lambda entry: entry[:2])[2]
    line = f"best split of {len(tried)}: {-min(tried, key=lambda e: e[:2])[1]} cores a moment"
    return replace(best, changes=(*best.changes, line))


@dataclass(frozen=True)
class ScheduleBounds:
    """What any schedule of these moments on these cores keeps to, in cycles.

    `lower_cycles`: the critical path, or a resource without a gap, if that is longer. No list
    schedule takes longer than `graham_cycles` = work / m + (1 - 1/m) x critical path, for m moments
    at a time, and so none is more than (2 - 1/m) times the best one (Graham 1966, 1969). `holds`:
    whether his conditions do: moments that take as long as alone (no shared memory, no host) and
    all on equally many cores, of which the machine has a multiple.
    """

    lower_cycles: int
    graham_cycles: int
    at_once: int
    holds: bool
    of_list: bool = True
    """Whether the run is a list schedule at all, and not one by one or in queues."""


def schedule_bounds(run: Run) -> ScheduleBounds:
    """The bounds of a run's moments with the cores that its schedule gives them."""
    job = run.job
    bounds = bounds_of(job.flat.predecessors, job.demands, job.plan)
    of_list = job.plan.policy == "dataflow" and job.order is None
    return replace(bounds, of_list=of_list, holds=bounds.holds and of_list)


def bounds_of(
    predecessors: Sequence[Sequence[int]], demands: Sequence[Demand], plan: Plan
) -> ScheduleBounds:
    """As schedule_bounds, of any graph."""
    path = critical_path_cycles(predecessors, demands, plan)
    busiest = max(busiest_resource_cycles(demands, plan).values())
    widths = {min(demand.cores, demand.units, plan.core_count) for demand in demands}
    width = max(widths, default=1)
    at_once = max(1, plan.core_count // width)
    work = sum(_alone(demands, plan))
    graham = -(-(work + (at_once - 1) * path) // at_once)
    moves = any(demand.memory_bytes for demand in demands)
    even = len(widths) <= 1 and plan.core_count % width == 0
    holds = even and not moves and plan.host == "none" and not plan.places
    return ScheduleBounds(max(path, busiest), graham, at_once, holds)
