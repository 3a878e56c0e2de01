"""Program to program: what a runtime fuses, how work is cut up and spread over devices."""

from workloads.transforms.caches import copy_caches
from workloads.transforms.fusion import Fusion, fuse
from workloads.transforms.heads import split_heads
from workloads.transforms.parallel import batch_of_part, spread
from workloads.transforms.pruning import Pruning, drop_layers, prune, prune_heads
from workloads.transforms.quantization import Quantization, quantize

__all__ = [
    "Fusion",
    "Pruning",
    "Quantization",
    "batch_of_part",
    "copy_caches",
    "drop_layers",
    "fuse",
    "prune",
    "prune_heads",
    "quantize",
    "split_heads",
    "spread",
]
