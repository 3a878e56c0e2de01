"""What to expect of any GPU, fitted to all measured ones together, and again without each die."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hardware_profiles.expected import Expected, die_of
from simulator.calibrate.fit import fitted
from simulator.calibrate.observe import Observation, Stack, by_kind, stacked
from simulator.calibrate.parameters import Free

if TYPE_CHECKING:
    import numpy as np

    from hardware_profiles.schema import KernelName, Profile

CASES_A_STACK = 200
"""Cases drawn of each machine, library and type: each counts about as much as another."""
NOT_LEARNT = ("GM200", "GP102", "Vega 10")
"""Dies before Volta, timed with the libraries of 2016 and 2017: predicted, but nothing is learnt
from them, since what they teach of products on the vector unit misleads about later ones."""
_EXPECTATION = 0.01
_SEED = 20

_TIME = Free(0.7, 1e-3, 300)
_SHARE = Free(0.4, 0.01, 1.0)
_BANDWIDTH = Free(0.2, 0.2, 1.0)
_CACHE = Free(0.6, 0.02, 3.0)
_EXPONENT = Free(0.4, 1.0, 8.0)

_PRODUCT: Mapping[str, tuple[float, Free]] = {
    "latency": (7.5, _TIME),
    "arithmetic": (0.85, Free(0.2, 0.3, 1.0)),
    "sustained": (0.92, Free(0.15, 0.3, 1.0)),
    "bandwidth": (0.82, _BANDWIDTH),
    "cache": (0.35, _CACHE),
    "operands": (1.2, Free(0.5, 0.1, 5.0)),
    "overlap_exponent": (2.5, _EXPONENT),
    "wave": (0.4, _SHARE),
    "start": (0.8, _TIME),
    "ramp": (1.0, _TIME),
    "write": (0.4, Free(0.8, 0.01, 1.5)),
    "tile": (0.15, Free(1.0, 0.005, 1.5)),
}

EXPECTED: Mapping[KernelName, Mapping[str, tuple[float, Free]]] = {
    "matmul": {
        **_PRODUCT,
        "reduction": (1.0, _TIME),
        "depth": (0.4, _TIME),
        "throttle": (0.3, Free(0.7, 0.01, 1.5)),
    },
    "matmul_vector": {
        "arithmetic": (0.9, Free(0.2, 0.3, 1.0)),
        "sustained": (0.9, Free(0.15, 0.3, 1.0)),
        "overlap_exponent": (2.0, _EXPONENT),
        "wave": (0.7, _SHARE),
        "tile": (0.15, Free(0.7, 0.005, 1.5)),
        "batched": (0.3, Free(0.7, 0.005, 1.5)),
        "throttle": (0.3, Free(0.7, 0.01, 1.5)),
    },
    "attention": {
        "latency": (28.0, _TIME),
        "arithmetic": (0.75, Free(0.3, 0.3, 1.0)),
        "bandwidth": (0.75, _BANDWIDTH),
        "cache": (0.35, _CACHE),
        "unit": (3.5, Free(0.2, 1e-3, 300)),
        "overlap_exponent": (2.0, _EXPONENT),
        "wave": (0.5, _SHARE),
        "serial": (1.0, Free(0.15, 0.01, 1.0)),
        "exposed": (0.35, _SHARE),
        "depth": (5.0, Free(0.4, 1e-3, 300)),
        "reduction": (1.0, _TIME),
        "write": (1.2, Free(0.8, 0.01, 10.0)),
    },
    "decode_attention": {
        "latency": (22.0, _TIME),
        "arithmetic": (0.5, Free(0.3, 0.1, 1.0)),
        "bandwidth": (0.85, _BANDWIDTH),
        "cache": (0.4, _CACHE),
        "unit": (6.0, _TIME),
        "group": (1.0, _TIME),
        "single": (0.5, _SHARE),
        "overlap_exponent": (2.3, _EXPONENT),
        "wave": (0.4, _SHARE),
        "operands": (0.8, Free(0.5, 0.05, 5.0)),
        "reduction": (0.2, _TIME),
        "ramp": (15.0, _TIME),
    },
    "row": {
        "bandwidth": (0.85, _BANDWIDTH),
        "cache": (0.5, _CACHE),
        "vector": (0.3, _SHARE),
        "overlap_exponent": (2.5, _EXPONENT),
        "held": (0.7, Free(0.7, 0.02, 10.0)),
    },
    "element": {"bandwidth": (0.85, _BANDWIDTH), "cache": (0.5, _CACHE)},
}
"""Start and freedom of what is fitted, by kernel class; see hardware_profiles.expected."""

FIXED: Mapping[KernelName, Mapping[str, float]] = {
    "matmul": {"vector": 0.5},
    "matmul_vector": {"vector": 0.5},
    "attention": {"special": 0.57},
    "decode_attention": {"special": 0.6},
    "row": {"arithmetic": 1.0, "special": 0.57},
    "element": {"arithmetic": 1.0, "vector": 0.3, "special": 0.5},
}
"""What the cases do not tell, set by hand. Softmax: the special unit takes 8 cycles for the
exponentials of 128 scores and the vector unit about 6 for the other instructions: 8 of 14."""

SHARED: Mapping[KernelName, tuple[str, ...]] = {
    "matmul_vector": (
        "latency", "bandwidth", "cache", "operands", "ramp", "start", "write", "reduction",
    ),
    "row": ("latency", "ramp"),
    "element": ("latency", "ramp"),
}  # fmt: skip
"""What a class has in common with products on the matrix unit: launch, memory and caches are the
same hardware, and time on the host hides them in the measurements of these classes."""


def all_expected(seen: Sequence[Observation], *, without: str = "") -> dict[str, dict[str, float]]:
    """Parameters of Expected by kernel class, fitted to the observations of all other dies."""
    found: dict[str, dict[str, float]] = {}
    for name in EXPECTED:
        shared = {key: found["matmul"][key] for key in SHARED.get(name, ())}
        found[name] = expected_of(seen, name, {**FIXED[name], **shared}, without=without)
    return found


def expected_of(
    seen: Sequence[Observation], name: KernelName, fixed: Mapping[str, float], *, without: str = ""
) -> dict[str, float]:
    """Parameters of Expected for one kernel class, those of `fixed` among them."""
    import numpy as np

    random = np.random.default_rng(_SEED)
    stacks: list[tuple[Profile, float, Stack]] = []
    for group in _groups(seen, name):
        die = die_of(group[0].profile).die
        if die in NOT_LEARNT or (without and die == without):
            continue
        chosen = random.permutation(len(group))[:CASES_A_STACK]
        drawn = [group[i] for i in sorted(chosen.tolist())]
        stacks.append((drawn[0].profile, drawn[0].bits / 8, stacked(drawn)))

    def residuals(values: Mapping[str, float]) -> np.ndarray:
        numbers: dict[str, Any] = {**fixed, **values}
        expected = Expected.model_construct(source="fit", **numbers)
        return np.concatenate(
            [
                np.log(s.predicted_s(expected.on(profile, name, size)) / s.measured_s)
                for profile, size, s in stacks
            ]
        )

    free = {key: entry for key, (_, entry) in EXPECTED[name].items()}
    start = {key: value for key, (value, _) in EXPECTED[name].items()}
    found = fitted(free, start, residuals, expectation=_EXPECTATION)
    return {**fixed, **{key: float(f"{v:.3g}") for key, v in found.values.items()}}


def _groups(seen: Sequence[Observation], name: KernelName) -> list[list[Observation]]:
    """The observations of a kernel class by machine, bits and library."""
    machines: dict[str, list[Observation]] = {}
    for one in seen:
        if one.kernel == name:
            machines.setdefault(one.profile.name, []).append(one)
    return [group for own in machines.values() for group in by_kind(own).values()]
