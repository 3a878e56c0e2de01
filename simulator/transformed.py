"""The transforms that a scenario asks for: on the model, then on the program, with notes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from workloads.errors import InputError, shown

if TYPE_CHECKING:
    from hardware_profiles.schema import Profile
    from simulator.scenario import Scenario
    from workloads.model import Model
    from workloads.moment import Program
    from workloads.transforms import Pruning

_MAX_LAYER_TEXT = 100_000


def transformed_model(scenario: Scenario, model: Model) -> tuple[Model, list[str]]:
    """The model without the heads and layers that are pruned."""
    from workloads.transforms import drop_layers, prune_heads

    notes = []
    if scenario.prune_heads is not None:
        old, model = model, prune_heads(model, scenario.prune_heads)
        notes.append(f"{model.heads} of {old.heads} heads a layer are left")
    if scenario.drop_layers is not None:
        old, model = model, drop_layers(model, _layers(scenario.drop_layers))
        notes.append(f"{model.layers} of {old.layers} layers are left")
    return model, notes


def transformed_program(
    scenario: Scenario, program: Program, model: Model, profile: Profile
) -> tuple[Program, list[str]]:
    """The program with its weights pruned, then weights and cache quantized."""
    from workloads.transforms import Quantization, prune, quantize

    notes = []
    pruning = _pruning(scenario)
    if pruning is not None:
        program = prune(program, pruning, model)
        notes.append(_density_note(program, pruning, profile))
    plan = Quantization(
        weights=scenario.weight_dtype,
        head=scenario.quantize_head,
        kv=scenario.kv_dtype,
    )
    if plan != Quantization():
        before, program = program, quantize(program, plan, model)
        notes += _size_notes(before, program)
    return program, notes


def with_conversions(
    scenario: Scenario, program: Program, model: Model, profile: Profile
) -> Program:
    """The program, spread over its devices, with the moments that convert numbers on each.

    These are activations quantized and weights written out. InputError also for activations in a
    type that the machine has no unit for.
    """
    from workloads.transforms import Quantization, quantize

    plan = Quantization(dequantize=scenario.dequantize, activations=scenario.activation_dtype)
    if plan == Quantization():
        return program
    program = quantize(program, plan, model)
    if plan.activations is not None:
        _check_unit(plan.activations, profile)
    return program


def _pruning(scenario: Scenario) -> Pruning | None:
    from workloads.stored import SPARSE_STORAGES
    from workloads.transforms import Pruning

    if scenario.prune is not None:
        if scenario.prune != "2:4":
            raise InputError(
                f"prune = {shown(scenario.prune)}: expected 2:4, two of every four weights; for "
                "zeros anywhere give density, for whole heads or layers prune_heads or drop_layers"
            )
        if scenario.density is not None or scenario.sparse_format is not None:
            raise InputError("prune = 2:4 has a density and a format of its own; leave them out")
        return Pruning(0.5, "2:4")
    if scenario.density is None:
        if scenario.sparse_format is not None:
            raise InputError("sparse_format: say how many weights are left, with density")
        return None
    chosen = scenario.sparse_format or "none"
    storage = next((name for name in SPARSE_STORAGES if name == chosen), None)
    if storage is None or storage == "2:4":
        raise InputError(
            f"sparse_format = {shown(chosen)}: expected none, bitmap or csr"
            + ("; for 2:4 give prune = 2:4" if storage else "")
        )
    return Pruning(scenario.density, storage)


def _layers(text: str) -> int | tuple[int, ...]:
    """A number of layers ("8"), or numbers of layers: "3,7,11", "20-27" or both."""
    if len(text) > _MAX_LAYER_TEXT or not re.fullmatch(
        r"\d{1,6}(-\d{1,6})?(,\d{1,6}(-\d{1,6})?)*", text
    ):
        raise InputError(
            f"drop_layers = {shown(text)}: expected how many layers (8), or which: 3,7,11 or 20-27"
        )
    if text.isdigit():
        return int(text)
    found: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        if last and int(last) < int(first):
            raise InputError(f"drop_layers = {shown(text)}: {part} goes backwards")
        found |= set(range(int(first), int(last or first) + 1))
    return tuple(sorted(found))


def _density_note(program: Program, plan: Pruning, profile: Profile) -> str:
    effective = sum(
        repeat.count * moment.effective_macs
        for step in program.passes
        for repeat in step.repeats
        for moment in repeat.segment.moments
    )
    macs = program.counts.macs
    share = effective / macs if macs else 1.0
    skips = f"but {profile.name} does all of them, unless its runtime skips zeros"
    if plan.storage == "none":
        skips = "but zeros that are stored are multiplied too"
    if plan.storage == "2:4":
        halved = program.dtype in profile.width.sparse_2_4
        skips = f"{profile.name} {'halves' if halved else 'does not halve'} their time"
    return (
        f"{plan.density:g} of the weights are not zero (sparse format {plan.storage}): {share:.0%} "
        f"of the multiplications matter; {skips}"
    )


def _size_notes(before: Program, after: Program) -> list[str]:
    notes = []
    for what, old, new in (
        ("weights", before.footprint.weight_bytes, after.footprint.weight_bytes),
        ("KV cache", before.footprint.kv_cache_bytes, after.footprint.kv_cache_bytes),
    ):
        if new != old:
            notes.append(f"quantized {what}: {new / 1e9:.3g} GB instead of {old / 1e9:.3g} GB")
    return notes


def _check_unit(dtype: str, profile: Profile) -> None:
    width = profile.width
    if width.macs_per_cycle(dtype) is not None:
        return
    have = ", ".join(dict.fromkeys((*width.matrix, *width.vector)))
    raise InputError(
        f"activation_dtype = {dtype}: {profile.name} has no unit for products in {dtype}; "
        f"it has {have}"
    )
