"""Calibration of the host: planted parameters are found again, files load, messages are said."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hardware_profiles import load_profile
from hardware_profiles.lint import lint
from hardware_profiles.schema import Profile
from simulator import simulate
from simulator.calibrate_host import HostCalibration, write_files
from simulator.calibrate_host.calibrate import (
    _check_enough,
    fit_observations,
    merged,
    observations,
)
from simulator.calibrate_host.choices import (
    best_of,
    gemv_choices,
    loop_choices,
    with_threads_seen,
)
from simulator.calibrate_host.design import Design
from simulator.calibrate_host.parameters import Subject, applied, free_parameters, start_values
from simulator.calibrate_host.predicted import Observation, Residuals, predicted_s
from simulator.calibrate_host.probe import held_bytes
from simulator.calibrate_host.rounds import Job, Timing, summarised, timed_rounds
from simulator.cli import app
from simulator.runtime import load_runtime
from workloads import compile_forward, load_model
from workloads.errors import InputError

KINDS = frozenset({"gelu", "gelu_tanh", "silu", "tanh", "softmax"})
CALM = Timing(1.0, 0.02, 20, 0)
PLANTED = {
    "library.pack_cycles_per_weight": 1.3,
    "library.parallel": 0.95,
    "library.gemv_row_s": 50e-9,
    "library.page_fault_s": 1.2e-6,
    "efficiency.matmul.arithmetic": 0.65,
    "efficiency.element.vector": 0.2,
    "memory.dram.bandwidth_per_core": 14e9,
    "special.gelu": 1.2,
    "special.tanh": 9.0,
}


def subject() -> Subject:
    profile = load_profile("intel-core-i5-8500")
    return Subject(profile, load_runtime("pytorch-eager").on("cpu"))


def planted(
    truth: dict[str, float], base: Subject | None = None
) -> tuple[Subject, tuple[Observation, ...]]:
    """What a machine with `truth` would be measured as, without noise."""
    base = base or subject()
    free = free_parameters(base, KINDS)
    machine = applied(base, start_values(base, free) | truth)
    blank = [
        Observation(operator, threads, 1.0, CALM)
        for operator in Design(2**25).operators
        if not operator.tiny
        for threads in (1, base.profile.cores.count)
    ]
    seconds = predicted_s(blank, machine.profile, machine.section)
    return base, tuple(replace(o, seconds=s) for o, s in zip(blank, seconds, strict=True))


@pytest.fixture(scope="module")
def calibration() -> HostCalibration:
    base, observed = planted(PLANTED)
    found = fit_observations(observed, base)
    kinds = ("linear", "attention", "layer_norm", "rms_norm", "add")
    dispatch = {kind: Timing(30e-6, 0.1, 20, 0) for kind in kinds}
    return replace(
        found, base_runtime="pytorch-eager", library="PyTorch 2", dispatch=dispatch, load=(0.1, 0.2)
    )


def test_planted_parameters_are_found_again(calibration: HostCalibration) -> None:
    for name, value in PLANTED.items():
        assert calibration.values[name] == pytest.approx(value, rel=0.1), name
    assert sum(map(abs, calibration.after)) / len(calibration.after) < 0.02
    assert sum(map(abs, calibration.before)) > 5 * sum(map(abs, calibration.after))


def test_what_no_timing_shows_is_not_identified() -> None:
    base, observed = planted({})
    products = tuple(o for o in observed if o.operator.name == "product" and o.threads == 1)
    found = fit_observations(products, base)
    assert "library.page_fault_s" in found.not_identified
    assert "library.fork_join_s" in found.not_identified
    assert "efficiency.matmul.arithmetic" not in found.not_identified


def test_the_files_load_lint_and_predict(calibration: HostCalibration, tmp_path: Path) -> None:
    profile_path, runtime_path, timings = write_files(calibration, tmp_path)
    profile, runtime = load_profile(str(profile_path)), load_runtime(str(runtime_path))
    assert not lint(str(profile_path)).findings
    library, host = runtime.on("cpu").library, runtime.on("cpu").host
    assert library is not None
    assert host is not None
    assert library.pack_cycles_per_weight == pytest.approx(1.3, rel=0.1)
    assert host.by_kind_s["linear"] == pytest.approx(30e-6)
    # the base's 300 us once a pass, times the mean ratio of 30 us to its 45, 60, 35 and 60 us
    assert host.per_pass_s == pytest.approx(300e-6 * 30 / (45 * 60 * 35 * 60) ** 0.25, rel=1e-3)
    program = compile_forward(load_model("bert-base"), prompt=8)
    assert simulate(program, profile, runtime).latency_s > 0
    lines = timings.read_text().splitlines()
    assert "0.1 and 0.2" in lines[0]
    rows = list(csv.DictReader(lines[1:]))
    assert len(rows) == len(calibration.observations)


def test_a_folder_that_cannot_be_written_is_said_first(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    result = CliRunner().invoke(app, ["calibrate", "--host", "--out", str(blocked)])
    assert result.exit_code == 2
    assert "is not a folder" in result.stderr


def test_without_host_there_is_nothing_to_calibrate() -> None:
    result = CliRunner().invoke(app, ["calibrate"])
    assert result.exit_code == 2
    assert "expected CASES and --on MACHINE, --host or --device" in result.stderr


def test_host_measures_its_own_cases() -> None:
    result = CliRunner().invoke(app, ["calibrate", "cases.csv", "--host"])
    assert result.exit_code == 2
    assert "leave out CASES" in result.stderr


def test_a_busy_machine_is_refused() -> None:
    operators = [(o, 1) for o in Design(2**20).operators if not o.tiny]
    disturbed = [Timing(1.0, 3.0, 10, 9)] * len(operators)
    observed = observations(operators, disturbed)
    assert observed == ()
    with pytest.raises(InputError, match="too busy to be measured"):
        _check_enough(observed, operators)
    calm = observations(operators, [CALM] * len(operators))
    assert len(calm) == len(operators)
    _check_enough(calm, operators)


def test_the_call_is_subtracted_from_what_it_calls() -> None:
    by_label = {o.label: o for o in Design(2**20).operators}
    large, tiny = by_label["silu fp32 98304"], by_label["silu fp32 8"]
    timings = [Timing(50e-6, 0.0, 9, 0), Timing(4e-6, 0.0, 9, 0)]
    (one,) = observations([(large, 1), (tiny, 1)], timings)
    assert one.seconds == pytest.approx(46e-6)


def test_the_undisturbed_repetitions_count_and_the_fastest_of_these() -> None:
    # five are calm: 2, 3, 4, 5 and 6; a fifth of them is the fastest, 2
    samples = [(1.0, True), *((float(s), False) for s in range(2, 7)), (9.0, True)]
    found = summarised(samples)
    assert (found.seconds, found.repetitions, found.disturbed) == (2.0, 7, 2)
    assert found.spread == pytest.approx(5 / 2 - 1)
    # too few are calm: all count
    assert summarised([(1.0, True), (2.0, True), (3.0, False)]).seconds == 1.0


def test_every_job_runs_once_a_round_and_threads_change_once() -> None:
    log: list[object] = []
    jobs = [Job("a", 2, lambda: log.append("a")), Job("b", 1, lambda: log.append("b"))]
    jobs.append(Job("c", 2, lambda: log.append("c"), 1, lambda: log.append("before")))
    timings = timed_rounds(jobs, 0.0, set_threads=log.append, least=1)
    # each change of threads is followed by a call that does not count
    one_round = [1, "b", "b", 2, "a", "a", "before", "c", "before", "c"]
    assert log == one_round * 2
    assert [t.repetitions for t in timings] == [1, 1, 1]


def test_when_threads_are_used_is_seen_in_the_timings() -> None:
    base, _ = planted({})
    library = base.section.library
    assert library is not None
    update = {"gemv_threads": 1, "single_thread_rows": 4}
    changed = library.model_copy(update=update)
    machine = Subject(base.profile, base.section.model_copy(update={"library": changed}))
    _, observed = planted({}, machine)
    found = with_threads_seen(base, observed).section.library
    assert found is not None
    assert {name: getattr(found, name) for name in update} == update
    # what was measured on one thread alone, or not at all, says nothing
    one = tuple(o for o in observed if o.threads == 1)
    assert with_threads_seen(base, one) == base


@pytest.mark.parametrize("choices", [gemv_choices, loop_choices])
def test_whole_numbers_are_chosen_by_the_timings(
    choices: Callable[[Subject], tuple[Subject, ...]],
) -> None:
    base, observed = planted({})
    base = applied(base, start_values(base, free_parameters(base, KINDS)))
    residuals = Residuals(observed)
    for wrong in choices(base):
        best = best_of(wrong, choices(wrong), lambda one: float(abs(residuals(one)).sum()))
        assert best.section == base.section


def test_the_part_of_the_last_cache_that_counts_is_found() -> None:
    base, _ = planted({})
    l3 = base.profile.memory["l3"]
    smaller = l3.model_copy(update={"capacity_bytes": int(l3.capacity_bytes * 0.5)})
    machine = base.profile.model_copy(update={"memory": {**base.profile.memory, "l3": smaller}})
    _, observed = planted({}, Subject(machine, base.section))
    alone = tuple(one for one in observed if one.threads == 1)
    found = fit_observations(alone, base)
    assert found.subject.profile.memory["l3"].capacity_bytes == l3.capacity_bytes // 2
    assert max(map(abs, found.after)) < 0.05


def test_of_several_instances_the_median_counts() -> None:
    add = next(o for o in Design(2**20).operators if o.label == "add fp32 12288")
    assert add.instances == 3
    times = [Timing(seconds, 0.0, 9, 0) for seconds in (5.0, 1.9, 2.0, 7.0)]
    kept, timings = merged([(add, 1), (add, 1), (add, 1), (add, 2)], times)
    assert kept == [(add, 1), (add, 2)]
    assert [one.seconds for one in timings] == [2.0, 7.0]


def test_the_share_of_a_last_cache_ends_where_rates_fall() -> None:
    mib = 2**20
    rates = {
        mib: 90.0,
        2 * mib: 60.0,
        4 * mib: 59.0,
        8 * mib: 55.0,
        16 * mib: 30.0,
        256 * mib: 20.0,
    }
    # beyond 1 MiB of inner caches 60; memory 20; the geometric mean is 34.6
    assert held_bytes(rates, 32 * mib, mib) == 8 * mib
    assert held_bytes(rates, 8 * mib, mib) == 8 * mib
    flat = dict.fromkeys(rates, 20.0)
    assert held_bytes(flat, 32 * mib, mib) == 32 * mib


@pytest.mark.slow
def test_a_short_calibration_of_this_machine(tmp_path: Path) -> None:
    result = CliRunner().invoke(
        app, ["calibrate", "--host", "--short", "--seconds", "3", "--out", str(tmp_path)]
    )
    if result.exit_code == 2 and "too busy" in result.stderr:
        pytest.skip(result.stderr)
    assert result.exit_code == 0, result.output
    profile: Profile = load_profile(str(tmp_path / "host.toml"))
    runtime = load_runtime(str(tmp_path / "host-runtime.toml"))
    program = compile_forward(load_model("bert-base"), prompt=8)
    assert simulate(program, profile, runtime).latency_s > 0
