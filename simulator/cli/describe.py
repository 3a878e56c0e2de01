"""Workloads, hardware and runtimes in full, for a terminal or as plain data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, get_args

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from hardware_profiles.efficiency import usual_efficiency
from hardware_profiles.energy import energy_of
from hardware_profiles.schema import KernelClass, KernelName, Profile
from simulator.look import amount_text
from simulator.runtime import Runtime
from workloads.compile import compile_forward
from workloads.footprint import kv_cache_bytes, weight_bytes
from workloads.model import Model
from workloads.parameters import (
    layer_parameters,
    parameter_parts,
    stored_layers,
)

if TYPE_CHECKING:
    from workloads.moment import Dtype, Program

_CONTEXT = 512
_MEMORY_DTYPES: tuple[tuple[Dtype, Dtype], ...] = (
    ("fp32", "fp32"),
    ("fp16", "fp16"),
    ("fp16", "int8"),
    ("fp16", "int4"),
)
"""(activations and cache, weights)."""


def plain(thing: Model | Profile | Runtime) -> dict[str, Any]:
    """The same figures as `describe`, as JSON types."""
    if isinstance(thing, Model):
        return {
            **thing.model_dump(mode="json"),
            "parameters": thing.parameters,
            "per_token": [_per_token(name, program) for name, program in _requests(thing)],
            "memory_bytes": list(_memory(thing)),
        }
    if isinstance(thing, Profile):
        data = thing.model_dump(mode="json", by_alias=True, exclude_none=True)
        energy = energy_of(thing)
        if energy is not None:
            data["power"]["energy"] = energy.model_dump(mode="json", by_alias=True)
        return {**data, "efficiency": _efficiency(thing, brief=False)}
    return thing.model_dump(mode="json", by_alias=True, exclude_none=True)


def describe(thing: Model | Profile | Runtime) -> RenderableType:
    """All figures with their sources; of the kernels of a machine, those not at their defaults."""
    if isinstance(thing, Model):
        return _describe_model(thing)
    data = plain(thing)
    kind = ""
    if isinstance(thing, Profile):
        kind = f"{thing.kind}, "
        data = {**_with_peaks(thing, data), "efficiency": _efficiency(thing, brief=True)}
    title = Text.assemble((thing.title, "bold"), f"  ({kind}{thing.name})\n")
    if isinstance(thing, Profile) and thing.notes:
        title.append(f"\nNote: {thing.notes}\n")
    table = _plain_table("", "figures", "source")
    table.columns[0].style = "bold"
    table.columns[2].style = "dim"
    for name, figures, source in _merged(_rows(data)):
        table.add_row(name, figures, source)
    if isinstance(thing, Profile):
        table.caption = "Parameters of kernels at their defaults are left out; --json gives all."
        table.caption_justify = "left"
    return Group(title, table)


def _with_peaks(profile: Profile, data: Mapping[str, Any]) -> dict[str, Any]:
    """With what the clock and the widths come to, behind them."""
    found: dict[str, Any] = {}
    dram = profile.memory["dram"].bandwidth_bytes_per_s
    per_s = 2 * profile.cores.count * profile.clock.burst_hz
    for dtype in ("fp64", "fp32", "bf16", "fp16", "fp8", "int8"):
        width = profile.width.macs_per_cycle(dtype)
        if width is not None:
            rate = amount_text(per_s * width, "OP/s" if dtype == "int8" else "FLOP/s")
            found[dtype] = f"{rate}, {per_s * width / dram:.3g} a byte"
    row = {
        **found,
        "source": "worked out, dense: 2 x cores x burst clock x width; a byte of memory traffic",
    }
    inserted = {}
    for key, value in data.items():
        inserted[key] = value
        if key == "width":
            inserted["peaks"] = row
    return inserted


def _merged(rows: Iterator[tuple[str, str, str]]) -> Iterator[tuple[str, str, str]]:
    """Rows that say the same under several names, as one."""
    same: dict[tuple[str, str], list[str]] = {}
    for name, figures, source in rows:
        same.setdefault((figures, source), []).append(name)
    for (figures, source), names in same.items():
        yield "\n".join(names), figures, source


def _plain_table(*columns: str) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="cyan")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _rows(data: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """(table, its figures one a line, its source) of nested tables."""
    left_out = ("name", "title", "kind", "notes", "source")
    if "source" in data:
        yield "", "", data["source"]
    for name, value in data.items():
        if name not in left_out and isinstance(value, Mapping):
            yield from _table_rows(name, value)


def _table_rows(name: str, table: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    inner = {k: v for k, v in table.items() if isinstance(v, Mapping) and "source" in v}
    left_out = ("source", *inner)
    own = {k: v for k, v in table.items() if k not in left_out and v not in ([], {})}
    lines = [line for key, value in own.items() for line in _figure(key, value)]
    if lines:
        yield name, "\n".join(lines), str(table.get("source", ""))
    for key, value in inner.items():
        yield from _table_rows(f"{name}.{key}", value)


def _figure(key: str, value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        yield from (f"{key} {k}: {_value(v)}" for k, v in value.items())
    else:
        yield f"{key}: {_value(value)}"


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    number, space, unit = str(value).partition(" ")
    if unit and len(number) > 6 and number.replace(".", "", 1).isdigit():
        number = f"{float(number):.4g}"  # fitted, or worked out: 1.6825000000000001 ns
    return number + space + unit


def _efficiency(profile: Profile, *, brief: bool) -> dict[str, Any]:
    """By class of kernels; those that the profile leaves to its kind of machine too.

    `brief`: without the parameters at their defaults.
    """
    found = {}
    for name in get_args(KernelName):
        kernel = usual_efficiency(profile, name, "fp16")
        entry = kernel.model_dump(
            mode="json",
            by_alias=True,
            include=set(KernelClass.model_fields),
            exclude_defaults=brief,
        )
        if name not in profile.efficiency and profile.kind == "cpu":
            entry["source"] = f"as any {profile.kind}: {entry['source']}"
        found[name] = entry
    return found


def _requests(model: Model) -> Iterator[tuple[str, Program]]:
    """What a workload is usually asked for: reading a text, and the next token."""
    fixed = model.fixed_input
    if fixed is not None:
        what = "sound" if (model.encoder or model).input == "mel" else "image"
        yield f"one {what}, {fixed} positions", compile_forward(model, prompt=fixed, dtype="fp16")
        if not model.causal:
            return
    short, long = min(8, model.max_positions), min(_CONTEXT, model.max_positions)
    for tokens in dict.fromkeys((short, long) if fixed is None else ()):
        yield f"reading {tokens} tokens", compile_forward(model, prompt=tokens, dtype="fp16")
    if model.causal and long > 1:
        name, read = f"one token after {long - 1}", None
        if model.encoder is not None:
            read = fixed or min(_CONTEXT, model.encoder.max_positions)
            name += f", {read} encoded"
        yield name, compile_forward(model, prompt=read, context=long - 1, dtype="fp16")


def _per_token(name: str, program: Program) -> dict[str, Any]:
    first = program.passes[0]
    segments = [(repeat.segment, repeat.count) for repeat in first.repeats]
    moved = sum(
        count * (moment.read_bytes + moment.write_bytes)
        for segment, count in segments
        for moment in segment.moments
    )
    return {
        "request": name,
        "dtype": program.dtype,
        "matrix_flops_per_token": program.matrix_flops / first.tokens,
        "bytes_per_token": moved / first.tokens,
        "flops_per_byte": program.matrix_flops / moved,
        "moments": program.moment_count,
    }


def _memory(model: Model) -> Iterator[dict[str, Any]]:
    for dtype, weights in _MEMORY_DTYPES:
        yield {
            "weight_dtype": weights,
            "dtype": dtype,
            "weights": weight_bytes(model, dtype, weights),
            "kv_cache_per_token": kv_cache_bytes(model, 1, 1, dtype),
            "kv_cache_at_most": kv_cache_bytes(model, 1, model.max_positions, dtype),
        }


def _describe_model(model: Model) -> RenderableType:
    title = Text.assemble((model.name, "bold"), f"  ({model.family})\n", (model.source, "dim"))
    return Group(
        title,
        "",
        _numbers(model),
        "",
        _parameters(model),
        "",
        _per_token_table(model),
        "",
        _memory_table(model),
    )


def _numbers(model: Model) -> Table:
    """The model's own keys, as in its table, three side by side."""
    left_out = ["name", "family", "source", "notes"]
    left_out += [] if model.input == "patches" else ["channels", "class_tokens"]
    left_out += [] if model.experts else ["expert_period"]
    left_out += [] if model.queries else ["class_layers"]
    left_out += [] if model.input == "sound" else ["filter_norm", "position_groups"]
    left_out += [] if model.convolution_kernel else ["convolution_activation"]
    left_out += ["encoder"] if model.encoder is not None else ["shared_embeddings"]
    left_out += ["key_bias"] if model.key_bias else []
    left_out += [] if model.pooler else ["pooler_activation"]
    pairs = [
        (key, _value(value))
        for key, value in model.model_dump(mode="json").items()
        if key not in left_out and value not in (None, "", 0, False, "none", [])
    ]
    grid = Table.grid(padding=(0, 3, 0, 0))
    rows = -(-len(pairs) // 3)
    for i in range(rows):
        cells: list[RenderableType] = []
        for key, value in pairs[i::rows]:
            cells += [Text(key.replace("_", " "), style="dim"), value]
        grid.add_row(*cells)
    return grid


def _parameters(model: Model) -> Table:
    table = _plain_table("parameters", "", "")
    table.columns[1].justify = "right"
    kinds = stored_layers(model)
    terms = [f"{count} x {layer_parameters(model, kind):,}" for kind, count in kinds.items()]
    uniform = not model.depths and not model.tied_biases
    for name, count in parameter_parts(model).items():
        sum_of = " + ".join(terms) if name == "layers" and uniform else ""
        if name == "shared":
            name, sum_of = "of these, shared", "one table of tokens for encoder and decoder"
        table.add_row(name, f"{count:,}", sum_of)
    table.add_row("in all", f"{model.parameters:,}", "", style="bold")
    return table


def _per_token_table(model: Model) -> Table:
    table = _plain_table("each token (fp16)", "matrix FLOPs", "bytes", "FLOPs per byte", "moments")
    for column in table.columns[1:]:
        column.justify = "right"
    for name, program in _requests(model):
        row = _per_token(name, program)
        table.add_row(
            *(name, amount_text(row["matrix_flops_per_token"])),
            *(amount_text(row["bytes_per_token"], "B"), f"{row['flops_per_byte']:.3g}"),
            str(row["moments"]),
        )
    return table


def _memory_table(model: Model) -> Table:
    most = f"KV cache of {model.max_positions:,}"
    table = _plain_table("memory", "weights", "KV cache a token", most)
    for column in table.columns[1:]:
        column.justify = "right"
    for row in _memory(model):
        name = row["weight_dtype"]
        if row["dtype"] != name:
            name += f" weights, {row['dtype']} cache"
        keys = ("weights", "kv_cache_per_token", "kv_cache_at_most")
        table.add_row(name, *(amount_text(row[key], "B") if row[key] else "-" for key in keys))
    return table
