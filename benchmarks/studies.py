"""Time of a study of hardware variants beside its limit, and beside a plain roofline loop."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table

from simulator.study import run_study, study_from_table

if TYPE_CHECKING:
    from rich.console import Console

    from simulator.run import Run
    from simulator.study import Study

_POINTS = 10_000
_PROCESSES = 2
_LIMIT_S = 30


def _study() -> Study:
    """Variants of one machine for one token of Llama 3 8B after 2,048."""
    machine = {
        "dram.bandwidth": {"from": "0.5x", "to": "4x", "scale": "log"},
        "cores": {"from": 40, "to": 200},
        "clock": {"from": "0.5x", "to": "2x", "scale": "log"},
    }
    base = {
        "workload": "llama-3-8b", "hardware": "nvidia-a100-sxm4-80gb", "context": 2048,
        "dtype": "bf16", "runtime": "tensorrt-llm",
    }  # fmt: skip
    return study_from_table({"base": base, "random": {"samples": _POINTS, "seed": 1, **machine}})


def _roofline(run: Run, scale: int) -> float:
    """The longer of arithmetic and memory of each moment, added up; a machine `scale` as fast."""
    flops = scale * 2 * run.profile.width.matrix["bf16"] * run.profile.cores.count
    rate = scale * run.profile.memory["dram"].bandwidth_bytes_per_s / run.trace.clock_hz
    total = 0.0
    for moment in run.moments:
        moved = moment.read_bytes + moment.write_bytes
        total += max(2 * moment.counts.macs / flops, moved / rate)
    return total


def studies(console: Console) -> bool:
    """All points on two cores, from starting the processes to the file of results."""
    study = _study()
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        run_study(study, Path(folder) / "results.csv", jobs=_PROCESSES)
        seconds = time.perf_counter() - start
    run = study.scenario(study.points()[0]).run()
    start = time.perf_counter()
    for scale in range(1, _POINTS + 1):
        _roofline(run, scale)
    loop_s = time.perf_counter() - start
    table = Table(title=f"{_POINTS:,} hardware variants of a decode step of llama-3-8b")
    for heading in ("what", "processes", "s", "limit", "points / s"):
        table.add_column(heading, justify="right" if table.columns else "left")
    rate = f"{_POINTS / seconds:,.0f}"
    table.add_row("study", f"{_PROCESSES}", f"{seconds:.1f}", f"{_LIMIT_S}", rate)
    table.add_row("roofline loop", "1", f"{loop_s:.1f}", "", f"{_POINTS / loop_s:,.0f}")
    console.print(table)
    return seconds < _LIMIT_S
