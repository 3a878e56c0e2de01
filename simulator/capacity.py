"""What a run used of its machine, and how fast the machine could have been at most."""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulator.bounds import busiest_resource_cycles, critical_path_cycles, resource_cycles_of
from simulator.critical_path import folded_path_cycles

if TYPE_CHECKING:
    from simulator.run import Run


def bounds_s(run: Run) -> dict[str, float]:
    """Lower bounds of the latency: critical path, each resource without a gap, the roofline."""
    plan, blocks = run.job.plan, run.job.blocks
    if blocks is not None:
        path = folded_path_cycles(blocks, plan)
        asked = [tally.asked for tally in run.tallies]
        busiest = resource_cycles_of(
            sum(a.core_cycles for a in asked), sum(a.memory_bytes for a in asked),
            sum(a.dispatch_cycles for a in asked), plan,
        )  # fmt: skip
    else:
        path = critical_path_cycles(run.job.flat.predecessors, run.job.demands, plan)
        busiest = busiest_resource_cycles(run.job.demands, plan)
    found = {"critical_path": run.trace.seconds(path)}
    for name, cycles in busiest.items():
        found[f"busiest_{name}"] = run.trace.seconds(cycles)
    rate = run.profile.memory["dram"].bandwidth_bytes_per_s
    found["roofline"] = max(_dram_bytes(run) / rate, _arithmetic_s(run)) / run.trace.device_count
    return found


def _dram_bytes(run: Run) -> int:
    return sum(tally.dram_bytes for tally in run.tallies)


def _arithmetic_s(run: Run) -> float:
    """All products on one device at the dense peaks of their types; 0 where it lacks one.

    Products that the machine need not do (2:4, zeros that are skipped) are not counted.
    """
    macs: dict[str, float] = {}
    for tally in run.tallies:
        if tally.counts.macs:
            macs[tally.dtype] = macs.get(tally.dtype, 0) + tally.timed_macs
    widths = {dtype: run.profile.width.macs_per_cycle(dtype) for dtype in macs}
    per_s = run.profile.cores.count * run.profile.clock.burst_hz
    known = [macs[dtype] / (width * per_s) for dtype, width in widths.items() if width]
    return sum(known) if len(known) == len(macs) else 0.0


def utilization(run: Run) -> dict[str, float]:
    """Parts of the machine's capacity used over the run, from 0 to 1.

    `mfu`: matrix FLOPs against the dense peaks of their dtypes (0 where one has no unit);
    `memory_bandwidth`: DRAM bytes against the datasheet; `cores_busy`: cores that hold a
    moment other than the loading of weights; `host`: the dispatching thread; `link`: time in
    which something goes over it. With several devices the mean of all.
    """
    trace, profile = run.trace, run.declared or run.profile
    latency = run.latency_s * trace.device_count
    if not latency:
        return dict.fromkeys(("mfu", "memory_bandwidth", "cores_busy", "host", "link"), 0.0)
    held = sum(t.asked.held_core_cycles for t in run.tallies if t.moment.kind != "load")
    linked = sum(trace.retired[i] - trace.issued[i] for i in trace.readers)
    cycles = trace.cycles * trace.device_count
    return {
        "mfu": _arithmetic_s(run) * run.clock_share / latency,
        "memory_bandwidth": _dram_bytes(run)
        / profile.memory["dram"].bandwidth_bytes_per_s
        / latency,
        "cores_busy": (held - linked) / (trace.core_count * cycles),
        "host": trace.host_cycles / cycles,
        "link": linked / cycles,
    }
