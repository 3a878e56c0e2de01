"""From a model and a request to a program: the passes, segments and moments of inference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from workloads.beams import with_beams
from workloads.choose import GREEDY, Choice, Sampling, choice_of
from workloads.chunks import in_chunks
from workloads.compile_request import Wanted, passes_for
from workloads.errors import InputError, shown
from workloads.footprint import footprint
from workloads.moment import Pass, Program, Segment
from workloads.output import Logits
from workloads.passes import ends_of
from workloads.request import Request, arithmetic_dtype, plan, weight_format
from workloads.step import Step

if TYPE_CHECKING:
    from workloads.model import Model


def compile_forward(
    model: Model,
    *,
    batch: int = 1,
    prompt: int | None = None,
    context: int | None = None,
    generate: int = 0,
    target: int | None = None,
    dtype: str = "fp32",
    weight_dtype: str | None = None,
    logits: Logits | None = None,
    body_only: bool = False,
    sample: Sampling = "greedy",
    beams: int = 1,
    prompt_once: bool = True,
    chunk: int | None = None,
    expand_latents: bool = False,
) -> Program:
    """The moments of inference with `model` on `batch` sequences of equal length.

    One of three requests:

    - `prompt=p`: one pass "prefill" over p tokens a sequence, nothing cached before.
    - `prompt=p, generate=g`: "prefill", which also chooses the first new token, then g - 1 passes
      "decode.1", "decode.2", ... of one token each over a cache that grows from p. The last token
      chosen is not read again, so a cache of p + g - 1 positions suffices.
    - `context=c`: one pass "decode" of one token a sequence at c cached tokens; with generate=g, g
      such passes "decode.1", ... at c, c + 1, ... cached tokens. `prompt` is then not looked at.

    A model with a memory (Transformer-XL) takes `prompt=p, context=c`: one pass "prefill" over p
    tokens that look back on c remembered positions.

    With an encoder-decoder `prompt` counts positions of the encoder, and all else the decoder's:

    - `prompt=p`: one pass "prefill" of the encoder alone; with a classifier the decoder then reads
      the same p tokens again.
    - `prompt=p, target=t`: the decoder then reads t tokens in the same pass, in which the keys and
      values of cross-attention are computed once and for all.
    - `prompt=p, generate=g`: as with target=1 (or the target given); the pass chooses the first
      token, and g - 1 passes follow as above.
    - `prompt=p, context=c`: as above, over cross-attention to p positions.

    A model of images from noise (DiT) takes `generate=g`: g passes "denoise.1", ... over the whole
    image; with guidance each image of the batch is computed twice.

    An input of fixed length (an image, 30 seconds of sound) needs no `prompt` beside `context`.

    `dtype` is the type of arithmetic, activations and cache; weight matrices are stored as
    `weight_dtype` (default the same; also a format of WEIGHT_FORMAT_BYTES). `logits` says on which
    positions a language-model head works: "all", as a plain forward of Hugging Face does and the
    default for a plain prefill, or "last", the default where a token is chosen. A token is chosen
    where `generate` or `context` is given or `logits` is "last". `body_only` leaves out embedding,
    final norm, pooler and head.

    `sample`: how tokens are chosen (workloads.choose). `beams` above 1: beam search, in which all
    beams run to the full length and one result a sequence counts; `prompt_once`: the prompt is
    read once a sequence, not once a beam (workloads.beams). `chunk`: the prompt is read in passes
    "prefill.1", "prefill.2", ... of at most so many tokens (workloads.chunks).

    Latent attention (DeepSeek) expands its cache in a prefill and in a decode step brings the
    queries to the cached rows instead, as serving runtimes do; with `expand_latents` it expands it
    there too, as the published module does (workloads.latent).

    InputError: sizes below 1, more positions than the model has, an unknown dtype, decoding with
    an encoder, more than one pass without a head that chooses tokens. Not modelled: padding, paged
    caches. For a quantized cache or activations see `quantize`.
    """
    if logits not in (None, "all", "last"):
        raise InputError(f'logits = {shown(logits)}: expected "all" or "last"')
    requests = plan(model, batch, prompt, context, generate, target)
    if len(requests) > 1 and (body_only or model.head not in ("lm", "denoiser")):
        raise InputError(
            f"generate = {generate} needs a language-model head to choose the tokens, but "
            + ("body_only leaves it out" if body_only else f"{model.name} has none")
        )
    steps = requests[0].phase == "decode"
    chooses = generate > 0 or steps or logits == "last"
    positions = logits or ("last" if chooses else "all")
    each = model.head == "lm" or (model.head == "classifier" and model.classify_every)
    requests = in_chunks(model, requests, chunk, every=each and positions == "all")
    requests = with_beams(model, requests, beams, prompt_once)
    choice = choice_of(sample, beams, model.vocab) if chooses or beams != 1 else GREEDY
    if sample != "greedy" and not chooses:
        raise InputError(f"sample = {shown(sample)}: no token is chosen; give generate = tokens")
    return compile_passes(
        model, requests, batch=batch, dtype=dtype, weight_dtype=weight_dtype, logits=positions,
        choice=choice if chooses and model.head == "lm" else None, body_only=body_only,
        expand_latents=expand_latents,
    )  # fmt: skip


def compile_passes(
    model: Model,
    requests: Sequence[Request],
    *,
    batch: int,
    dtype: str,
    weight_dtype: str | None,
    logits: Logits,
    choice: Choice | None,
    body_only: bool = False,
    expand_latents: bool = False,
) -> Program:
    """Each request as a pass; `choice`: how a token is chosen at its end (None: not at all).

    The footprint is that of the passes that need most, with the cache as the last one leaves it.
    """
    kind = arithmetic_dtype("dtype", dtype)
    weight_kind = kind if weight_dtype is None else weight_format(weight_dtype)
    sampled = choice is not None and not body_only
    wanted = Wanted(body_only, sampled, logits, choice or GREEDY, expand_latents)
    step = Step(batch << model.guidance, 1, 0, kind, weight_kind)
    passes = passes_for(model, requests, step, wanted)
    decoded = requests[-1].tokens > 0
    needs = footprint(
        model,
        _extremes(passes).values(),
        batch=batch * requests[-1].rows,
        length=max(p.context + p.tokens for p in ends_of(passes)),
        dtype=kind,
        weight_dtype=weight_kind,
        source=requests[0].source if decoded else 0,
    )
    return Program(model.name, passes, batch, kind, needs)


def _extremes(passes: Sequence[Pass]) -> dict[int, Segment]:
    """The segments of the passes that need most: the first and last prefill, and the last."""
    reading = [p for p in ends_of(passes) if p.phase == "prefill"]
    chosen = (passes[0], *reading[-1:], passes[-1])
    return {id(r.segment): r.segment for p in chosen for r in p.repeats}
