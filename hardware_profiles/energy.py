"""Energy of operations and bytes on a machine: as its profile says, or estimated.

The estimate has one law for arithmetic, a table for DRAM and one for types. It is no better than
its anchors (see `_ANCHOR_J`), and its purpose is to tell boards that their power limit holds back
from those that it does not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hardware_profiles.power import Energy

if TYPE_CHECKING:
    from hardware_profiles.schema import Profile

IDLE_SHARE = 0.12
"""Idle power as a share of the TDP where it is not declared: about 50 of A100's 400 W."""

_EXPONENT = 2.4
"""Dynamic power against clock: 1 for the clock itself, 2 x 0.7 for the voltage that follows it."""

_ANCHOR_J, _ANCHOR_NM, _ANCHOR_HZ = 1.15e-12, 7.0, 1.41e9
"""One fp16 FLOP of a matrix unit: A100 holds its 1.41 GHz at some 270 TFLOP/s of its 400 W, of
which about 90 go to idle and HBM. Energy falls in proportion to the node and rises with
clock^(exponent - 1)."""

_TDP_SHARE = 0.7
"""Part of the TDP that arithmetic at its peak takes on a CPU, by either unit and in any type: the
sustained clock of all cores is what the TDP allows. A100's large products take about as much."""

_MATRIX = {
    "fp64": 8.0, "fp32": 4.0, "tf32": 2.0, "bf16": 1.0, "fp16": 1.0,
    "fp8": 0.5, "int8": 0.5, "fp4": 0.25, "int4": 0.25,
}  # fmt: skip
"""A multiplier's energy falls with the bits of its operands: the rate doubles at equal power."""

_VECTOR = {"fp64": 20.0, "fp32": 10.0, "tf32": 10.0, "bf16": 5.0, "fp16": 5.0}
"""A vector FLOP against an fp16 FLOP of a matrix unit: fetch, registers and issue for each lane
(A100 draws most of its power at 18 TFLOP/s of fp32)."""

_DRAM_J_PER_BYTE = {
    "HBM": 55e-12, "GDDR": 60e-12, "LPDDR": 40e-12, "DDR": 120e-12,
}  # fmt: skip
"""Per bit: HBM2E 6.0 pJ, GDDR6X 7.25, GDDR6 7.5 of the devices (micron.com, ultra-bandwidth
solutions), rounded up for controller and PHY; LPDDR4 and 5 about 5, DDR4 and 5 about 15 with them
(estimated)."""

_CACHE_J_PER_BYTE = 8e-12
"""A byte from an on-chip cache beyond L1, at 7 nm: wires of a large die (estimated)."""


def energy_of(profile: Profile) -> Energy | None:
    """The machine's energies; estimated where it declares none, None where nothing is known.

    On a CPU, or with the process unknown, peak arithmetic takes a fixed part of the TDP.
    """
    power = profile.power
    if power is None:
        return None
    if power.energy is not None:
        return power.energy
    matrix, vector, how = _arithmetic(profile, power.tdp_watts)
    node = profile.process.node_nm if profile.process else _ANCHOR_NM
    technology = profile.memory["dram"].technology or ""
    kind = next((name for name in _DRAM_J_PER_BYTE if technology.startswith(name)), "DDR")
    by_level = dict.fromkeys(profile.memory, _rounded(_CACHE_J_PER_BYTE * node / _ANCHOR_NM))
    return Energy.model_construct(
        matrix={dtype: _rounded(joules) for dtype, joules in matrix.items()},
        vector={dtype: _rounded(joules) for dtype, joules in vector.items()},
        byte={**by_level, "dram": _DRAM_J_PER_BYTE[kind]},
        exponent=_EXPONENT,
        source=f"estimated: {how}; {technology or 'DRAM taken as DDR'}",
    )


def idle_watts(profile: Profile) -> float | None:
    """What the machine draws with no work; None where no power is known."""
    power = profile.power
    if power is None:
        return None
    return power.tdp_watts * IDLE_SHARE if power.idle_watts is None else power.idle_watts


def load_share(profile: Profile) -> float | None:
    """What the matrix unit at its 16-bit peak and burst clock would draw, idle included, against
    the TDP; None where it has none or its power is not known.
    """
    idle, energy = idle_watts(profile), energy_of(profile)
    macs = max(profile.width.matrix.get(dtype, 0.0) for dtype in ("fp16", "bf16"))
    if profile.power is None or idle is None or energy is None or not macs:
        return None
    joules = energy.matrix.get("fp16", energy.matrix.get("*"))
    if joules is None:
        return None
    flops_per_s = 2.0 * macs * profile.cores.count * profile.clock.burst_hz
    return (idle + joules * flops_per_s) / profile.power.tdp_watts


def _arithmetic(
    profile: Profile, tdp_watts: float
) -> tuple[dict[str, float], dict[str, float], str]:
    """Joules of one FLOP by dtype, of the matrix unit and of the vector unit, and how they came."""
    if profile.process is not None and profile.kind == "gpu":
        clock = (profile.clock.burst_hz / _ANCHOR_HZ) ** (_EXPONENT - 1)
        joules = _ANCHOR_J * profile.process.node_nm / _ANCHOR_NM * clock
        matrix = {dtype: factor * joules for dtype, factor in _MATRIX.items()}
        vector = {dtype: factor * joules for dtype, factor in _VECTOR.items()}
        return matrix, vector, f"A100's, for {profile.process.node_nm:g} nm and the clock"
    hertz = profile.clock.sustained_hz or profile.clock.burst_hz
    joules = _TDP_SHARE * tdp_watts / (2.0 * profile.cores.count * hertz)
    width = profile.width
    matrix = {dtype: joules / macs for dtype, macs in width.matrix.items()}
    vector = {dtype: joules / lanes for dtype, lanes in width.vector.items()}
    matrix["*"] = max([*matrix.values(), vector["fp32"]])
    return matrix, vector, f"arithmetic at its peak takes {_TDP_SHARE} of the TDP"


def _rounded(joules: float) -> float:
    """Two digits: an estimate has no more."""
    return float(f"{joules:.1e}")
