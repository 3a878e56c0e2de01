"""Long input in segments: each a pass of its own, the outputs stitched together."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from workloads import op_counts
from workloads.compile import compile_passes
from workloads.errors import InputError, shown
from workloads.moment import Dtype, Pass, Program, Repeat, Segment
from workloads.request import Request

if TYPE_CHECKING:
    from workloads.model import Model


def compile_segments(
    model: Model,
    *,
    prompt: int,
    length: int,
    overlap: int = 0,
    batch: int = 1,
    dtype: str = "fp32",
    weight_dtype: str | None = None,
) -> Program:
    """Passes "segment.1", "segment.2", ... over at most `length` of `prompt` positions each.

    A segment begins length - overlap after the one before it, so there are
    ceil((prompt - overlap) / (length - overlap)) of them, each of `length` positions but for the
    last, and each position is computed once, those of an overlap twice. No segment sees another,
    except in a model with a memory, where each looks back on what it remembers (overlap 0).
    At its end a pass copies the rows that are kept: of an overlap, an encoder keeps the first half
    from the earlier segment and the rest from the later; a decoder keeps the earlier segment's,
    which have seen more. In all that is one row a position. A head on one row a segment (a pooler,
    a classifier of the whole) has one result a segment, and nothing is stitched.

    InputError: a length that the model does not have, an overlap that is not shorter, an input
    other than tokens, an encoder-decoder.
    """
    _check(model, prompt, length, overlap)
    requests = []
    for number, start in enumerate(starts(prompt, length, overlap), 1):
        tokens = min(length, prompt - start)
        requests.append(Request(f"segment.{number}", "prefill", tokens, min(start, model.memory)))
    program = compile_passes(
        model, requests, batch=batch, dtype=dtype, weight_dtype=weight_dtype, logits="all",
        choice=None,
    )  # fmt: skip
    found = _rows(model)
    if found is None or len(requests) == 1:
        return program
    kept = kept_positions([r.tokens for r in requests], overlap, causal=model.causal)
    passes = tuple(
        _stitched(step, found, batch * rows, program.dtype)
        for step, rows in zip(program.passes, kept, strict=True)
    )
    return replace(program, passes=passes)


def starts(prompt: int, length: int, overlap: int) -> range:
    """The first position of each segment."""
    return range(0, max(1, prompt - overlap), length - overlap)


def kept_positions(tokens: list[int], overlap: int, *, causal: bool) -> list[int]:
    """Positions of each segment that the stitched output takes from it."""
    late = overlap if causal else overlap - overlap // 2  # dropped by the later segment
    early = overlap - late
    last = len(tokens) - 1
    return [n - (late if i else 0) - (early if i < last else 0) for i, n in enumerate(tokens)]


def _rows(model: Model) -> tuple[str, int] | None:
    """Name and width of the rows that a pass gives for each position, None where it gives one."""
    if model.head in ("lm", "mlm"):
        return "logits", model.adaptive_head or model.vocab
    if model.head == "classifier":
        return ("logits", model.classes) if model.classify_every else None
    return ("normalized" if model.final_norm else "hidden"), model.hidden


def _stitched(step: Pass, rows: tuple[str, int], count: int, dtype: Dtype) -> Pass:
    name, width = rows
    moment = op_counts.copy(
        "stitch", "output", elements=count * width, dtype=dtype, source=name, target="stitched"
    )
    return replace(step, repeats=(*step.repeats, Repeat(Segment.from_moments("stitch", [moment]))))


def _check(model: Model, prompt: int, length: int, overlap: int) -> None:
    sizes = (("prompt", prompt, 1), ("segment_length", length, 1), ("overlap", overlap, 0))
    for name, value, least in sizes:
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise InputError(
                f"{name} = {shown(value)}: expected a whole number of tokens, {least} or more"
            )
    if model.encoder is not None or model.input != "tokens" or model.fixed_input is not None:
        raise InputError(
            f"segment_length with {model.name}: only an encoder or a decoder of tokens reads a "
            "long input in segments"
        )
    if length > model.max_positions:
        raise InputError(
            f"segment_length = {shown(length)}: {model.name} has max_positions = "
            f"{model.max_positions}; give at most as many"
        )
    if overlap >= length:
        raise InputError(
            f"overlap = {shown(overlap)}: expected fewer tokens than segment_length = {length}"
        )
    if overlap and model.memory:
        raise InputError(
            f"overlap = {shown(overlap)}: {model.name} remembers earlier segments; leave it out"
        )
