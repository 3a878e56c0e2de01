"""Program to program: what a runtime fuses, how work is cut up and spread over devices."""

from workloads.transforms.caches import copy_caches
from workloads.transforms.fusion import Fusion, fuse
from workloads.transforms.heads import split_heads
from workloads.transforms.parallel import batch_of_part, spread

__all__ = ["Fusion", "batch_of_part", "copy_caches", "fuse", "split_heads", "spread"]
