"""The cases that are predicted worst, each explained by what its prediction is made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from simulator.look import seconds_text, share_text
from simulator.predict import Predictor

if TYPE_CHECKING:
    from rich.table import Table

    from simulator.compare import Comparison, Predicted
    from simulator.run import Run

_SHOWN_CAUSES = 3


@dataclass(frozen=True)
class Explanation:
    """Why a case is predicted as it is.

    `causes_us`: the predicted time by cause, the largest first (see simulator.attribution);
    they add up to the prediction. `roofline_us`: the lower bound from peak and bandwidth, None for
    collectives, of which no run is simulated.
    """

    predicted: Predicted
    causes_us: dict[str, float]
    roofline_us: float | None

    @property
    def ratio(self) -> float:
        """Predicted over measured."""
        return self.predicted.predicted_us / self.predicted.case.measured_us

    @property
    def dominant(self) -> str:
        """The cause that most of the predicted time goes to."""
        return next(iter(self.causes_us))

    @property
    def factor(self) -> float:
        """What the dominant cause would have to be multiplied by for the prediction to be right.

        Below 0: not even without it would the prediction be short enough.
        """
        missing_us = self.predicted.case.measured_us - self.predicted.predicted_us
        return 1 + missing_us / self.causes_us[self.dominant]

    def sentences(self) -> list[str]:
        """What the time is made of, what would have to be true, and how far the roofline is."""
        total = sum(self.causes_us.values())
        shown = list(self.causes_us.items())[:_SHOWN_CAUSES]
        made = ", ".join(f"{_name(cause)} {share_text(us / total)}" for cause, us in shown)
        lines = [f"predicted: {made}"]
        name = _name(self.dominant)
        if self.factor > 0:
            lines.append(f"right if {name} took {self.factor:.2g} times as long")
        else:
            lines.append(f"too long even without any {name}")
        if self.roofline_us:
            far = self.predicted.case.measured_us / self.roofline_us
            lines.append(f"measured is {far:.3g} x the roofline")
            if far < 1:
                lines[-1] += ": the machine, the type or the measurement is not as described"
        return lines

    def as_dict(self) -> dict[str, Any]:
        case = self.predicted.case
        return {
            "case_id": case.case_id,
            "hardware": case.hardware,
            "what": case.what,
            "measured_us": case.measured_us,
            "predicted_us": self.predicted.predicted_us,
            "causes_us": self.causes_us,
            "dominant": self.dominant,
            "factor": self.factor,
            "roofline_us": self.roofline_us,
            "conditions": case.conditions,
        }


def worst_cases(
    comparison: Comparison, count: int, *, workloads: dict[str, dict[str, Any]] | None = None
) -> list[Explanation]:
    """The `count` tested cases whose prediction is off by the largest factor, either way.

    Each is simulated once more, to see what its time is made of. `workloads`: the table that the
    comparison was made with.
    """
    ordered = sorted(comparison.tested, key=_off, reverse=True)  # stable: ties as in the file
    explained = []
    for predicted in ordered[:count]:
        found: list[Run] = []  # a new predictor: one that knows an equal case simulates nothing
        predictor = Predictor(workloads or {}, mode=comparison.mode, observe=found.append)
        predictor.latency_s(predicted.case)
        explained.append(_explain(predicted, found))
    return explained


def _off(predicted: Predicted) -> float:
    ratio = predicted.predicted_us / predicted.case.measured_us
    return max(ratio, 1 / ratio) if ratio else float("inf")


def _explain(predicted: Predicted, runs: Sequence[Run]) -> Explanation:
    """Causes of all runs in proportion, scaled to the prediction (calls in a row overlap)."""
    case = predicted.case
    if not runs:
        return Explanation(predicted, {"link": predicted.predicted_us}, None)
    times = [1.0] * len(runs)
    if case.what == "generate":
        times[0] = case.sizes["generate"] - 1
    causes: dict[str, float] = {}
    roofline_us = total = 0.0
    for weight, run in zip(times, runs, strict=True):
        for cause, cycles in run.attribution.items():
            causes[cause] = causes.get(cause, 0.0) + weight * cycles / run.trace.clock_hz
        roofline_us += weight * run.bounds_s["roofline"] * 1e6
        total += weight * run.latency_s
    scale = predicted.predicted_us / total
    order = sorted(causes.items(), key=lambda item: -item[1])
    calls = round(max(1.0, total * 1e6 / predicted.predicted_us)) if not case.workload else 1
    return Explanation(
        predicted, {cause: s * scale for cause, s in order if s}, roofline_us / calls
    )


def worst_table(explanations: Sequence[Explanation]) -> Table:
    """One row a case: what it is, both times, why, and the conditions of its source."""
    from rich.table import Table

    result = Table(title="Predicted worst, by factor", show_lines=True)
    result.add_column("case", ratio=4)
    for heading in ("measured", "predicted", "factor"):
        result.add_column(heading, justify="right")
    result.add_column("why", ratio=6)
    for explanation in explanations:
        predicted = explanation.predicted
        case = predicted.case
        sizes = " ".join(f"{name}={size}" for name, size in case.sizes.items())
        dtypes = (
            case.dtype if case.dtype == case.weight_dtype else f"{case.dtype}/{case.weight_dtype}"
        )
        what = [
            f"{case.case_id}: {case.what} {case.workload}".rstrip(),
            case.hardware + (f" x {case.devices}" if case.devices > 1 else ""),
            f"{case.runtime}, {dtypes}",
            sizes,
        ]
        why = explanation.sentences()
        if case.conditions:
            why.append(f"conditions: {case.conditions}")
        result.add_row(
            "\n".join(what),
            seconds_text(case.measured_us * 1e-6),
            seconds_text(predicted.predicted_us * 1e-6),
            f"{explanation.ratio:.2f}",
            "\n".join(why),
        )
    return result


def _name(cause: str) -> str:
    return cause.replace("_", " ")
