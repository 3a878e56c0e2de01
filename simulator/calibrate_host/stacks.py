"""The software that a calibration runs operators with: PyTorch, or NumPy where it is missing."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from simulator.runtime import LibraryTable, OnDevice, load_runtime

if TYPE_CHECKING:
    from simulator.calibrate_host.design import Operator
    from simulator.calibrate_host.rounds import Job

Call = tuple[Callable[[], Any] | None, str]


def has_torch() -> bool:
    """Whether PyTorch can be imported; it is not."""
    return find_spec("torch") is not None


class TorchStack:
    """Eager PyTorch on the CPU, without gradients."""

    base = "pytorch-eager"

    def __init__(self, pool_bytes: int) -> None:
        from simulator.calibrate_host.torch_operators import WeightPool

        self._pool = WeightPool(pool_bytes)

    @property
    def library(self) -> str:
        import torch

        return f"PyTorch {torch.__version__}"

    def section(self) -> OnDevice:
        """The base's, with RMS norm as the four passes that it is measured as.

        Blocks of attention are those of PyTorch's kernel for CPUs (FlashAttentionKernel.cpp).
        """
        section = load_runtime(self.base).on("cpu")
        library = section.library or LibraryTable(source="none")
        update = {
            "steps": {**library.steps, "rms_norm": 4},
            "attention_blocks": ((2, 32), (192, 64), (768, 256)),
        }
        return section.model_copy(update={"library": library.model_copy(update=update)})

    def quietly(self) -> AbstractContextManager[Any]:
        import torch

        return _ThreadsRestored(torch.get_num_threads())

    def thread_counts(self, cores: int) -> tuple[int, ...]:
        return tuple(sorted({1, max(1, cores // 2), cores}))

    def set_threads(self, count: int) -> None:
        import torch

        torch.set_num_threads(count)

    def call(self, operator: Operator) -> Call:
        from simulator.calibrate_host.torch_operators import torch_call

        try:
            return torch_call(operator, self._pool), ""
        except (RuntimeError, NotImplementedError) as error:
            return None, " ".join(str(error).split())[:120]

    def dispatch_jobs(self) -> list[Job]:
        from simulator.calibrate_host.torch_dispatch import dispatch_jobs

        return dispatch_jobs()


class _ThreadsRestored(AbstractContextManager[None]):
    """No gradients inside; afterwards torch has `threads` threads again."""

    def __init__(self, threads: int) -> None:
        self._threads = threads

    def __enter__(self) -> None:
        import torch

        self._mode = torch.inference_mode()
        self._mode.__enter__()
        # glibc raises its limit for direct mappings to the largest one freed, at most 32 MiB; in a
        # process that has run a model it has done so, and smaller outputs are no fresh memory
        del_me = torch.empty(31 * 2**20, dtype=torch.uint8).fill_(0)
        del del_me

    def __exit__(self, *error: object) -> None:
        import torch

        self._mode.__exit__(None, None, None)
        torch.set_num_threads(self._threads)


class NumpyStack:
    """NumPy on as many threads as its BLAS library takes by itself."""

    base = "kernel"

    def __init__(self, pool_bytes: int) -> None:
        import numpy as np

        self._pool = np.full(pool_bytes // 4, 0.5, dtype=np.float32)

    @property
    def library(self) -> str:
        import numpy

        return f"NumPy {numpy.__version__}"

    def section(self) -> OnDevice:
        return load_runtime(self.base).on("cpu")

    def quietly(self) -> AbstractContextManager[Any]:
        return nullcontext()

    def thread_counts(self, cores: int) -> tuple[int, ...]:
        return (cores,)

    def set_threads(self, count: int) -> None:
        """A BLAS library takes its number of threads when it is loaded."""

    def call(self, operator: Operator) -> Call:
        from simulator.calibrate_host.numpy_operators import numpy_call

        return numpy_call(operator, self._pool), "NumPy has no one function for it"

    def dispatch_jobs(self) -> list[Job]:
        return []
