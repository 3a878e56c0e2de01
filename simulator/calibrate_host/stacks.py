"""The software that a calibration runs operators with: PyTorch, ONNX Runtime or NumPy."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Protocol

from simulator.runtime import LibraryTable, OnDevice, load_runtime
from workloads.errors import InputError, nearest
from workloads.moment import Dtype

if TYPE_CHECKING:
    from hardware_profiles.schema import Profile
    from simulator.calibrate_host.design import Operator
    from simulator.calibrate_host.numpy_stack import NumpyStack
    from simulator.calibrate_host.onnx_stack import OnnxStack
    from simulator.calibrate_host.rounds import Job

Call = tuple[Callable[[], Any] | None, str]

LIBRARIES = ("torch", "numpy", "onnxruntime")


class Stack(Protocol):
    """A library whose operators are measured, and the runtime `base` that describes it.

    `section`: the figures that the fit starts from. `call`: an operator to be called, or why not,
    which stands for `operators_a_call` of them, and is built `instances` times. `quietly`: a block
    in which it is measured. `thread_counts`: those worth measuring on so many cores.
    `dispatch_jobs`: what its host side costs, by kind of moment.
    """

    @property
    def base(self) -> str: ...
    @property
    def library(self) -> str: ...
    @staticmethod
    def dtypes(profile: Profile) -> tuple[Dtype, ...]: ...
    def section(self) -> OnDevice: ...
    def quietly(self) -> AbstractContextManager[Any]: ...
    def thread_counts(self, cores: int) -> tuple[int, ...]: ...
    def set_threads(self, count: int) -> None: ...
    def call(self, operator: Operator) -> Call: ...
    def instances(self, operator: Operator) -> int: ...
    def operators_a_call(self, operator: Operator) -> int: ...
    def dispatch_jobs(self) -> list[Job]: ...


def stack_class(library: str | None) -> type[TorchStack] | type[NumpyStack] | type[OnnxStack]:
    """The stack of a library, made with the bytes that its weights take; by default the first of
    PyTorch and NumPy that is installed.

    InputError: an unknown name, or one that is not installed, with what installs it.
    """
    if library is None:
        library = "torch" if find_spec("torch") is not None else "numpy"
    if library not in LIBRARIES:
        known = ", ".join(LIBRARIES)
        raise InputError(
            f"unknown library {library!r}{nearest(library, LIBRARIES)} (known: {known})"
        )
    if find_spec(library) is None or (library == "onnxruntime" and find_spec("onnx") is None):
        extra = {"torch": "real", "onnxruntime": "onnxruntime"}.get(library, "fit")
        raise InputError(
            f"library {library!r} is not installed; install it with: "
            f"pip install 'transformer-moments[{extra}]'"
        )
    if library == "torch":
        return TorchStack
    if library == "onnxruntime":
        from simulator.calibrate_host.onnx_stack import OnnxStack

        return OnnxStack
    from simulator.calibrate_host.numpy_stack import NumpyStack

    return NumpyStack


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

    @staticmethod
    def dtypes(profile: Profile) -> tuple[Dtype, ...]:
        """fp32, and bf16 and fp16 where a unit has them."""
        wanted: tuple[Dtype, ...] = ("bf16", "fp16")
        return ("fp32", *(d for d in wanted if profile.width.macs_per_cycle(d) is not None))

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

    def instances(self, operator: Operator) -> int:
        return operator.instances

    def operators_a_call(self, operator: Operator) -> int:
        return 1

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
