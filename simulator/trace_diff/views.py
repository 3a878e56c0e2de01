"""A diff as tables and as two charts above one another."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from simulator.look import seconds_text, share_text
from simulator.output import whole_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from rich.table import Table

    from simulator.trace_diff.diff import Diff, Row

_MOST_ROWS = 12
_COLOURS = {
    "matmul": "#0072b2",
    "attention": "#d55e00",
    "softmax": "#f0e442",
    "layer_norm": "#009e73",
    "rms_norm": "#009e73",
    "gelu": "#e69f00",
    "silu": "#e69f00",
    "relu": "#e69f00",
    "tanh": "#999933",
    "add": "#56b4e9",
    "multiply": "#56b4e9",
    "embedding": "#cc79a7",
    "cache_append": "#8c564b",
    "copy": "#8c564b",
    "prompt": "#0072b2",
    "generation": "#e69f00",
}
_ALONE, _VIEW = "#222222", "#bbbbbb"


def table(diff: Diff) -> list[Table]:
    """Tables by kind, by layer, and of what could not be aligned; times add up to the totals."""
    kinds = _table(f"{diff.title}\nmeasured: {diff.measured.source}", "kind")
    for row in diff.by_kind():
        _add(kinds, row, diff)
    rest = diff.left_over()
    alone = [row for row in rest if row.measured_ns or not row.predicted_ns]
    missing = [row for row in rest if row not in alone]
    for name, rows in (("not aligned, views", alone), ("moments not aligned", missing)):
        if rows:
            _add(kinds, _sum(name, rows), diff)
    _add(kinds, diff.between(), diff)
    kinds.add_section()
    _add(kinds, diff.total(), diff)
    shares = (share_text(diff.aligned_share), share_text(diff.aligned_share_of_operators))
    kinds.caption = f"aligned: {shares[0]} of the measured time, {shares[1]} of its operators'"
    layers = _table("by layer (aligned operators)", "layer")
    for row in diff.by_layer():
        _add(layers, row, diff)
    found = [kinds, layers]
    if rest:
        left = _table("not aligned", "what")
        for row in rest[:_MOST_ROWS]:
            _add(left, row, diff)
        if len(rest) > _MOST_ROWS:
            _add(left, _sum(f"and {len(rest) - _MOST_ROWS} more", rest[_MOST_ROWS:]), diff)
        found.append(left)
    return found


def _sum(name: str, rows: Sequence[Row]) -> Row:
    from simulator.trace_diff.diff import Row

    measured = sum(row.measured_ns for row in rows)
    predicted = sum(row.predicted_ns for row in rows)
    return Row(name, sum(row.count for row in rows), measured, predicted)


def _table(title: str, what: str) -> Table:
    from rich.table import Table

    found = Table(title=title, caption_justify="left", title_justify="left")
    found.add_column(what)
    for heading in ("count", "measured", "share", "predicted", "residual", "error %"):
        found.add_column(heading, justify="right")
    return found


def _add(found: Table, row: Row, diff: Diff) -> None:
    both = row.measured_ns and row.predicted_ns
    sign = "-" if row.residual_ns < 0 else "+"
    found.add_row(
        row.name if "::" in row.name else row.name.replace("_", " "),
        f"{row.count:,}" if row.count else "",
        seconds_text(row.measured_ns / 1e9),
        share_text(row.measured_ns / diff.measured.total_ns) if diff.measured.total_ns else "",
        seconds_text(row.predicted_ns / 1e9),
        sign + seconds_text(abs(row.residual_ns) / 1e9),
        f"{100 * row.residual_ns / row.measured_ns:+.1f}" if both else "",
    )


def draw_diff(diff: Diff, path: str | Path) -> Path:
    """Draw measured above simulated on one time axis to a .png, .svg or .pdf file.

    InputError: another suffix, or the file cannot be written.
    """
    import matplotlib as mpl

    from simulator.look import check_picture

    check_picture(path)
    kind = Path(path).suffix.lower().removeprefix(".")
    dates: dict[str, dict[str, Any]] = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}
    with mpl.rc_context({"svg.hashsalt": "moments"}), whole_file(path) as temporary:
        figure(diff).savefig(temporary, format=kind, metadata=dates.get(kind, {}))
    return Path(path)


def figure(diff: Diff) -> Figure:
    """The charts as a matplotlib figure: both whole passes, then the layer in the middle enlarged.

    Each of the last two starts at its own layer's start, so that the layers stand above each other.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    measured, predicted = _bars(diff)
    layer = _middle_layer(diff)
    made = Figure(figsize=(14, 6.2 if layer else 3.4), dpi=150, facecolor="white")
    FigureCanvasAgg(made)
    axes = made.subplots(4 if layer else 2, 1)
    longest = max(diff.measured.total_ns, diff.predicted_total_ns)
    _panel(axes[0], measured, (0, longest), "measured", "")
    _panel(axes[1], predicted, (0, longest), "simulated", f"time of the pass ({diff.title})")
    if layer:
        spans = [_span(pairs) for pairs in _sides(diff, layer)]
        width = max(end - start for start, end in spans)
        label = f"time since {layer} began (that layer alone)"
        for axis, bars, span, name in zip(
            axes[2:], (measured, predicted), spans, ("measured", "simulated"), strict=True
        ):
            own = [bar for bar in bars if span[0] <= bar[0] < span[1]]
            window = (span[0], span[0] + width)
            _panel(axis, own, window, name, label if name == "simulated" else "")
    shown = {kind for _, _, kind in (*measured, *predicted)}
    handles = [Patch(color=c, label=k.replace("_", " ")) for k, c in _COLOURS.items() if k in shown]
    handles += [Patch(color=_ALONE, label="not aligned"), Patch(color=_VIEW, label="view")]
    made.suptitle(
        f"{diff.title}: measured {seconds_text(diff.measured.total_ns / 1e9)}, "
        f"simulated {seconds_text(diff.predicted_total_ns / 1e9)}",
        fontsize=11, x=0.06, ha="left", weight="bold",
    )  # fmt: skip
    made.subplots_adjust(
        left=0.06, right=0.985, top=0.84 if layer else 0.72, bottom=0.1, hspace=0.75
    )
    made.legend(handles=handles, loc="upper right", ncols=len(handles), fontsize=8, frameon=False,
                bbox_to_anchor=(0.99, 0.95 if layer else 0.9))  # fmt: skip
    return made


