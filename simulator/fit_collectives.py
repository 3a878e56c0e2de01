"""Fits the efficiencies of collectives to measured cases; reproduces hardware_profiles/collectives.

Every machine, link and pattern has its own few parameters, fitted on at most 24 cases of each kind
of collective, drawn with a fixed seed and spread over ranks, nodes and sizes.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from math import exp
from typing import Any

from hardware_profiles import load_profile
from hardware_profiles.collectives import CollectiveEfficiency, Pattern
from hardware_profiles.links import Link
from simulator.cases import Case
from simulator.demand.collective import used_link, ways
from simulator.fabrics import MeasuredCollective, measured_collective

SEED = 20
MOST_PER_KIND = 24

_STARTS: dict[str, tuple[float, float, float]] = {
    # (start, low, high); times in us, burst in bytes
    "launch_s": (7, 1, 300),
    "setup_s": (8, 0.1, 600),
    "step_s": (0.7, 0.05, 300),
    "bulk_step_s": (1, 0.05, 300),
    "network_step_s": (20, 0.5, 500),
    "bulk_network_step_s": (30, 0.5, 600),
    "share": (0.75, 0.02, 1),
    "low_latency_share": (0.2, 0.005, 1),
    "burst_bytes": (3e6, 1e5, 2e7),
}
_EARLY = "deepbench"
_PRIOR = 0.02
"""How strongly the logarithm of a parameter is drawn to its start: decides what no case shows."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A case with what its prediction needs."""

    case: Case
    measured: MeasuredCollective
    link_name: str
    link: Link
    dram_bytes_per_s: float

    @property
    def pattern(self) -> Pattern:
        return "message" if self.case.what == "send_recv" else "exchange"

    @property
    def transport(self) -> str:
        """Which defaults apply: the network's transport, or the topology without a host."""
        direct = self.link.topology in ("host", "staged")
        return self.link.transport or (self.link.topology if direct else "switch")

    def seconds(self, kernel: CollectiveEfficiency) -> float:
        """As collective_demand, before rounding to cycles."""
        options = ways(self.measured.shape, self.link, kernel, self.dram_bytes_per_s)
        return min(way.seconds for way in options)


def samples(cases: Iterable[Case]) -> list[Sample]:
    """Samples of collective cases, in their order."""
    found = []
    for case in cases:
        profile = load_profile(case.hardware)
        measured = measured_collective(case, profile)
        name, link = used_link(measured.shape, profile, measured.network, measured.inside)
        dram = profile.memory["dram"].bandwidth_bytes_per_s
        found.append(Sample(case, measured, name, link, dram))
    return found


