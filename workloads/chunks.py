"""Chunked prefill: a prompt read in pieces, each a pass over its tokens with the cache so far."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from workloads.errors import InputError, shown

if TYPE_CHECKING:
    from workloads.model import Model
    from workloads.request import Request


def in_chunks(
    model: Model, requests: Sequence[Request], chunk: int | None, *, every: bool
) -> list[Request]:
    """The requests with a prefill longer than `chunk` tokens as passes "prefill.1", "prefill.2" ...

    All but the last have `chunk` tokens. Products with weights do the same work as in one pass
    (latent attention apart, which expands the cached positions again in each pass), and causal
    attention sees the same pairs; weights are read again by each pass. Only the last pass ends with
    the head, unless logits are wanted of `every` position. InputError for a model that does not
    read from left to right with a cache.
    """
    if chunk is None:
        return list(requests)
    if isinstance(chunk, bool) or not isinstance(chunk, int) or chunk < 1:
        raise InputError(f"chunk = {shown(chunk)}: expected a whole number of tokens, 1 or more")
    if not model.causal or model.encoder is not None or model.memory:
        what = "a memory of its own" if model.memory else "positions that see later ones"
        raise InputError(
            f"chunk = {shown(chunk)} with {model.name}: only a decoder with a cache reads a "
            f"prompt in chunks; this model has {what}"
        )
    found: list[Request] = []
    for request in requests:
        if request.phase != "prefill" or request.tokens <= chunk:
            found.append(request)
            continue
        starts = range(0, request.tokens, chunk)
        for number, start in enumerate(starts, 1):
            found.append(
                replace(
                    request,
                    name=f"{request.name}.{number}",
                    tokens=min(chunk, request.tokens - start),
                    context=request.context + start,
                    ends=every or number == len(starts),
                )
            )
    return found
