"""How time, work and memory of a run grow with its lengths, its batch or its model."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import log, log2
from typing import TYPE_CHECKING, Any

from simulator.scenario import Scenario
from workloads.errors import InputError, nearest, shown
from workloads.moment import STAGES, AttentionShape

if TYPE_CHECKING:
    from simulator.run import Run
    from workloads.moment import Moment, Program

LENGTHS = ("prompt", "context", "generate", "batch")
"""What may be varied by numbers; `workload` is varied by names."""

_MOST_POINTS = 64
_LARGEST = 1 << 30
_REGIONS = 3
_PARTS = ("core", "rest")


@dataclass(frozen=True)
class Point:
    """One run of a sweep. Seconds and memory bytes only where it was not `refused`.

    `amounts`: by name of the series ("latency_s", "flops", "bytes", "kv_cache_bytes"), in all and
    by part: each stage, and "core" (scores, softmax, context of attention) against the "rest".
    """

    value: int
    label: str
    amounts: dict[str, dict[str, float]]
    refused: str = ""


@dataclass(frozen=True)
class Region:
    """Where a series grows as value ** exponent."""

    first: int
    last: int
    exponent: float


@dataclass(frozen=True)
class Growth:
    """A sweep and what can be read off it.

    `regions`: for each (series, part) with at least two points. `crossovers`: the least value for
    which the core of attention is more than all the rest, by series; None: not in the range, and
    a series that the range begins with is at its first value.
    """

    scenario: Scenario
    over: str
    points: tuple[Point, ...]
    regions: dict[tuple[str, str], tuple[Region, ...]]
    crossovers: dict[str, int | None]
    notes: tuple[str, ...]


def parse_range(text: str) -> tuple[str, tuple[int | str, ...]]:
    """ "prompt=128:131072" (doubling), "batch=1:64:7" (so many points), "prompt=5,50,500" or
    "workload=gpt2,gpt2-xl". InputError says what is wrong with it."""
    name, _, rest = text.partition("=")
    if name == "workload":
        models = tuple(part for part in rest.split(",") if part)
        if len(models) < 2:
            raise InputError(f"--over {shown(text)}: expected workload=A,B,... with two or more")
        return name, models
    if name not in LENGTHS:
        known = (*LENGTHS, "workload")
        raise InputError(
            f"--over {shown(text)}: expected one of {', '.join(known)} before the ="
            f"{nearest(name, known)}"
        )
    if "," in rest:
        values = [_number(text, part) for part in rest.split(",")]
    else:
        values = _steps(text, rest.split(":"))
    if len(values) < 2 or any(b <= a for a, b in pairwise(values)):
        raise InputError(f"--over {shown(text)}: expected two or more ascending numbers")
    return name, tuple(values)


def _steps(text: str, parts: list[str]) -> list[int]:
    if len(parts) not in (2, 3):
        raise InputError(
            f"--over {shown(text)}: expected {text.partition('=')[0]}=FIRST:LAST, FIRST:LAST:POINTS"
            " or a list with commas"
        )
    first, last = (_number(text, part) for part in parts[:2])
    if last <= first:
        raise InputError(f"--over {shown(text)}: {last} is not above {first}")
    count = _number(text, parts[2]) if len(parts) == 3 else int(log2(last / first)) + 1
    if not 2 <= count <= _MOST_POINTS:
        raise InputError(f"--over {shown(text)}: {count} points; expected 2 to {_MOST_POINTS}")
    if len(parts) == 2:
        doubled = [first << i for i in range(count)]
        return doubled if doubled[-1] == last else [*doubled, last]
    found = [round(first * (last / first) ** (i / (count - 1))) for i in range(count)]
    return sorted(set(found))


def _number(text: str, part: str) -> int:
    if not part.isascii() or not part.isdigit() or not 1 <= int(part[:12]) <= _LARGEST:
        raise InputError(f"--over {shown(text)}: {shown(part)} is no whole number from 1 to 2^30")
    return int(part)


def measure_growth(
    scenario: Scenario,
    over: str,
    values: Sequence[int | str],
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Growth:
    """Run `scenario` once for each value of `over` and find how fast everything grows.

    Over `workload` the values are names, placed by their parameters. Positions beyond a model's own
    are allowed (said in `notes`); a run that is refused, because it does not fit in memory, still
    gives its counts. Growth between points is taken to be a power; regions of one power are found
    by dynamic programming with a penalty for each further one (BIC). InputError: nothing could be
    run at all.
    """
    points, notes = [], []
    for done, value in enumerate(values):
        points.append(_point(_varied(scenario, over, value), value))
        if progress is not None:
            progress(done + 1, len(values))
    points.sort(key=lambda point: point.value)
    refusals = [point for point in points if point.refused]
    if len(refusals) == len(points):
        raise InputError(f"none of the {len(points)} runs is possible: {refusals[0].refused}")
    notes += [f"{over} = {p.label}: no latency: {p.refused}" for p in refusals]
    stretched = _stretched(scenario, over, points) if over != "workload" else ""
    notes += [stretched] if stretched else []
    keys = {(s, part): None for p in points for s, parts in p.amounts.items() for part in parts}
    regions = {key: _regions(points, *key) for key in keys}
    crossovers = {}
    if over != "workload":
        crossovers = {
            series: _crossover(scenario, over, points, series) for series in ("latency_s", "flops")
        }
    found = {key: parts for key, parts in regions.items() if parts}
    return Growth(scenario, over, tuple(points), found, crossovers, tuple(notes))


def _varied(scenario: Scenario, over: str, value: int | str) -> Scenario:
    changes: dict[str, Any] = {over: value}
    return replace(scenario, **changes, stretch=over != "workload")


def _stretched(scenario: Scenario, over: str, points: Sequence[Point]) -> str:
    longest = _varied(scenario, over, points[-1].value)
    model = longest.model()
    limit, own = model.max_positions, replace(longest, stretch=False).model().max_positions
    if limit <= own:
        return ""
    return f"{model.name} has {own} positions of its own; beyond them the counts go on as if it had"


def _point(scenario: Scenario, value: int | str) -> Point:
    prepared = scenario.prepared()
    amounts = _counted(prepared.program)
    refused = ""
    try:
        amounts |= _timed(prepared.run())
    except InputError as error:
        refused = str(error)
    number = scenario.model().parameters if isinstance(value, str) else value
    return Point(number, str(value), amounts, refused)


def is_core(moment: Moment) -> bool:
    """Whether a moment is of the core of attention: scores, softmax, context, or all in one."""
    return moment.group == "core" or isinstance(moment.shape, AttentionShape)


def _part_sums(items: Sequence[tuple[Moment, float]]) -> dict[str, float]:
    found = dict.fromkeys(("all", *STAGES, *_PARTS), 0.0)
    for moment, amount in items:
        found["all"] += amount
        found[moment.stage] += amount
        found["core" if is_core(moment) else "rest"] += amount
    return {name: amount for name, amount in found.items() if amount}


def _counted(program: Program) -> dict[str, dict[str, float]]:
    """Matrix FLOPs, masked ones too, and the cache at its fullest."""
    flops = [
        (moment, 2.0 * moment.counts.macs * repeat.count)
        for step in program.passes
        for repeat in step.repeats
        for moment in repeat.segment.moments
    ]
    found = {"flops": _part_sums(flops)}
    if program.footprint.kv_cache_bytes:
        found["kv_cache_bytes"] = {"all": float(program.footprint.kv_cache_bytes)}
    return found


def _timed(run: Run) -> dict[str, dict[str, float]]:
    """Seconds of the latency in the name of the moment that retires next; bytes of the memory."""
    retired, now = run.trace.retired, 0
    spent: list[tuple[Moment, float]] = []
    for index in sorted(range(len(retired)), key=lambda i: retired[i]):
        spent.append((run.moments[index], run.trace.seconds(retired[index] - now)))
        now = retired[index]
    moved = [
        (moment, float(traffic.dram_bytes))
        for moment, traffic in zip(run.moments, run.job.traffic, strict=True)
    ]
    return {"latency_s": _part_sums(spent), "bytes": _part_sums(moved)}


def _regions(points: Sequence[Point], series: str, part: str) -> tuple[Region, ...]:
    """Where a series grows by one power, at most three of them; points without it are left out."""
    seen = [(p.value, p.amounts[series][part]) for p in points if part in p.amounts.get(series, {})]
    if len(seen) < 2:
        return ()
    xs, ys = [log(v) for v, _ in seen], [log(a) for _, a in seen]
    best = min(
        (_cut(xs, ys, count) for count in range(1, min(_REGIONS, len(seen) - 1) + 1)),
        key=lambda cut: cut[0],
    )
    return tuple(
        Region(seen[a][0], seen[b][0], (ys[b] - ys[a]) / (xs[b] - xs[a])) for a, b in best[1]
    )


def _cut(xs: list[float], ys: list[float], count: int) -> tuple[float, list[tuple[int, int]]]:
    """The best way to draw `count` straight lines through points, joined at points: cost, lines.

    Cost is the Bayesian information criterion with errors of 1 % and more told apart.
    """
    last = len(xs) - 1
    known: dict[tuple[int, int], tuple[float, list[tuple[int, int]]]] = {}

    def to(end: int, lines: int) -> tuple[float, list[tuple[int, int]]]:
        if (end, lines) not in known:
            if lines == 1:
                known[end, lines] = _misfit(xs, ys, 0, end), [(0, end)]
            else:
                known[end, lines] = min(
                    (
                        (before[0] + _misfit(xs, ys, start, end), [*before[1], (start, end)])
                        for start in range(lines - 1, end)
                        for before in [to(start, lines - 1)]
                    ),
                    key=lambda option: option[0],
                )
        return known[end, lines]

    misfit, lines = to(last, count)
    return len(xs) * log(misfit / len(xs) + 1e-4) + 2 * count * log(len(xs) + 1), lines


def _misfit(xs: list[float], ys: list[float], start: int, end: int) -> float:
    slope = (ys[end] - ys[start]) / (xs[end] - xs[start])
    return sum((ys[i] - ys[start] - slope * (xs[i] - xs[start])) ** 2 for i in range(start, end))


def _crossover(scenario: Scenario, over: str, points: Sequence[Point], series: str) -> int | None:
    """The least value at which the core of attention outweighs the rest, by halving the interval.

    Taken to happen once: from the last point at which it does not to the next.
    """

    def outweighs(point: Point) -> bool:
        parts = point.amounts.get(series, {})
        return parts.get("core", 0.0) > parts.get("rest", 0.0)

    seen = [point for point in points if series in point.amounts]
    after = bisect_left([outweighs(point) for point in seen], True)
    if after in (0, len(seen)):
        return seen[0].value if after == 0 and seen else None
    low, high = seen[after - 1].value, seen[after].value
    while high - low > 1:
        middle = (low + high) // 2
        if outweighs(_point(_varied(scenario, over, middle), middle)):
            high = middle
        else:
            low = middle
    return high
