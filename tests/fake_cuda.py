"""A stand-in for torch on a CUDA machine: operators take the times of a machine that is known."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from types import SimpleNamespace
from typing import Any

DTYPES = {"float16": "fp16", "bfloat16": "bf16", "float32": "fp32"}
Seconds = Callable[[str, str, dict[str, int]], float]
"""Time of an operator from its name, type and sizes."""


class Tensor:
    """A shape and a type; copying takes its time."""

    def __init__(self, torch: FakeTorch, shape: tuple[int, ...], dtype: str) -> None:
        self.torch, self.shape, self.dtype = torch, shape, dtype

    def to(self, dtype: str) -> Tensor:
        return Tensor(self.torch, self.shape, dtype)

    def copy_(self, other: Tensor) -> None:
        self.torch.launch("copy", self.dtype, {"elements": self.shape[0]})


class Event:
    def __init__(self, torch: FakeTorch) -> None:
        self.torch, self.at = torch, 0.0

    def record(self) -> None:
        self.at = self.torch.now

    def synchronize(self) -> None:
        pass

    def elapsed_time(self, end: Event) -> float:
        return 1e3 * (end.at - self.at)


class Graph:
    """The kernels that were launched while it was captured."""

    def __init__(self, torch: FakeTorch) -> None:
        self.torch = torch
        self.kernels: list[float] = []

    def replay(self) -> None:
        self.torch.now += sum(self.kernels)


class FakeTorch:
    """What a calibration uses of torch. Without a `device` there is no GPU."""

    __version__ = "0.fake"

    def __init__(self, device: Any | None, seconds: Seconds) -> None:
        self.now = 0.0
        self._seconds = seconds
        self._captured: list[float] | None = None
        for name in DTYPES:
            setattr(self, name, name)
        stream = SimpleNamespace(wait_stream=lambda other: None)
        self.cuda = SimpleNamespace(
            is_available=lambda: device is not None,
            current_device=lambda: 0,
            get_device_properties=lambda index: device,
            synchronize=lambda: None,
            current_stream=lambda: stream,
            Stream=lambda: stream,
            stream=lambda other: nullcontext(),
            Event=lambda enable_timing: Event(self),
            CUDAGraph=lambda: Graph(self),
            graph=self._capture,
            OutOfMemoryError=MemoryError,
        )
        self.nn = SimpleNamespace(
            functional=SimpleNamespace(
                linear=self._linear,
                scaled_dot_product_attention=self._attention,
                softmax=lambda x, dim: self._rows("softmax", x),
                layer_norm=lambda x, shape, gain, bias: self._rows("layer_norm", x),
                gelu=lambda x: self.launch("gelu", x.dtype, {"elements": x.shape[0]}),
            )
        )

    def inference_mode(self) -> Any:
        return nullcontext()

    def rand(self, *shape: int, device: str) -> Tensor:
        assert device == "cuda"
        return Tensor(self, shape, "float32")

    def add(self, one: Tensor, two: Tensor) -> None:
        self.launch("add", one.dtype, {"elements": one.shape[0]})

    def matmul(self, one: Tensor, two: Tensor) -> None:
        self._linear(one, two)

    def launch(self, what: str, dtype: str, sizes: dict[str, int]) -> None:
        seconds = self._seconds(what, DTYPES[dtype], sizes)
        if self._captured is None:
            self.now += seconds
        else:
            self._captured.append(seconds)

    @contextmanager
    def _capture(self, graph: Graph) -> Iterator[None]:
        self._captured = graph.kernels
        yield
        self._captured = None

    def _linear(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> None:
        (m, k), n = x.shape, weight.shape[0]
        self.launch("matmul", x.dtype, {"batch": 1, "m": m, "n": n, "k": k})

    def _attention(self, q: Tensor, k: Tensor, v: Tensor, is_causal: bool = False) -> None:
        batch, heads, queries, width = q.shape
        sizes = {"batch": batch, "heads": heads, "kv_heads": heads, "head_dim": width,
                 "q_len": queries, "kv_len": k.shape[2], "causal": int(is_causal)}  # fmt: skip
        self.launch("attention", q.dtype, sizes)

    def _rows(self, what: str, x: Tensor) -> None:
        self.launch(what, x.dtype, {"m": x.shape[0], "n": x.shape[1]})
