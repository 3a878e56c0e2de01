"""What a hardware profile may say: one machine, declared, every number with its source."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    Field,
    StringConstraints,
    field_validator,
    model_validator,
)

from hardware_profiles.facts import Price, Process
from hardware_profiles.links import HostLink, Link, LinkName, link_problems
from hardware_profiles.power import Power
from hardware_profiles.tables import Count as Count
from hardware_profiles.tables import Source as Source
from hardware_profiles.tables import Sourced as Sourced
from hardware_profiles.tables import Table as Table
from hardware_profiles.units import (
    BitsPerSecond,
    Bytes,
    BytesPerSecond,
    FlopsPerSecond,
    Hertz,
    Seconds,
    format_quantity,
)

DTYPES = ("fp64", "fp32", "tf32", "bf16", "fp16", "fp8", "fp4", "int8", "int4")
"""Types of operands that a width or a peak may be given for."""

PEAK_TOLERANCE = 0.01
"""How far cores x width x clock may be from the peak that the vendor quotes."""


def _known_dtypes(by_dtype: Mapping[str, float]) -> Mapping[str, float]:
    for dtype in by_dtype:
        if dtype not in DTYPES:
            near = difflib.get_close_matches(dtype[:40], DTYPES, n=1, cutoff=0.4)
            guess = f"; did you mean {near[0]}?" if near else ""
            raise ValueError(f"{dtype[:40]!r} is not one of {', '.join(DTYPES)}{guess}")
    return by_dtype


_DTYPES_KNOWN = AfterValidator(_known_dtypes)

Positive = Annotated[float, Field(gt=0, le=1e9, strict=True, allow_inf_nan=False)]
Fraction = Annotated[float, Field(gt=0, le=1)]
Share = Annotated[float, Field(gt=0, le=10)]
Width = Annotated[Mapping[str, Positive], _DTYPES_KNOWN]
"""Per core and cycle, by dtype."""


class Cores(Sourced):
    """What the machine computes with. `what`: a core in the vendor's words."""

    count: Count
    what: str


class Clock(Sourced):
    """`burst`: the boost clock. `sustained`: the clock under a long matrix load, where known.

    `base`: the clock that the vendor promises under any load, where known.
    """

    burst_hz: Hertz = Field(alias="burst")
    base_hz: Hertz | None = Field(default=None, alias="base")
    sustained_hz: Hertz | None = Field(default=None, alias="sustained")

    @field_validator("burst_hz", "sustained_hz", "base_hz")
    @classmethod
    def _plausible(cls, hertz: int | None) -> int | None:
        if hertz is not None and hertz > 10_000_000_000:
            raise ValueError(f"{format_quantity(hertz, 'Hz')} is above 10 GHz; MHz meant?")
        if hertz is not None and hertz < 50_000_000:
            raise ValueError(f"{format_quantity(hertz, 'Hz')} is below 50 MHz; GHz or MHz meant?")
        return hertz

    @model_validator(mode="after")
    def _sustained_below_burst(self) -> Clock:
        if self.sustained_hz is not None and self.sustained_hz > self.burst_hz:
            raise ValueError("sustained is faster than burst; are the two swapped?")
        return self


class Widths(Sourced):
    """Operations that one core starts per cycle, by dtype.

    `matrix`: multiply-accumulates of the matrix unit or of dot-product instructions, dense (1 MAC
    = 2 FLOP). `vector`: lanes of add, multiply or multiply-accumulate. `special`: exp, rsqrt,
    tanh, erf, division. `sparse_2_4`: types of which the matrix unit takes twice as many where two
    of every four weights are zero. `threads`: that one core of a GPU holds at once, where known.
    """

    matrix: Width = Field(default={})
    vector: Width
    special: Width
    sparse_2_4: tuple[str, ...] = ()
    threads: Count | None = None

    @model_validator(mode="after")
    def _sparse_has_matrix(self) -> Widths:
        for dtype in self.sparse_2_4:
            if dtype not in self.matrix:
                raise ValueError(f"sparse_2_4 names {dtype[:40]!r}, but matrix has no such type")
        return self

    @field_validator("vector", "special")
    @classmethod
    def _has_fp32(cls, width: Mapping[str, float]) -> Mapping[str, float]:
        """Every machine has fp32, and other types are computed in it where they have no unit."""
        if "fp32" not in width:
            raise ValueError("fp32 is missing")
        return width

    def macs_per_cycle(self, dtype: str) -> float | None:
        """Multiply-accumulates per core and cycle, by the wider unit; None: no unit has `dtype`."""
        widths = [unit[dtype] for unit in (self.matrix, self.vector) if dtype in unit]
        return max(widths, default=None)


