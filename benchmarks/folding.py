"""Times of folded runs beside their limits, and beside a plain roofline loop over all moments."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from rich.table import Table

from hardware_profiles import load_profile
from simulator.figures import as_json
from simulator.run import Run, simulate
from workloads import compile_forward, load_model

if TYPE_CHECKING:
    from rich.console import Console

    from workloads import Model

_RUNTIME = "tensorrt-llm"


def _best(work: Callable[[], object], repeats: int) -> float:
    """Milliseconds of processor time of the fastest of some repetitions."""
    found = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        found.append(time.process_time() - start)
    return min(found) * 1e3


def _run(model: Model, hardware: str, prompt: int, generate: int) -> Run:
    program = compile_forward(model, prompt=prompt, generate=generate, dtype="fp16")
    run = simulate(program, load_profile(hardware), _RUNTIME, must_hold="weights")
    as_json(run)
    return run


def _roofline(run: Run) -> float:
    """Seconds by a loop over the moments written out: the longer of arithmetic and memory each."""
    flops = 2 * run.profile.width.matrix["fp16"] * run.profile.cores.count * run.trace.clock_hz
    rate = run.profile.memory["dram"].bandwidth_bytes_per_s
    total = 0.0
    for moment in run.moments:
        total += max(
            2 * moment.counts.macs / flops, (moment.read_bytes + moment.write_bytes) / rate
        )
    return total


def folding(console: Console) -> bool:
    """Compile, simulate and take every figure, in one process on one core."""
    large, small = load_model("llama-3-70b"), load_model("llama-2-7b")
    big, a100 = "nvidia-b200-sxm-180gb", "nvidia-a100-sxm4-80gb"
    table = Table(title=f"Folded runs under {_RUNTIME}, from compiling to all figures")
    for heading in ("run", "moments", "ms", "limit", "roofline loop, ms"):
        table.add_column(heading, justify="right" if table.columns else "left")
    good = True
    for model, hardware, generate, limit, repeats in (
        (large, big, 0, 10, 5),
        (large, big, 1024, 500, 1),
        (small, a100, 128, 15, 3),
    ):
        found = _run(model, hardware, 2048, generate)
        ms = _best(lambda m=model, h=hardware, g=generate: _run(m, h, 2048, g), repeats)  # type: ignore[misc]
        loop = _best(lambda run=found: _roofline(run), 1)  # type: ignore[misc]
        name = f"{model.name}, 2,048 + {generate:,} tokens"
        table.add_row(name, f"{len(found.trace):,}", f"{ms:.1f}", f"{limit}", f"{loop:.1f}")
        good = good and ms < limit
    shallow = large.model_copy(update={"layers": 8})
    ratio = _best(lambda: _run(large, big, 2048, 0), 5) / _best(
        lambda: _run(shallow, big, 2048, 0), 5
    )
    console.print(table)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    console.print(
        f"80 layers cost {ratio:.2f} times 8 (limit 1.5); peak memory so far {peak:.0f} MB"
    )
    return good and ratio < 1.5
