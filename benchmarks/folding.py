"""Times of folded runs beside their limits, and beside a plain roofline loop over all moments."""

from __future__ import annotations

import subprocess
import sys
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

    from hardware_profiles.schema import Profile
    from workloads import Model

_RUNTIME = "tensorrt-llm"
_MOST_MB = 300


def _best(work: Callable[[], object], repeats: int) -> float:
    """Milliseconds of processor time of the fastest of some repetitions."""
    found = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        found.append(time.process_time() - start)
    return min(found) * 1e3


def _run(model: Model, profile: Profile, prompt: int, generate: int) -> Run:
    program = compile_forward(model, prompt=prompt, generate=generate, dtype="fp16")
    run = simulate(program, profile, _RUNTIME, must_hold="weights")
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
    """Compile, simulate and take every figure, in one process on one core.

    The files of models, machines and the runtime are read before.
    """
    large, small = load_model("llama-3-70b"), load_model("llama-2-7b")
    big, a100 = load_profile("nvidia-b200-sxm-180gb"), load_profile("nvidia-a100-sxm4-80gb")
    table = Table(
        title=f"Folded runs under {_RUNTIME}, from compiling to all figures (machine files read)"
    )
    for heading in ("run", "moments", "ms", "limit", "roofline loop, ms"):
        table.add_column(heading, justify="right" if table.columns else "left")
    good = True
    for model, profile, generate, limit, repeats in (
        (large, big, 0, 10, 5),
        (large, big, 1024, 500, 3),
        (small, a100, 128, 15, 5),
    ):
        found = _run(model, profile, 2048, generate)
        ms = _best(lambda m=model, p=profile, g=generate: _run(m, p, 2048, g), repeats)  # type: ignore[misc]
        loop = _best(lambda run=found: _roofline(run), 1)  # type: ignore[misc]
        name = f"{model.name}, 2,048 + {generate:,} tokens"
        table.add_row(name, f"{len(found.trace):,}", f"{ms:.1f}", f"{limit}", f"{loop:.1f}")
        good = good and ms < limit
    shallow = large.model_copy(update={"layers": 8})
    ratio = _best(lambda: _run(large, big, 2048, 0), 5) / _best(
        lambda: _run(shallow, big, 2048, 0), 5
    )
    console.print(table)
    peak = _peak_mb()
    console.print(
        f"80 layers cost {ratio:.2f} times 8 (limit 1.5); peak memory of the longest generation "
        f"{peak:.0f} MB (limit {_MOST_MB})"
    )
    return good and ratio < 1.5 and peak < _MOST_MB


def _peak_mb() -> float:
    """Of a process of its own, in which nothing else ran."""
    code = (
        "from benchmarks.folding import _run, load_model, load_profile\n"
        "import resource\n"
        "_run(load_model('llama-3-70b'), load_profile('nvidia-b200-sxm-180gb'), 2048, 1024)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return int(done.stdout) / (1e6 if sys.platform == "darwin" else 1e3)  # macOS counts bytes