MemoryName = Annotated[str, StringConstraints(pattern=r"^[A-Z]+[0-9][A-Za-z0-9]*$", max_length=12)]
"""A kind of DRAM in its standard's spelling: HBM2e, GDDR6X, LPDDR5X, DDR4."""


class MemoryLevel(Sourced):
    """One level, in one or more equal parts.

    `capacity`: of one part. `instances`: how many parts the machine has (the L1 of each core, the
    L3 of each chiplet). `bandwidth`: all cores together; `bandwidth_per_core`: what one core can
    draw; both read. `latency`: of one dependent load that hits this level. `bytes_in_flight`: what
    one core may have asked for and not yet have, where known. Of a DRAM: `technology` ("HBM3"),
    `bus_bits` of all channels and `data_rate` of one pin; these two must give the bandwidth.
    """

    capacity_bytes: Bytes = Field(alias="capacity")
    instances: Count = 1
    bandwidth_bytes_per_s: BytesPerSecond = Field(alias="bandwidth")
    bandwidth_per_core_bytes_per_s: BytesPerSecond | None = Field(
        default=None, alias="bandwidth_per_core"
    )
    latency_s: Seconds | None = Field(default=None, alias="latency")
    line_bytes: Bytes | None = Field(default=None, alias="line")
    bytes_in_flight: Bytes | None = None
    technology: MemoryName | None = None
    bus_bits: Count | None = None
    data_rate_bits_per_s: BitsPerSecond | None = Field(default=None, alias="data_rate")

    @property
    def total_bytes(self) -> int:
        """Capacity of all parts together."""
        return self.capacity_bytes * self.instances


class Peak(Sourced):
    """Dense peaks as the vendor quotes them, by dtype; they check the widths.

    `clock`: where the vendor quotes a dtype at another clock than the burst clock.
    """

    flops_per_s: Annotated[Mapping[str, FlopsPerSecond], _DTYPES_KNOWN] = Field(alias="flops")
    clock_hz: Annotated[Mapping[str, Hertz], _DTYPES_KNOWN] = Field(default={}, alias="clock")


KernelName = Literal["matmul", "matmul_vector", "attention", "decode_attention", "row", "element"]
"""Classes of kernels: products on the matrix unit and on the vector unit, fused attention of many
queries and of one, row-wise (norms, softmax, look-ups) and elementwise."""


class Measured(Sourced):
    """What fp32 matrix multiplication reached on this very machine, by its NumPy library."""

    gemm_one_core_flops_per_s: FlopsPerSecond = Field(alias="gemm_one_core")
    gemm_all_cores_flops_per_s: FlopsPerSecond = Field(alias="gemm_all_cores")


