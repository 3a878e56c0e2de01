"""Variants of a profile: some of its cores in use, or some of its figures changed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import get_args

from pydantic import BaseModel

from hardware_profiles.changes import (
    Change,
    differences,
    find_key,
    new_value,
    parse_change,
    scaled,
)
from hardware_profiles.efficiency import usual_efficiency
from hardware_profiles.errors import ProfileError
from hardware_profiles.keys import Leaf, field_names, get, leaf_at, put
from hardware_profiles.schema import Clock, KernelName, MemoryLevel, Peak, Profile
from hardware_profiles.units import PLAIN

_SHORT = {
    "cores": "cores.count",
    "clock": "clock.burst",
    "simd": "width.vector",
    "vector": "width.vector",
    "matrix": "width.matrix",
    "special": "width.special",
    "bandwidth": "memory.dram.bandwidth",
    "capacity": "memory.dram.capacity",
    "tdp": "power.tdp",
    "price": "price.per_hour",
}
"""What people write for a key; the levels of memory and the classes of kernels come besides."""

_GROUPS = ("width.matrix", "width.vector", "width.special")
_KERNELS: tuple[KernelName, ...] = get_args(KernelName)


def with_cores(profile: Profile, count: int) -> Profile:
    """The machine as a run on `count` of its cores sees it.

    Levels that every core has one of shrink with the cores; shared levels and DRAM stay whole, and
    what one core can draw still limits them. ProfileError for a count that the machine has not.
    """
    have = profile.cores.count
    if not 1 <= count <= have:
        raise ProfileError(
            f"threads = {count}: {profile.name} has {have} cores; expected 1 to {have}"
        )
    if count == have:
        return profile
    memory = {name: _level(level, have, count) for name, level in profile.memory.items()}
    cores = profile.cores.model_copy(update={"count": count})
    clock = _clock(profile.clock, have, count)
    return profile.model_copy(update={"cores": cores, "clock": clock, "memory": memory})


def with_one_socket(profile: Profile) -> Profile:
    """One of the two equal sockets of a machine: half of its cores, shared caches and DRAM.

    The sustained clock stays that of a fully loaded socket. ProfileError for an odd number of
    cores, which no two equal sockets have.
    """
    have = profile.cores.count
    if have % 2:
        raise ProfileError(f"{profile.name} has {have} cores: no two equal sockets")
    memory = {name: _half(level) for name, level in profile.memory.items()}
    cores = profile.cores.model_copy(update={"count": have // 2})
    return profile.model_copy(update={"cores": cores, "memory": memory})


def _half(level: MemoryLevel) -> MemoryLevel:
    halved = {"bandwidth_bytes_per_s": level.bandwidth_bytes_per_s // 2}
    key = "instances" if level.instances % 2 == 0 else "capacity_bytes"
    return level.model_copy(update={**halved, key: getattr(level, key) // 2})


def _clock(clock: Clock, have: int, count: int) -> Clock:
    """Fewer busy cores sustain more: the burst clock for one, in a straight line to all."""
    if clock.sustained_hz is None:
        return clock
    lost = (clock.burst_hz - clock.sustained_hz) * (count - 1) // (have - 1)
    return clock.model_copy(update={"sustained_hz": clock.burst_hz - lost})


def _level(level: MemoryLevel, have: int, count: int) -> MemoryLevel:
    total = level.bandwidth_bytes_per_s
    per_core = level.bandwidth_per_core_bytes_per_s
    reachable = total if per_core is None else min(total, per_core * count)
    instances = count if level.instances == have else level.instances
    return level.model_copy(update={"bandwidth_bytes_per_s": reachable, "instances": instances})


def with_changes(profile: Profile, changes: Iterable[str], *, checked: bool = True) -> Profile:
    """The machine with other figures: each change is "key=value", applied in the order given.

    Keys are those of the file ("memory.l2.capacity") or short ("cores", "clock", "dram.bandwidth",
    "matrix.fp16", "simd", "tdp"). Values have a unit ("2.5 GHz") or change what is there ("2x",
    "1/2x", "+10%"). Figures that depend on a changed one follow:

    - cores: levels that each core, or each group of cores, has one of become as many more, with
      their bandwidth; levels shared by all and DRAM stay, unless fewer cores cannot draw as much.
    - clock: the sustained clock and the bandwidth of caches scale with it, their latency inversely.
      DRAM stays, and so do the fixed times of kernels and of the host, which are given in seconds.
    - bandwidth of a level: what one core can draw of it and the rate of a pin scale along.
    - quoted peaks scale with cores, clock and the width of their dtype.

    ProfileError: a key that is not known (near ones are listed), a value that does not fit its key,
    or a machine that cannot be (unless not `checked`: for limits, such as a clock without end).
    """
    changed = profile
    for text in changes:
        changed = _changed(changed, parse_change(text))
    if changed is profile or not checked:
        return changed
    return _checked(profile, changed, tuple(changes))


def figure_of(profile: Profile, key: str) -> tuple[object, Leaf | None]:
    """The figure that a key of `with_changes` means and what it holds.

    None for both where the key stands for several figures. ProfileError for one that is not known.
    """
    change = Change(key, key, "1x")
    short = _short(profile)
    profile = _with_own_efficiency(profile, change, short)
    path = find_key(change, Profile, profile, short, _GROUPS)
    if ".".join(path) in _GROUPS:
        return None, None
    return get(profile, path), leaf_at(Profile, path, profile)


def at_clock_share(profile: Profile, share: float) -> Profile:
    """The machine with its clocks at that share of what they are; caches follow, DRAM does not."""
    ratio = Fraction(share).limit_denominator(1_000_000)
    burst = round(profile.clock.burst_hz * ratio)
    clock = profile.clock.model_copy(update={"burst_hz": burst})
    return _of_clock(profile.model_copy(update={"clock": clock}), ratio)


def made_changes(before: Profile, after: Profile) -> list[str]:
    """What `with_changes` made of `before`, as lines "cores.count: 108 -> 216"; not the peaks."""
    own = {**before.efficiency, **{n: usual_efficiency(before, n) for n in after.efficiency}}
    lines = differences(before.model_copy(update={"efficiency": own}), after)
    return [line for line in lines if not line.startswith("peak.")]


def _changed(profile: Profile, change: Change) -> Profile:
    short = _short(profile)
    profile = _with_own_efficiency(profile, change, short)
    path = find_key(change, Profile, profile, short, _GROUPS)
    paths = [path]
    if ".".join(path) in _GROUPS:
        if change.factor is None:
            example = f"{change.key}.fp16=512 or {change.key}=2x"
            raise change.error(f"{change.key} has a figure for each dtype; write {example}")
        paths = [(*path, dtype) for dtype in get(profile, path)]
    for one in paths:
        leaf, key = leaf_at(Profile, one, profile), ".".join(one)
        value = new_value(change, leaf, get(profile, one), key)
        after = put(profile, one, value, Profile)
        profile = _with_dependents(profile, after, one, change)
    return profile


def _short(profile: Profile) -> dict[str, str]:
    """Full keys by what people write for them."""
    short = _SHORT | {level: f"memory.{level}" for level in profile.memory}
    return short | {kernel: f"efficiency.{kernel}" for kernel in _KERNELS}


def _with_own_efficiency(profile: Profile, change: Change, short: dict[str, str]) -> Profile:
    """`profile` with the efficiencies of its generation written out where one of them changes."""
    head, _, rest = change.key.partition(".")
    path = f"{short.get(head, head)}.{rest}".split(".")
    if path[0] != "efficiency" or len(path) < 3 or path[1] not in _KERNELS:
        return profile
    own = {name: usual_efficiency(profile, name) for name in _KERNELS if name == path[1]}
    return profile.model_copy(update={"efficiency": {**profile.efficiency, **own}})


def _with_dependents(
    before: Profile, after: Profile, path: tuple[str, ...], change: Change
) -> Profile:
    """`after` with the figures that follow from the one at `path`."""
    old, new = get(before, path), get(after, path)
    if old is None or old == new:
        return after
    if path == ("cores", "count"):
        memory = {n: _of_cores(lv, old, new, change) for n, lv in after.memory.items()}
        return _peaks(after.model_copy(update={"memory": memory}), Fraction(new, old), None)
    if path == ("clock", "burst"):
        return _of_clock(after, Fraction(new, old))
    if path[0] == "width" and path[1] != "special":
        dtype = path[2]
        widths = (before.width.macs_per_cycle(dtype), after.width.macs_per_cycle(dtype))
        return _peaks(after, Fraction(repr(widths[1])) / Fraction(repr(widths[0])), dtype)
    if path[0] == "memory" and path[2] == "bandwidth":
        for follower in ("bandwidth_per_core", "data_rate"):
            key = (*path[:2], follower)
            value = get(after, key)
            if value is not None:
                value = scaled(value, Fraction(new, old), change, ".".join(key))
                after = put(after, key, value, Profile)
    return after


def _of_cores(level: MemoryLevel, old: int, new: int, change: Change) -> MemoryLevel:
    """A level of a machine with `new` cores instead of `old`."""
    rate, per_core = level.bandwidth_bytes_per_s, level.bandwidth_per_core_bytes_per_s
    if level.instances > 1:
        ratio = Fraction(new, old)
        update = {
            "instances": max(1, -(-level.instances * new // old)),
            "bandwidth_bytes_per_s": int(scaled(rate, ratio, change, "bandwidth")),
        }
        return level.model_copy(update=update)
    reachable = rate if per_core is None else min(rate, per_core * new)
    return level.model_copy(update={"bandwidth_bytes_per_s": reachable})


def _of_clock(after: Profile, ratio: Fraction) -> Profile:
    """`after`, whose burst clock changed by `ratio`, with the clocks and caches that follow."""
    memory = {}
    for name, level in after.memory.items():
        if name != "dram":
            rate, share = level.bandwidth_bytes_per_s, level.bandwidth_per_core_bytes_per_s
            latency = level.latency_s
            level = level.model_copy(
                update={
                    "bandwidth_bytes_per_s": round(rate * ratio),
                    "bandwidth_per_core_bytes_per_s": None
                    if share is None
                    else round(share * ratio),
                    "latency_s": None if latency is None else _real(latency, 1 / ratio),
                }
            )
        memory[name] = level
    clock = after.clock
    if clock.sustained_hz is not None:
        sustained = round(clock.sustained_hz * ratio)
        clock = clock.model_copy(update={"sustained_hz": sustained})
    after = after.model_copy(update={"memory": memory, "clock": clock})
    if after.peak is not None:
        clocks = {dtype: round(hertz * ratio) for dtype, hertz in after.peak.clock_hz.items()}
        after = after.model_copy(
            update={"peak": after.peak.model_copy(update={"clock_hz": clocks})}
        )
    return _peaks(after, ratio, None)


def _peaks(profile: Profile, ratio: Fraction, dtype: str | None) -> Profile:
    """The quoted peaks times `ratio`, those of `dtype` or of all."""
    if profile.peak is None:
        return profile
    flops = {
        name: _real(value, ratio) if dtype in (None, name) else value
        for name, value in profile.peak.flops_per_s.items()
    }
    peak: Peak = profile.peak.model_copy(update={"flops_per_s": flops})
    return profile.model_copy(update={"peak": peak})


def _real(value: float, ratio: Fraction) -> float:
    """`value` times `ratio`, so that the inverse gives the value back."""
    return float(f"{float(Fraction(repr(value)) * ratio):.13e}")


def _checked(before: Profile, after: Profile, changes: tuple[str, ...]) -> Profile:
    """`after` as if it had been read from a file; ProfileError where it is of no machine.

    Tables that are those of `before` are whole already.
    """
    from pydantic import ValidationError

    from hardware_profiles.loader import dotted

    data = {
        key: _written(getattr(before, name), getattr(after, name))
        for key, name in field_names(Profile).items()
        if getattr(after, name) is not None
    }
    try:
        return Profile.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = dotted(str(part) for part in first["loc"] if part != "[key]")
        reason = first["msg"].removeprefix("Value error, ")
        shown = ", ".join(changes)[:200]
        raise ProfileError(f"--set {shown}: {where}: {reason}".replace(": : ", ": ")) from None


def _written(before: object, after: object) -> object:
    """A value as a file would say it, but tables that did not change as they are."""
    if after is before:
        return after
    if isinstance(after, BaseModel):
        return after.model_dump(by_alias=True, exclude_none=True, warnings=False, context=PLAIN)
    if isinstance(after, Mapping):
        known = before if isinstance(before, Mapping) else {}
        return {key: _written(known.get(key), value) for key, value in after.items()}
    return after
