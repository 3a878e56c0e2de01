"""What is asked of a model: the passes of a request, after checking that the model can run them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from workloads.errors import InputError, nearest, shown
from workloads.moment import DTYPE_BITS, WEIGHT_FORMAT_BYTES, Dtype

if TYPE_CHECKING:
    from workloads.model import Model

_MAX_BATCH = 1_000_000


@dataclass(frozen=True, slots=True)
class Request:
    """One pass: its name, phase, new tokens and cached tokens.

    With an encoder, `source` positions are read from it, and `encodes`: it runs in this pass,
    before the `tokens` of the decoder, which may be none. `rows` of the decoder belong to each
    sequence (beams), whose caches come from `gathers` rows (see workloads.beams). `ends`: the head
    and the choice of a token follow, if the request has any.
    """

    name: str
    phase: Literal["prefill", "decode"]
    tokens: int
    context: int
    source: int = 0
    encodes: bool = False
    rows: int = 1
    gathers: int = 0
    ends: bool = True


def plan(
    model: Model,
    batch: int,
    prompt: int | None,
    context: int | None,
    generate: int,
    target: int | None = None,
) -> list[Request]:
    """The passes of a request (see `compile_forward`); InputError where it cannot be run."""
    _size("batch", batch, 1, "sequences")
    if batch > _MAX_BATCH:
        raise InputError(f"batch = {shown(batch)}: expected at most {_MAX_BATCH} sequences")
    _size("generate", generate, 0, "new tokens")
    if model.head == "denoiser":
        return _steps(model, prompt, context, generate, target)
    if model.family == "encoder" and (generate or context is not None):
        given, value = ("generate", generate) if generate else ("context", context)
        raise InputError(
            f"{given} = {shown(value)} with {model.name}: an encoder reads its input in one pass "
            "and has no cache to decode with; leave the argument out"
        )
    if model.encoder is not None:
        return _with_encoder(model, model.encoder, prompt, context, generate, target)
    if target is not None:
        raise InputError(
            f"target = {shown(target)} with {model.name}: only an encoder-decoder has a decoder "
            "apart from what reads the prompt; leave the argument out"
        )
    if model.memory and prompt is not None and context is not None:
        return _segment(model, prompt, context, generate)
    if context is not None:
        return _decodes(model, context, generate)
    length = _prompt(model, model, prompt)
    more = f" + generate = {shown(generate)}" if generate else ""
    _fits(model, length + generate, f"prompt = {shown(length)}{more}")
    decodes = [Request(f"decode.{i}", "decode", 1, length + i - 1) for i in range(1, generate)]
    return [Request("prefill", "prefill", length, 0), *decodes]


def steps_among(requests: Sequence[Request]) -> list[list[Request]]:
    """The requests in order, those in a row together of which each is one token further."""
    runs: list[list[Request]] = []
    for request in requests:
        if runs and _follows(runs[-1][-1], request):
            runs[-1].append(request)
        else:
            runs.append([request])
    return runs


def _follows(before: Request, request: Request) -> bool:
    base, _, number = before.name.rpartition(".")
    return (
        request.context == before.context + 1
        and request.phase == before.phase == "decode"
        and number.isdecimal()
        and request.name == f"{base}.{int(number) + 1}"
        and (request.tokens, request.source, request.rows, request.gathers, request.ends)
        == (before.tokens, before.source, before.rows, before.gathers, before.ends)
        and not request.encodes
    )


def _segment(model: Model, prompt: int, context: int, generate: int) -> list[Request]:
    """One pass over `prompt` tokens that look back on `context` positions of memory."""
    _size("prompt", prompt, 1, "tokens")
    _size("context", context, 0, "positions of memory")
    if context > model.memory:
        raise InputError(
            f"context = {shown(context)}: {model.name} has a memory of {model.memory} positions"
        )
    if generate:
        raise InputError(f"generate = {shown(generate)} with prompt and context: give one of them")
    _fits(model, prompt + context, f"prompt = {shown(prompt)} + context = {shown(context)}")
    return [Request("prefill", "prefill", prompt, context)]


def _prompt(model: Model, reader: Model, prompt: int | None) -> int:
    """The positions that are read, which the input may fix."""
    if prompt is None:
        raise InputError("prompt is missing: give prompt = tokens to read, or context = cached")
    _size("prompt", prompt, 1, "tokens")
    fixed = model.fixed_input
    if fixed is not None and prompt != fixed:
        raise InputError(f"prompt = {shown(prompt)} with {model.name}: {_fixed(reader, fixed)}")
    return prompt


def _fixed(reader: Model, positions: int) -> str:
    """Why the number of positions is what it is."""
    if reader.input != "patches":
        return f"its input always gives {positions} positions"
    more = {0: "", 1: ", and the class token"}.get(reader.class_tokens, ", and class tokens")
    return (
        f"its images always give {positions} positions ({reader.image} x "
        f"{reader.image_width or reader.image} pixels in patches of {reader.patch}{more})"
    )


def _with_encoder(
    model: Model,
    encoder: Model,
    prompt: int | None,
    context: int | None,
    generate: int,
    target: int | None,
) -> list[Request]:
    """The encoder with the decoder's first pass, then one pass a token."""
    if prompt is None and context is not None and model.fixed_input is None:
        raise InputError(
            f"prompt is missing: {model.name} has an encoder; say how many of its positions the "
            "decoder reads"
        )
    if model.queries:
        return _objects(model, prompt, context, generate, target)
    source = _prompt(model, encoder, model.fixed_input if prompt is None else prompt)
    _fits(encoder, source, f"prompt = {shown(source)}")
    if context is not None:
        if target is not None:
            raise InputError(f"target = {shown(target)}: context says already what was decoded")
        steps = _decodes(model, context, generate)
        return [Request(s.name, s.phase, s.tokens, s.context, source) for s in steps]
    if target is not None:
        _size("target", target, 1, "tokens of the decoder")
    rereads = model.head == "classifier" and not generate
    read = target or (1 if generate else source if rereads else 0)
    _fits(model, max(1, read + max(0, generate - 1)), f"target = {read} + generate = {generate}")
    decodes = [
        Request(f"decode.{i}", "decode", 1, read + i - 1, source) for i in range(1, generate)
    ]
    return [Request("prefill", "prefill", read, 0, source, encodes=True), *decodes]


