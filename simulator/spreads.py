"""How far predictions were from measurements of machines left out: spreads by kernel and runtime.

Everything here is fitted: `python -m benchmarks.residuals MEASUREMENTS` writes spreads.toml.

The model. The logarithm of predicted over measured is about symmetric around 0 for a machine that
nothing was measured on: it has a sign of its own, which other machines do not tell. So a spread is
one number, the 80 % point of the absolute logarithm. Signed 10 and 90 % points of other machines
cover 61 % of the operators of a machine left out, this covers 79 %. Noise of the measurements
themselves (sources that differ by 8 % on a product and 31 % on attention) is part of it.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from math import sqrt
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hardware_profiles.expected import die_of

if TYPE_CHECKING:
    from hardware_profiles.schema import Profile

FILE = Path(__file__).parent / "spreads.toml"

SHARE = 0.8
"""Part of the measurements that an interval is to hold."""
LEVELS = tuple((i + 0.5) / 10 for i in range(10))
"""Points at which a stack gives its residuals: each stands for a tenth of its cases."""
_OTHERS = 20
"""All runtimes together count beside a runtime's own as a machine with 400 cases does."""
_ALIKE = 0.5
"""Cases of a machine under a runtime err alike: they count as their square root. (Kernels count by
case: their stacks are few, and this is what covers 80 % of a machine left out.)"""
_LEAST = 0.3
"""Part of what kernels and host lead to expect that a whole pass errs at least."""
_FEW = 4
"""As many cases as all calibrated machines count beside the cases of a machine itself."""


@dataclass(frozen=True)
class Stack:
    """Residuals of the `cases` of one machine with one library or runtime.

    `name`: the class of kernels, "collective", or for whole passes the kind of device. `points`:
    at LEVELS, of |ln(predicted / measured)|; of whole passes, of its square less that of the spread
    which kernels and host lead to expect. `devices`: the most that took part.
    """

    name: str
    machine: str
    generation: str
    software: str
    dtypes: tuple[str, ...]
    devices: int
    cases: int
    shortest_us: float
    longest_us: float
    points: tuple[float, ...]


@dataclass(frozen=True)
class Signed:
    """10, 50, 90 % points of ln(predicted / measured) over `cases` that nothing was fitted to."""

    cases: float
    low: float
    middle: float
    high: float


@dataclass(frozen=True)
class Spreads:
    """What spreads.toml says.

    `host`: the spread of the time that a device waits for its host. `widening`: how many times as
    far the stacks err, each counted once, as the cases. `calibrated`: spreads by class of kernels
    and kind of device on machines that some of their cases were fitted to, and not these. `links`:
    residuals of their collectives by machine.
    """

    host: float
    widening: float
    kernels: tuple[Stack, ...]
    passes: tuple[Stack, ...]
    calibrated: dict[str, float]
    links: dict[str, Signed]


@cache
def spreads() -> Spreads:
    """The spreads on file."""
    table = tomllib.loads(FILE.read_text(encoding="utf-8"))
    links = {
        machine: Signed(entry["cases"], *entry["log_residuals"])
        for machine, entry in table["links"].items()
    }
    kernels, passes = (tuple(map(_stack, table[key].values())) for key in ("kernels", "passes"))
    return Spreads(
        **table["model"],
        kernels=kernels,
        passes=passes,
        calibrated=table["calibrated"],
        links=links,
    )


def _stack(entry: dict[str, Any]) -> Stack:
    lists = {key: tuple(entry[key]) for key in ("dtypes", "points")}
    return Stack(**{**entry, **lists})


def generation_of(profile: Profile) -> str:
    """What machines must share to teach about each other at once: a GPU's die, a CPU's maker."""
    if profile.kind == "cpu":
        return f"{profile.name.split('-', 1)[0]} cpu"
    return die_of(profile).die or profile.name


def pooled(points: Iterable[tuple[float, float]], share: float = SHARE) -> float:
    """The `share` point of values with weights, between the middles of neighbours' weights."""
    ordered = sorted(points)
    total = sum(weight for _, weight in ordered)
    below, last = 0.0, (0.0, ordered[0][0])
    for value, weight in ordered:
        at = (below + weight / 2) / total
        if at >= share:
            start, before = last
            return before + (value - before) * (share - start) / (at - start)
        below, last = below + weight, (at, value)
    return last[1]


def weighed(stacks: Iterable[Stack], power: float = 1.0) -> list[tuple[float, float]]:
    """The points of stacks, each with its part of that power of the number of the stack's cases."""
    return [(p, s.cases**power / len(s.points)) for s in stacks for p in s.points]


def kernel_spread(stacks: Sequence[Stack], name: str) -> float:
    """Spread of a class of kernels; of one that was never measured, that of all of them."""
    own = [stack for stack in stacks if stack.name == name]
    return pooled(weighed(own or stacks))


def pass_excess(stacks: Sequence[Stack], kind: str, runtime: str) -> float:
    """What whole passes err besides their kernels and the host, squared.

    On a kind of device under a runtime, whose own count beside all others. Less than 0 where
    errors cancel. Where no device of that kind was measured, all count.
    """
    of_kind = [stack for stack in stacks if stack.name == kind] or stacks
    own = weighed((stack for stack in of_kind if stack.software == runtime), _ALIKE)
    others = weighed(of_kind, _ALIKE)
    scale = _OTHERS / sum(weight for _, weight in others)
    return pooled([*own, *((value, weight * scale) for value, weight in others)])


def pass_spread(expected: float, excess: float) -> float:
    """Spread of a whole pass from what its kernels and the host lead to expect, and the rest."""
    square = expected * expected
    return sqrt(max(_LEAST * _LEAST * square, square + excess))


def left_out(stacks: Iterable[Stack], profile: Profile) -> tuple[Stack, ...]:
    """The stacks of other machines and generations."""
    generation = generation_of(profile)
    return tuple(
        s for s in stacks if s.machine != profile.name and (s.generation != generation or _many(s))
    )


def _many(stack: Stack) -> bool:
    """A CPU's maker stands for so many generations that its other machines stay in."""
    return stack.generation.endswith(" cpu")


def shrunk(own: Signed, spread: float) -> tuple[float, float]:
    """How far (down, up) measurements go from a prediction, in logarithms, on a machine itself.

    Few cases say little: `spread`, that of other machines, counts as four more. The interval holds
    the prediction.
    """
    share = own.cases / (own.cases + _FEW)
    middle = share * own.middle

    def reach(side: float) -> float:
        return sqrt(share * side * side + (1 - share) * spread * spread)

    down = middle + reach(own.high - own.middle)
    up = -middle + reach(own.middle - own.low)
    return max(0.0, down), max(0.0, up)
