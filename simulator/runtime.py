"""The software that drives a machine: dispatch, fusions, attention, threads, kernel library."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from hardware_profiles.schema import Sourced, Table
from hardware_profiles.units import Bytes, Seconds
from workloads.errors import InputError

_FOLDER = Path(__file__).parent / "runtimes"


class FusionTable(Table):
    """What the runtime merges into one kernel; see workloads.transforms.Fusion.

    `fused_dtypes` and `fused_keys`: types and greatest length that the fused attention kernel
    takes (empty: all, none: any); other attention runs as two batched products with a softmax.
    """

    qkv: bool = False
    gate_up: bool = False
    attention: Literal["separate", "batched", "fused"] = "batched"
    fused_dtypes: tuple[str, ...] = ()
    fused_keys: Annotated[int, Field(gt=0)] | None = None
    epilogue: bool = False
    residual_norm: bool = False
    cache: bool = False


class HostTable(Sourced):
    """Cost of handing moments to the device, on one host thread.

    `asynchronous`: the host runs ahead of the device by at most `queue_depth` moments.
    `synchronous`: the same thread that computes dispatches, so the two add up. `moment`: seconds a
    moment; `by_kind` instead of it for some kinds ("linear": a product with weights). `launch`:
    time until a dispatched moment arrives at the device, while the host goes on. `per_pass`: once a
    pass (Python of the model's forward, or the launch of a captured graph). `waits_for_token`: the
    host needs the sampled token before it goes on.
    """

    mode: Literal["none", "asynchronous", "synchronous"] = "none"
    moment_s: Seconds = Field(default=0.0, alias="moment")
    by_kind_s: Mapping[str, Seconds] = Field(default={}, alias="by_kind")
    launch_s: Seconds = Field(default=0.0, alias="launch")
    per_pass_s: Seconds = Field(default=0.0, alias="per_pass")
    queue_depth: Annotated[int, Field(gt=0)] = 1024
    waits_for_token: bool = True


class LibraryTable(Sourced):
    """How the runtime's kernels behave, as far as it is not the silicon.

    `pack_cycles_per_weight`: core cycles to rearrange one weight before each product (0: packed
    once, when the model is loaded). `pack_row`: time lost at each row
    of weights besides, `gemv_row`: at each row of a matrix-vector product.
    `gemv_rows`: up to so many rows a product runs as matrix-vector products. `gemv_threads`:
    threads that such a product uses (0: all). `parallel_elements`: elementwise work below it stays
    on one thread. `serial_share`: part of a moment's arithmetic that one thread does while the
    others wait. `fork_join`: time for threads to start and meet, and `fork_join_per_thread` for
    each. `fresh_output`: outputs from
    this size on are new memory from the system, `page_fault` seconds a 4 KiB page. `special`:
    relative cost of special functions by kind of moment (1: the profile's width). `steps`: kinds
    that the framework computes as so many operators one after another, each with its dispatch and
    its passes over memory.
    `skips_masked`: causal attention leaves out masked blocks.
    `unpack_cycles_per_weight`: core cycles to bring one stored weight into the form that is
    multiplied, by format ("*": any other quantized one). `unpack_rows`: rows of activations that
    one unpacking serves, by format ("*": any other; 1: unpacked again for each row).
    `dot_share`: products run as dot products on the vector unit, at this share of its width
    (none: in the matrix kernels of the profile). `dequantize_rows`: from so many rows on, a
    quantized weight is first written out in the type of the arithmetic (0: never).
    `fp16_accumulation`: fp16 products are summed in fp16, for which some machines (GeForce) have
    twice the rate.
    `skips_zeros`: products leave out weights that a bitmap or CSR leaves out.
    `single_thread_rows`: up to so many rows a product runs on one thread. `attention_blocks`:
    attention multiplies blocks of queries with keys and values that the library packs anew for
    each, as pairs of the queries from which on a block has so many rows, and the rows, rising
    (empty: nothing is packed). `nested_call`: what a product takes longer when one of several
    threads calls it.
    `matrix_share`: rate of the runtime's own matrix kernels relative to the vendor's library, by
    type of the arithmetic ("*": any other; not named: 1).
    """

    pack_cycles_per_weight: Annotated[float, Field(ge=0)] = 0.0
    pack_row_s: Seconds = Field(default=0.0, alias="pack_row")
    gemv_row_s: Seconds = Field(default=0.0, alias="gemv_row")
    gemv_rows: Annotated[int, Field(ge=0)] = 0
    gemv_threads: Annotated[int, Field(ge=0)] = 0
    single_thread_rows: Annotated[int, Field(ge=0)] = 0
    attention_blocks: tuple[
        tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]], ...
    ] = ()
    parallel_elements: Annotated[int, Field(ge=1)] = 1
    parallel: Annotated[float, Field(gt=0, le=1)] = 1.0
    serial_share: Annotated[float, Field(ge=0, lt=1)] = 0.0
    fork_join_s: Seconds = Field(default=0.0, alias="fork_join")
    fork_join_per_thread_s: Seconds = Field(default=0.0, alias="fork_join_per_thread")
    nested_call_s: Seconds = Field(default=0.0, alias="nested_call")
    fresh_output_bytes: Bytes | None = Field(default=None, alias="fresh_output")
    page_fault_s: Seconds = Field(default=0.0, alias="page_fault")
    special: Mapping[str, Annotated[float, Field(gt=0)]] = {}
    unpack_cycles_per_weight: Mapping[str, Annotated[float, Field(ge=0)]] = {}
    unpack_rows: Mapping[str, Annotated[int, Field(ge=1)]] = {}
    dot_share: Annotated[float, Field(gt=0, le=1)] | None = None
    dequantize_rows: Annotated[int, Field(ge=0)] = 0
    fp16_accumulation: bool = False
    skips_zeros: bool = False
    matrix_share: Mapping[str, Annotated[float, Field(gt=0, le=1.5)]] = {}
    steps: Mapping[str, Annotated[int, Field(gt=0)]] = {}
    skips_masked: bool = True

    def share_of(self, dtype: str) -> float:
        """`matrix_share` for products in `dtype`."""
        return self.matrix_share.get(dtype, self.matrix_share.get("*", 1.0))

    def rows_a_block(self, queries: int) -> int:
        """Rows of an attention block of so many queries; 0 where nothing is packed for it."""
        return next((rows for least, rows in self.attention_blocks[::-1] if queries >= least), 0)


class OnDevice(Sourced):
    """A runtime on one kind of device.

    `policy`: "stream" (one moment at a time with the whole device) or "dataflow" (ready moments
    side by side, `cores_per_moment` each). `latency_scale` multiplies the fixed time of the
    machine's kernels.
    """

    policy: Literal["stream", "dataflow"] = "stream"
    cores_per_moment: Annotated[int, Field(gt=0)] | None = None
    ideal: bool = False
    """Arithmetic at full width and memory at full bandwidth, with no fixed costs."""
    copies_caches: bool = False
    """A cache is grown by concatenation, so each append copies it whole."""
    expands_latents: bool = False
    """Latent attention computes keys and values of all cached rows anew in each decode step."""
    beams: Literal["copied", "indirect"] = "copied"
    """In beam search, caches are gathered anew at each step, or found through a table."""
    beam_prompt: Literal["once", "each"] = "once"
    """In beam search, a prompt is read once a sequence, or once for each beam."""
    prefill_chunk: Annotated[int, Field(gt=0)] | None = None
    """Tokens that a prompt is read in at a time, where nothing else is asked for (none: all)."""
    latency_scale: Annotated[float, Field(ge=0)] = 1.0
    fusion: FusionTable = FusionTable()
    host: HostTable | None = None
    library: LibraryTable | None = None


class Runtime(Sourced):
    """A named runtime, with a section for every kind of device that it runs on."""

    name: str
    title: str
    cpu: OnDevice | None = None
    gpu: OnDevice | None = None

    def on(self, kind: str) -> OnDevice:
        """The section for a kind of device; InputError where the runtime does not run there."""
        section: OnDevice | None = getattr(self, kind)
        if section is None:
            have = " and ".join(k for k in ("cpu", "gpu") if getattr(self, k) is not None)
            raise InputError(f"runtime {self.name!r} does not run on a {kind}; it runs on a {have}")
        return section


def list_runtimes() -> tuple[str, ...]:
    """Names of the bundled runtimes, sorted."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.toml")))


