"""The groups of whole passes that accuracy is followed by."""

from __future__ import annotations

from typing import Literal

ForwardGroup = Literal[
    "whole forward on GPUs and other accelerators",
    "language models on GPUs and Apple chips: prefill and decode",
    "whole forward on CPUs",
]

ON_GPU: ForwardGroup = "whole forward on GPUs and other accelerators"
LANGUAGE: ForwardGroup = "language models on GPUs and Apple chips: prefill and decode"
ON_CPU: ForwardGroup = "whole forward on CPUs"

FORWARD_GROUPS: tuple[ForwardGroup, ...] = (ON_GPU, LANGUAGE, ON_CPU)


def forward_group(hardware: str, kind: str, *, causal: bool) -> ForwardGroup:
    """The group of a pass on a device of that kind; `causal`: of a model that generates text.

    Language models on Apple's chips count with those on GPUs, whichever part of the chip runs them.
    """
    if causal and (kind == "gpu" or hardware.startswith("apple-")):
        return LANGUAGE
    return ON_CPU if kind == "cpu" else ON_GPU
