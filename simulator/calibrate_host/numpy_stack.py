"""NumPy and the BLAS library that it comes with, for machines without PyTorch."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from simulator.runtime import OnDevice, load_runtime
from workloads.moment import Dtype

if TYPE_CHECKING:
    from hardware_profiles.schema import Profile
    from simulator.calibrate_host.design import Operator
    from simulator.calibrate_host.rounds import Job
    from simulator.calibrate_host.stacks import Call


class NumpyStack:
    """NumPy; products on one thread and on all where threadpoolctl is installed, else on all."""

    base = "numpy"

    def __init__(self, pool_bytes: int) -> None:
        import numpy as np

        self._pool = np.full(pool_bytes // 4, 0.5, dtype=np.float32)
        self._threads = _thread_pools()

    @property
    def library(self) -> str:
        import numpy

        found = [] if self._threads is None else self._threads.info()
        names = sorted({one["internal_api"] for one in found if one["user_api"] == "blas"})
        return f"NumPy {numpy.__version__}" + "".join(f" with {name}" for name in names)

    @staticmethod
    def dtypes(profile: Profile) -> tuple[Dtype, ...]:
        return ("fp32",)

    def section(self) -> OnDevice:
        return load_runtime(self.base).on("cpu")

    def quietly(self) -> AbstractContextManager[Any]:
        """Afterwards the library has as many threads as before."""
        return nullcontext() if self._threads is None else self._threads.limit(limits=None)

    def thread_counts(self, cores: int) -> tuple[int, ...]:
        return (cores,) if self._threads is None else tuple(sorted({1, max(1, cores // 2), cores}))

    def set_threads(self, count: int) -> None:
        if self._threads is not None:
            self._threads.limit(limits=count, user_api="blas")

    def call(self, operator: Operator) -> Call:
        from simulator.calibrate_host.numpy_operators import numpy_call

        return numpy_call(operator, self._pool)

    def instances(self, operator: Operator) -> int:
        return operator.instances

    def operators_a_call(self, operator: Operator) -> int:
        return 1

    def dispatch_jobs(self) -> list[Job]:
        """Between products that evict, as in a model."""
        import numpy as np

        from simulator.calibrate_host.numpy_operators import dispatch_calls
        from simulator.calibrate_host.rounds import Job

        left, weight = np.ones((8, 768), np.float32), np.ones((768, 3072), np.float32)
        return [
            Job(f"dispatch {kind}", 1, call, calls=4, before=lambda: left @ weight)
            for kind, call in dispatch_calls().items()
        ]


def _thread_pools() -> Any | None:
    """What sets the threads of BLAS libraries; None without threadpoolctl."""
    try:
        from threadpoolctl import ThreadpoolController
    except ImportError:
        return None
    return ThreadpoolController()