def _steps(
    model: Model, prompt: int | None, context: int | None, generate: int, target: int | None
) -> list[Request]:
    """One pass that takes away noise, or `generate` of them."""
    for name, value in (("context", context), ("target", target)):
        if value is not None:
            raise InputError(
                f"{name} = {shown(value)} with {model.name}: it has no cache and no decoder; say "
                "generate = steps to take away noise"
            )
    size = _prompt(model, model, model.fixed_input if prompt is None else prompt)
    numbers = [f".{i + 1}" for i in range(generate)] or [""]
    return [Request(f"denoise{number}", "prefill", size, 0) for number in numbers]


def _objects(
    model: Model, prompt: int | None, context: int | None, generate: int, target: int | None
) -> list[Request]:
    """The encoder and all queries of the decoder, in one pass."""
    asked = {"context": context, "generate": generate or None, "target": target}
    for name, value in asked.items():
        if value is not None:
            raise InputError(
                f"{name} = {shown(value)} with {model.name}: its decoder reads its "
                f"{model.queries} queries in one pass; leave the argument out"
            )
    source = _prompt(model, model.encoder or model, prompt)
    return [Request("prefill", "prefill", model.queries, 0, source, encodes=True)]


def _decodes(model: Model, context: int, generate: int) -> list[Request]:
    """One step at `context` cached tokens, or `generate` of them."""
    hint = "; for an empty cache give prompt = 1 instead" if context == 0 else ""
    _size("context", context, 1, "cached tokens", hint)
    steps = max(generate, 1)
    _fits(model, context + steps, f"context = {shown(context)} + {shown(steps)} new")
    if not generate:
        return [Request("decode", "decode", 1, context)]
    return [Request(f"decode.{i + 1}", "decode", 1, context + i) for i in range(generate)]


def _size(name: str, value: object, least: int, what: str, hint: str = "") -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise InputError(
            f"{name} = {shown(value)}: expected a whole number of {what}, {least} or more{hint}"
        )


def _fits(model: Model, length: int, label: str) -> None:
    if length > model.max_positions:
        raise InputError(
            f"{label} is {shown(length)} positions, but {model.name} has max_positions = "
            f"{model.max_positions}; ask for fewer tokens or another model"
        )


def arithmetic_dtype(name: str, value: object) -> Dtype:
    if isinstance(value, str) and value in DTYPE_BITS:
        return value
    known = ", ".join(DTYPE_BITS)
    hint = nearest(value, DTYPE_BITS) if isinstance(value, str) else ""
    raise InputError(f"{name} = {shown(value)}: expected one of {known}{hint}")


def weight_format(value: object) -> str:
    if isinstance(value, str) and value in WEIGHT_FORMAT_BYTES:
        return value
    if isinstance(value, str) and value not in DTYPE_BITS:
        known = (*DTYPE_BITS, *WEIGHT_FORMAT_BYTES)
        hint = nearest(value, known)
        raise InputError(f"weight_dtype = {shown(value)}: expected one of {', '.join(known)}{hint}")
    return arithmetic_dtype("weight_dtype", value)
