"""Workloads: what a Transformer computes, as moments. Knows no hardware.

    from workloads import compile_forward, load_model
    program = compile_forward(load_model("bert-base"), prompt=8)

Names are imported when first used, so that importing the package costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from workloads.compile import compile_forward
    from workloads.errors import InputError
    from workloads.flat import FlatProgram, flatten
    from workloads.graph import program_from_graph, to_networkx
    from workloads.importers.onnx_graph import from_onnx
    from workloads.importers.torch_graph import from_torch
    from workloads.load import list_models, load_model, load_workload
    from workloads.model import Model
    from workloads.moment import (
        STAGES,
        AttentionShape,
        ElementShape,
        Footprint,
        Instance,
        MatmulShape,
        Moment,
        OperationCounts,
        Pass,
        Program,
        Repeat,
        RowShape,
        Segment,
        Tensor,
    )
    from workloads.program_file import load_program, program_table
    from workloads.transforms import (
        Fusion,
        Pruning,
        Quantization,
        drop_layers,
        fuse,
        prune,
        prune_heads,
        quantize,
        split_heads,
    )

_WHERE = {
    "compile": ("compile_forward",),
    "errors": ("InputError",),
    "flat": ("FlatProgram", "flatten"),
    "graph": ("program_from_graph", "to_networkx"),
    "importers.onnx_graph": ("from_onnx",),
    "importers.torch_graph": ("from_torch",),
    "load": ("list_models", "load_model", "load_workload"),
    "program_file": ("load_program", "program_table"),
    "model": ("Model",),
    "moment": (
        "STAGES",
        "AttentionShape",
        "ElementShape",
        "Footprint",
        "Instance",
        "MatmulShape",
        "Moment",
        "OperationCounts",
        "Pass",
        "Program",
        "Repeat",
        "RowShape",
        "Segment",
        "Tensor",
    ),
    "transforms": (
        "Fusion",
        "Pruning",
        "Quantization",
        "drop_layers",
        "fuse",
        "prune",
        "prune_heads",
        "quantize",
        "split_heads",
    ),
}
_MODULE_OF = {name: module for module, names in _WHERE.items() for name in names}

__all__ = [
    "STAGES",
    "AttentionShape",
    "ElementShape",
    "FlatProgram",
    "Footprint",
    "Fusion",
    "InputError",
    "Instance",
    "MatmulShape",
    "Model",
    "Moment",
    "OperationCounts",
    "Pass",
    "Program",
    "Pruning",
    "Quantization",
    "Repeat",
    "RowShape",
    "Segment",
    "Tensor",
    "compile_forward",
    "drop_layers",
    "flatten",
    "from_onnx",
    "from_torch",
    "fuse",
    "list_models",
    "load_model",
    "load_program",
    "load_workload",
    "program_from_graph",
    "program_table",
    "prune",
    "prune_heads",
    "quantize",
    "split_heads",
    "to_networkx",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
