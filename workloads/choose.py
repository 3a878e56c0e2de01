"""How the next token is chosen: greedily, at random among the likeliest, or by beam search."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from workloads import op_counts
from workloads.errors import InputError, nearest, shown
from workloads.moment import Dtype, Moment, Tensor
from workloads.op_counts import choices

if TYPE_CHECKING:
    from workloads.step import Step

Sampling: TypeAlias = Literal["greedy", "top-k", "top-p"]
SAMPLINGS: tuple[Sampling, ...] = ("greedy", "top-k", "top-p")

TOP_K = 50
"""Tokens that top-k keeps: the default of Hugging Face's GenerationConfig."""


@dataclass(frozen=True, slots=True)
class Choice:
    """`sampling` for one token a row; `beams` above 1: beam search instead.

    `every`: a choice at every position rather than at the last (a verified draft).
    """

    sampling: Sampling = "greedy"
    beams: int = 1
    every: bool = False


GREEDY = Choice()


def choice_of(sampling: object, beams: object, vocab: int) -> Choice:
    """The choice that was asked for; InputError for an unknown one, or too many beams."""
    if sampling not in SAMPLINGS:
        hint = nearest(sampling, SAMPLINGS) if isinstance(sampling, str) else ""
        raise InputError(f"sample = {shown(sampling)}: expected {', '.join(SAMPLINGS)}{hint}")
    if isinstance(beams, bool) or not isinstance(beams, int) or beams < 1:
        raise InputError(f"beams = {shown(beams)}: expected a whole number of beams, 1 or more")
    if beams > 1 and sampling != "greedy":
        raise InputError(
            f"beams = {shown(beams)} with sample = {shown(sampling)}: beam search keeps the "
            "likeliest; give one of them"
        )
    if beams > 1 and 2 * beams > vocab:
        raise InputError(
            f"beams = {shown(beams)}: a step keeps 2 x beams candidates of {vocab} tokens"
        )
    return Choice(sampling, beams)


def choice_moments(choice: Choice, step: Step, columns: int) -> list[Moment]:
    """From "logits" to "tokens" (and, with beams, "beam_indices").

    top-k: partial sort of the vocabulary, threshold, softmax, draw. top-p: sort, softmax, running
    sum, back to the order of the vocabulary, threshold, softmax, draw. Beam search:
    log-probabilities, the score of each row's beam added, the 2 x beams best of all beams of a
    sequence, and of these the beams that go on. So do Hugging Face's generate and others, as
    operators of their own. Temperature 1; penalties and other processors are not modelled.
    """
    rows = step.rows if choice.every else step.batch
    if choice.beams > 1:
        return _beams(choice.beams, step, columns)
    if choice.sampling == "greedy":
        return [op_counts.sample("sample", rows=rows, columns=columns, dtype=step.dtype)]
    if choice.sampling == "top-k":
        kept = min(TOP_K, columns)
        found = choices.partial_sort(
            "top_k", rows=rows, columns=columns, chosen=kept, dtype=step.dtype
        )
        return [found, *_drawn(rows, columns, step.dtype, found.writes[0])]
    return _top_p(rows, columns, step.dtype)


def _top_p(rows: int, columns: int, dtype: Dtype) -> list[Moment]:
    found = choices.partial_sort(
        "sort", rows=rows, columns=columns, chosen=columns, dtype=dtype, target="sorted"
    )
    moments = [
        found,
        op_counts.softmax(
            "sorted_softmax", "decode", rows=rows, columns=columns, dtype=dtype, source="sorted",
            target="sorted_probabilities",
        ),
        choices.cumulative(
            "running_sum", rows=rows, columns=columns, dtype=dtype,
            source="sorted_probabilities", target="sorted_kept",
        ),
        op_counts.copy(
            "unsort", "decode", elements=rows * columns, dtype=dtype, source="sorted_kept",
            target="kept",
        ),
    ]  # fmt: skip
    return [*moments, *_drawn(rows, columns, dtype, moments[-1].writes[0])]


def _drawn(rows: int, columns: int, dtype: Dtype, bound: Tensor) -> list[Moment]:
    return [
        choices.threshold(
            "threshold", rows=rows, columns=columns, dtype=dtype, source="logits", bound=bound,
            target="kept_logits",
        ),
        op_counts.softmax(
            "sample_softmax", "decode", rows=rows, columns=columns, dtype=dtype,
            source="kept_logits", target="token_probabilities",
        ),
        choices.draw(
            "sample", rows=rows, columns=columns, dtype=dtype, source="token_probabilities"
        ),
    ]  # fmt: skip


def _beams(beams: int, step: Step, columns: int) -> list[Moment]:
    rows, sequences = step.batch, step.batch // step.beams
    moments = [choices.log_softmax("log_softmax", rows=rows, columns=columns, dtype=step.dtype)]
    source = "log_probabilities"
    if step.beams > 1:
        moments.append(
            op_counts.add(
                "add_beam_scores", "decode", elements=rows * columns, second_elements=rows,
                dtype=step.dtype, sources=(source, "beam_scores"), target="scored",
            )
        )  # fmt: skip
        source = "scored"
    best = choices.partial_sort(
        "top_k", rows=sequences, columns=step.beams * columns, chosen=2 * beams,
        dtype=step.dtype, source=source, target="candidates",
    )  # fmt: skip
    chosen = choices.select_beams(
        "select_beams", rows=sequences, candidates=2 * beams, beams=beams, dtype=step.dtype,
        source="candidates",
    )  # fmt: skip
    return [*moments, best, chosen]
