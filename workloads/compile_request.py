"""Each request as a pass, those of a generation as one in which the context grows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from workloads.attention import attention_shape
from workloads.backbone import backbone_repeats
from workloads.beams import gather_caches
from workloads.blocks import layer_segment
from workloads.choose import GREEDY, Choice
from workloads.cross import ENCODED
from workloads.detection import with_layer_positions
from workloads.disentangled import beside_first_layer
from workloads.embed import embed_segment
from workloads.growing import Varies, growing
from workloads.layers import LayerKind, layer_runs
from workloads.moment import Moment, Pass, Repeat, Segment, Tensor
from workloads.output import Logits, norm_segment, output_segment
from workloads.passes import Part, Steps, passes_of
from workloads.request import Request, steps_among
from workloads.stages import stage_repeats
from workloads.step import Step

if TYPE_CHECKING:
    from workloads.model import Model


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which part of a forward pass is wanted."""

    body_only: bool
    sampled: bool
    logits: Logits
    choice: Choice = GREEDY
    expand_latents: bool = False


def passes_for(
    model: Model, requests: Sequence[Request], template: Step, part: Wanted
) -> Sequence[Pass]:
    """Each request as a pass; segments that do not depend on the context are shared."""
    known = _Known(model, part)
    parts: list[Part] = []
    for run in steps_among(requests):
        parts += _steps(known, run, template) if len(run) > 1 else [_pass(known, run[0], template)]
    return passes_of(parts)


def _steps(known: _Known, run: Sequence[Request], template: Step) -> list[Part]:
    """Passes that read one position more each, as one as far as they are made alike."""
    found: list[Part] = []
    while run:
        first, count = run[0], len(run)
        while count > 1:
            general = replace(first, context=growing(first.context, 0, count))
            try:
                step = _pass(known, general, template)
                break
            except Varies as varies:
                count = varies.at or 1
        if count == 1:
            found.append(_pass(known, first, template))
        else:
            base, dot, number = first.name.rpartition(".")
            found.append(Steps(replace(step, name=base + dot), count, int(number)))
        run = run[count:]
    return found


def _pass(known: _Known, request: Request, template: Step) -> Pass:
    model, part = known.model, known.part
    step = replace(
        template,
        batch=template.batch * request.rows,
        tokens=request.tokens,
        context=request.context,
        source=request.source,
        crosses=request.encodes,
        beams=request.rows,
        gathers=request.gathers,
        absorbs=request.phase == "decode" and not part.expand_latents,
    )
    repeats: list[Repeat] = []
    if request.encodes and model.encoder is not None:
        reading = replace(template, tokens=request.source)
        repeats += _encoder_repeats(model.encoder, reading, part)
    if request.tokens:
        repeats += known.repeats(step, ends=request.ends)
    # what is read of an image is its features, not the queries for objects
    tokens = request.source if model.queries else request.tokens or request.source
    chosen = int(part.sampled and request.ends)
    return Pass(request.name, request.phase, tokens, request.context, tuple(repeats), chosen)


def _encoder_repeats(encoder: Model, step: Step, part: Wanted) -> list[Repeat]:
    """The encoder's segments under names of their own, from "source_tokens" to "encoded"."""
    own = _Known(encoder, replace(part, sampled=False, logits="all"))
    renamed: dict[int, Segment] = {}
    repeats = []
    for repeat in own.repeats(step):
        key = id(repeat.segment)
        if key not in renamed:
            renamed[key] = _as_encoder(repeat.segment)
        repeats.append(replace(repeat, segment=renamed[key]))
    return repeats


_ENCODER_NAMES = {"hidden": ENCODED, "normalized": ENCODED, "tokens": "source_tokens"}


def _as_encoder(segment: Segment) -> Segment:
    def named(tensors: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return tuple(replace(t, name=_ENCODER_NAMES.get(t.name, t.name)) for t in tensors)

    def moved(moment: Moment) -> Moment:
        return replace(moment, reads=named(moment.reads), writes=named(moment.writes))

    moments = tuple(moved(moment) for moment in segment.moments)
    return Segment(f"encoder_{segment.name}", moments, segment.edges)


class _Known:
    """The segments of one model made so far: one object for each that is the same."""

    def __init__(self, model: Model, part: Wanted) -> None:
        self.model, self.part = model, part
        self.runs = layer_runs(model)
        self.ends: dict[tuple[object, ...], tuple[Segment | None, Segment | None]] = {}
        self.layers: dict[tuple[object, ...], Segment] = {}

    def repeats(self, step: Step, *, ends: bool = True) -> list[Repeat]:
        """All segments of one step in order; without `ends` no head follows the last layer."""
        if self.model.depths:
            return self._stages(step)
        first, last = self._ends(step, ends)
        found = [*backbone_repeats(self.model, step), Repeat(first)] if first else []
        start = len(found)
        for run in self.runs:
            key = (run.kind, step.tokens, attention_shape(self.model, step, run.kind).kv_len,
                   step.crosses, step.beams, step.gathers)  # fmt: skip
            if key not in self.layers:
                self.layers[key] = self._layer(step, run.kind)
            number = run.first if len(self.runs) > 1 else None
            found.append(Repeat(self.layers[key], run.count, number))
        if self.model.convolution_kernel:
            found[start:] = beside_first_layer(self.model, step, found[start:])
        if self.model.layer_positions:
            found[start:] = with_layer_positions(self.model, step, found[start:])
        return [*found, Repeat(last)] if last else found

    def _layer(self, step: Step, kind: LayerKind) -> Segment:
        segment = layer_segment(self.model, step, kind)
        return gather_caches(self.model, step, kind, segment) if step.gathers else segment

    def _stages(self, step: Step) -> list[Repeat]:
        found, model, last_step = stage_repeats(self.model, step, self.part.body_only)
        if self.part.body_only:
            return found
        last = output_segment(model, last_step, self.part.logits, sampled=False)
        return [*found, Repeat(last)] if last else found

    def _ends(self, step: Step, ends: bool) -> tuple[Segment | None, Segment | None]:
        if self.part.body_only:
            return None, None
        # only a table of distances makes the embedding depend on the context
        context = step.context if self.model.positions == "bias" else 0
        key = (step.tokens, context, step.beams, ends)
        if key not in self.ends:
            part = self.part
            last = (
                output_segment(self.model, step, part.logits, part.sampled, part.choice)
                if ends
                else norm_segment(self.model, step)
            )
            self.ends[key] = (embed_segment(self.model, step), last)
        return self.ends[key]
