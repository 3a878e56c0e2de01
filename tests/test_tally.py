"""Tallies: what moments did in all, against sums over the moments one by one."""

from __future__ import annotations

import pytest

from hardware_profiles import load_profile
from simulator import Scenario, simulate
from simulator.attribution import moment_core_cycles
from simulator.demand import Demand
from simulator.figures import groups
from simulator.run import Run
from simulator.tally import Asked, Tally
from simulator.trace import StepStretch
from workloads import compile_forward, load_model
from workloads.transforms import Pruning, prune

RUNS = {
    "steps": Scenario(
        "gpt2", "nvidia-a100-sxm4-80gb", runtime="tensorrt-llm", prompt=8, generate=6
    ),
    "links": Scenario("gpt2", "nvidia-a100-sxm4-80gb", prompt=8, generate=3, tensor_parallel=2),
    "dataflow": Scenario("bert-base", "amd-epyc-7763-1s", prompt=8, policy="critical-path"),
}


@pytest.fixture(params=sorted(RUNS))
def run(request: pytest.FixtureRequest) -> Run:
    return RUNS[request.param].run()


def test_tallies_add_up_to_the_program_and_the_run(run: Run) -> None:
    tallies = run.tallies
    assert sum(t.count for t in tallies) == len(run.trace)
    assert sum(t.elapsed for t in tallies) == run.cycles
    for name in ("macs", "vector_ops", "special_ops"):
        assert sum(getattr(t.counts, name) for t in tallies) == getattr(run.program.counts, name)


def test_each_tally_is_the_sum_of_its_moments(run: Run) -> None:
    trace, elapsed = run.trace, run.trace.elapsed()
    found: dict[tuple[str, str, str], Tally] = {
        (t.phase, t.segment, t.moment.name): t for t in run.tallies
    }
    assert len(found) == len(run.tallies)
    sums = {key: [0] * 9 for key in found}
    causes: dict[tuple[str, str, str], dict[str, int]] = {key: {} for key in found}
    for instance in run.job.flat.instances:
        phase = run.program.passes[instance.pass_index].phase
        for index, moment in enumerate(instance.segment.moments, instance.first):
            key = (str(phase), instance.segment.name, moment.name)
            asked, held = trace.demands[index], trace.retired[index] - trace.issued[index]
            more = (
                1, elapsed[index], run.job.traffic[index].dram_bytes, moment.counts.macs,
                asked.units * asked.unit_cycles + asked.serial_cycles, asked.memory_bytes,
                asked.dispatch_cycles, held, held * len(trace.cores[index]),
            )  # fmt: skip
            sums[key] = [a + b for a, b in zip(sums[key], more, strict=True)]
            for cause, cycles in moment_core_cycles(trace, index):
                if cycles:
                    causes[key][cause] = causes[key].get(cause, 0) + cycles
    for key, tally in found.items():
        own = tally.asked
        assert sums[key] == [
            tally.count, tally.elapsed, tally.dram_bytes, tally.counts.macs, own.core_cycles,
            own.memory_bytes, own.dispatch_cycles, own.held, own.held_core_cycles,
        ]  # fmt: skip
        assert causes[key] == tally.by_cause()
    assert sum(group.count for group in groups(run)) == len(trace)


def test_zeros_that_the_unit_skips_take_no_time() -> None:
    """Latent attention expands its cache, so some of the products have the context as their rows.

    Those of 2:4 take half as long on a unit that is made for it.
    """
    model = load_model("deepseek-v3").model_copy(update={"layers": 2, "dense_layers": 2})
    program = compile_forward(model, prompt=8, generate=6, dtype="fp16", expand_latents=True)
    program = prune(program, Pruning(0.5, "2:4"), model)
    profile = load_profile("nvidia-a100-sxm4-80gb")
    folded = simulate(program, profile, "tensorrt-llm")
    assert any(isinstance(stretch, StepStretch) for stretch in folded.trace.stretches)
    found = {(t.phase, t.segment, t.moment.name): t for t in folded.tallies}
    growing = found["decode", "layer", "kv_up"]
    assert growing.moment.sparsity is not None
    for tally in folded.tallies:
        share = 2 if tally.moment.sparsity is not None else 1
        assert tally.timed_macs * share == tally.counts.macs
    whole = simulate(program, profile, "tensorrt-llm", fold=False)
    assert [t.timed_macs for t in folded.tallies] == [t.timed_macs for t in whole.tallies]


def test_what_was_asked_for_by_hand() -> None:
    asked = Asked()
    one = Demand(units=5, unit_cycles=2, cores=4, serial=(("latency", 2),), dispatch_cycles=5)
    asked.add(3, one, cores=4, held=12)
    assert asked == Asked(core_cycles=36, dispatch_cycles=15, held=36, held_core_cycles=144)
    twice = Asked()
    twice.add_all(2, asked)
    assert twice == Asked(core_cycles=72, dispatch_cycles=30, held=72, held_core_cycles=288)
