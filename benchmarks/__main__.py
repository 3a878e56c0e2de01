"""Prints the engine's rate beside that of bare SimPy, start-up times and comparison throughput.

Every figure is a ratio against something measured in the same run, or a time beside its limit.
"""

from __future__ import annotations

import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import simpy
from rich.console import Console
from rich.table import Table

from benchmarks.folding import folding
from benchmarks.studies import studies
from simulator import engine
from simulator.cases import Case
from simulator.demand import Demand
from simulator.engine import Plan
from simulator.predict import Predictor
from simulator.sharing import RATE_ONE
from workloads import compile_forward, list_models, load_model

MOMENTS = 100_000
REPEATS = 5


@dataclass(frozen=True)
class RandomGraph:
    """A DAG without repetition: every moment follows up to two of the thirty before it."""

    predecessors: list[tuple[int, ...]]
    successors: list[list[int]]

    def name(self, index: int) -> str:
        return f"moment {index}"


def random_job(count: int) -> tuple[RandomGraph, list[Demand]]:
    choose = random.Random(1)  # noqa: S311 - a benchmark, not a secret
    before: list[tuple[int, ...]] = []
    after: list[list[int]] = [[] for _ in range(count)]
    demands = []
    for i in range(count):
        producers = {choose.randrange(max(0, i - 30), i) for _ in range(2)} if i else set()
        before.append(tuple(sorted(producers)))
        for producer in producers:
            after[producer].append(i)
        demands.append(
            Demand(
                units=choose.randint(1, 64),
                unit_cycles=choose.randint(1, 1000),
                cores=16,
                memory_bytes=choose.randint(1, 100_000),
                serial=(("latency", choose.randint(1, 500)),),
                dispatch_cycles=choose.randint(1, 2000),
            )
        )
    return RandomGraph(before, after), demands


def best_rate(work: Callable[[], int]) -> float:
    """Items per second of the fastest of some repetitions."""
    rates = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        items = work()
        rates.append(items / (time.perf_counter() - start))
    return max(rates)


def bare_simpy() -> int:
    """A process that waits for one timeout after another: what SimPy does at least."""
    environment = simpy.Environment()

    def wait() -> object:
        for _ in range(MOMENTS):
            yield environment.timeout(1)

    environment.process(wait())  # type: ignore[arg-type]
    environment.run()
    return MOMENTS


def engine_rates(console: Console) -> bool:
    graph, demands = random_job(MOMENTS)
    table = Table(title=f"Engine, {MOMENTS:,} moments, none repeated")
    for heading in ("what", "moments / s", "of bare SimPy"):
        table.add_column(heading, justify="right" if table.columns else "left")
    bare = best_rate(bare_simpy)
    table.add_row("bare SimPy timeouts", f"{bare:,.0f}", "1.00")
    good = True
    for policy, host in (
        ("stream", "asynchronous"),
        ("stream", "synchronous"),
        ("dataflow", "none"),
        ("dataflow", "asynchronous"),
    ):
        plan = Plan(64, 10**9, 40 * RATE_ONE, policy=policy, host=host)  # type: ignore[arg-type]
        rate = best_rate(lambda plan=plan: len(engine.run(graph, demands, plan)))  # type: ignore[misc]
        table.add_row(f"{policy}, host {host}", f"{rate:,.0f}", f"{rate / bare:.2f}")
        good = good and rate >= 150_000
        if policy == "stream":
            good = good and rate >= bare / 5
    console.print(table)
    return good


def start_up(console: Console) -> bool:
    table = Table(title="Whole processes, median of 7")
    for heading in ("command", "s", "limit"):
        table.add_column(heading, justify="right" if table.columns else "left")
    good = True
    for command, limit in (
        (("--help",), 0.3),
        (("run", "bert-base", "--on", "nvidia-a100-sxm4-80gb"), 1.0),
    ):
        seconds = []
        for _ in range(7):
            start = time.perf_counter()
            subprocess.run(
                [sys.executable, "-m", "simulator.cli", *command], check=True, capture_output=True
            )
            seconds.append(time.perf_counter() - start)
        median = statistics.median(seconds)
        table.add_row("moments " + " ".join(command), f"{median:.2f}", f"{limit}")
        good = good and median < limit
    console.print(table)
    return good


def comparison(console: Console) -> bool:
    cases = [
        Case(
            case_id=str(i),
            hardware="nvidia-a100-sxm4-80gb",
            devices=1,
            runtime="kernel",
            workload="",
            what="matmul",
            dtype="bf16",
            weight_dtype="bf16",
            sizes={"batch": 1, "m": 1 + i % 4096, "n": 64 + i, "k": 1024},
            measured_us=1.0,
            source="",
            conditions="",
        )
        for i in range(2000)
    ]
    predictor = Predictor()
    start = time.perf_counter()
    for case in cases:
        predictor.latency_s(case)
    seconds = (time.perf_counter() - start) * 10
    console.print(f"20,000 operator cases: {seconds:.1f} s (limit 60 s)")
    return seconds < 60


def compiling(console: Console) -> bool:
    """The slowest bundled models: reading 512 tokens (or one image), and one token after 511."""
    limit_s = 0.020
    found = []
    for name in list_models():
        model = load_model(name)
        length = min(512, model.max_positions - 1, *(e.max_positions for e in [model.encoder] if e))
        fixed = model.fixed_input
        requests = [{"prompt": fixed or length}]
        if model.causal:
            requests.append({"context": min(511, model.max_positions - 1)})
            if model.encoder is not None:
                requests[1]["prompt"] = fixed or length
        for request in requests:
            seconds = []
            for _ in range(5):
                start = time.perf_counter()
                compile_forward(model, **request)  # type: ignore[arg-type]
                seconds.append(time.perf_counter() - start)
            found.append((min(seconds), name, request))
    found.sort(key=lambda entry: entry[0], reverse=True)
    table = Table(title=f"Compiling a pass of {len(list_models())} bundled models, the slowest")
    for heading in ("model", "request", "ms", "limit"):
        table.add_column(heading, justify="right" if heading in ("ms", "limit") else "left")
    for took, name, request in found[:5]:
        asked = ", ".join(f"{key} {value}" for key, value in request.items())
        table.add_row(name, asked, f"{took * 1e3:.1f}", f"{limit_s * 1e3:.0f}")
    console.print(table)
    return found[0][0] < limit_s


def main() -> int:
    console = Console()
    results = [
        folding(console),
        compiling(console),
        engine_rates(console),
        start_up(console),
        comparison(console),
        studies(console),
    ]
    if not all(results):
        console.print("[bold]slower than the limits above[/bold] (on a busy machine, run again)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