class KernelClass(Sourced):
    """How well kernels of one class use the machine, with the kernel libraries of its time.

    time = latency + (C^p + M^p)^(1/p): a smooth maximum with p = `overlap_exponent`, since
    arithmetic and memory overlap imperfectly where they take about equally long. C: operations
    divided by (peak x `arithmetic`), with vector and special-function operations at `vector` and
    `special` of their peaks. M: bytes from DRAM by (datasheet bandwidth x `bandwidth`), and bytes
    from caches by (theirs x `cache`); while the memory pipeline fills, M loses up to `ramp`, as
    ramp (1 - exp(-M / ramp)). On a GPU also, see simulator.demand.gemm, flash and rows:

    `sustained`: clock under the power limit, as a share of the clock of short products. `operands`:
    what a core draws from L2 for the operands of its tile, relative to its share of L2's bandwidth.
    `wave`: how much of the last, partly filled wave of work units costs as a whole one. `start`:
    of a tile of 128 x 128 after the first wave. `depth`: serial time a step of
    K, or what a tile of queries waits a key where it is alone on its core; `reduction`: what
    dividing K, or keys, among cores costs besides its traffic. `write`: part of the time to write
    the output (attention: to move the new tokens' queries, keys and values) that is not overlapped.
    `tile`: how much less efficient small tiles are, as (area / 128^2)^-tile, and `batched` more so
    in batched products, for which libraries have fewer tile shapes. `unit`: what a work
    unit of attention (a tile of queries, or the keys of one sequence and head) costs its core
    besides arithmetic and memory, `group` more for each doubling of the query heads that share its
    keys; a head that goes by itself past shared keys costs `single` of a unit. `serial`: part of
    the exponentials of fused attention that its products do not hide. `held`: part of a core's
    cache that keeps rows for their second reading.
    """

    latency_s: Seconds = Field(alias="latency")
    arithmetic: Fraction
    bandwidth: Fraction
    cache: Share = 1.0
    ramp_s: Seconds = Field(default=0.0, alias="ramp")
    unit_s: Seconds = Field(default=0.0, alias="unit")
    overlap_exponent: Annotated[float, Field(ge=1)] = 2.5
    vector: Fraction = 0.5
    special: Fraction = 0.5
    depth_s: Seconds = Field(default=0.0, alias="depth")
    sustained: Fraction = 1.0
    operands: Share = 1.0
    wave: Annotated[float, Field(ge=0, le=1)] = 0.0
    start_s: Seconds = Field(default=0.0, alias="start")
    reduction_s: Seconds = Field(default=0.0, alias="reduction")
    write: Annotated[float, Field(ge=0, le=10)] = 0.0
    tile: Annotated[float, Field(ge=0, le=2)] = 0.0
    batched: Annotated[float, Field(ge=0, le=2)] = 0.0
    group_s: Seconds = Field(default=0.0, alias="group")
    serial: Annotated[float, Field(ge=0, le=1)] = 0.0
    single: Annotated[float, Field(ge=0, le=1)] = 1.0
    held: Share = 1.0


class Calibration(KernelClass):
    """A kernel class as fitted to a few measured cases of one machine and one library.

    `bits`: width of the operands. `fitted`: identifiers of the cases; `held_out`: how many of the
    kind were left, and `error`: mean absolute relative error on those (on the fitted ones where
    none was left). `not_identified`: parameters that the cases say little about. Residuals are
    log(predicted / measured) of the cases left: their 10 %, 50 % and 90 % points for times up to
    each of `residual_up_to_us`, and for the longer ones.
    """

    kernel: KernelName
    library: str
    bits: Count
    date: str
    fitted: tuple[str, ...]
    held_out: Annotated[int, Field(ge=0)]
    error: Annotated[float, Field(ge=0)]
    not_identified: tuple[str, ...] = ()
    residual_up_to_us: tuple[float, ...] = ()
    residual_q10: tuple[float, ...] = ()
    residual_q50: tuple[float, ...] = ()
    residual_q90: tuple[float, ...] = ()


