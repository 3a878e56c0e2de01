"""Measured operators as the numbers of their formulas, stacked so that a fit takes a second."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cache
from typing import TYPE_CHECKING, Any

from hardware_profiles import ProfileError
from hardware_profiles.efficiency import with_kernels
from simulator.bounds import alone_cycles
from simulator.demand.context import Context, kernel_class
from simulator.demand.gpu import Work, kernel_times, work_of
from simulator.machine import prepare
from simulator.operators import operator_program
from simulator.protocol import calls_in_a_row, library_of, runtime_of, warm_roles
from simulator.runtime import load_runtime
from simulator.sharing import RATE_ONE
from workloads.errors import InputError
from workloads.moment import DTYPE_BITS

if TYPE_CHECKING:
    import numpy as np

    from hardware_profiles.schema import KernelClass, KernelName, Profile
    from simulator.cases import Case


@dataclass(frozen=True)
class Observation:
    """One measured case: the work of its own kernel, and the seconds of all else in its time."""

    case: Case
    profile: Profile
    kernel: KernelName
    bits: int
    library: str
    work: Work
    other_s: float
    host_s: float
    back_to_back: bool
    latencies: float

    @property
    def measured_s(self) -> float:
        return self.case.measured_us * 1e-6


def observe(case: Case, profile: Profile) -> Observation:
    """A case on a machine, without the efficiency of its own kernel.

    Raises InputError or ProfileError where the machine or its runtime cannot run it.
    """
    runtime = load_runtime(runtime_of(case, profile)[0])
    profile = _unmeasured(profile, case.dtype)
    job = prepare(operator_program(case), profile, runtime, warm=warm_roles(case))
    section = runtime.on(profile.kind)
    context = Context(profile, section, job.levels)
    several = calls_in_a_row(case) > 1
    moments = 1 if several else len(job.flat.moments)
    moment = job.flat.moments[moments - 1]
    rate = int(context.dram_bytes_per_cycle * RATE_ONE)
    others = [alone_cycles(d, context.cores, rate) for d in job.demands[: moments - 1]]
    host = sum(d.dispatch_cycles for d in job.demands[:moments]) / context.host_clock_hz
    launch = section.host.launch_s if section.host is not None and not several else 0.0
    steps = 1 if section.library is None else section.library.steps.get(moment.kind, 1)
    return Observation(
        case=case,
        profile=profile,
        kernel=kernel_class(moment, profile),
        bits=DTYPE_BITS[moment.dtype],
        library=library_of(case),
        work=work_of(moment, job.traffic[moments - 1], context),
        other_s=sum(others) / context.clock_hz,
        host_s=host + launch,
        back_to_back=several,
        latencies=steps * section.latency_scale,
    )


@cache
def _unmeasured(profile: Profile, dtype: str) -> Profile:
    """The machine with kernels as expected: what a fit starts from must not depend on an older."""
    return with_kernels(profile, dtype, mode="zero-shot")


def observations(
    cases: Sequence[Case], profile: Profile
) -> tuple[list[Observation], list[tuple[Case, str]]]:
    """What can be observed of the cases, and the others with the reason."""
    seen: list[Observation] = []
    left: list[tuple[Case, str]] = []
    for case in cases:
        try:
            seen.append(observe(case, profile))
        except (InputError, ProfileError) as error:
            left.append((case, str(error)))
    return seen, left


@dataclass(frozen=True)
class Stack:
    """Observations of one kernel class as arrays. `matrix`: they run on the matrix unit."""

    work: Any
    matrix: bool
    measured_s: np.ndarray
    other_s: np.ndarray
    host_s: np.ndarray
    back_to_back: np.ndarray
    latencies: np.ndarray

    def predicted_s(self, kernel: KernelClass) -> np.ndarray:
        """Seconds of every case with these parameters."""
        import numpy as np

        body = kernel_times(self.work, kernel, self.matrix).body_s
        device = self.other_s + kernel.latency_s * self.latencies + body
        together = np.maximum(self.host_s, device)
        return np.where(self.back_to_back, together, self.host_s + device)


def stacked(seen: Sequence[Observation]) -> Stack:
    """Observations of one kernel class (and one kind of work) as arrays."""
    import numpy as np

    first = seen[0].work
    columns: dict[str, Any] = {
        f.name: np.array([getattr(o.work, f.name) for o in seen]) for f in fields(first)
    }
    if "prefill" in columns:
        columns["prefill"] = bool(columns["prefill"][0])
    return Stack(
        work=replace(first, **columns),
        matrix=seen[0].kernel == "matmul",
        measured_s=np.array([o.measured_s for o in seen]),
        other_s=np.array([o.other_s for o in seen]),
        host_s=np.array([o.host_s for o in seen]),
        back_to_back=np.array([o.back_to_back for o in seen]),
        latencies=np.array([o.latencies for o in seen]),
    )


def by_kind(
    seen: Sequence[Observation],
) -> Mapping[tuple[KernelName, int, str], list[Observation]]:
    """Observations by kernel class, bits of the operands and library, in the order of the cases."""
    found: dict[tuple[KernelName, int, str], list[Observation]] = {}
    for one in seen:
        found.setdefault((one.kernel, one.bits, one.library), []).append(one)
    return found
