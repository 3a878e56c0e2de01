"""A runtime with some of its figures changed, for what-ifs on one line."""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import ValidationError

from hardware_profiles.changes import Change, differences, find_key, new_value, parse_change
from hardware_profiles.errors import ProfileError
from hardware_profiles.keys import Leaf, get, leaf_at, put
from simulator.runtime import OnDevice, Runtime

PREFIX = "runtime."
_DISPATCH = "dispatch"
_SHORT = {"dispatch": "dispatch", "moment": "host.moment", "launch": "host.launch"}


def is_runtime_change(text: str) -> bool:
    """Whether a change is of the runtime, not of the machine: `runtime.` before it, or dispatch."""
    key = text.partition("=")[0].strip()
    return key.startswith(PREFIX) or key == _DISPATCH


def with_runtime_changes(runtime: Runtime, kind: str, changes: Iterable[str]) -> Runtime:
    """The runtime with other figures in its section for a kind of device ("cpu", "gpu").

    Each change is "runtime.KEY=value", KEY as in the section ("host.moment", "library.fork_join",
    "fusion.attention"), value as for simulator-wide changes: "2us", "0.5x", "fused". `dispatch`
    stands for all times that the host spends: of a moment, by kind, and once a pass. ProfileError
    for keys and values that do not fit; InputError where the runtime does not run on such a device.
    """
    section, changes = runtime.on(kind), tuple(changes)
    for text in changes:
        change = parse_change(text)
        short = Change(change.text, change.key.removeprefix(PREFIX), change.value)
        section = _changed(section, short)
    return runtime.model_copy(update={kind: _checked(section, changes)})


def runtime_figure_of(section: OnDevice, key: str) -> tuple[object, Leaf | None]:
    """The figure that a key of `with_runtime_changes` means and what it holds.

    None for both for `dispatch`, which is several. ProfileError for a key that is not known.
    """
    short = key.removeprefix(PREFIX)
    path = find_key(Change(key, short, "1x"), OnDevice, section, _SHORT, (_DISPATCH,))
    if path == (_DISPATCH,):
        return None, None
    return get(section, path), leaf_at(OnDevice, path, section)


def runtime_differences(before: Runtime, after: Runtime, kind: str) -> list[str]:
    """What was changed, as lines "runtime.host.moment: 4.5 us -> 2 us"."""
    return [PREFIX + line for line in differences(before.on(kind), after.on(kind))]


def _changed(section: OnDevice, change: Change) -> OnDevice:
    path = find_key(change, OnDevice, section, _SHORT, (_DISPATCH,))
    paths = _dispatch_paths(section, change) if path == (_DISPATCH,) else [path]
    for one in paths:
        leaf = leaf_at(OnDevice, one, section)
        value = new_value(change, leaf, get(section, one), PREFIX + ".".join(one))
        section = put(section, one, value, OnDevice)
    return section


def _dispatch_paths(section: OnDevice, change: Change) -> list[tuple[str, ...]]:
    if section.host is None or section.host.mode == "none":
        raise change.error("this runtime has no host that dispatches")
    if change.factor is None:
        raise change.error(
            "dispatch has several times; write dispatch=0.5x, or runtime.host.moment=2us for one"
        )
    kinds = [("host", "by_kind", kind) for kind in section.host.by_kind_s]
    return [("host", "moment"), *kinds, ("host", "per_pass")]


def _checked(section: OnDevice, changes: tuple[str, ...]) -> OnDevice:
    data = section.model_dump(by_alias=True, exclude_none=True, warnings=False)
    try:
        return OnDevice.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        shown = ", ".join(changes)[:200]
        reason = first["msg"].removeprefix("Value error, ")
        raise ProfileError(f"--set {shown}: {PREFIX}{where}: {reason}") from None
