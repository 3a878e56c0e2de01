"""Studies on a Dask cluster: real schedulers and workers in processes of their own."""

from __future__ import annotations

import os
import signal
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from simulator.study import run_study, study_from_table
from simulator.study.space import Study
from workloads.errors import InputError

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:.*:ResourceWarning")]


def study(samples: int = 300) -> Study:
    base = {"workload": "gpt2", "hardware": "nvidia-a100-sxm4-80gb", "context": 64}
    span = {"from": "0.5x", "to": "4x", "scale": "log"}
    table = {"samples": samples, "seed": 1, "batch": [1, 2], "dram.bandwidth": span}
    return study_from_table({"base": base, "random": table})


@pytest.fixture(scope="module")
def cluster() -> Any:
    distributed: Any = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
    ) as found:
        yield found


def test_a_cluster_finds_what_one_process_does(cluster: Any, tmp_path: Path) -> None:
    run_study(study(), tmp_path / "one.csv", jobs=1)
    run_study(study(), tmp_path / "dask.csv", dask=cluster.scheduler_address)
    assert (tmp_path / "one.csv").read_bytes() == (tmp_path / "dask.csv").read_bytes()


def test_a_killed_worker_loses_nothing(cluster: Any, tmp_path: Path) -> None:
    """One is killed in the midst of its work, which the others take over."""
    many = study(1000)
    run_study(many, tmp_path / "one.csv", jobs=1)
    killed: list[int] = []

    def kill_one(done: int, total: int) -> None:
        if done and not killed:
            busy = {w.address for w in cluster.scheduler.workers.values() if w.processing}
            worker = next(w for w in cluster.workers.values() if w.worker_address in busy)
            killed.append(worker.pid)
            os.kill(worker.pid, signal.SIGKILL)

    outcome = run_study(
        many, tmp_path / "dask.csv", dask=cluster.scheduler_address, progress=kill_one
    )
    assert killed
    assert outcome.computed == 1000
    assert (tmp_path / "one.csv").read_bytes() == (tmp_path / "dask.csv").read_bytes()


def test_no_scheduler_is_an_error(tmp_path: Path) -> None:
    import_module("distributed")
    with pytest.raises(InputError, match="no scheduler answers there"):
        run_study(study(), tmp_path / "r.csv", dask="tcp://127.0.0.1:1")
