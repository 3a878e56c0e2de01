"""The last segment of a forward pass: final norm, pooler, head, and the choice of a token."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

from workloads import op_counts
from workloads.choose import GREEDY, Choice, choice_moments
from workloads.denoise import denoised
from workloads.detection import detector
from workloads.embed import table_width
from workloads.moment import Moment, Segment
from workloads.step import Step, norm, projection

if TYPE_CHECKING:
    from workloads.model import Model, Task

Logits: TypeAlias = Literal["all", "last"]


def output_segment(
    model: Model, step: Step, logits: Logits, sampled: bool, choice: Choice = GREEDY
) -> Segment | None:
    """What follows the last layer, or None where nothing does (an encoder without pooler).

    `logits` "last": the language-model head works on the last position of each sequence only
    (the final norm still on every row). `sampled` appends the choice of a token a sequence.
    """
    if model.head == "denoiser":
        return denoised(model, step)
    moments: list[Moment] = []
    source = "hidden"
    if model.final_norm:
        moments.append(
            norm(model, step, "final_norm", "output", source, "normalized", "residual_norm")
        )
        source = "normalized"
    if model.mean_pooling:
        moments.append(_mean(model, step, source))
        source = "mean"
    for task in model.tasks:
        moments += _task(model, step, task, source)
    if model.pooler:
        moments += _pooler(model, step, source)
        # a classifier reads what was pooled; a head over the vocabulary reads every row
        source = "pooled" if model.head == "classifier" else source
    moments += _head(model, step, logits, source)
    if sampled:
        columns = model.adaptive_head or model.vocab
        moments += choice_moments(choice, step, columns)
    return Segment.from_moments("output", moments) if moments else None


def norm_segment(model: Model, step: Step) -> Segment | None:
    """The final norm alone: the end of a pass that is asked for no logits (part of a prompt)."""
    if not model.final_norm:
        return None
    last = norm(model, step, "final_norm", "output", "hidden", "normalized", "residual_norm")
    return Segment.from_moments("output", [last])


def _mean(model: Model, step: Step, source: str) -> Moment:
    return op_counts.mean_rows(
        "mean", "output", rows=step.batch, terms=step.tokens, columns=model.hidden,
        dtype=step.dtype, source=source, target="mean",
    )  # fmt: skip


def _task(model: Model, step: Step, task: Task, source: str) -> list[Moment]:
    """One of several heads on a trunk, from the rows of the last layer."""
    rows = step.rows if task.every else step.batch
    moments = []
    if task.pooler:
        dense = projection(
            step, f"{task.name}_pooler", "output", (model.hidden, model.hidden), True, source,
            f"{task.name}_rows", rows=rows,
        )  # fmt: skip
        source = f"{task.name}_pooled"
        tanh = op_counts.activation(
            f"{task.name}_tanh", "output", function="tanh", elements=rows * model.hidden,
            dtype=step.dtype, source=f"{task.name}_rows", target=source, group="epilogue",
        )  # fmt: skip
        moments = [dense, tanh]
    head = projection(
        step, f"{task.name}_classifier", "output", (model.hidden, task.classes), task.bias, source,
        f"{task.name}_logits", rows=rows,
    )  # fmt: skip
    return [*moments, head]


def _pooler(model: Model, step: Step, source: str) -> list[Moment]:
    """Dense layer and activation (BERT: tanh) on the first position of each sequence, or on all."""
    rows = step.rows if model.pooler_every else step.batch
    return [
        op_counts.linear(
            "pooler",
            "output",
            m=rows,
            n=model.hidden,
            k=model.hidden,
            dtype=step.dtype,
            weight_dtype=step.weight_dtype,
            source=source,
            target="pooler_rows",
        ),
        op_counts.activation(
            "pooler_activation",
            "output",
            function=model.pooler_activation,
            elements=rows * model.hidden,
            dtype=step.dtype,
            source="pooler_rows",
            target="pooled",
            group="epilogue",
        ),
    ]


def _narrow(model: Model, step: Step, rows: int, source: str) -> Moment:
    """Back to the width of the table of tokens (OPT)."""
    widths = (model.hidden, table_width(model))
    return projection(
        step, "output_projection", "output", widths, False, source, "narrowed", rows=rows
    )


def _mask_filler(model: Model, step: Step, source: str) -> list[Moment]:
    """The transform of BERT's head on every row: dense (to the width of the table), norm."""
    width = table_width(model)
    return [
        projection(
            step,
            "head_transform",
            "output",
            (model.hidden, width),
            True,
            source,
            "head_rows",
        ),
        op_counts.activation(
            "head_activation",
            "output",
            function=model.activation,
            elements=step.rows * width,
            dtype=step.dtype,
            source="head_rows",
            target="head_activated",
            group="epilogue",
        ),
        norm(
            model,
            step,
            "head_norm",
            "output",
            "head_activated",
            "head_normalized",
            columns=width,
        ),
    ]


TIED_HEAD = "tied_head"
"""Group of an output matrix that is the table of token embeddings, hence not shrunk with others."""


def head_width(model: Model) -> int:
    """Width of the rows that the last matrix reads."""
    narrow = model.head == "mlm" or model.projection == "tokens"
    return table_width(model) if narrow else model.hidden


def _head(model: Model, step: Step, logits: Logits, source: str) -> list[Moment]:
    """From the rows of the last layer to logits, classes or boxes."""
    if model.head == "detector":
        return detector(model, step, source)
    moments, rows = [], step.rows
    if model.head == "mlm":
        moments = _mask_filler(model, step, source)
        source = "head_normalized"
    elif (model.head == "lm" and logits == "last") or (
        model.head == "classifier" and not model.classify_every
    ):
        rows = step.batch
    if model.projection == "tokens" or (model.adaptive_divisor and model.head == "lm"):
        moments.append(_narrow(model, step, rows, source))
        source = "narrowed"
    return moments if model.head == "none" else [*moments, *_logits(model, step, rows, source)]


def _logits(model: Model, step: Step, rows: int, source: str) -> list[Moment]:
    """The last matrix; tied to the table of embeddings it is stored as the table is."""
    classifier = model.head == "classifier"
    tied = model.tied_embeddings and not classifier
    width = model.classes if classifier else model.adaptive_head or model.vocab
    target = "raw_logits" if model.logit_softcap else "logits"
    matrix = op_counts.linear(
        "classifier" if classifier else "lm_head",
        "output",
        m=rows,
        n=width,
        k=head_width(model),
        dtype=step.dtype,
        weight_dtype=step.dtype if tied else step.weight_dtype,
        bias=model.head_bias,
        source=source,
        target=target,
        group=TIED_HEAD if tied else "",
    )
    if not model.logit_softcap:
        return [matrix]
    capped = op_counts.capped(
        "logit_softcap",
        "output",
        elements=rows * width,
        dtype=step.dtype,
        source=target,
        target="logits",
    )
    return [matrix, capped]
