"""Transforms: a program in, a program out, the matrix operation counts unchanged."""

from workloads.transforms.caches import copy_caches
from workloads.transforms.fusion import Fusion, fuse
from workloads.transforms.heads import split_heads
from workloads.transforms.pruning import Pruning, drop_layers, prune, prune_heads
from workloads.transforms.quantization import Quantization, quantize

__all__ = [
    "Fusion",
    "Pruning",
    "Quantization",
    "copy_caches",
    "drop_layers",
    "fuse",
    "prune",
    "prune_heads",
    "quantize",
    "split_heads",
]
