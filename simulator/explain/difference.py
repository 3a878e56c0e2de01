"""Why one machine is faster than another on the same program: an exact account of the difference.

Every hybrid of the two (2^n for n groups of tables) is simulated, and each group gets its Shapley
value. Times are exact fractions of a second, so the values add up to the difference exactly; what
is shown is whole picoseconds, rounded so that these add up as well.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING

from simulator.explain.hybrids import Group, groups_between, hybrid
from simulator.explain.kernels import with_own_kernels
from simulator.explain.shapley import Coalition, shapley_values, whole_parts
from workloads.errors import InputError

if TYPE_CHECKING:
    from simulator.prepare import Prepared
    from simulator.run import Run
    from simulator.scenario import Scenario

_PICOSECONDS = 10**12


@dataclass(frozen=True)
class Part:
    """What one group of tables contributes to the difference, in seconds; below zero: saves time.

    `alone_s`: of taking over this group first. `last_s`: of taking it over when all others are. The
    two differ where groups act on one another. `shown_ps`: `value_s` in picoseconds, rounded so
    that all of them add up.
    """

    name: str
    value_s: Fraction
    alone_s: Fraction
    last_s: Fraction
    shown_ps: int


@dataclass(frozen=True)
class Difference:
    """From the latency of A to that of B; the parts, the largest first, add up exactly."""

    workload: str
    names: tuple[str, str]
    runtimes: tuple[str, str]
    before_s: Fraction
    after_s: Fraction
    parts: tuple[Part, ...]
    simulations: int
    notes: tuple[str, ...]

    @property
    def before_ps(self) -> int:
        return round(self.before_s * _PICOSECONDS)

    @property
    def after_ps(self) -> int:
        return round(self.after_s * _PICOSECONDS)

    @property
    def sides(self) -> tuple[str, str]:
        """The two machines, or the two runtimes of one machine."""
        return self.runtimes if self.names[0] == self.names[1] else self.names


def both_prepared(
    scenario: Scenario, against: str | None, against_runtime: str | None
) -> tuple[Prepared, Prepared]:
    """The scenario, and the same program on the other machine or under the other runtime.

    The type of the arithmetic and the lengths are those of the first. InputError where neither is
    given.
    """
    if against is None and against_runtime is None:
        raise InputError("give --against MACHINE or --against-runtime RUNTIME to compare with")
    first = scenario.prepared()
    dtype = scenario.dtype if first.model is None else first.program.dtype
    other = replace(
        scenario,
        hardware=against or scenario.hardware,
        runtime=against_runtime or scenario.runtime,
        dtype=dtype,
    )
    return first, other.prepared()


def explain_difference(
    a: Prepared, b: Prepared, progress: Callable[[int, int], None] = lambda done, total: None
) -> Difference:
    """The difference between two runs by groups of tables; InputError where they do not differ."""
    a, b = (replace(p, profile=with_own_kernels(p.profile, p.program)) for p in (a, b))
    groups = groups_between(a, b)
    known: dict[Coalition, Fraction] = {}

    def latency(members: Coalition) -> Fraction:
        run = hybrid(a, b, [groups[i] for i in sorted(members)]).run()
        known[members] = seconds_of(run)
        progress(len(known), 2 ** len(groups))
        return known[members]

    values = shapley_values(len(groups), latency)
    before, after = known[frozenset()], known[frozenset(range(len(groups)))]
    shown = whole_parts(
        [value * _PICOSECONDS for value in values],
        round(after * _PICOSECONDS) - round(before * _PICOSECONDS),
    )
    parts = [_part(groups, i, values[i], shown[i], known) for i in range(len(groups))]
    return Difference(
        a.program.workload,
        (a.profile.name, b.profile.name),
        (a.runtime.name, b.runtime.name),
        before,
        after,
        tuple(sorted(parts, key=lambda part: -abs(part.value_s))),
        len(known),
        tuple(dict.fromkeys([*a.notes, *b.notes])),
    )


def _part(
    groups: list[Group], i: int, value: Fraction, shown: int, known: dict[Coalition, Fraction]
) -> Part:
    everything = frozenset(range(len(groups)))
    return Part(
        groups[i].name,
        value,
        known[frozenset({i})] - known[frozenset()],
        known[everything] - known[everything - {i}],
        shown,
    )


def seconds_of(run: Run) -> Fraction:
    """The latency of a run without rounding."""
    return Fraction(run.cycles, run.trace.clock_hz)
