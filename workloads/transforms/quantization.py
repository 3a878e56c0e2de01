"""Quantize weights, the cache and activations of a program.

Bytes and operations follow; what quantization does to the answers is not modelled: no accuracy,
no outliers kept apart, no calibration, no search for scales.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from workloads.errors import InputError, nearest, shown
from workloads.footprint import peak_activation_bytes
from workloads.moment import Moment, Program
from workloads.passes import on_steps
from workloads.stored import Stored, bits_per_value, stored_format
from workloads.transforms.cache_formats import quantize_cache
from workloads.transforms.number_formats import dequantize_weights, quantize_activations
from workloads.transforms.rewrite import (
    distinct_segments,
    extreme_segments,
    rewrite,
    with_activation_bytes,
)
from workloads.transforms.storage import HEAD, is_chosen, store, stored_as

if TYPE_CHECKING:
    from workloads.model import Model

KV_FORMATS = (
    "fp8", "int8", "int8-g128", "int4-g32", "int4-g64", "int4-g128",
    "q8_0", "q5_0", "q5_1", "q4_0", "q4_1", "iq4_nl",
)  # fmt: skip
"""fp8 and int8 with a scale known beforehand (vLLM, TensorRT-LLM), or blocks with their own."""

ACTIVATION_DTYPES = ("int8", "fp8")


@dataclass(frozen=True, slots=True)
class Quantization:
    """What is stored or computed in fewer bits; None: as compiled.

    `weights`: how the matrices of all linear layers are stored (tables, norms and biases are not):
    a dtype, a format of WEIGHT_FORMAT_BYTES or one of CHANNEL_FORMATS. `head`: whether the matrix
    that gives the logits is among them; None: unless it is the table of embeddings; True makes
    such a one a matrix of its own beside the table. `dequantize`: each quantized matrix is written
    out by a moment before its product, for software without a kernel that unpacks; else
    unpacking is the affair of the runtime's kernels. `kv`: format of the cache (KV_FORMATS).
    `activations`: rows are quantized to int8 or fp8 before each linear layer, whose product is
    then of that type; its weights must have 8 bits at most.
    """

    weights: str | None = None
    head: bool | None = None
    dequantize: bool = False
    kv: str | None = None
    activations: str | None = None


@on_steps
def quantize(program: Program, plan: Quantization, model: Model) -> Program:
    """The program as `plan` says; `model` is what it was compiled from, for the footprint.

    MACs are conserved, vector operations grow: see `cache_formats`, `number_formats` and, for
    scales of channels, `storage.store`. InputError: a name that is not known, weights or a cache
    that are quantized already, activations narrower than the weights that they meet.
    """
    _check(program, plan)
    if plan.weights is not None:
        values = stored_format("weight_dtype", plan.weights)
        program = store(program, model, lambda old: old.with_values(values), plan.head)
    if plan.kv is not None:
        program = quantize_cache(program, plan.kv)
    if plan.activations is not None:
        kind = plan.activations
        _check_operands(program, kind)
        program = rewrite(program, lambda segment: quantize_activations(segment, kind))
    if plan.dequantize:
        program = rewrite(program, dequantize_weights)
    if plan.activations is None and not plan.dequantize:
        return program
    return with_activation_bytes(program, peak_activation_bytes(extreme_segments(program)))


def _check(program: Program, plan: Quantization) -> None:
    for key, value, known in (
        ("kv_dtype", plan.kv, KV_FORMATS),
        ("activation_dtype", plan.activations, ACTIVATION_DTYPES),
    ):
        if value is not None and value not in known:
            raise InputError(
                f"{key} = {shown(value)}: expected one of {', '.join(known)}"
                f"{nearest(str(value), known)}"
            )
    if plan.head is not None and plan.weights is None:
        raise InputError("the head is quantized with the weights: say in which weight_dtype")
    if plan.dequantize and plan.activations is not None:
        raise InputError(
            f"dequantize writes weights out in {program.dtype}, activation_dtype = "
            f"{plan.activations} multiplies them as they are; give one of the two"
        )
    if plan.weights is None:
        return
    for moment in _linear(program):
        stored = stored_as(moment)
        if is_chosen(moment, plan.head) and stored.with_values(program.dtype) != stored:
            raise InputError(
                f"weight_dtype = {shown(plan.weights)}: {moment.name} is stored as "
                f"{stored.values} already; quantize a program with plain weights"
            )


def _linear(program: Program) -> list[Moment]:
    return [m for s in distinct_segments(program) for m in s.moments if is_chosen(m, True)]


def _check_operands(program: Program, kind: str) -> None:
    """InputError where no product could be done in `kind`: weights are wider."""
    weights = [stored_as(m) for m in _linear(program) if m.name != HEAD]
    if any(_fits(stored, kind) for stored in weights):
        return
    raise InputError(
        f"activation_dtype = {kind}: a product in {kind} needs weights of 8 bits at most, and "
        f"these are {program.dtype}; give weight_dtype = {kind}-channel too"
    )


def _fits(stored: Stored, kind: str) -> bool:
    return bits_per_value(stored.values) <= bits_per_value(kind) + 1
