"""What one moment asks of one machine: integer cycles and bytes, nothing about when."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Cause = Literal[
    "compute",
    "memory",
    "overlap",
    "latency",
    "uneven",
    "fork_join",
    "packing",
    "page_faults",
    "load",
    "link",
    "dispatch",
    "dependency",
]


@dataclass(frozen=True, slots=True)
class Demand:
    """What a moment asks for.

    `units` equal work units of `unit_cycles` each, one unit on one core at a time, on at most
    `cores` cores. Beside that it moves `memory_bytes` over the shared memory at no more than
    `memory_cap` (bytes per cycle x RATE_ONE of simulator.sharing; 0: no cap). Arithmetic and memory
    run side by side; when both are done, `serial` cycles follow, by cause, with the moment's cores
    still held. `dispatch_cycles` are cycles of the host's clock before the moment can be issued.
    """

    units: int
    unit_cycles: int
    cores: int
    memory_bytes: int = 0
    memory_cap: int = 0
    serial: tuple[tuple[Cause, int], ...] = ()
    dispatch_cycles: int = 0

    def __post_init__(self) -> None:
        if self.units < 1 or self.cores < 1:
            raise ValueError(f"a demand needs at least one unit and one core: {self}")
        if min(self.unit_cycles, self.memory_bytes, self.memory_cap, self.dispatch_cycles) < 0:
            raise ValueError(f"a demand cannot be negative: {self}")

    @property
    def serial_cycles(self) -> int:
        total = 0
        for _, cycles in self.serial:
            total += cycles
        return total

    def arithmetic_cycles(self, cores: int) -> int:
        """Cycles that the units take on `cores` cores, in waves."""
        return -(-self.units // cores) * self.unit_cycles
