"""A CUDA GPU as PyTorch shows it: what it is, and what a call takes on it and on the host."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from time import perf_counter
from typing import Any

from workloads.errors import InputError

_GRAPH_S = 2e-3
"""Calls of one graph take about so long together, so that events and the launch cost little."""
_MOST_CALLS = 100
_REPLAYS = 9
_HOST_CALLS = 200
"""Fewer than the calls that a stream takes before the host must wait."""


@dataclass(frozen=True)
class Properties:
    """Of a device: what PyTorch and the driver say of it. `clock_hz`: the highest; None: unknown.

    `capability`: the compute capability, major and minor.
    """

    name: str
    cores: int
    memory_bytes: int
    l2_bytes: int
    capability: tuple[int, int]
    clock_hz: int | None


class CudaDevice:
    """The current CUDA device of a torch module. InputError where it has none."""

    def __init__(self, torch: Any) -> None:
        if not torch.cuda.is_available():
            raise InputError(
                f"no CUDA GPU: PyTorch {torch.__version__} sees none here; "
                "calibrate this machine's processor with --host"
            )
        self.torch = torch

    def properties(self) -> Properties:
        found = self.torch.cuda.get_device_properties(self.torch.cuda.current_device())
        return Properties(
            name=found.name,
            cores=found.multi_processor_count,
            memory_bytes=found.total_memory,
            l2_bytes=getattr(found, "L2_cache_size", 0),
            capability=(found.major, found.minor),
            clock_hz=_highest_clock_hz(self.torch.cuda.current_device()),
        )

    def tensor(self, *shape: int, dtype: str) -> Any:
        """Uniform in [0, 1), on the device."""
        return self.torch.rand(*shape, device="cuda").to(getattr(self.torch, dtype))

    def kernel_s(self, call: Callable[[], Any]) -> tuple[float, float]:
        """Seconds of a call in a replayed graph of many, and largest over smallest of repetitions.

        No host time is seen. The call finds its tensors where the one before left them.
        """
        cuda = self.torch.cuda
        stream = cuda.Stream()
        stream.wait_stream(cuda.current_stream())
        with cuda.stream(stream):  # libraries make their workspaces before a capture
            for _ in range(3):
                call()
        cuda.current_stream().wait_stream(stream)
        once = self._elapsed_s(call)
        calls = max(1, min(_MOST_CALLS, int(_GRAPH_S / max(once, 1e-6))))
        graph = cuda.CUDAGraph()
        with cuda.graph(graph):
            for _ in range(calls):
                call()
        graph.replay()
        samples = [self._elapsed_s(graph.replay) / calls for _ in range(_REPLAYS)]
        return median(samples), max(samples) / min(samples)

    def _elapsed_s(self, call: Callable[[], Any]) -> float:
        cuda = self.torch.cuda
        start, end = (cuda.Event(enable_timing=True) for _ in range(2))
        cuda.synchronize()
        start.record()
        call()
        end.record()
        end.synchronize()
        return float(start.elapsed_time(end)) * 1e-3

    def host_s(self, call: Callable[[], Any]) -> float:
        """Seconds that the host takes to hand over a call, while the device keeps up."""
        samples = []
        for _ in range(_REPLAYS):
            self.torch.cuda.synchronize()
            start = perf_counter()
            for _ in range(_HOST_CALLS):
                call()
            samples.append((perf_counter() - start) / _HOST_CALLS)
        self.torch.cuda.synchronize()
        return min(samples)


def _highest_clock_hz(index: int) -> int | None:
    """The highest clock of the cores as the driver says it; None without nvidia-smi."""
    command = ["nvidia-smi", f"--id={index}", "--query-gpu=clocks.max.sm"]
    try:
        done = subprocess.run(
            [*command, "--format=csv,noheader,nounits"],
            capture_output=True, text=True, timeout=10, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return None
    text = done.stdout.strip()
    return int(text) * 1_000_000 if done.returncode == 0 and text.isdigit() else None
