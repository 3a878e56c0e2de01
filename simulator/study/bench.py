"""Runs the points of a study: what many of them have in common is read and computed once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hardware_profiles.errors import ProfileError
from simulator.study.space import FIELDS
from workloads.errors import InputError
from workloads.speculative import LOOKUP

if TYPE_CHECKING:
    from hardware_profiles.schema import Profile
    from simulator.prepare import Prepared
    from simulator.run import Run
    from simulator.runtime import Runtime
    from simulator.scenario import Scenario
    from simulator.study.space import Study
    from workloads.model import Model
    from workloads.moment import Program

FIGURES = (
    "latency_s", "ttft_s", "tpot_s", "tokens_per_s", "joules", "joules_per_token", "average_watts",
    "price_per_hour", "dollars_per_million_tokens", "die_area_mm2", "memory_bytes", "mfu",
    "memory_bandwidth", "bound", "bound_share", "devices", "error",
)  # fmt: skip
"""Columns of a result besides the keys that vary; None where it is not known or not possible.

`bound`: the cause of most of the latency, `bound_share` of it. Price and area: of all devices.
`dollars_per_million_tokens`: of tokens generated, or read where none is generated.
"""

_KEPT = 256


@dataclass(frozen=True)
class Inputs:
    """All files that the points of a study need, read: what goes to every worker.

    `code`: that of the package that read them, see code_digest.
    """

    profiles: Mapping[str, Profile]
    workloads: Mapping[str, Model | Program]
    runtimes: Mapping[str, Runtime]
    code: str

    @classmethod
    def of(cls, study: Study) -> Inputs:
        """Read for a study that was checked; the host is measured here, not on a worker."""
        from hardware_profiles import load_profile
        from simulator.runtime import default_runtime, load_runtime
        from workloads import load_workload

        profiles = {str(name): load_profile(str(name)) for name in study.values("hardware")}
        wanted = {str(n) for key in ("workload", "draft") for n in study.values(key)} - {LOOKUP}
        workloads = {name: load_workload(name) for name in sorted(wanted)}
        names = {str(name) for name in study.values("runtime")}
        names |= {default_runtime(profile.kind) for profile in profiles.values()}
        runtimes = {name: load_runtime(name) for name in sorted(names)}
        return cls(profiles, workloads, runtimes, code_digest())


class Bench:
    """Runs scenarios one after another; what they share is kept from one to the next."""

    def __init__(self, inputs: Inputs) -> None:
        from simulator.shared_work import Reuse

        if inputs.code != code_digest():
            raise InputError(
                "a worker has another version of this package than the study; install the same"
            )
        self._inputs = inputs
        self._reuse = Reuse()
        self._prepared: dict[tuple[Any, ...], Prepared] = {}

    def prepared(self, scenario: Scenario) -> Prepared:
        """As Scenario.prepared, the program compiled once for all variants of a machine."""
        from hardware_profiles.variants import with_changes, with_cores
        from simulator.prepare import limit_watts_of
        from simulator.requests import check_options
        from simulator.runtime_changes import is_runtime_change

        check_options(scenario)
        declared = self._inputs.profiles[scenario.hardware]
        of_machine = [text for text in scenario.changes if not is_runtime_change(text)]
        of_runtime = tuple(text for text in scenario.changes if is_runtime_change(text))
        profile = with_changes(declared, of_machine)
        if scenario.threads is not None:
            profile = with_cores(profile, scenario.threads)
        plain = replace(scenario, changes=of_runtime, power_cap=None)
        width = profile.width
        has = (tuple(width.matrix), tuple(width.vector), width.sparse_2_4)
        key = (plain, profile.kind, has)
        found = self._prepared.get(key)
        if found is None:
            if len(self._prepared) >= _KEPT:
                self._prepared.clear()
            found = self._prepared[key] = self._compiled(plain, profile)
        limit = limit_watts_of(scenario, profile)
        return replace(found, scenario=scenario, profile=profile, limit_watts=limit)

    def _compiled(self, scenario: Scenario, profile: Profile) -> Prepared:
        from simulator.prepare import filled, imported
        from workloads import Model

        found = self._inputs.workloads[scenario.workload]
        if isinstance(found, Model):
            return filled(scenario, scenario.stretched(found), profile, ())
        return imported(scenario, found, profile, ())

    def run(self, scenario: Scenario) -> Run:
        """As Scenario.run."""
        return self.prepared(scenario).run(self._reuse)

    def figures(self, scenario: Scenario) -> dict[str, Any]:
        """The figures of a run, or None for each and the reason as `error`.

        A fault of this package's own is named as one; it is an error of its point too, so that the
        others are not lost.
        """
        try:
            return figures_of(self.run(scenario), scenario)
        except (InputError, ProfileError) as error:
            return {**dict.fromkeys(FIGURES), "error": " ".join(str(error).split())}
        except Exception as error:
            reason = " ".join(f"{FAULT}{type(error).__name__}: {error}".split())
            return {**dict.fromkeys(FIGURES), "error": reason}


FAULT = "fault: "
"""Before the reason of a point that failed by no fault of its own; it is tried again next time."""


def figures_of(run: Run, scenario: Scenario) -> dict[str, Any]:
    """A row of FIGURES for a run that came to its end."""
    devices = run.program.layout.devices
    power, machine = run.power, run.declared or run.profile
    price = machine.price.per_hour if machine.price else None
    area = machine.process.die_area_mm2 if machine.process else None
    bound = max(run.attribution, key=lambda cause: run.attribution[cause], default=None)
    use = run.utilization
    values = (
        run.latency_s,
        run.ttft_s,
        run.tpot_s,
        run.tokens_per_s,
        power and power.total_joules,
        power and power.total_joules / run.token_count,
        power and power.average_watts,
        price and price * devices,
        price and 1e6 * price * devices / 3600 / _tokens_per_s(run, scenario),
        area and area * devices,
        run.memory_bytes["total"],
        use["mfu"],
        use["memory_bandwidth"],
        bound,
        bound and run.attribution[bound] / run.cycles,
        devices,
        None,
    )
    return dict(zip(FIGURES, values, strict=True))


def _tokens_per_s(run: Run, scenario: Scenario) -> float:
    """Tokens generated a second, of all sequences; read, where none is generated."""
    if run.tokens_per_s is not None:
        return run.tokens_per_s
    batch = run.program.batch if scenario.batch == 1 else scenario.batch
    return run.program.passes[0].tokens * batch / run.latency_s


class Keys:
    """Names results by content: the scenario, its files as read, and this package's code."""

    def __init__(self, inputs: Inputs) -> None:
        self._inputs = inputs
        self._digests: dict[tuple[str, str], str] = {}

    def of(self, scenario: Scenario) -> str:
        """32 hexadecimal digits; equal for equal runs, whatever file asked for them."""
        from simulator.runtime import default_runtime

        profile = self._inputs.profiles[scenario.hardware]
        runtime = scenario.runtime or default_runtime(profile.kind)
        said = {name: getattr(scenario, name) for name in FIELDS}
        said |= {
            "workload": self._digest("workloads", scenario.workload),
            "hardware": self._digest("profiles", scenario.hardware),
            "runtime": self._digest("runtimes", runtime),
            "changes": scenario.changes,
            "draft": self._digest("workloads", scenario.draft),
            "code": self._inputs.code,
        }
        return _hash(json.dumps(said, sort_keys=True))

    def _digest(self, kind: str, name: str | None) -> str | None:
        if name is None or name == LOOKUP:
            return name
        found = self._digests.get((kind, name))
        if found is None:
            content = getattr(self._inputs, kind)[name]
            dump = getattr(content, "model_dump_json", None)
            found = self._digests[kind, name] = _hash(dump() if dump else repr(content))
        return found


@cache
def code_digest() -> str:
    """This package's version and the content of its sources, as a short text."""
    from importlib.metadata import version

    import hardware_profiles
    import simulator
    import workloads

    found = hashlib.sha256(version("transformer-moments").encode())
    for path in _sources((workloads, hardware_profiles, simulator)):
        found.update(path.name.encode())
        found.update(path.read_bytes())
    return found.hexdigest()[:32]


def _sources(packages: Iterable[Any]) -> list[Path]:
    """Files that a result may depend on: what only prints or draws is not among them."""
    found = []
    for package in packages:
        root = Path(package.__file__).parent
        paths = (p for p in root.rglob("*") if p.suffix in (".py", ".toml"))
        found += [p for p in paths if not {"cli", "study"} & set(p.relative_to(root).parts[:1])]
        found += [root / "study" / "bench.py"] if (root / "study").is_dir() else []
    return sorted(found)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]
