"""The command that fits spreads: stacks and excesses by hand, and a file from a few cases."""

from __future__ import annotations

import gzip
import tomllib
from pathlib import Path

import pytest

from benchmarks.residuals import (
    Residual,
    excesses,
    host_spread,
    signed,
    spreads_toml,
    stacks_of,
    widening,
)
from hardware_profiles import load_profile
from simulator.cases import read_cases
from simulator.footing import Footing
from tests.test_cases import FORWARD_HEADER, MATMUL, OPERATOR_HEADER, PREFILL, written
from tests.test_spreads import stack

T4 = load_profile("nvidia-t4")
ALL_REDUCE = (
    "c{},nvidia-h100-sxm5-80gb,8,kernel,all_reduce,fp16,,,,,,,,,,,,{},{},1.0,1,somebody,nodes=1\n"
)


def pass_residual(tmp_path: Path, error: float, host: float = 0.0) -> Residual:
    (case,) = read_cases(written(tmp_path, FORWARD_HEADER + PREFILL))
    return Residual(case, T4, "tensorrt", error, Footing({"matmul": 1 - host}, host))


def test_stacks_by_name_machine_and_software(tmp_path: Path) -> None:
    found = [pass_residual(tmp_path, error) for error in (-0.4, 0.2)]
    (one,) = stacks_of(found, lambda one: one.profile.kind)
    assert (one.name, one.machine, one.generation, one.software) == (
        "gpu", "nvidia-t4", "TU104", "tensorrt",
    )  # fmt: skip
    assert (one.cases, one.devices, one.dtypes) == (2, 1, ("fp16",))
    assert (one.shortest_us, one.longest_us) == (3500, 3500)
    # |errors| 0.2 and 0.4, from one to the other in a straight line: 5 % and 95 % of the way
    assert one.points[0] == pytest.approx(0.21)
    assert one.points[-1] == pytest.approx(0.39)


def test_an_excess_is_beyond_what_kernels_of_other_machines_explain(tmp_path: Path) -> None:
    kernels = [
        stack("matmul", "nvidia-t4", 9.0, generation="TU104"),
        stack("matmul", "nvidia-l40s", 0.3, generation="AD102"),
    ]
    (found,) = excesses([pass_residual(tmp_path, -0.5)], kernels, 1.0)
    assert found == pytest.approx(0.25 - 0.09)


def test_the_host_has_the_spread_of_passes_that_wait_for_it(tmp_path: Path) -> None:
    passes = [pass_residual(tmp_path, 0.7, host=0.9), pass_residual(tmp_path, 5.0, host=0.1)]
    assert host_spread(passes) == pytest.approx(0.7)


def test_stacks_that_count_once_are_wider_than_cases_that_do() -> None:
    alike = [stack("matmul", "a", 0.1, cases=1000), stack("matmul", "b", 0.4, cases=10)]
    assert widening(alike) == pytest.approx(4.0)  # 80 % of two stacks is the second
    assert widening(alike[:1]) == 1.0


def test_signed_points_by_machine(tmp_path: Path) -> None:
    found = signed([pass_residual(tmp_path, error) for error in (-0.1, 0.0, 0.1)])
    assert found["nvidia-t4"]["cases"] == 3
    assert found["nvidia-t4"]["log_residuals"] == pytest.approx([-0.08, 0.0, 0.08])


def test_a_file_from_a_few_cases(tmp_path: Path) -> None:
    links = "".join(ALL_REDUCE.format(i, 2**i * 1024, 20 + i) for i in range(1, 7))
    eager = PREFILL.replace("f1", "f2").replace("tensorrt", "pytorch-eager")
    eager = eager.replace(",2,128,", ",1,8,").replace("nvidia-t4", "nvidia-h100-sxm5-80gb")
    other = MATMUL.replace("a1,", "a2,").replace("a100-sxm4", "h100-sxm5")
    texts = {
        "operators": OPERATOR_HEADER + MATMUL + other + links,
        "forward": FORWARD_HEADER + PREFILL + eager,
    }
    for name, text in texts.items():
        (tmp_path / f"{name}.csv.gz").write_bytes(gzip.compress(text.encode()))
    table = tomllib.loads(spreads_toml(tmp_path))
    assert set(table) == {"model", "calibrated", "links", "kernels", "passes"}
    assert set(table["model"]) == {"host", "widening"}
    assert set(table["kernels"]) == {
        "collective nvidia-h100-sxm5-80gb somebody",
        "matmul nvidia-a100-sxm4-80gb somebody",
        "matmul nvidia-h100-sxm5-80gb somebody",
    }
    assert table["links"]["nvidia-h100-sxm5-80gb"]["cases"] == 3  # half of six were fitted
    # TensorRT on T4 has scales of its own, the products have no calibration of this library
    assert set(table["calibrated"]) == {"collective", "gpu"}
    assert table["passes"]["gpu nvidia-t4 tensorrt"]["cases"] == 1
