"""What a machine draws: its limit, idle, and the energy of an operation and of a byte."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field, model_validator

from hardware_profiles.tables import Sourced
from hardware_profiles.units import Joules, Watts


class Energy(Sourced):
    """Energy at the burst clock, all that moves with an operation included.

    `matrix`, `vector`: of one FLOP on that unit, by dtype ("*": any other), operands from registers
    and L1 included. `byte`: of one byte that comes from a level of memory. `exponent`: dynamic
    power of the chip follows clock^exponent, since voltage falls with the clock; DRAM's does not.
    """

    matrix: Mapping[str, Joules]
    vector: Mapping[str, Joules]
    byte: Mapping[str, Joules]
    exponent: Annotated[float, Field(ge=1, le=3)] = 2.4


class Power(Sourced):
    """`tdp`: the power that the vendor lets the machine draw for long.

    `idle`: with no work, but clocks and memory awake. `energy`: where it was measured, and then the
    clock of long runs follows from the TDP; elsewhere it is estimated from the process and the kind
    of memory, see energy.py.
    """

    tdp_watts: Watts = Field(alias="tdp")
    idle_watts: Watts | None = Field(default=None, alias="idle")
    energy: Energy | None = None

    @model_validator(mode="after")
    def _idle_below_tdp(self) -> Power:
        if self.idle_watts is not None and self.idle_watts >= self.tdp_watts:
            raise ValueError("idle is not below tdp; are the two swapped?")
        return self
