"""Which operators are measured: a small set that tells the parameters of a CPU's kernels apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from workloads.moment import AttentionShape, Dtype, Moment
from workloads.op_counts import activation, add, attention, layer_norm, linear, multiply
from workloads.op_counts import rms_norm as rms_norm_moment
from workloads.op_counts import softmax as softmax_moment

_PRODUCTS = (
    (16, 2304, 768), (32, 768, 3072), (64, 2048, 2048),
    (128, 768, 768), (128, 3072, 768), (128, 768, 3072), (128, 512, 512), (512, 3072, 768),
    (256, 4864, 896), (512, 768, 3072), (1024, 1024, 1024),
)  # fmt: skip
"""(m, n, k): encoder and decoder layers of 512 to 2,048 columns with 16 to 1,024 rows."""
_SKINNY = ((768, 768), (1536, 384), (3072, 768), (768, 3072), (2048, 2048), (16384, 896))
"""(n, k) of products with few rows: short and long rows of weights, matrices that a cache holds and
that none does."""
_FEW = (1, 2, 3, 4, 8)
_SQUARE = 1024
_ELEMENTS = (12_288, 24_576, 49_152, 98_304, 393_216, 4_194_304)
_ROWS = ((16, 768), (128, 768), (1024, 768), (4096, 1024))
_ATTENTION = ((1, 12, 32, 32), (1, 12, 128, 128), (4, 12, 128, 128), (1, 12, 512, 512),
              (1, 12, 1, 128), (4, 12, 1, 512), (1, 12, 1, 2048))  # fmt: skip
"""(batch, heads, queries, keys) with 64 columns a head."""
_SMALL_BYTES = 8 * 2**20
_FRESH_ELEMENTS = 12 * 2**20
"""48 MiB in fp32: above what allocators keep for the next tensor of that size."""


@dataclass(frozen=True)
class Operator:
    """One operator to measure. `sizes` say what to build; `moment` is what it is to the simulator.

    `sets`: weights that take turns, so that none of them is found in a cache. `fresh`: the output
    is new memory from the system each time; otherwise it is memory that was used before.
    """

    name: str
    sizes: Mapping[str, int]
    moment: Moment
    dtype: Dtype = "fp32"
    sets: int = 1
    fresh: bool = False
    tiny: bool = False
    """So few elements that what it takes is the call alone."""

    @property
    def instances(self) -> int:
        """So often it is built, each on memory of its own, and the median counts.

        Where small tensors lie in memory decides which lines of a cache they compete for, for as
        long as a process runs: what took 2 us in one calibration took 5 us in the next.
        """
        moved = self.moment.read_bytes + self.moment.write_bytes
        return 1 if self.tiny or self.sets > 1 or moved > _SMALL_BYTES else 3

    @property
    def label(self) -> str:
        """Name, type and sizes on one line."""
        return f"{self.name} {self.dtype} " + "x".join(str(v) for v in self.sizes.values())


@dataclass(frozen=True)
class Design:
    """The operators to measure; `cold_bytes` of weights do not fit into any cache."""

    cold_bytes: int
    dtypes: tuple[Dtype, ...] = ("fp32",)
    short: bool = False
    operators: tuple[Operator, ...] = field(init=False)

    def __post_init__(self) -> None:
        found = [*self._products(), *_elementwise(), *_row_wise(), *_attention()]
        found.append(_of_elements("add", _FRESH_ELEMENTS, fresh=True))
        if self.short:
            found = [*found[::4], found[-1]]
            found += [o for o in _elementwise() + _row_wise() if o.tiny and o not in found]
        object.__setattr__(self, "operators", tuple(found))

    @property
    def pool_bytes(self) -> int:
        """Memory that holds all weights of any one product."""
        products = [o for o in self.operators if o.name == "product"]
        return max(o.sets * o.sizes["n"] * o.sizes["k"] * _width(o.dtype) for o in products)

    def _products(self) -> list[Operator]:
        found = [self._product(m, n, k, "fp32") for m, n, k in _PRODUCTS]
        found += [self._product(m, n, k, "fp32") for n, k in _SKINNY for m in _FEW]
        for dtype in self.dtypes:
            if dtype != "fp32":
                found += [self._product(m, _SQUARE, _SQUARE, dtype) for m in (128, _SQUARE)]
        return found

    def _product(self, m: int, n: int, k: int, dtype: Dtype) -> Operator:
        each = n * k * _width(dtype)
        sets = max(2, min(96, -(-self.cold_bytes // each)))
        moment = linear("product", "feed_forward", m=m, n=n, k=k, dtype=dtype, bias=False)
        return Operator("product", {"m": m, "n": n, "k": k}, moment, dtype, sets)


def _width(dtype: Dtype) -> int:
    return 4 if dtype == "fp32" else 2


def _elementwise() -> list[Operator]:
    found = [_of_elements("add", n) for n in _ELEMENTS]
    found += [_of_elements("multiply", n) for n in (98_304, 393_216)]
    for name in ("gelu", "gelu_tanh", "silu", "tanh"):
        found += [_of_elements(name, n) for n in (24_576, 98_304, 393_216)]
    names = ("add", "multiply", "gelu", "gelu_tanh", "silu", "tanh")
    return found + [_of_elements(name, 8, tiny=True) for name in names]


def _of_elements(name: str, n: int, *, fresh: bool = False, tiny: bool = False) -> Operator:
    binary = {"add": add, "multiply": multiply}.get(name)
    if binary is not None:
        moment = binary(name, "feed_forward", elements=n, dtype="fp32")
    else:
        moment = activation(name, "feed_forward", function=name, elements=n, dtype="fp32")  # type: ignore[arg-type]
    return Operator(name, {"elements": n}, moment, fresh=fresh, tiny=tiny)


def _row_wise() -> list[Operator]:
    made = []
    norms = {"layer_norm": layer_norm, "rms_norm": rms_norm_moment, "softmax": softmax_moment}
    for name, make in norms.items():
        shapes = ((1536, 128), (6144, 512)) if name == "softmax" else _ROWS
        for rows, columns in (*shapes, (1, 8)):
            moment = make(name, "feed_forward", rows=rows, columns=columns, dtype="fp32")
            sizes = {"rows": rows, "columns": columns}
            made.append(Operator(name, sizes, moment, tiny=rows == 1))
    return made


def _attention() -> list[Operator]:
    made = []
    for batch, heads, queries, keys in (*_ATTENTION, (1, 1, 1, 1)):
        moment = attention(
            "attention", AttentionShape(batch, heads, heads, 64, queries, keys, False), "fp32"
        )
        sizes = {"batch": batch, "heads": heads, "queries": queries, "keys": keys}
        made.append(Operator("attention", sizes, moment, tiny=keys == 1))
    return made
