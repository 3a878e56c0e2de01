"""Program to program: what a runtime fuses, how work is cut up and spread over devices."""

from workloads.transforms.caches import copy_caches
from workloads.transforms.constants import fold_constants
from workloads.transforms.fusion import Fusion, fuse
from workloads.transforms.heads import split_heads
from workloads.transforms.loading import load_weights
from workloads.transforms.parallel import batch_of_part, spread
from workloads.transforms.pruning import Pruning, drop_layers, prune, prune_heads
from workloads.transforms.quantization import Quantization, quantize
from workloads.transforms.share import share_moments
from workloads.transforms.shared_caches import share_caches

__all__ = [
    "Fusion",
    "Pruning",
    "Quantization",
    "batch_of_part",
    "copy_caches",
    "drop_layers",
    "fold_constants",
    "fuse",
    "load_weights",
    "prune",
    "prune_heads",
    "quantize",
    "share_caches",
    "share_moments",
    "split_heads",
    "spread",
]
