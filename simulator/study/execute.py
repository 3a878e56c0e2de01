"""Executes a study: on this process, on all cores, or on a Dask cluster, with equal results."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from simulator.study.bench import FIGURES, Bench, Inputs, Keys
from simulator.study.store import Journal, check_results, write_results
from workloads.errors import InputError

if TYPE_CHECKING:
    from simulator.scenario import Scenario
    from simulator.study.space import Study

Progress = Callable[[int, int], None]
"""Called with points done and in all."""

Found = list[tuple[str, dict[str, Any]]]

_FEW = 200
"""Points that one process is done with before others have started."""

_CHUNK = 100
"""Points at most that a worker does before it reports: what a kill can lose of its work."""

MOST_POINTS = 1_000_000


@dataclass(frozen=True)
class Outcome:
    """What came of a study: points in all, computed now (the others were known), and failed.

    `reasons`: how many points failed for each reason, the most frequent first.
    """

    path: Path
    points: int
    computed: int
    failed: int
    reasons: tuple[tuple[str, int], ...]


def check_size(study: Study, *, yes: bool) -> None:
    """InputError for more than a million points unless `yes`."""
    if study.size > MOST_POINTS and not yes:
        raise InputError(
            f"the study has {study.size:,} points, more than {MOST_POINTS:,}; a random design "
            "samples such a space, or say --yes"
        )


def run_study(
    study: Study,
    out: str | Path,
    *,
    jobs: int | None = None,
    dask: str | None = None,
    progress: Progress | None = None,
    yes: bool = False,
) -> Outcome:
    """Run all points of `study` and write them to `out` (.parquet, .csv or .jsonl).

    What its journal knows already is not run again, so that an interrupted study goes on where it
    was, and a larger one runs what is new. `jobs`: processes, None: one a core. `dask`: the address
    of a scheduler. Rows are in the order of the points. Points that fail have an `error`;
    InputError only for the study as a whole.
    """
    check_size(study, yes=yes)
    target = check_results(out)
    points = study.points()
    scenarios = [study.scenario(point) for point in points]
    inputs = Inputs.of(study)
    names = Keys(inputs)
    keys = [names.of(scenario) for scenario in scenarios]
    with Journal(target) as journal:
        wanted = {k: s for k, s in zip(keys, scenarios, strict=True) if k not in journal.known}
        done = len(set(keys)) - len(wanted)
        total = done + len(wanted)
        report = progress or (lambda done, total: None)
        report(done, total)
        for found in executed(inputs, list(wanted.items()), jobs=jobs, dask=dask):
            journal.add(found)
            done += len(found)
            report(done, total)
        rows = [
            {"key": key, **point, **journal.known[key]}
            for key, point in zip(keys, points, strict=True)
        ]
    write_results(target, ("key", *study.varied, *FIGURES), rows)
    errors = [row["error"] for row in rows if row["error"] is not None]
    counted = {reason: errors.count(reason) for reason in dict.fromkeys(errors)}
    reasons = sorted(counted.items(), key=lambda item: -item[1])
    return Outcome(target, len(rows), len(wanted), len(errors), tuple(reasons))


def executed(
    inputs: Inputs,
    items: Sequence[tuple[str, Scenario]],
    *,
    jobs: int | None = None,
    dask: str | None = None,
) -> Iterator[Found]:
    """Figures by key, some at a time, in any order."""
    count = (os.cpu_count() or 1) if jobs is None else jobs
    if count < 1:
        raise InputError(f"--jobs {count}: expected a number of processes from 1 on")
    if not items:
        return
    size = max(1, min(_CHUNK, len(items) // (4 * count)))
    chunks = [list(items[i : i + size]) for i in range(0, len(items), size)]
    if dask is not None:
        yield from _on_dask(inputs, chunks, dask)
    elif count == 1 or len(items) <= _FEW:
        bench = Bench(inputs)
        yield from (_figures(bench, chunk) for chunk in chunks)
    else:
        yield from _on_cores(inputs, chunks, count)


def _figures(bench: Bench, chunk: Iterable[tuple[str, Scenario]]) -> Found:
    return [(key, bench.figures(scenario)) for key, scenario in chunk]


_BENCHES: dict[str, Bench] = {}
"""That of this worker's study; a worker lives on from one chunk to the next."""


def on_worker(token: str, inputs: Inputs, chunk: list[tuple[str, Scenario]]) -> Found:
    """One chunk in a worker process. `token` names the study, so that its bench is found again."""
    if token not in _BENCHES:
        _BENCHES.clear()
        _BENCHES[token] = Bench(inputs)
    return _figures(_BENCHES[token], chunk)


def _on_cores(inputs: Inputs, chunks: Sequence[Any], count: int) -> Iterator[Found]:
    from joblib import Parallel, delayed
    from joblib.externals.loky.process_executor import BrokenProcessPool

    token = os.urandom(8).hex()
    pool = Parallel(n_jobs=count, return_as="generator_unordered", pre_dispatch="4*n_jobs",
                    batch_size=1)  # fmt: skip
    try:
        yield from pool(delayed(on_worker)(token, inputs, chunk) for chunk in chunks)
    except BrokenProcessPool:
        raise InputError(
            "a process of the study was ended from outside (out of memory?); what was found is "
            "kept: run the same study again, perhaps with fewer --jobs"
        ) from None


def _on_dask(inputs: Inputs, chunks: Sequence[Any], address: str) -> Iterator[Found]:
    from importlib import import_module

    try:
        distributed: Any = import_module("distributed")
    except ImportError:
        raise InputError(
            "--dask needs distributed: pip install 'transformer-moments[study]'"
        ) from None
    token = os.urandom(8).hex()
    try:
        client = distributed.Client(address, timeout="10s")
    except (OSError, ValueError) as error:
        raise InputError(f"--dask {address}: no scheduler answers there: {error}") from None
    with client:
        [everywhere] = client.scatter([inputs], broadcast=True)
        futures = [client.submit(on_worker, token, everywhere, c, pure=False) for c in chunks]
        try:
            for _, found in distributed.as_completed(futures, with_results=True):
                yield found
        except distributed.KilledWorker as error:
            raise InputError(
                f"--dask {address}: the same work ended several workers ({error}); what was found "
                "is kept: run the same study again"
            ) from None
