"""How well kernels use a machine: its own figures, a calibration, or what is expected of it."""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path
from typing import Literal, get_args

from hardware_profiles.calibrations import calibration_of, shipped
from hardware_profiles.errors import ProfileError
from hardware_profiles.expected import dies, expected_kernel
from hardware_profiles.schema import KernelClass, KernelName, Profile

_FOLDER = Path(__file__).parent / "kernels"
_FORMULAS = ("gpu", "dies")
"""Files of kernels/ that say what to expect of any machine instead of what one reaches."""

Mode = Literal["calibrated", "zero-shot"]
"""calibrated: fitted on some cases of that machine, where there are any. zero-shot: on none."""
MODES: tuple[Mode, ...] = ("calibrated", "zero-shot")

_BITS = {"fp64": 64, "fp32": 32, "tf32": 32, "bf16": 16, "fp16": 16, "fp8": 8, "int8": 8, "int4": 4}


@cache
def generation_efficiency(name: str) -> dict[str, KernelClass]:
    """Efficiencies by kernel class from kernels/NAME.toml, which need not have every class.

    Empty for a generation of GPUs that has calibrations or facts of its die instead of a file.
    """
    path = _FOLDER / f"{name}.toml"
    if path.is_file() and name not in _FORMULAS:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
        return {key: KernelClass.model_validate(entry) for key, entry in table.items()}
    known = {p.stem for p in _FOLDER.glob("*.toml")} - set(_FORMULAS)
    generations = set(dies()) | {f.kernels for f in shipped().values() if f.kernels} - {"default"}
    if name in generations:
        return {}
    names = ", ".join(sorted(known | generations))
    raise ProfileError(f"kernels = {name!r}: no such file of efficiencies (known: {names})")


def efficiency_of(
    profile: Profile,
    name: KernelName,
    dtype: str = "fp16",
    *,
    mode: Mode = "calibrated",
    library: str = "",
) -> KernelClass:
    """A kernel class of a machine, for operands of a type.

    What the profile says itself wins. Mode "calibrated": then the calibration of the machine or
    its generation, see calibration_of. Both modes: then the generation's file, and what is
    expected of the kind of machine; of a GPU, without anything that was measured on its die.
    """
    own = profile.efficiency.get(name)
    if own is not None:
        return own
    bits = _BITS.get(dtype, 16)
    if mode == "calibrated":
        found = calibration_of(profile, name, bits, library)
        if found is not None:
            return found
    if profile.kernels is not None:
        kernel = generation_efficiency(profile.kernels).get(name)
        if kernel is not None:
            return kernel
    if profile.kind == "gpu":
        return expected_kernel(profile, name, bits / 8)
    return generation_efficiency(profile.kind)[name]


def usual_efficiency(profile: Profile, name: KernelName, dtype: str = "fp16") -> KernelClass:
    """What kernels of any library reach: the profile's own figure, or what is expected of it.

    For whole passes. A calibration holds for the library that was measured, operator by operator;
    on the public whole passes of other libraries it erred 23 % where this erred 20 %.
    """
    return efficiency_of(profile, name, dtype, mode="zero-shot")


def with_kernels(profile: Profile, dtype: str, *, mode: Mode, library: str = "") -> Profile:
    """The machine with every kernel class as the mode and the library have it."""
    names: tuple[KernelName, ...] = get_args(KernelName)
    chosen = {
        name: efficiency_of(profile, name, dtype, mode=mode, library=library) for name in names
    }
    return profile.model_copy(update={"efficiency": {**chosen, **profile.efficiency}})
