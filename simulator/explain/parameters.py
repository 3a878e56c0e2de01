"""What of a machine and its software may be asked "and if it were faster?", and a run where it is.

Every answer is a new simulation of the same program; nothing is interpolated.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from hardware_profiles.variants import with_changes
from simulator.explain.kernels import with_own_kernels
from simulator.run import simulate
from simulator.runtime_changes import is_runtime_change, with_runtime_changes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hardware_profiles.schema import Profile
    from simulator.prepare import Prepared
    from simulator.run import Run
    from simulator.runtime import OnDevice

_MOST_CORES = 16_384
"""More are not tried: the trace names the cores of every moment."""

_LARGEST = 10_000
"""The factor that stands for "without end"."""


@dataclass(frozen=True)
class Parameter:
    """One figure, or several that go together. `key`: as in `--set KEY=FACTORx`.

    `less_is_better`: a time, so that the machine improves as it shrinks. `count`: what there is of
    it, where only whole numbers make sense; None: any factor does.
    """

    name: str
    key: str
    less_is_better: bool = False
    count: int | None = None

    @property
    def in_steps(self) -> bool:
        """A capacity: a tensor fits or it does not, and between two such points nothing changes."""
        return self.key.endswith(".capacity")

    @property
    def limit(self) -> Fraction:
        """The factor furthest in the direction of a better machine that is tried."""
        if self.count is not None:
            return Fraction(max(1, _MOST_CORES // self.count))
        return Fraction(1, _LARGEST) if self.less_is_better else Fraction(_LARGEST)


def parameters_of(prepared: Prepared) -> list[Parameter]:
    """All that is there to change on this machine under this runtime."""
    profile = prepared.profile
    found = [Parameter("clock", "clock"), Parameter("cores", "cores", count=profile.cores.count)]
    found += [
        Parameter(f"{name} width", name)
        for name in ("matrix", "vector", "special")
        if getattr(profile.width, name)
    ]
    for name in profile.memory:
        shown = "DRAM" if name == "dram" else name.upper()
        found.append(Parameter(f"{shown} bandwidth", f"{name}.bandwidth"))
        if name != "dram":  # of DRAM it decides only whether the model fits
            found.append(Parameter(f"{shown} capacity", f"{name}.capacity"))
    found += _software(prepared.runtime.on(profile.kind), profile)
    if prepared.program.layout.devices > 1:
        found += _links(profile)
    return found


def _software(section: OnDevice, profile: Profile) -> Iterator[Parameter]:
    host = section.host
    if host is not None and host.mode != "none":
        yield Parameter("dispatch cost", "dispatch", less_is_better=True)
        if host.launch_s:
            yield Parameter("launch latency", "runtime.host.launch", less_is_better=True)
    if profile.kind == "gpu" and not section.ideal and section.latency_scale:
        yield Parameter("fixed kernel times", "runtime.latency_scale", less_is_better=True)
    if section.library is not None and section.library.fork_join_s:
        yield Parameter("fork and join", "runtime.library.fork_join", less_is_better=True)


def _links(profile: Profile) -> Iterator[Parameter]:
    for name, link in profile.links.items():
        yield Parameter(f"{name} bandwidth", f"links.{name}.bandwidth")
        if link.latency_s:
            yield Parameter(f"{name} latency", f"links.{name}.latency", less_is_better=True)


class Resimulation:
    """The same program again and again, on the machine with one parameter times a factor.

    The clock stays at the share of the burst clock that a power limit left to the run as it is: a
    limit that is found anew for every step would move by more than a step does. The efficiencies of
    kernels stay, too. `base`: the run as it is.
    """

    def __init__(self, prepared: Prepared, run: Run) -> None:
        self._prepared = prepared
        self._profile = with_own_kernels(prepared.profile, run.program)
        self._share = run.clock_share
        self._latency_s: dict[tuple[str, Fraction], float] = {}
        self.base = run

    def run(self, parameter: Parameter, factor: Fraction, *, along: Sequence[str] = ()) -> Run:
        """The run at `factor`, which the keys `along` take, too.

        The errors are those of simulate, as of a cache above the DRAM.
        """
        prepared, profile = self._prepared, self._profile
        runtime = prepared.runtime
        for key in (parameter.key, *along):
            text = f"{key}={factor.numerator}/{factor.denominator}x"
            if is_runtime_change(text):
                runtime = with_runtime_changes(runtime, profile.kind, [text])
            else:
                profile = with_changes(profile, [text], checked=False)
        return simulate(
            prepared.program,
            profile,
            runtime,
            clock_share=self._share,
            fold=prepared.scenario.fold,
            schedule=prepared.schedule,
            scales=prepared.scales,
        )

    def latency_s(self, parameter: Parameter, factor: Fraction) -> float:
        key = (parameter.key, factor)
        found = self._latency_s.get(key)
        if found is None:
            run = self.base if factor == 1 else self.run(parameter, factor)
            found = self._latency_s[key] = run.latency_s
        return found
