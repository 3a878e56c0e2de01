"""The tensors that a segment touches, and what of its traffic all its instances share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from simulator.memory import Hierarchy
    from workloads.moment import Segment, Tensor


class Unfoldable(Exception):  # noqa: N818 - a way out, never an error that a user meets
    """The program cannot be folded."""


@dataclass(frozen=True, slots=True)
class Access:
    """The first read of a tensor in an instance.

    `offset`: bytes touched in the instance before it, and those of the tensor. `untouched_level`:
    where it is found if nobody touched it before the run. `key`: position among the names stored.
    """

    name: str
    position: int
    bytes: int
    offset: int
    untouched_level: int
    key: int = -1


@dataclass(frozen=True, slots=True)
class Accesses:
    """What an instance of a segment touches.

    `fixed`: bytes by moment and level that do not depend on what was before the instance;
    `steady`: with the activations, where the instance before was one of the same segment. The first
    accesses to the other tensors; and the bytes touched in the instance when each of them was
    touched last.
    """

    own_bytes: int
    fixed: tuple[tuple[int, ...], ...]
    steady: tuple[tuple[int, ...], ...]
    stored_first: tuple[Access, ...]
    shared_first: tuple[Access, ...]
    stored_names: tuple[str, ...]
    stored_last: tuple[int, ...]
    shared_last: Mapping[str, int]


def accesses_of(
    segment: Segment, levels: Hierarchy, warm: Mapping[str, int], names: set[str]
) -> Accesses:
    """The accesses of a segment; Unfoldable where an activation may be named as a weight is.

    `names`: those of all segments of the program.
    """
    level_of, deepest = levels.level, len(levels.capacities)
    fixed: list[list[int]] = []
    last: dict[tuple[bool, str], int] = {}  # touched in the instance when last used
    first: dict[bool, list[Access]] = {True: [], False: []}
    touched = 0
    for position, moment in enumerate(segment.moments):
        row = [0] * (deepest + 1)
        written = moment.write_bytes
        own = written + moment.read_bytes
        keys = [_key(tensor, names) for tensor in moment.reads]
        for key, tensor in zip(keys, moment.reads, strict=True):
            before = last.get(key)
            if before is not None:
                row[level_of(touched - before + tensor.bytes)] += tensor.bytes
                continue
            times = warm.get(tensor.role)
            untouched = deepest if times is None else level_of(own * times)
            offset = touched + tensor.bytes
            access = Access(tensor.name, position, tensor.bytes, offset, untouched)
            first[key[0]].append(access)
        row[level_of(own)] += written
        fixed.append(row)
        touched += own
        for key in keys:
            last[key] = touched
        for tensor in moment.writes:
            last[_key(tensor, names)] = touched
    stored = {name: at for (is_stored, name), at in last.items() if is_stored}
    shared = {name: at for (is_stored, name), at in last.items() if not is_stored}
    steady = [list(row) for row in fixed]
    for access in first[False]:
        distance = touched - shared[access.name] + access.offset
        steady[access.position][level_of(distance)] += access.bytes
    order = {name: i for i, name in enumerate(stored)}
    return Accesses(
        own_bytes=touched,
        fixed=tuple(map(tuple, fixed)),
        steady=tuple(map(tuple, steady)),
        stored_first=tuple(
            Access(a.name, a.position, a.bytes, a.offset, a.untouched_level, order[a.name])
            for a in first[True]
        ),
        shared_first=tuple(first[False]),
        stored_names=tuple(stored),
        stored_last=tuple(stored.values()),
        shared_last=shared,
    )


def _key(tensor: Tensor, names: set[str]) -> tuple[bool, str]:
    """Whether a tensor belongs to one instance, and its name."""
    if tensor.role in ("weight", "kv_cache"):
        return True, tensor.name
    head, slash, _ = tensor.name.partition("/")
    if slash and (head in names or head.rpartition(".")[0] in names):
        raise Unfoldable
    return False, tensor.name
