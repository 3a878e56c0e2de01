"""The efficiencies of a machine's kernels, written out so that they stay when the machine changes.

What is expected of a GPU's kernels follows from its figures; a what-if that is to show the effect
of one figure must not show that of other kernels besides.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, get_args

from hardware_profiles.efficiency import usual_efficiency
from hardware_profiles.schema import KernelName
from simulator.demand.context import kernel_class

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hardware_profiles.schema import KernelClass, Profile
    from workloads.moment import Program


def kernels_of(profile: Profile, program: Program) -> dict[KernelName, KernelClass]:
    """Each class of kernels for the type that most moments of it have, or the program's."""
    if len(profile.efficiency) == len(get_args(KernelName)):
        return dict(profile.efficiency)  # its own win over all others, for every type
    dtypes: dict[KernelName, Counter[str]] = {}
    for step in program.passes:
        for repeat in step.repeats:
            for moment in repeat.segment.moments:
                name = kernel_class(moment, profile)
                dtypes.setdefault(name, Counter())[moment.dtype] += repeat.count
    return {name: usual_efficiency(profile, name, _most(dtypes.get(name), program.dtype))
            for name in get_args(KernelName)}  # fmt: skip


def _most(counted: Mapping[str, int] | None, otherwise: str) -> str:
    return max(counted, key=counted.__getitem__) if counted else otherwise


def with_own_kernels(profile: Profile, program: Program) -> Profile:
    """The same machine with the efficiencies of its kernels as figures of its own."""
    return profile.model_copy(update={"efficiency": kernels_of(profile, program)})