@cache
def load_runtime(name: str) -> Runtime:
    """The bundled runtime of that name, or the file at a path that ends in .toml.

    Raises InputError: unknown name (lists those that are known), unreadable or invalid file.
    """
    path = _file_of(name)
    table = _with_bases(path, _read(path), (path.resolve(),))
    try:
        return Runtime.model_validate(table)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise InputError(f"{path}: {key}: {first['msg']} (got {first['input']!r})") from error


def _file_of(name: str) -> Path:
    path = Path(name) if name.endswith(".toml") else _FOLDER / f"{name}.toml"
    if not path.is_file():
        near = difflib.get_close_matches(name, list_runtimes(), n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise InputError(f"unknown runtime {name!r}{hint} (known: {', '.join(list_runtimes())})")
    return path


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not valid TOML: {error}") from error


def _with_bases(path: Path, table: dict[str, Any], seen: tuple[Path, ...]) -> dict[str, Any]:
    """The file's table over the one that it extends: tables merge, all else is replaced.

    `without = ["cpu"]` leaves out sections of the base that the variant does not have.
    """
    base = table.pop("extends", None)
    without = table.pop("without", [])
    if not isinstance(without, list):
        raise InputError(f"{path}: without = {without!r}: expected a list of sections")
    if base is None:
        if without:
            raise InputError(f"{path}: without = {without!r}: there is nothing that it extends")
        return table
    if not isinstance(base, str):
        raise InputError(f"{path}: extends = {base!r}: expected the name of a runtime or a file")
    try:
        base_path = path.parent / base if base.endswith(".toml") else _file_of(base)
        base_table = _read(base_path)
    except (InputError, OSError) as error:
        raise InputError(f"{path}: extends = {base!r}: {error}") from error
    if base_path.resolve() in seen:
        raise InputError(f"{path}: extends = {base!r}: a cycle, {base_path} leads back to itself")
    inherited = _with_bases(base_path, base_table, (*seen, base_path.resolve()))
    unknown = [name for name in without if name not in inherited]
    if unknown:
        raise InputError(f"{path}: without = {unknown!r}: {base} has no such section")
    return _merged({k: v for k, v in inherited.items() if k not in without}, table)


def _merged(base: Mapping[str, Any], child: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in child.items():
        inherited = merged.get(key)
        if isinstance(inherited, dict) and isinstance(value, dict):
            value = _merged(inherited, value)
        merged[key] = value
    return merged


def default_runtime(kind: str) -> str:
    """What `--runtime` means when it is not given: eager PyTorch, on any kind of device."""
    return "pytorch-eager"
