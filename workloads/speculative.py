"""Speculative decoding: a draft proposes tokens, one pass of the model verifies them.

Of g drafted tokens, each accepted with the probability a while all before it were, a round adds
(1 - a^(g + 1)) / (1 - a) tokens on average, the model's own after the last accepted one among them
(Leviathan et al., arXiv:2211.17192, equation 1).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from workloads.choose import Sampling, choice_of
from workloads.chunks import in_chunks
from workloads.compile import compile_forward, compile_passes
from workloads.errors import InputError, shown
from workloads.moment import Footprint, Pass, Program, Repeat, Segment
from workloads.op_counts.choices import lookup
from workloads.request import Request, plan

if TYPE_CHECKING:
    from workloads.model import Model
    from workloads.moment import Dtype

LOOKUP = "lookup"
"""A draft without a model: what followed the last tokens where they stood before."""

NGRAM = 2
"""Last tokens that are looked up (prompt_lookup_num_tokens' max_matching_ngram_size: 2)."""


@dataclass(frozen=True, slots=True)
class Round:
    """`known` tokens at its start, the last not yet read; `drafted` and then `chosen` ones.

    `unread`: known tokens that the draft model has not read yet.
    """

    number: int
    known: int
    unread: int
    drafted: int
    chosen: int


def tokens_per_round(drafts: int, acceptance: float) -> Fraction:
    """1 + a + ... + a^drafts: tokens that a round adds on average."""
    share = Fraction(acceptance).limit_denominator(10**6)
    return sum((share**i for i in range(drafts + 1)), Fraction(0))


def rounds(prompt: int, generate: int, drafts: int, acceptance: float) -> Iterator[Round]:
    """The rounds after the first token, until `generate` tokens are there.

    Deterministic: after n rounds the tokens added are n x `tokens_per_round`, rounded down, so that
    each round adds one of the two whole numbers about the average. The last rounds draft no more
    than is still wanted. All sequences of a batch accept alike.
    """
    mean = tokens_per_round(drafts, acceptance)
    left, known, read, number = generate - 1, prompt + 1, prompt, 0
    while left > 0:
        drafted = min(drafts, left - 1)
        number += 1
        whole = int(number * mean) - int((number - 1) * mean)
        chosen = min(whole, drafted + 1)
        yield Round(number, known, known - read, drafted, chosen)
        # the draft has read all but the last token that it proposed; what was refused is dropped
        read = min(known + drafted - 1, known + chosen - 1) if drafted else read
        known, left = known + chosen, left - chosen


def compile_speculative(
    model: Model,
    draft: Model | None,
    *,
    prompt: int,
    generate: int,
    drafts: int = 4,
    acceptance: float = 0.7,
    batch: int = 1,
    dtype: str = "fp32",
    weight_dtype: str | None = None,
    sample: Sampling = "greedy",
    chunk: int | None = None,
    expand_latents: bool = False,
) -> Program:
    """The passes of a generation with `draft` (None: prompt lookup) proposing `drafts` tokens.

    The model reads the prompt and chooses the first token, then the draft model reads the prompt
    ("draft.prefill"). Each round i has passes "draft.i.1", ... of the draft model, one a token, the
    first of which also reads what it has not seen, and the pass "verify.i" of the model over the
    drafted tokens and the one before them, with logits at each position. Footprint: weights and
    caches of both. The rule that accepts or refuses is not counted beyond the choice at each
    position; sequences of a batch accept alike (see `rounds`).

    InputError: no tokens to generate, an acceptance beyond 0 to 1, a draft with another vocabulary
    or without a head that chooses, models that have no cache to verify with.
    """
    _check(model, draft, generate, drafts, acceptance)
    for which in (model, *([draft] if draft else [])):
        plan(which, batch, prompt, None, generate)  # refuses what does not fit
    choice = choice_of(sample, 1, model.vocab)
    common: dict[str, Any] = {
        "batch": batch, "dtype": dtype, "weight_dtype": weight_dtype,
        "expand_latents": expand_latents,
    }  # fmt: skip
    first = compile_forward(model, prompt=prompt, generate=1, chunk=chunk, sample=sample, **common)
    steps = list(rounds(prompt, generate, drafts, acceptance))
    name = f"{model.name} with {draft.name if draft else 'prompt lookup'}"
    passes, needs = list(first.passes), first.footprint
    drafted = None
    if draft is not None:
        requests = in_chunks(draft, _drafting(prompt, steps), chunk, every=False)
        drafted = _renamed(compile_passes(draft, requests, logits="last", choice=choice, **common))
        needs = _together(needs, drafted.footprint)
        passes += [p for p in drafted.passes if p.phase == "prefill"]
    if not steps:
        return Program(name, tuple(passes), batch, first.dtype, needs)
    verified = compile_passes(
        model, [_verify(s) for s in steps], logits="all", choice=replace(choice, every=True),
        **common,
    )  # fmt: skip
    needs = _together(verified.footprint, drafted.footprint) if drafted else verified.footprint
    needs = _more(needs, first)
    for step, check in zip(steps, verified.passes, strict=True):
        if drafted is None:
            passes += [_lookup(step, batch, first.dtype)] if step.drafted else []
        else:
            own = f"draft.{step.number}."
            passes += [replace(p, chosen=0) for p in drafted.passes if p.name.startswith(own)]
        passes.append(replace(check, chosen=step.chosen))
    return Program(name, tuple(passes), batch, first.dtype, needs)


def _check(
    model: Model, draft: Model | None, generate: int, drafts: object, acceptance: object
) -> None:
    if isinstance(drafts, bool) or not isinstance(drafts, int) or not 1 <= drafts <= 1000:
        raise InputError(
            f"draft_tokens = {shown(drafts)}: expected a whole number of tokens from 1 to 1000"
        )
    number = isinstance(acceptance, float | int) and not isinstance(acceptance, bool)
    if not number or not 0 <= acceptance <= 1:  # type: ignore[operator]
        raise InputError(
            f"acceptance = {shown(acceptance)}: expected a probability from 0 to 1, such as 0.7"
        )
    if generate < 1:
        raise InputError("draft without generate: there is nothing to speculate on; give both")
    for which in (model, *([draft] if draft else [])):
        if which.head != "lm" or which.encoder is not None or which.memory:
            raise InputError(
                f"draft with {which.name}: speculative decoding needs decoders that choose tokens "
                "and keep a cache of keys and values"
            )
    if draft is not None and abs(draft.vocab - model.vocab) > 0.02 * model.vocab:
        raise InputError(
            f"draft = {draft.name} has {draft.vocab} tokens, {model.name} {model.vocab}: a draft "
            "needs the same vocabulary; take a smaller model of the same family"
        )


def _verify(step: Round) -> Request:
    return Request(f"verify.{step.number}", "decode", step.drafted + 1, step.known - 1)


def _drafting(prompt: int, steps: list[Round]) -> list[Request]:
    """The draft model's passes: the prompt, and in each round one a token."""
    requests = [Request("draft.prefill", "prefill", prompt, 0, ends=False)]
    for step in steps:
        cached = step.known - step.unread
        for j in range(step.drafted):
            tokens = step.unread if j == 0 else 1
            requests.append(Request(f"draft.{step.number}.{j + 1}", "decode", tokens, cached))
            cached += tokens
    return requests


def _renamed(program: Program) -> Program:
    """Segments as "draft_layer" and so on: the draft's weights are other storage."""
    known: dict[int, Segment] = {}

    def renamed(repeat: Repeat) -> Repeat:
        old = repeat.segment
        if id(old) not in known:
            known[id(old)] = Segment(f"draft_{old.name}", old.moments, old.edges)
        return replace(repeat, segment=known[id(old)])

    passes = tuple(replace(p, repeats=tuple(map(renamed, p.repeats))) for p in program.passes)
    return replace(program, passes=passes)


def _lookup(step: Round, batch: int, dtype: Dtype) -> Pass:
    moment = lookup(
        "lookup", rows=batch, known=step.known, width=NGRAM, drafts=step.drafted + 1, dtype=dtype
    )
    segment = Segment.from_moments("draft", [moment])
    return Pass(f"draft.{step.number}", "decode", step.drafted, step.known, (Repeat(segment),))


def _more(needs: Footprint, other: Program) -> Footprint:
    """The same weights and cache, with whichever live activations are most."""
    most = max(needs.activation_bytes, other.footprint.activation_bytes)
    return replace(needs, activation_bytes=most)


def _together(a: Footprint, b: Footprint) -> Footprint:
    return Footprint(
        a.weight_bytes + b.weight_bytes,
        a.kv_cache_bytes + b.kv_cache_bytes,
        max(a.activation_bytes, b.activation_bytes),
    )