_Bar = tuple[int, int, str]


def _bars(diff: Diff) -> tuple[list[_Bar], list[_Bar]]:
    """(start, duration, kind) of everything; an aligned operator has the kind of its moment."""
    origin = diff.measured.start_ns
    measured = [(op.start_ns - origin, op.duration_ns, "view") for op in diff.views]
    measured += [(op.start_ns - origin, op.duration_ns, "alone") for op in diff.operators_alone]
    for pair in diff.pairs:
        kind = pair.moments[-1].kind if len(pair.moments) > 1 else pair.moments[0].kind
        measured += [(op.start_ns - origin, op.duration_ns, _base(kind)) for op in pair.operators]
    predicted = [(m.start_ns, m.duration_ns, _base(m.kind)) for m in diff.moments]
    return measured, predicted


def _base(kind: str) -> str:
    return "gelu" if kind == "gelu_tanh" else kind


def _middle_layer(diff: Diff) -> str:
    """The name of a layer in the middle of those that are aligned; empty where there is none."""
    names = list(dict.fromkeys(pair.layer for pair in diff.pairs if "layer." in pair.layer))
    return names[len(names) // 2] if len(names) > 1 else ""


def _sides(diff: Diff, layer: str) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    origin = diff.measured.start_ns
    own = [pair for pair in diff.pairs if pair.layer == layer]
    measured = [(op.start_ns - origin, op.duration_ns) for pair in own for op in pair.operators]
    return measured, [(m.start_ns, m.duration_ns) for m in diff.moments if m.layer == layer]


def _span(bars: Sequence[tuple[int, int]]) -> tuple[int, int]:
    return min(start for start, _ in bars), max(start + length for start, length in bars)


def _panel(
    axes: Axes, bars: Sequence[_Bar], window: tuple[int, int], name: str, label: str
) -> None:
    from matplotlib.collections import PolyCollection
    from matplotlib.ticker import EngFormatter

    start, end = window[0], max(window[1], window[0] + 1)
    inside = [bar for bar in bars if bar[0] < end and bar[0] + bar[1] > start]
    colours = {"alone": _ALONE, "view": _VIEW}
    corners = []
    for at, length, _ in inside:
        left, right = (at - start) / 1e9, (at + length - start) / 1e9
        corners.append([(left, 0), (right, 0), (right, 1), (left, 1)])
    faces = [_COLOURS.get(kind) or colours.get(kind, "#777777") for _, _, kind in inside]
    axes.add_collection(
        PolyCollection(corners, facecolors=faces, edgecolors="white", linewidths=0.1)
    )
    axes.set_xlim(0, (end - start) / 1e9)
    axes.set_ylim(0, 1)
    axes.set_yticks([])
    axes.set_ylabel(name, fontsize=9)
    axes.xaxis.set_major_formatter(EngFormatter(unit="s"))
    axes.tick_params(labelsize=8)
    if label:
        axes.set_xlabel(label, fontsize=8)
