"""A CUDA GPU calibrated by itself: operators of PyTorch measured, kernels and runtime fitted."""

from __future__ import annotations

from simulator.calibrate_cuda.calibrate import CudaCalibration, calibrate_cuda
from simulator.calibrate_cuda.files import write_files

__all__ = ["CudaCalibration", "calibrate_cuda", "write_files"]