class Profile(Table):
    """A machine. Memory levels go from nearest to farthest; the last is `dram`."""

    name: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9.+-]*$", max_length=80)]
    title: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]
    kind: Literal["cpu", "gpu"]
    notes: str = ""
    cores: Cores
    clock: Clock
    width: Widths
    memory: Mapping[str, MemoryLevel]
    peak: Peak | None = None
    power: Power | None = None
    price: Price | None = None
    process: Process | None = None
    measured: Measured | None = None
    links: Mapping[LinkName, Link] = {}
    """Links to other devices by name; "network" leaves the node, the others are inside one."""
    host_link: HostLink | None = None
    host_clock: Clock | None = None
    """Clock of the processor that dispatches, where it is not this one."""
    kernels: Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]+$", max_length=40)] | None = None
    """Which file of kernels/ holds the efficiencies of this generation's kernels."""
    calibration: Mapping[str, Calibration] = {}
    """Kernels fitted to measured cases, as `moments calibrate` writes them; names are free."""
    efficiency: Mapping[KernelName, KernelClass] = {}
    """Efficiencies of this very machine, which win over those of its generation."""

    def __hash__(self) -> int:
        """By what tells machines apart; the tables inside are mappings, which have no hash."""
        return hash((self.name, self.cores.count, self.clock.burst_hz))

    @model_validator(mode="after")
    def _check(self) -> Profile:
        """Raise for the first thing that is true of no machine."""
        for problem in problems(self):
            raise ValueError(problem)
        return self


def problems(profile: Profile) -> Iterator[str]:
    """What is wrong between the tables of `profile`, each as a sentence that names the keys."""
    if not profile.memory or list(profile.memory)[-1] != "dram":
        yield "memory: the last level must be [memory.dram]"
        return
    yield from _memory_problems(profile)
    yield from _peak_problems(profile)
    yield from link_problems(profile.links)


def _memory_problems(profile: Profile) -> Iterator[str]:
    cores, inner = profile.cores.count, ""
    for name, level in profile.memory.items():
        key, total = f"memory.{name}", level.bandwidth_bytes_per_s
        capacity = format_quantity(level.capacity_bytes, "B")
        if inner and level.capacity_bytes < profile.memory[inner].capacity_bytes:
            yield (
                f"{key}.capacity = {capacity!r} is less than memory.{inner}.capacity; levels go "
                "from nearest to farthest: a slip between KiB, MiB and GiB?"
            )
        share = level.bandwidth_per_core_bytes_per_s
        if share is not None and (share > total or share * cores < 0.99 * total):
            yield (
                f"{key}.bandwidth_per_core = {format_quantity(share, 'B/s')!r} does not fit "
                f"bandwidth = {format_quantity(total, 'B/s')!r} of {cores} cores: it must lie "
                "between bandwidth / cores and bandwidth"
            )
        inner = name
    rate = profile.memory["dram"].bandwidth_bytes_per_s
    shown = format_quantity(rate, "B/s")
    if rate > 100 * 10**12:
        yield f"memory.dram.bandwidth = {shown!r} is above 100 TB/s; GB/s meant?"
    if rate < 50 * 10**6:
        yield f"memory.dram.bandwidth = {shown!r} is below 50 MB/s; GB/s meant?"
    if profile.memory["dram"].capacity_bytes < 2**20:
        yield f"memory.dram.capacity = {capacity!r} is below 1 MiB; GiB meant?"


def _peak_problems(profile: Profile) -> Iterator[str]:
    if profile.peak is None:
        return
    for dtype, quoted in profile.peak.flops_per_s.items():
        width = profile.width.macs_per_cycle(dtype)
        if width is None:
            yield f"peak.flops.{dtype} is quoted, but width has no {dtype}"
            continue
        clock = profile.peak.clock_hz.get(dtype, profile.clock.burst_hz)
        computed = 2.0 * profile.cores.count * width * clock
        if abs(quoted / computed - 1) <= PEAK_TOLERANCE:
            continue
        guess = ""
        if abs(quoted / computed / 2 - 1) <= PEAK_TOLERANCE:
            guess = "; twice: a figure with sparsity?"
        elif abs(quoted / computed * 2 - 1) <= PEAK_TOLERANCE:
            guess = "; half: multiply-accumulates where FLOP are meant, or a width with sparsity?"
        yield (
            f"peak.flops.{dtype} = {format_quantity(quoted, 'FLOP/s')!r}, but {profile.cores.count}"
            f" cores x {width:g} MACs x 2 x {format_quantity(clock, 'Hz')} ="
            f" {computed / 1e12:.4g} TFLOP/s{guess}"
        )
