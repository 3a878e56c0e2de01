"""Results of llama.cpp's llama-bench (`-o json`): whole tests, each held against a run of its own.

The fields are those that its README shows (ggml-org/llama.cpp, tools/llama-bench/README.md, commit
08d0baac): `n_prompt` tokens read, then `n_gen` generated, after `n_depth` cached ones;
`samples_ns`, of which the median is taken, or `avg_ns`. Neither tokenization nor sampling is in
the times.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from statistics import median
from typing import TYPE_CHECKING, Any

from simulator.trace_diff.measured import Measured, Operator
from simulator.trace_diff.reading import is_number
from workloads.errors import InputError, shown

if TYPE_CHECKING:
    from simulator.scenario import Scenario

_MOST = 10_000
_MOST_TOKENS = 1 << 24


@dataclass(frozen=True)
class Test:
    """One row: so many tokens read, generated and cached before; the time of all of it."""

    prompt: int
    generate: int
    depth: int
    measured_ns: int

    @property
    def name(self) -> str:
        """As llama-bench prints it: pp512, tg128, pp512+tg128, tg128 @ d512."""
        parts = [f"pp{self.prompt}"] * (self.prompt > 0) + [f"tg{self.generate}"] * (
            self.generate > 0
        )
        return "+".join(parts) + (f" @ d{self.depth}" if self.depth else "")

    @property
    def kind(self) -> str:
        return "generation" if self.generate and not self.prompt else "prompt"

    def scenario(self, base: Scenario) -> Scenario | None:
        """The run that it is; None for what no run is: a prompt that follows cached tokens."""
        if self.depth and self.prompt:
            return None
        if not self.prompt:
            return replace(base, prompt=None, context=max(1, self.depth), generate=self.generate)
        return replace(base, prompt=self.prompt, context=None, generate=self.generate)


def read_llama_bench(path: str, rows: Iterable[dict[str, Any]]) -> tuple[list[Test], Measured]:
    """The tests, and the same on one time line, one after another.

    InputError: a row lacks a length or a time, or has an impossible one; no rows.
    """
    tests = []
    for count, row in enumerate(rows, start=1):
        if count > _MOST:
            raise InputError(f"{path}: more than {_MOST:,} tests")
        where = f"{path}: test {count}"
        prompt, generate, depth = (_length(where, row, k) for k in ("n_prompt", "n_gen", "n_depth"))
        if not prompt and not generate:
            raise InputError(f"{where}: n_prompt and n_gen are both 0")
        tests.append(Test(prompt, generate, depth, _time_ns(where, row)))
    if not tests:
        raise InputError(f"{path}: an empty list; expected the output of llama-bench -o json")
    found, at = [], 0
    for test in tests:
        found.append(Operator(test.name, (test.kind,), None, at, test.measured_ns))
        at += test.measured_ns
    return tests, Measured("llama-bench", tuple(found), 0, at)


def _length(where: str, row: dict[str, Any], key: str) -> int:
    value = row.get(key, 0 if key == "n_depth" else None)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _MOST_TOKENS:
        raise InputError(f"{where}: {key} = {shown(value)}: expected a number of tokens")
    return value


def _time_ns(where: str, row: dict[str, Any]) -> int:
    samples = row.get("samples_ns")
    key = "samples_ns" if samples else "avg_ns"
    values: list[float] = samples if isinstance(samples, list) and samples else [row.get("avg_ns")]  # type: ignore[list-item]
    for value in values:
        if not is_number(value) or not 0 < value < 1e15:
            raise InputError(f"{where}: {key} = {shown(value)}: expected nanoseconds above 0")
    return round(median(values))
