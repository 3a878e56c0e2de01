"""Transforms: a program in, a program out, the operation counts unchanged."""

from workloads.transforms.caches import copy_caches
from workloads.transforms.fusion import Fusion, fuse
from workloads.transforms.heads import split_heads
from workloads.transforms.loading import load_weights
from workloads.transforms.shared_caches import share_caches

__all__ = ["Fusion", "copy_caches", "fuse", "load_weights", "share_caches", "split_heads"]
