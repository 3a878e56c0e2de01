"""How figures look everywhere: units for people, and one colour a stage."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from workloads.errors import InputError
from workloads.passes import counted

if TYPE_CHECKING:
    from workloads.moment import Program, Stage

STAGE_COLOURS: dict[Stage, str] = {
    "initialise": "#56b4e9",
    "attention": "#0072b2",
    "feed_forward": "#e69f00",
    "output": "#009e73",
    "decode": "#cc79a7",
}
"""Okabe and Ito's palette, which people with any kind of colour vision can tell apart."""

CAUSE_COLOURS: dict[str, str] = {
    "compute": "#009e73",
    "memory": "#0072b2",
    "overlap": "#56b4e9",
    "latency": "#e69f00",
    "dispatch": "#d55e00",
    "packing": "#cc79a7",
    "fork_join": "#f0e442",
    "uneven": "#999999",
    "dependency": "#dddddd",
    "link": "#8c564b",
    "page_faults": "#000000",
    "load": "#882255",
}
"""One colour a cause, from the same palette, a brown and three greys."""

PICTURES = (".png", ".svg", ".pdf")
_TIMES = ((1.0, "s"), (1e-3, "ms"), (1e-6, "us"), (1e-9, "ns"))
_PREFIXES = ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def check_picture(path: str | Path) -> None:
    """InputError when the name of `path` does not say in which of the known formats to draw."""
    suffix = Path(path).suffix.lower()
    if suffix not in PICTURES:
        known = ", ".join(s.removeprefix(".") for s in PICTURES)
        found = f"{suffix!r} is not a known format" if suffix else "no suffix that says the format"
        raise InputError(f"{path}: {found}; a Gantt chart can be drawn as {known}")


def time_unit(seconds: float) -> tuple[float, str]:
    """The unit in which `seconds` is a number from 1 to 1000: its seconds, and its name."""
    return next((unit for unit in _TIMES if abs(seconds) >= unit[0] * 0.9995), _TIMES[-1])


def seconds_text(seconds: float) -> str:
    """Three or four digits and a fitting unit: "1.471 ms"."""
    if not seconds:
        return "0 s"
    size, name = time_unit(seconds)
    return f"{_digits(seconds / size)} {name}"


def interval_text(low_s: float, high_s: float) -> str:
    """Both ends with three digits, in one unit where they are near: "1.32 to 1.85 ms"."""
    size, name = time_unit(high_s)
    if low_s * 10 < size:
        low_size, low_name = time_unit(low_s)
        return f"{_digits(low_s / low_size, 3)} {low_name} to {_digits(high_s / size, 3)} {name}"
    return f"{_digits(low_s / size, 3)} to {_digits(high_s / size, 3)} {name}"


def amount_text(amount: float, unit: str = "") -> str:
    """A decimal prefix: 2.039e12 with unit "B/s" is "2.04 TB/s"."""
    for size, prefix in _PREFIXES:
        if abs(amount) >= size * 0.9995:
            return f"{_digits(amount / size, 3)} {prefix}{unit}".rstrip()
    return f"{amount:.3g} {unit}".rstrip()


def share_text(share: float) -> str:
    """A part of a whole in percent: "4.8 %"."""
    percent = 100 * share
    if 0 < percent < 0.05:
        return "<0.1 %"
    return f"{percent:.1f} %"


def request_text(program: Program) -> str:
    """What was asked of the model: "prompt 64 + 16 generated, batch 4, fp16"."""
    first = program.passes[0]
    passes = counted(program.passes)
    tokens = sum(p.chosen * count for p, count in passes)
    parts = []
    if first.name.startswith("prefill"):
        read = sum(p.tokens * count for p, count in passes if p.name.startswith("prefill"))
        parts.append(f"prompt {read}" + (f" + {tokens} generated" if tokens else ""))
    elif first.name.startswith("segment"):
        parts.append(f"{len(program.passes)} segments of {first.tokens}")
    elif first.name.startswith("decode"):
        parts.append(f"context {first.context} + {tokens or len(program.passes)} generated")
    return ", ".join([*parts, f"batch {program.batch}", program.dtype])


def _digits(value: float, digits: int = 4) -> str:
    """Fixed-point with about `digits` digits in all, never in scientific notation."""
    whole = len(str(int(abs(value))))
    return f"{value:.{max(0, digits - whole)}f}"
