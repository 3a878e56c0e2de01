"""Measured traces held against simulated runs: read, align operators with moments, show both.

Nothing is run or profiled here: the trace comes from torch.profiler, ONNX Runtime or llama-bench.
"""

from simulator.trace_diff.diff import Diff, Pair, Row, diff_file

__all__ = ["Diff", "Pair", "Row", "diff_file"]