def training(group: Sequence[Sample]) -> list[Sample]:
    """At most 24 of each kind, and at most half, in equal runs of sizes one at random each."""
    chosen: list[Sample] = []
    draw = random.Random(SEED)  # noqa: S311 - not secret, but the same every time

    def kind(sample: Sample) -> str:
        return sample.case.what

    def setting(sample: Sample) -> tuple[str, int, int]:
        return (sample.case.source, sample.case.devices, sample.measured.shape.nodes)

    for _, same_kind in groupby(sorted(group, key=kind), key=kind):
        of_kind = list(same_kind)
        most = min(MOST_PER_KIND, len(of_kind) // 2)
        settings = [list(s) for _, s in groupby(sorted(of_kind, key=setting), key=setting)]
        for i, same in enumerate(settings):
            same.sort(key=lambda s: (s.measured.shape.bytes, s.case.case_id))
            count = min(len(same), most // len(settings) + (i < most % len(settings)))
            for j in range(count):
                run = same[j * len(same) // count : (j + 1) * len(same) // count]
                chosen.append(draw.choice(run))
    return chosen


def parameters(group: Sequence[Sample]) -> list[str]:
    """The parameters that the cases of a link and pattern can show."""
    names = ["launch_s", "share", "low_latency_share"]
    if group[0].pattern == "message" and group[0].link.transport == "tcp":
        return [*names, "burst_bytes"]
    names.append("setup_s")
    if group[0].pattern == "message":
        return names
    if any(s.measured.shape.ranks > s.measured.shape.nodes for s in group):
        names += ["step_s", "bulk_step_s"]
    if any(s.measured.shape.nodes > 1 for s in group):
        names += ["network_step_s", "bulk_network_step_s"]
    return names


def fit(group: Sequence[Sample], source: str) -> CollectiveEfficiency:
    """Least relative error on `group`, robust against outliers; values to three digits."""
    import numpy as np
    from scipy.optimize import least_squares

    names = parameters(group)
    bounds = np.log([_STARTS[name] for name in names])
    times = [s.case.measured_us * 1e-6 for s in group]

    def residuals(x: Any) -> Any:
        kernel = _kernel(names, [exp(v) for v in x], source)
        errors = [s.seconds(kernel) / t - 1 for s, t in zip(group, times, strict=True)]
        return np.concatenate([errors, _PRIOR * (x - bounds[:, 0])])

    def attempt(start: int) -> Any:
        jitter = np.random.default_rng(start).normal(0, 0.6 if start else 0, len(names))
        x0 = np.clip(bounds[:, 0] + jitter, bounds[:, 1] + 1e-6, bounds[:, 2] - 1e-6)
        return least_squares(
            residuals, x0, loss="soft_l1", f_scale=0.03, bounds=(bounds[:, 1], bounds[:, 2]),
            max_nfev=400, diff_step=1e-5,
        )  # fmt: skip

    best = min((attempt(start) for start in range(4)), key=lambda found: float(found.cost))
    return _rounded(_kernel(names, [exp(v) for v in best.x], source), names)


def _rounded(kernel: CollectiveEfficiency, names: Sequence[str]) -> CollectiveEfficiency:
    """With three digits of each parameter."""
    digits: dict[str, Any] = {name: float(f"{getattr(kernel, name):.3g}") for name in names}
    if "burst_bytes" in digits:
        digits["burst_bytes"] = int(digits["burst_bytes"])
    return CollectiveEfficiency.model_construct(**digits, source=kernel.source)


def _kernel(names: Sequence[str], values: Sequence[float], source: str) -> CollectiveEfficiency:
    given: dict[str, Any] = {}
    for name, value in zip(names, values, strict=True):
        given[name] = value * 1e-6 if name.endswith("_s") else value
    if "burst_bytes" in given:
        given["burst_bytes"] = int(given["burst_bytes"])
        given["low_latency_share"] = max(given["low_latency_share"], given["share"])
    else:
        given["low_latency_share"] = min(given["low_latency_share"], given["share"])
    return CollectiveEfficiency.model_construct(**given, source=source)


def fit_machines(cases: Iterable[Case]) -> dict[tuple[str, str, Pattern], CollectiveEfficiency]:
    """What is shipped for each machine, link and pattern that `cases` have."""
    fitted = {}
    for group_key, group in groupby(sorted(samples(cases), key=_own), key=_own):
        chosen = training(list(group))
        sources = ", ".join(sorted({s.case.source for s in chosen}))
        text = f"fitted on {len(chosen)} cases of this machine and link ({sources}), seed {SEED}"
        fitted[group_key] = fit(chosen, text)
    return fitted


def fitted_ids(cases: Iterable[Case]) -> frozenset[str]:
    """The cases of collectives that `fit_machines` fits to."""
    groups = groupby(sorted(samples(cases), key=_own), key=_own)
    return frozenset(s.case.case_id for _, group in groups for s in training(list(group)))


def _own(sample: Sample) -> tuple[str, str, Pattern]:
    return (sample.case.hardware, sample.link_name, sample.pattern)


def fit_defaults(
    found: Sequence[Sample], without: Sequence[str] = ()
) -> dict[tuple[str, Pattern], CollectiveEfficiency]:
    """Defaults by transport or topology and pattern, from all machines but those in `without`.

    Between nodes, the libraries of 2016 to 2018 (first NCCL, MPI) count only where no later one was
    measured: they are several times as slow to start.
    """

    def key(sample: Sample) -> tuple[str, Pattern]:
        return (sample.transport, sample.pattern)

    def hardware(sample: Sample) -> str:
        return sample.case.hardware

    fitted = {}
    kept = [s for s in found if s.case.hardware not in without]
    for group_key, group in groupby(sorted(kept, key=key), key=key):
        of_all = list(group)
        later = [s for s in of_all if not (s.link.transport and s.case.source.startswith(_EARLY))]
        machines = groupby(sorted(later or of_all, key=hardware), key=hardware)
        chosen = [s for _, of_one in machines for s in training(list(of_one))]
        names = sorted({s.case.hardware for s in chosen})
        text = f"fitted on {len(chosen)} cases of {', '.join(names)}, seed {SEED}"
        fitted[group_key] = fit(chosen, text)
    return fitted


COPIED = ("nvidia-a100-pcie-80gb", "nvidia-h100-pcie-80gb")
"""Machines whose published send_recv times are the same file: left out together."""


def leave_one_out(cases: Iterable[Case]) -> list[tuple[Sample, float]]:
    """Each sample with its error under defaults that were fitted without its machine.

    A transport and pattern of which no other machine has a case is left out of the result.
    """
    found = samples(cases)
    errors = []
    for machine in sorted({s.case.hardware for s in found}):
        own = [s for s in found if s.case.hardware == machine]
        needed = {(s.transport, s.pattern) for s in own}
        alike = [s for s in found if (s.transport, s.pattern) in needed]
        defaults = fit_defaults(alike, COPIED if machine in COPIED else (machine,))
        for sample in own:
            kernel = defaults.get((sample.transport, sample.pattern))
            if kernel is not None:
                errors.append((sample, _error(sample, kernel)))
    return errors


def held_out(
    cases: Iterable[Case], fitted: Mapping[tuple[str, str, Pattern], CollectiveEfficiency]
) -> list[tuple[Sample, float]]:
    """Each sample that `fit_machines` did not see, with its error under `fitted`."""
    found = samples(cases)
    errors = []
    for (machine, link, pattern), kernel in fitted.items():
        group = [
            s
            for s in found
            if (s.case.hardware, s.link_name, s.pattern) == (machine, link, pattern)
        ]
        seen = {s.case.case_id for s in training(group)}
        errors += [(s, _error(s, kernel)) for s in group if s.case.case_id not in seen]
    return errors


def _error(sample: Sample, kernel: CollectiveEfficiency) -> float:
    return sample.seconds(kernel) / (sample.case.measured_us * 1e-6) - 1
