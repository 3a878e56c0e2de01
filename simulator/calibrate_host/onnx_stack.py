"""ONNX Runtime on the CPU: operators as graphs of a few equal nodes, made in memory."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from simulator.runtime import OnDevice, load_runtime
from workloads.moment import Dtype

if TYPE_CHECKING:
    from hardware_profiles.schema import Profile
    from simulator.calibrate_host.design import Operator
    from simulator.calibrate_host.rounds import Job
    from simulator.calibrate_host.stacks import Call

_MATRICES = ((768, 768), (3072, 768), (768, 3072))
"""(n, k) of the products measured: a session holds its weights twice, as given and packed."""
_NODES = 8
"""Nodes of a graph of other operators, one after another."""
_DISPATCHED = 100
"""Nodes of a graph that shows what a node costs the host."""


class OnnxStack:
    """Sessions of ONNX Runtime: each has a fixed number of threads, so there is one for each."""

    base = "onnxruntime"

    def __init__(self, pool_bytes: int) -> None:
        self._threads = 1
        self._sessions: dict[tuple[str, int], Any] = {}

    @property
    def library(self) -> str:
        import onnxruntime

        return f"ONNX Runtime {onnxruntime.__version__}"

    @staticmethod
    def dtypes(profile: Profile) -> tuple[Dtype, ...]:
        return ("fp32",)

    def section(self) -> OnDevice:
        return load_runtime(self.base).on("cpu")

    def quietly(self) -> AbstractContextManager[Any]:
        return nullcontext()

    def thread_counts(self, cores: int) -> tuple[int, ...]:
        return tuple(sorted({1, cores}))

    def set_threads(self, count: int) -> None:
        self._threads = count

    def instances(self, operator: Operator) -> int:
        """One: the nodes of a graph have memory of their own already."""
        return 1

    def operators_a_call(self, operator: Operator) -> int:
        return operator.sets if operator.name == "product" else _NODES

    def call(self, operator: Operator) -> Call:
        from simulator.calibrate_host.onnx_graphs import operator_graph

        sizes = operator.sizes
        if operator.name == "product" and (sizes["n"], sizes["k"]) not in _MATRICES:
            return None, "its sessions hold weights twice, so that few matrices are measured"
        if operator.dtype != "fp32":
            return None, "ONNX Runtime is measured in fp32 alone"
        graph = operator_graph(operator, _NODES)
        if graph is None:
            return None, "ONNX has no such operator"
        name = operator.label
        if operator.name == "product":  # all numbers of rows have the same weights
            name = f"product {sizes['n']} {sizes['k']}"
        model, inputs = graph
        return self._runner(name, model, inputs)

    def _runner(
        self, name: str, model: Callable[[], bytes], inputs: dict[str, Any]
    ) -> tuple[Callable[[], Any] | None, str]:
        """Runs the session of as many threads as are set, made when it is first called."""
        from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidGraph, NotImplemented

        bound: dict[int, tuple[Any, Any]] = {}

        def run() -> None:
            if self._threads not in bound:
                session = self._session(name, model, self._threads)
                binding = session.io_binding()
                for key, value in inputs.items():
                    binding.bind_cpu_input(key, value)
                for output in session.get_outputs():
                    binding.bind_output(output.name, "cpu")
                bound[self._threads] = (session, binding)
            session, binding = bound[self._threads]
            session.run_with_iobinding(binding)

        try:
            run()
        except (Fail, InvalidGraph, NotImplemented) as error:
            return None, " ".join(str(error).split())[:120]
        return run, ""

    def _session(self, name: str, model: Callable[[], bytes], threads: int) -> Any:
        import onnxruntime

        if (name, threads) not in self._sessions:
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = threads
            options.log_severity_level = 3
            # a session's threads wait in a loop for more work; those of others must not
            options.add_session_config_entry("session.force_spinning_stop", "1")
            self._sessions[name, threads] = onnxruntime.InferenceSession(
                model(), options, providers=["CPUExecutionProvider"]
            )
        return self._sessions[name, threads]

    def dispatch_jobs(self) -> list[Job]:
        """A node of each kind among many, and a run of one node ("per_pass")."""
        from simulator.calibrate_host.onnx_graphs import dispatch_graphs
        from simulator.calibrate_host.rounds import Job

        jobs = []
        for kind, (model, inputs) in dispatch_graphs(_DISPATCHED).items():
            run, _ = self._runner(f"dispatch {kind}", model, inputs)
            if run is not None:
                calls = 1 if kind == "per_pass" else _DISPATCHED
                jobs.append(Job(f"dispatch {kind}", 1, run, calls))
        return jobs
