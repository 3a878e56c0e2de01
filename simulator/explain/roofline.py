"""Every moment of a run against the machine's roofs: arithmetic intensity and rate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from simulator.run import Run
    from workloads.moment import Kind, Moment, Stage


@dataclass(frozen=True)
class RooflinePoint:
    """The same moment of all layers and all passes of a phase.

    `flops`: two for a multiply-accumulate and one for every vector and special-function operation.
    `moved_bytes`: from all levels beyond L1, wherever they were found. `held_s`: from issue to
    retirement, of all together. `time_share`: of the time that moments held the machine.
    """

    name: str
    kind: Kind
    stage: Stage
    dtype: str
    count: int
    flops: float
    moved_bytes: int
    held_s: float
    time_share: float

    @property
    def intensity(self) -> float:
        """FLOPs a byte."""
        return self.flops / self.moved_bytes

    @property
    def flops_per_s(self) -> float:
        return self.flops / self.held_s


@dataclass(frozen=True)
class Roofs:
    """Ceilings: FLOP/s of the units by what they are called, bytes/s of each memory level."""

    flops_per_s: dict[str, float]
    bytes_per_s: dict[str, float]


@dataclass(frozen=True)
class Roofline:
    """`points`: those that compute, the longest first. `moving_share`: time of the others."""

    points: tuple[RooflinePoint, ...]
    roofs: Roofs
    moving_share: float


def roofline(run: Run) -> Roofline:
    """The points and roofs of a finished run; moments on links are left out."""
    found: dict[tuple[str, str, str], tuple[Moment, list[float]]] = {}
    trace, traffic = run.trace, run.job.traffic
    for instance in run.job.flat.instances:
        phase = run.program.passes[instance.pass_index].phase
        for index, moment in enumerate(instance.segment.moments, instance.first):
            if trace.on_link(index):
                continue
            key = (phase, instance.segment.name, moment.name)
            _, sums = found.setdefault(key, (moment, [0, 0, 0, 0, 0]))
            held = trace.retired[index] - trace.issued[index]
            counts = moment.counts
            sums[0] += 1
            sums[1] += 2 * counts.macs + counts.vector_ops + counts.special_ops
            sums[2] += sum(traffic[index].by_level)
            sums[3] += held
            sums[4] += held if trace.in_order else held * len(trace.cores[index])
    machine = sum(sums[4] for _, sums in found.values())
    points = [
        RooflinePoint(
            f"{phase}/{segment}/{name}", moment.kind, moment.stage, moment.dtype,
            int(count), flops, int(moved), trace.seconds(int(held)), weighed / machine,
        )
        for (phase, segment, name), (moment, (count, flops, moved, held, weighed)) in found.items()
    ]  # fmt: skip
    computing = [p for p in points if p.flops and p.moved_bytes]
    dtypes = {point.dtype for point in computing}
    return Roofline(
        tuple(sorted(computing, key=lambda point: -point.time_share)),
        _roofs(run, sorted(dtypes)),
        sum(point.time_share for point in points if not (point.flops and point.moved_bytes)),
    )


def _roofs(run: Run, dtypes: list[str]) -> Roofs:
    """Of the matrix unit and of the vector lanes, at the clock of the run."""
    profile = run.profile
    per_s = profile.cores.count * profile.clock.burst_hz
    flops: dict[str, float] = {}
    for unit in ("matrix", "vector"):
        widths = getattr(profile.width, unit)
        flops |= {
            f"{dtype} {unit}": 2 * widths[dtype] * per_s for dtype in dtypes if dtype in widths
        }
    levels = {
        "DRAM" if name == "dram" else name.upper(): float(level.bandwidth_bytes_per_s)
        for name, level in profile.memory.items()
        if name != "l1"
    }
    return Roofs(flops, levels)
