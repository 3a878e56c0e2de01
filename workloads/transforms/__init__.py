"""Program to program: what a runtime fuses, how work is cut up and spread over devices."""

from workloads.transforms.caches import copy_caches
from workloads.transforms.fusion import Fusion, fuse
from workloads.transforms.heads import split_heads
from workloads.transforms.loading import load_weights
from workloads.transforms.parallel import batch_of_part, spread
from workloads.transforms.shared_caches import share_caches

__all__ = [
    "Fusion",
    "batch_of_part",
    "copy_caches",
    "fuse",
    "load_weights",
    "share_caches",
    "split_heads",
    "spread",
]
