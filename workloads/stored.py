"""How weight matrices are stored: format, scales of channels, zeros left out; bytes and counts.

Not modelled: what a format does to the quality of the answers (rounding, outliers, calibration),
or whether a density can be reached at all.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from math import ceil
from typing import Literal

from workloads.errors import InputError, nearest, shown
from workloads.moment import DTYPE_BITS, WEIGHT_FORMAT_BYTES, storage_bytes

SparseStorage = Literal["none", "bitmap", "csr", "2:4"]
SPARSE_STORAGES: tuple[SparseStorage, ...] = ("none", "bitmap", "csr", "2:4")

CHANNEL_FORMATS = {f"{dtype}-channel": dtype for dtype in ("int8", "fp8", "int4")}
"""Values of a plain type with one 16-bit scale for each output channel (row of the matrix)."""

SCALE_BYTES = 2

_CSR_INDEX_BYTES = 4
"""cuSPARSE and SciPy use 32-bit column indices and row offsets for matrices of this size."""


@dataclass(frozen=True, slots=True)
class Sparsity:
    """The part of the weights that is not zero (0 < density <= 1), and how zeros are left out.

    "none": they are stored like all others. "bitmap": a bit for each weight, then what is not
    zero. "csr": compressed sparse rows, a 32-bit column for each value that is not zero and a
    32-bit offset for each row and the end. "2:4": two of every four, with 2 bits of place each.
    """

    density: float
    storage: SparseStorage

    def kept(self, elements: int) -> int:
        """How many of so many weights are not zero, rounded up."""
        return ceil(Fraction(str(self.density)) * elements)


@dataclass(frozen=True, slots=True)
class Stored:
    """A format of values (a dtype or a name of WEIGHT_FORMAT_BYTES), channel scales, sparsity."""

    values: str
    channels: bool = False
    sparsity: Sparsity | None = None

    def value_bytes(self, elements: int, rows: int, matrices: int = 1) -> int:
        """Bytes of matrices with so many weights and output channels, without channel scales.

        A 2:4 matrix of fp16: 16 / 2 bits of values and 2 / 2 bits of places, 9/16 of the dense.
        """
        if self.sparsity is None or self.sparsity.storage == "none":
            return storage_bytes(elements, self.values)
        kept = self.sparsity.kept(elements)
        found = storage_bytes(kept, self.values)
        if self.sparsity.storage == "bitmap":
            return found + -(-elements // 8)
        if self.sparsity.storage == "2:4":
            return found + -(-kept // 4)
        return found + _CSR_INDEX_BYTES * (kept + rows + matrices)

    def total_bytes(self, elements: int, rows: int, matrices: int = 1) -> int:
        """With the scales of the channels."""
        return self.value_bytes(elements, rows, matrices) + self.channels * SCALE_BYTES * rows

    def with_values(self, name: str) -> Stored:
        """The same sparsity with other values; `name` may be one of CHANNEL_FORMATS."""
        return replace(
            self, values=CHANNEL_FORMATS.get(name, name), channels=name in CHANNEL_FORMATS
        )


def stored_format(key: str, value: object) -> str:
    """`value` if it names a way to store weights, else InputError that names `key`."""
    known = (*DTYPE_BITS, *WEIGHT_FORMAT_BYTES, *CHANNEL_FORMATS)
    if isinstance(value, str) and value in known:
        return value
    hint = nearest(value, known) if isinstance(value, str) else ""
    raise InputError(f"{key} = {shown(value)}: expected one of {', '.join(known)}{hint}")


def bits_per_value(values: str) -> float:
    """Bits of one value, its share of the scales of a block included."""
    if values in WEIGHT_FORMAT_BYTES:
        size, count = WEIGHT_FORMAT_BYTES[values]
        return 8 * size / count
    return DTYPE_BITS[values]  # type: ignore[index]


def unpacking_ops(values: str) -> int:
    """Vector ops to bring one stored value into the type of the arithmetic.

    Whole bytes: convert, multiply by the scale, 2. Narrower or in blocks of ggml's k and i kinds:
    shift, mask, convert, subtract the offset, multiply, 5. Formats that join two planes of bits or
    look values up need a few more, which are not told apart.
    """
    plain = values in ("int8", "fp8", "int8-g128", "q8_0")
    return 2 if plain else 5


def packing_ops(values: str) -> tuple[int, int]:
    """(vector ops a value, values that share a scale; 0: the scale is known beforehand).

    Multiply by the inverse scale, round, two compares against the limits: 4; with a scale of the
    block's own also the absolute value and its maximum: 6, and a division a block.
    """
    if values in WEIGHT_FORMAT_BYTES:
        return 6, WEIGHT_FORMAT_BYTES[values][1]
    return 4, 0
