"""A machine calibrated by itself: short kernels measured, physical parameters fitted to them."""

from __future__ import annotations

from simulator.calibrate_host.calibrate import HostCalibration, calibrate_host
from simulator.calibrate_host.files import write_files

__all__ = ["HostCalibration", "calibrate_host", "write_files"]
