"""Calibration: a handful of parameters of a machine's kernels from a few measured cases."""

from __future__ import annotations

from simulator.calibrate.cases import calibrate_cases
from simulator.calibrate.result import Calibrated, Kind

__all__ = ["Calibrated", "Kind", "calibrate_cases"]
