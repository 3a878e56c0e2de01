"""Whether the names and figures of a study exist: on its machines, runtimes and workloads."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from hardware_profiles.errors import ProfileError
from workloads.errors import InputError

if TYPE_CHECKING:
    from hardware_profiles.schema import Profile
    from simulator.runtime import Runtime
    from simulator.study.space import Study, Value

_CHECKED = 200
"""Values of one key that are tried; where later ones do not fit, their points say so."""


def check_study(study: Study, where: str) -> None:
    """ProfileError or InputError for a workload, machine, runtime or key that is not known.

    A figure that varies has to exist on one of the machines at least, and each of its values has to
    fit one: a machine that lacks it is an error of its points, not of the study.
    """
    from hardware_profiles import load_profile
    from simulator.runtime import default_runtime, load_runtime
    from simulator.study.space import FIELDS
    from workloads import load_workload

    for name in study.values("workload"):
        load_workload(str(name))
    profiles = [load_profile(str(name)) for name in study.values("hardware")]
    names = study.values("runtime") or sorted({default_runtime(p.kind) for p in profiles})
    runtimes = [load_runtime(str(name)) for name in names]
    for key in (*study.base, *study.varied):
        if key not in FIELDS:
            for value in study.values(key)[:_CHECKED]:
                _check_change(f"{key}={_text(value)}", profiles, runtimes, where)
    for text in study.changes:
        _check_change(text, profiles, runtimes, where)


def _text(value: Value) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _check_change(
    text: str, profiles: Iterable[Profile], runtimes: Iterable[Runtime], where: str
) -> None:
    from hardware_profiles.variants import with_changes
    from simulator.runtime_changes import is_runtime_change, with_runtime_changes

    first: Exception | None = None
    for profile in profiles:
        for runtime in runtimes if is_runtime_change(text) else (None,):
            try:
                if runtime is None:
                    with_changes(profile, [text])
                else:
                    with_runtime_changes(runtime, profile.kind, [text])
            except (InputError, ProfileError) as error:
                first = first or error
            else:
                return
    if first is not None:
        message = str(first).removeprefix("--set ")
        hint = _option_hint(text.partition("=")[0])
        raise ProfileError(f"{where}: {message}{hint}")


def _option_hint(key: str) -> str:
    from simulator.study.space import FIELDS
    from workloads.errors import nearest

    return nearest(key, FIELDS).replace("did you mean", "or the option")
