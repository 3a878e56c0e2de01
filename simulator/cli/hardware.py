"""What `moments list hardware` shows: the figures that one chooses a machine by, chosen among."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, get_args

from workloads.errors import InputError, nearest, shown

if TYPE_CHECKING:
    from rich.table import Table

    from hardware_profiles.schema import Profile

_SHOWN_DTYPES = ("fp32", "tf32", "fp16", "fp8", "fp4", "int8")

_KEYS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "name": lambda row: row["name"],
    "cores": lambda row: row["cores"],
    "clock": lambda row: row["clock_hz"],
    "fp16": lambda row: row["peak_flops_per_s"].get("fp16"),
    "fp32": lambda row: row["peak_flops_per_s"].get("fp32"),
    "memory": lambda row: row["memory_bytes"],
    "bandwidth": lambda row: row["memory_bytes_per_s"],
    "tdp": lambda row: row["tdp_watts"],
    "price": lambda row: row["price_per_hour"],
}


@dataclass(frozen=True)
class Choice:
    """What was asked for, as written; None: anything."""

    kind: str | None = None
    vendor: str | None = None
    min_memory: str | None = None
    min_bandwidth: str | None = None
    max_tdp: str | None = None
    sort: str | None = None

    def refuse(self, what: str) -> None:
        """InputError where any was given for a list that has no such figures."""
        for key, value in asdict(self).items():
            if value is not None:
                option = "--" + key.replace("_", "-")
                raise InputError(f"{option} {value}: chooses among hardware, not among {what}")

    def least(self, option: str, unit: str) -> float | None:
        """The quantity of an option in base units; InputError where it is none."""
        from hardware_profiles.units import parse_quantity

        text: str | None = getattr(self, option)
        if text is None:
            return None
        try:
            return float(parse_quantity(text, unit))
        except ValueError as error:
            raise InputError(f"--{option.replace('_', '-')}: {error}") from None


def hardware_rows(choice: Choice) -> list[dict[str, Any]]:
    """The bundled machines that fit, as plain data; a figure that is not known never fits."""
    from hardware_profiles import list_profiles, load_profile
    from hardware_profiles.schema import Profile

    kinds: tuple[str, ...] = get_args(Profile.model_fields["kind"].annotation)
    rows = [_row(load_profile(name)) for name in list_profiles()]
    vendors = sorted({row["vendor"] for row in rows})
    for option, value, known in (
        ("--kind", choice.kind, kinds),
        ("--vendor", choice.vendor, vendors),
        ("--sort", choice.sort, tuple(_KEYS)),
    ):
        if value is not None and value.lower() not in known:
            hint = nearest(value, known)
            raise InputError(f"{option} {shown(value)}: known: {', '.join(known)}{hint}")
    memory, rate = choice.least("min_memory", "B"), choice.least("min_bandwidth", "B/s")
    power = choice.least("max_tdp", "W")
    fitting = [
        row
        for row in rows
        if (choice.kind is None or row["kind"] == choice.kind.lower())
        and (choice.vendor is None or row["vendor"] == choice.vendor.lower())
        and (memory is None or row["memory_bytes"] >= memory)
        and (rate is None or row["memory_bytes_per_s"] >= rate)
        and (power is None or (row["tdp_watts"] is not None and row["tdp_watts"] <= power))
    ]
    return fitting if choice.sort is None else _sorted(fitting, choice.sort.lower())


def _sorted(rows: list[dict[str, Any]], key: str) -> list[dict[str, Any]]:
    """The largest first, those of unknown size last; names from a to z."""
    of = _KEYS[key]
    known = [row for row in rows if of(row) is not None]
    return sorted(known, key=of, reverse=key != "name") + [r for r in rows if of(r) is None]


def _row(profile: Profile) -> dict[str, Any]:
    dram, price = profile.memory["dram"], profile.price
    per_s = 2 * profile.cores.count * profile.clock.burst_hz
    widths = {d: profile.width.macs_per_cycle(d) for d in _SHOWN_DTYPES}
    return {
        "name": profile.name,
        "title": profile.title,
        "vendor": profile.name.partition("-")[0],
        "kind": profile.kind,
        "cores": profile.cores.count,
        "clock_hz": profile.clock.burst_hz,
        "peak_flops_per_s": {d: per_s * w for d, w in widths.items() if w is not None},
        "memory_bytes": dram.capacity_bytes,
        "memory_bytes_per_s": dram.bandwidth_bytes_per_s,
        "memory_technology": dram.technology,
        "tdp_watts": profile.power.tdp_watts if profile.power else None,
        "price_per_hour": price.per_hour if price else None,
        "price_to_buy": price.to_buy if price else None,
        "price_date": price.date if price else None,
    }


def hardware_table(rows: Sequence[dict[str, Any]]) -> Table:
    """The rows for a terminal of 100 columns; in a narrower one names go on in a second line."""
    from simulator.cli.listing import columns
    from simulator.look import amount_text

    numbers = ("cores", "GHz", "fp32", "fp16", "memory", "bandwidth", "power", "price")
    kinds = ("kind",) if len({row["kind"] for row in rows}) > 1 else ()
    table = columns("hardware", *kinds, *numbers, right=numbers)
    table.columns[0].no_wrap, table.columns[0].overflow = False, "fold"
    table.padding = (0, 1, 0, 0)
    for row in rows:
        peak = row["peak_flops_per_s"]
        table.add_row(
            *(row[key] for key in ("name", *kinds)),
            *(str(row["cores"]), f"{row['clock_hz'] / 1e9:.2f}"),
            *(amount_text(peak[d]) if d in peak else "-" for d in ("fp32", "fp16")),
            _size(row["memory_bytes"]),
            amount_text(row["memory_bytes_per_s"], "B/s"),
            f"{row['tdp_watts']:g} W" if row["tdp_watts"] else "-",
            _price(row),
        )
    table.add_row("host")
    table.caption = (
        "fp32 and fp16: dense peaks in FLOP/s at this clock, the highest; -: no such units, or not"
        " known. Price: an hour's rent, or as listed for a board or processor. host: the machine"
        " that this runs on."
    )
    table.caption_justify = "left"
    return table


def _size(count: int) -> str:
    """As it is written where that is short, else rounded: in GiB what drivers report in MiB."""
    from hardware_profiles.units import format_quantity
    from simulator.look import amount_text

    exact = format_quantity(count, "B")
    if len(exact) <= 8:
        return exact
    return amount_text(count, "B") if count % 2**20 else f"{count / 2**30:.3g} GiB"


def _price(row: dict[str, Any]) -> str:
    if row["price_per_hour"] is not None:
        return f"${row['price_per_hour']:.2f}/h"
    return f"${row['price_to_buy']:,.0f}" if row["price_to_buy"] is not None else "-"
