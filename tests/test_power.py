"""Energy and power: sums by hand, limits that are kept, and a board that throttles."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from statistics import median

import pytest
from rich.console import Console

from hardware_profiles import list_profiles, load_profile
from hardware_profiles.energy import energy_of, idle_watts
from hardware_profiles.power import Energy
from hardware_profiles.variants import at_clock_share, with_changes
from simulator import Scenario
from simulator.cases import Case, read_cases, read_workload_table
from simulator.figures import as_json
from simulator.operators import operator_program
from simulator.power import arithmetic_joules, sustained_share, within_limit
from simulator.predict import Predictor
from simulator.run import Run, simulate
from simulator.summary import summary
from workloads import InputError
from workloads.moment import ElementShape, MatmulShape, Moment, OperationCounts

A100 = "nvidia-a100-sxm4-80gb"
MEASURED = Path(__file__).parents[2] / "shared" / "measurements" / "forward.csv.gz"
PREFILL = Scenario(
    "llama-3-8b", A100, runtime="pytorch-cuda-graphs", prompt=2048, batch=1, dtype="fp16"
)


def product(machine: str, shape: tuple[int, int, int], share: float = 1.0) -> Run:
    sizes = dict(zip(("batch", "m", "n", "k"), (1, *shape), strict=True))
    case = Case("x", machine, 1, "kernel", "", "matmul", "fp16", "fp16", sizes, 1.0, "", "")
    return simulate(operator_program(case), load_profile(machine), "kernel", clock_share=share)


def gemm(machine: str, size: int, share: float = 1.0) -> Run:
    return product(machine, (size, size, size), share)


def test_energy_of_operations_by_hand() -> None:
    profile = load_profile(A100)  # 64 lanes of fp32 and 16 special functions a cycle
    energy = Energy.model_validate(
        {
            "matrix": {"fp16": "1 pJ", "*": "2 pJ"},
            "vector": {"fp32": "10 pJ", "fp16": "5 pJ"},
            "byte": {"dram": "50 pJ"},
            "source": "made up for a test",
        }
    )
    product = Moment(
        "p", "matmul", "attention", MatmulShape(1, 10, 10, 10), "fp16",
        OperationCounts(macs=1000), (), (),
    )  # fmt: skip
    assert arithmetic_joules(product, profile, energy) == pytest.approx(2000e-12)
    other = replace(product, dtype="int8")
    assert arithmetic_joules(other, profile, energy) == pytest.approx(4000e-12)
    counts = OperationCounts(vector_ops=100, special_ops=10)
    vector = Moment("v", "gelu", "feed_forward", ElementShape(100), "fp32", counts, (), ())
    # 100 x 2 FLOP x 10 pJ, and each special function takes the time of 64 / 16 lanes
    expected = 100 * 20e-12 + 10 * 20e-12 * 4
    assert arithmetic_joules(vector, profile, energy) == pytest.approx(expected)


def test_energy_adds_up_to_power_times_time() -> None:
    run = PREFILL.run()
    report = run.power
    assert report is not None
    assert set(report.joules) == {"idle", "arithmetic", "l2", "dram"}
    assert report.total_joules == pytest.approx(report.average_watts * run.latency_s)
    assert report.joules["idle"] == pytest.approx(0.12 * 400 * run.latency_s)
    dram = sum(demand.memory_bytes for demand in run.job.demands)
    assert report.joules["dram"] == pytest.approx(dram * 55e-12)
    assert 200 < report.average_watts < 420


def test_energy_in_the_figures_and_on_the_screen() -> None:
    generate = Scenario(
        "gpt2", A100, runtime="pytorch-cuda-graphs", prompt=8, generate=4, batch=2, dtype="fp16"
    ).run()
    data = as_json(generate)["power"]
    assert generate.token_count == 8
    assert data["total_joules"] == pytest.approx(sum(data["joules"].values()))
    assert data["joules_per_token"] == pytest.approx(data["total_joules"] / 8)
    read = Scenario("bert-base", "nvidia-t4", runtime="tensorrt", prompt=128, batch=32).run()
    assert read.token_count == 32 * 128
    console = Console(width=100)
    with console.capture() as captured:
        console.print(summary(read))
    text = captured.get()
    assert "energy (estimate)" in text
    assert "70 W, " in text
    assert "limited clock" in text


def test_a_machine_of_unknown_power_has_no_report() -> None:
    run = Scenario("bert-base", "teaching", prompt=2, dtype="fp32").run()
    assert run.power is None
    assert idle_watts(run.profile) is None
    with pytest.raises(InputError, match="nothing is known of the power of teaching"):
        Scenario("bert-base", "teaching", prompt=2, power_cap="5W").prepared()


@pytest.mark.parametrize("name", [name for name in list_profiles() if name != "teaching"])
def test_every_machine_has_energies(name: str) -> None:
    energy = energy_of(load_profile(name))
    assert energy is not None
    by_class = [*energy.matrix.values(), *energy.vector.values(), *energy.byte.values()]
    assert all(1e-14 < joules < 2e-9 for joules in by_class)


def test_a_limit_is_kept_and_costs_time() -> None:
    free = PREFILL.run()
    limits = ("330W", "250W", "150W")
    runs = [replace(PREFILL, power_cap=limit).run() for limit in limits]
    for limit, run in zip((330, 250, 150), runs, strict=True):
        assert run.power is not None
        assert run.power.average_watts <= 1.02 * limit
    latencies = [free.latency_s, *(run.latency_s for run in runs)]
    assert latencies == sorted(latencies)
    shares = [run.clock_share for run in runs]
    assert shares == sorted(shares, reverse=True)
    assert runs[-1].trace.clock_hz == pytest.approx(1.41e9 * shares[-1], rel=1e-6)


def test_a_limit_above_what_is_drawn_changes_nothing() -> None:
    assert replace(PREFILL, power_cap="700 W").run().cycles == PREFILL.run().cycles


def test_decoding_waits_for_memory_and_hardly_feels_the_clock() -> None:
    decode = Scenario("llama-3-8b", A100, runtime="pytorch-cuda-graphs", context=512, dtype="fp16")
    free, capped = decode.run(), replace(decode, power_cap="150W").run()
    assert capped.latency_s < 1.05 * free.latency_s


@pytest.mark.parametrize(
    ("cap", "message"),
    [
        ("300", "--power-cap: '300' is not a number with a unit"),
        ("300 J", "--power-cap: '300 J': unit 'J' is not one of W"),
        ("20 W", "--power-cap 20 W: nvidia-a100-sxm4-80gb draws 48 W when idle"),
    ],
)
def test_a_limit_that_cannot_be_is_refused(cap: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        replace(PREFILL, power_cap=cap).prepared()
    assert message in str(caught.value)


def test_a_limit_is_for_one_device() -> None:
    with pytest.raises(InputError, match="--power-cap 300W: only for runs on one device"):
        replace(PREFILL, power_cap="300W", tensor_parallel=2).prepared()
    assert replace(PREFILL, tensor_parallel=2).run().power is None


def test_utilization_is_of_the_whole_machine() -> None:
    capped = replace(PREFILL, power_cap="150W").run()
    flops = capped.program.matrix_flops / capped.latency_s
    assert capped.utilization["mfu"] == pytest.approx(flops / 312e12, rel=0.001)


def test_the_share_is_one_where_the_limit_is_not_reached() -> None:
    run = gemm(A100, 1024)
    assert sustained_share(run, 10_000) == 1.0
    assert sustained_share(run, 49) == 0.2  # hardly above idle: the slowest clock there is


def test_caches_follow_the_clock_and_dram_does_not() -> None:
    full = load_profile(A100)
    half = at_clock_share(full, 0.5)
    assert half == with_changes(full, ["clock=1/2x"])
    assert half.memory["dram"] == full.memory["dram"]


def test_t4_sustains_what_its_power_limit_leaves() -> None:
    """forums.developer.nvidia.com, thread 264462: 24 TFLOP/s of 65, back to back."""
    run = within_limit(lambda share: gemm("nvidia-t4", 4096, share), 70.0)
    assert 2 * 4096**3 / run.latency_s == pytest.approx(24e12, rel=0.03)


@pytest.mark.parametrize(
    ("name", "shape", "tflops"),
    [
        ("amd-mi300x", (10240, 15360, 8192), 668.4),
        ("amd-mi325x", (13312, 10240, 8192), 784.9),
        ("nvidia-a100-pcie-80gb", (2048, 5120, 6144), 252.9),
    ],
)
def test_the_same_chip_sustains_more_at_a_higher_limit(
    name: str, shape: tuple[int, int, int], tflops: float
) -> None:
    """stas00/ml-engineering, maximum achievable matmul FLOPS, bf16; the first two are one chip."""
    limit = load_profile(name).power
    assert limit is not None
    run = within_limit(lambda share: product(name, shape, share), limit.tdp_watts)
    assert run.clock_share < 1
    m, n, k = shape
    assert 2e-12 * m * n * k / run.latency_s == pytest.approx(tflops, rel=0.05)


ODD = {
    "cerebras-wse-3": "its operands come from outside, at 150 GB/s",
    "groq-lpu-v1": "holds no product of this size",
    "intel-core-ultra-7-165h-npu": "the TDP is that of the whole processor",
    "nvidia-t4": "70 W for a chip that would take three times that",
    "mediatek-dimensity-9300-gpu": "the same: 8 W",
}


@pytest.mark.parametrize(
    "name",
    [n for n in list_profiles() if load_profile(n).kind == "gpu" and n not in ODD],
)
def test_a_large_product_draws_about_what_a_board_is_built_for(name: str) -> None:
    """At burst clock, against the TDP: from cards for games, which keep some of it for graphics and
    for their memory, to chips that their limit slows down (MI300X). Guards against slips in either.
    """
    profile, power = load_profile(name), gemm(name, 8192).power
    assert profile.power is not None
    assert power is not None
    assert 0.3 < power.average_watts / profile.power.tdp_watts < 2.5


def test_operators_run_in_bursts_and_passes_for_long() -> None:
    assert gemm("nvidia-t4", 4096).clock_share == 1.0
    long = Scenario("bert-base", "nvidia-t4", runtime="tensorrt", prompt=128, batch=32).run()
    assert 0.5 < long.clock_share < 0.8
    assert long.power is not None
    assert long.power.average_watts == pytest.approx(70, rel=0.02)
    assert (
        simulate(
            Scenario("gpt2", "nvidia-l4", prompt=128, batch=32).prepared().program,
            load_profile("nvidia-l4"),
            "tensorrt",
        ).clock_share
        == 1.0
    )  # its energies are only estimated


@pytest.mark.skipif(not MEASURED.is_file(), reason="needs the measured data beside the repository")
def test_measured_passes_of_t4_under_tensorrt() -> None:
    """None of these 80 passes was used for the energies; at the burst clock the median is 31 %."""
    predictor = Predictor(read_workload_table(MEASURED.parent / "workloads.json"))
    cases = [
        case
        for case in read_cases(MEASURED)
        if case.hardware == "nvidia-t4" and case.runtime == "tensorrt"
    ]
    errors = [abs(predictor.latency_s(case) * 1e6 / case.measured_us - 1) for case in cases]
    assert len(errors) == 80
    assert median(errors) < 0.08
