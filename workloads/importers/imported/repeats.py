"""Layers found again: the longest run of steps that repeats, as one segment and its count.

Two instances are the same when their moments agree in all but names, and their inputs come from the
same places: from the same step of the instance itself, from the same step of the instance before,
or from outside the run under the same name. What an instance takes from the one before it is
written under one name by all of them, and by whatever comes before the first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from workloads.importers.imported.steps import Step
from workloads.moment import Moment, Tensor

_LEAST = 4
"""Steps of the shortest layer that is looked for: a run of equal sums is none."""

_COMPARISONS = 10_000_000
"""Comparisons of two steps that a search may take."""


@dataclass(frozen=True, slots=True)
class Run:
    """`count` instances of `length` steps from `start` on."""

    start: int
    length: int
    count: int

    @property
    def end(self) -> int:
        return self.start + self.length * self.count


def find_runs(
    steps: Sequence[Step], constants: frozenset[str] = frozenset()
) -> tuple[list[Step], list[Run]]:
    """The steps, renamed so that instances agree, and the runs among them in order.

    `constants`: tensors that each instance has of its own, like weights, such as a mask.

    Runs are looked for in what others leave over, so that an encoder and a decoder are two. Nothing
    outside reads what an instance other than the last has written, or the run is cut before it.
    """
    current = list(steps)
    runs: list[Run] = []
    pending = [(0, len(current))]
    while pending:
        start, end = pending.pop()
        for run in _candidates(current, start, end):
            renamed = _renamed(current, run, constants)
            if renamed is not None:
                current = renamed
                runs.append(run)
                pending += [(start, run.start), (run.end, end)]
                break
    return current, sorted(runs, key=lambda run: run.start)


def _key(step: Step) -> tuple[object, ...]:
    moment = step.moment
    touched = tuple((t.bytes, t.role == "weight") for t in (*moment.reads, *moment.writes))
    return (step.op, moment.kind, moment.stage, moment.shape, moment.dtype, moment.counts,
            moment.parts, moment.group, moment.attention, moment.weight_dtype, touched)  # fmt: skip


def _candidates(steps: Sequence[Step], start: int, end: int) -> Iterator[Run]:
    """Runs of equal keys, those that save most first; the best borders of each first."""
    numbers: dict[tuple[object, ...], int] = {}
    keys = [numbers.setdefault(_key(step), len(numbers)) for step in steps[start:end]]
    size = len(keys)
    found: list[tuple[int, int, int]] = []  # (first, period, length of the periodic stretch)
    for period in _periods(keys):
        first = 0
        for i in range(size - period + 1):
            if i == size - period or keys[i] != keys[i + period]:
                if i - first >= period:
                    found.append((start + first, period, i - first + period))
                first = i + 1
    found.sort(key=lambda f: (-(f[2] // f[1] - 1) * f[1], f[1]))
    for first, period, length in found[:16]:
        count = length // period
        offsets = range(first, first + length - count * period + 1)
        # one instance less can have better borders than the most that fit
        spare = range(first, first + length - (count - 1) * period + 1) if count > 2 else range(0)
        for number, places in ((count, offsets), (count - 1, spare)):
            runs = [Run(place, period, number) for place in places]
            yield from sorted(runs, key=lambda run: (_crossing(steps, run), -run.start))


def _periods(keys: Sequence[int]) -> list[int]:
    """Distances at which keys come again, the most frequent ones: one of them is a layer's length.

    As many as can be looked at in a few seconds, however long the graph is.
    """
    places: dict[int, list[int]] = {}
    for i, key in enumerate(keys):
        places.setdefault(key, []).append(i)
    distances: Counter[int] = Counter()
    for where in places.values():
        for step in range(1, min(9, len(where))):
            distances.update(b - a for a, b in zip(where, where[step:], strict=False))
    most = max(16, _COMPARISONS // max(1, len(keys)))
    common = [period for period, _ in distances.most_common() if period >= _LEAST]
    return sorted(common[:most])


def _crossing(steps: Sequence[Step], run: Run) -> int:
    """Tensors that the second instance takes over from the first."""
    middle = run.start + run.length
    written = {t.name for s in steps[run.start : middle] for t in s.moment.writes}
    return len({
        t.name for s in steps[middle : middle + run.length] for t in s.moment.reads
        if t.name in written
    })  # fmt: skip


Place = tuple[str, int, int] | tuple[str, str]


def _places(
    steps: Sequence[Step], run: Run, number: int, constants: frozenset[str]
) -> list[list[Place]]:
    """Where each step of an instance has its inputs from."""
    first = run.start + number * run.length
    local: dict[str, tuple[int, int]] = {}
    before: dict[str, tuple[int, int]] = {}
    if number:
        for i in range(run.length):
            for k, tensor in enumerate(steps[first - run.length + i].moment.writes):
                before[tensor.name] = (i, k)
    found: list[list[Place]] = []
    weights: dict[str, int] = {}
    for i in range(run.length):
        moment = steps[first + i].moment
        places: list[Place] = []
        for tensor in moment.reads:
            if tensor.name in local:
                places.append(("here", *local[tensor.name]))
            elif tensor.name in before:
                places.append(("before", *before[tensor.name]))
            elif tensor.role in ("weight", "kv_cache") or tensor.name in constants:
                places.append((tensor.role, str(weights.setdefault(tensor.name, len(weights)))))
            else:
                places.append(("outside", tensor.name))
        found.append(places)
        for k, tensor in enumerate(moment.writes):
            local[tensor.name] = (i, k)
    return found


def _renamed(steps: Sequence[Step], run: Run, constants: frozenset[str]) -> list[Step] | None:
    """The steps with all instances under the names of the first one, or None if they differ."""
    instances = [_places(steps, run, number, constants) for number in range(run.count)]
    if any(instance != instances[1] for instance in instances[2:]):
        return None
    carried = _carried(instances[0], instances[1])
    if carried is None or not _apart(steps, run):
        return None
    names = {  # of the first instance, by what came in: the name under which the last hands it on
        outside: steps[run.start + i].moment.writes[k].name for outside, (i, k) in carried.items()
    }
    if not _reads_before_writes(steps, run, names):
        return None
    return _with_names(steps, run, names)


def _carried(
    first: list[list[Place]], second: list[list[Place]]
) -> dict[str, tuple[int, int]] | None:
    """What the first instance has from outside where the second has it from the first."""
    carried: dict[str, tuple[int, int]] = {}
    same: set[str] = set()
    for ours, theirs in zip(first, second, strict=True):
        if len(ours) != len(theirs):
            return None
        for one, two in zip(ours, theirs, strict=True):
            if one == two:
                if one[0] == "outside":
                    same.add(str(one[1]))
                continue
            if one[0] != "outside" or two[0] != "before":
                return None
            place = (int(two[1]), int(two[2]))  # type: ignore[misc]
            if carried.setdefault(str(one[1]), place) != place:
                return None
    unique = len(set(carried.values())) == len(carried)
    return carried if unique and not same & set(carried) else None


def _apart(steps: Sequence[Step], run: Run) -> bool:
    """Whether instances but the last are read by nobody beyond the next one."""
    home = {
        t.name: (i - run.start) // run.length
        for i in range(run.start, run.end)
        for t in steps[i].moment.writes
    }
    for i in range(run.start, len(steps)):
        here = (i - run.start) // run.length if i < run.end else run.count
        for tensor in steps[i].moment.reads:
            if tensor.name in home and here - home[tensor.name] > 1:
                return False
    return True


def _reads_before_writes(steps: Sequence[Step], run: Run, names: dict[str, str]) -> bool:
    """Whether the first instance reads what came in only before it writes the next one's."""
    written: set[str] = set()
    for i in range(run.start, run.start + run.length):
        moment = steps[i].moment
        if any(names.get(t.name) in written for t in moment.reads):
            return False
        written.update(t.name for t in moment.writes)
    return not any(
        t.name in names for s in steps[run.end :] for t in s.moment.reads
    )  # fmt: skip


def _with_names(steps: Sequence[Step], run: Run, names: dict[str, str]) -> list[Step]:
    mapping = dict(names)
    for number in range(1, run.count):
        for i in range(run.length):
            ours = steps[run.start + number * run.length + i].moment
            model = steps[run.start + i].moment
            pairs = (*zip(ours.writes, model.writes, strict=True),
                     *zip(ours.reads, model.reads, strict=True))  # fmt: skip
            for tensor, other in pairs:
                if tensor.name != other.name and other.name not in names:
                    mapping.setdefault(tensor.name, other.name)
    first_template = steps[run.start : run.start + run.length]
    found: list[Step] = []
    for i, step in enumerate(steps):
        if run.start <= i < run.end:
            first = first_template[(i - run.start) % run.length]
            found.append(replace(step, moment=_named(first.moment, names)))
        else:
            found.append(replace(step, moment=_named(step.moment, mapping)))
    return found


def _named(moment: Moment, mapping: dict[str, str]) -> Moment:
    def named(tensors: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return tuple(replace(t, name=mapping.get(t.name, t.name)) for t in tensors)

    return replace(moment, reads=named(moment.reads), writes=named(moment.writes))
