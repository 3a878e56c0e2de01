"""Simulator: what a workload does on a machine, cycle by cycle, and the views of a finished run.

    from simulator import simulate
    run = simulate(program, profile, "pytorch-eager")

Names are imported when first used, so that importing the package costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from simulator.run import Run, simulate
    from simulator.runtime import Runtime, list_runtimes, load_runtime
    from simulator.scenario import Scenario
    from simulator.trace import Trace

_WHERE = {
    "run": ("Run", "simulate"),
    "runtime": ("Runtime", "list_runtimes", "load_runtime"),
    "scenario": ("Scenario",),
    "trace": ("Trace",),
}
_MODULE_OF = {name: module for module, names in _WHERE.items() for name in names}

__all__ = ["Run", "Runtime", "Scenario", "Trace", "list_runtimes", "load_runtime", "simulate"]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
