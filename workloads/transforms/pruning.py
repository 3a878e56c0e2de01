"""Prune: weights that are zero, in a program; heads and layers that are gone, in a model.

What pruning does to the answers, and the training that it takes, are not modelled.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from workloads.errors import InputError, nearest, shown
from workloads.stored import SPARSE_STORAGES, SparseStorage, Sparsity, Stored
from workloads.transforms.storage import store

if TYPE_CHECKING:
    from workloads.model import Model
    from workloads.moment import Program


@dataclass(frozen=True, slots=True)
class Pruning:
    """Zeros among the weights of all linear layers but the one that gives the logits.

    `density`: the part that is not zero, of all of them anywhere (unstructured). `storage`: how
    zeros are left out, see `Sparsity`; "2:4" is a density of 0.5 with two zeros in every four.
    """

    density: float = 0.5
    storage: SparseStorage = "none"


def prune(program: Program, plan: Pruning, model: Model) -> Program:
    """The program with zeros among its weights; `model` is what it was compiled from.

    Operation counts stay those of the dense products: what a machine need not do is
    `Moment.effective_macs`, and whether it can leave that out is the machine's affair and its
    runtime's. Bytes shrink where the storage leaves zeros out. InputError: a density outside
    (0, 1], an unknown storage, 2:4 with another density than 0.5, a program that is pruned already.
    """
    sparsity = _sparsity(plan)

    def thinned(old: Stored) -> Stored:
        if old.sparsity is not None:
            raise InputError(
                f"density = {shown(plan.density)}: the weights are pruned already, to "
                f"{old.sparsity.density:g} ({old.sparsity.storage})"
            )
        return replace(old, sparsity=sparsity)

    return store(program, model, thinned, head=False)


def _sparsity(plan: Pruning) -> Sparsity:
    density = plan.density
    number = isinstance(density, int | float) and not isinstance(density, bool)
    if not number or not 0 < density <= 1:
        raise InputError(
            f"density = {shown(density)}: expected the part of the weights that is not zero, "
            f"above 0 and at most 1{_as_part(density) if number else ''}"
        )
    if plan.storage not in SPARSE_STORAGES:
        raise InputError(
            f"sparse_format = {shown(plan.storage)}: expected one of {', '.join(SPARSE_STORAGES)}"
            f"{nearest(str(plan.storage), SPARSE_STORAGES)}"
        )
    if plan.storage == "2:4" and density != 0.5:
        raise InputError(f"density = {density:g} with 2:4: two of every four are a density of 0.5")
    return Sparsity(float(density), plan.storage)


def _as_part(density: float) -> str:
    return f"; {density:g} % is {density / 100:g}" if 1 < density <= 100 else ""


def prune_heads(model: Model, count: int) -> Model:
    """The model with `count` query heads fewer in each layer, of the encoder's too.

    Projections shrink with them. Key-value heads go with the query heads that they serve: all of
    them must keep equally many, so that `count` is a multiple of the number of key-value heads,
    or of the query heads that share one (whose key-value head then goes too). InputError
    otherwise, if no head were left, or with stages of different numbers of heads.
    """
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise InputError(
            f"prune_heads = {shown(count)}: expected a whole number of heads, 1 or more"
        )
    if model.stage_heads:
        raise InputError(f"prune_heads = {count}: the stages of {model.name} differ in their heads")
    if count >= model.heads:
        raise InputError(f"prune_heads = {count}: a layer of {model.name} has {model.heads} heads")
    share = model.heads // model.kv_heads
    if count % share == 0:
        kv_heads = model.kv_heads - count // share
    elif count % model.kv_heads == 0:
        kv_heads = model.kv_heads
    else:
        raise InputError(
            f"prune_heads = {count}: {model.name} has {model.heads} query heads on "
            f"{model.kv_heads} key-value heads; give a multiple of {share} (whole groups) or of "
            f"{model.kv_heads} (as many of each group)"
        )
    encoder = model.encoder and prune_heads(model.encoder, count)
    return model.model_copy(
        update={"heads": model.heads - count, "kv_heads": kv_heads, "encoder": encoder}
    )


def drop_layers(model: Model, which: int | tuple[int, ...]) -> Model:
    """The model without some layers: those with the numbers in a tuple, or so many.

    A number of layers goes before the last one, where they were found to matter least (Gromov and
    others 2024, arXiv:2403.17887, section 4). Of an encoder-decoder the decoder's. InputError:
    no layer would be left, no such layer, kinds of layers that no pattern describes afterwards.
    """
    gone = _numbers(model, which)
    if model.depths:
        raise InputError(
            f"drop_layers: the layers of {model.name} are in stages of their own width"
        )
    kept = [number for number in range(model.layers) if number not in gone]
    update: dict[str, object] = {"layers": len(kept)}
    if model.pattern:
        update["pattern"] = tuple(model.pattern[n % len(model.pattern)] for n in kept)
    if model.experts:
        if model.expert_period > 1:
            raise InputError(
                f"drop_layers: every {model.expert_period}th layer of {model.name} has experts; "
                "what is left would have no such order"
            )
        update["dense_layers"] = sum(number < model.dense_layers for number in kept)
    return model.model_copy(update=update)


def _numbers(model: Model, which: int | tuple[int, ...]) -> frozenset[int]:
    if isinstance(which, int):
        if not 1 <= which < model.layers:
            raise InputError(
                f"drop_layers = {shown(which)}: expected 1 to {model.layers - 1} of the "
                f"{model.layers} layers of {model.name}"
            )
        end = max(which, model.layers - 1)
        return frozenset(range(end - which, end))
    wrong = [number for number in which if not 0 <= number < model.layers]
    if wrong:
        raise InputError(
            f"drop_layers: {model.name} has layers 0 to {model.layers - 1}, no layer {wrong[0]}"
        )
    if len(set(which)) >= model.layers:
        raise InputError(f"drop_layers: no layer of {model.name} would be left")
    return frozenset(which)
