"""Matrix FLOPs of chunked prompts, beam search and verified drafts against the real modules."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.real_modules import Case, build, counted_flops, ids, torch, transformers
from tests.test_real_flops import SMALL_GPT, SMALL_GROUPED
from workloads import compile_forward
from workloads.speculative import compile_speculative

pytestmark = pytest.mark.real

WINDOW = {**SMALL_GROUPED, "sliding_window": 6}
CASES: list[Case] = [
    ("GPT2LMHeadModel", "GPT2Config", SMALL_GPT),
    ("LlamaForCausalLM", "LlamaConfig", SMALL_GROUPED),
    ("MistralForCausalLM", "MistralConfig", WINDOW),
]


def flops_in_pieces(module: Any, batch: int, pieces: list[int], **options: Any) -> int:
    """Of the module reading one piece after another into its cache."""
    cache = transformers.DynamicCache(config=module.config)
    return sum(
        counted_flops(
            module, input_ids=ids(module, batch, n), past_key_values=cache, use_cache=True,
            **options,
        )
        for n in pieces
    )  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_prompt_in_chunks(case: Case, tmp_path: Path) -> None:
    module, model = build(case, tmp_path)
    program = compile_forward(model, batch=2, prompt=20, chunk=8, logits="all")
    assert program.matrix_flops == flops_in_pieces(module, 2, [8, 8, 4])


@pytest.mark.parametrize("case", CASES[:2], ids=str)
def test_beam_search(case: Case, tmp_path: Path) -> None:
    from torch.utils.flop_counter import FlopCounterMode

    module, model = build(case, tmp_path, device="cpu")
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        module.generate(
            ids(module, 2, 9), attention_mask=ids(module, 2, 9), num_beams=3, do_sample=False,
            max_new_tokens=4, min_new_tokens=4, eos_token_id=98, pad_token_id=0,
        )  # fmt: skip
    program = compile_forward(model, batch=2, prompt=9, generate=4, beams=3, prompt_once=False)
    assert program.matrix_flops == counter.get_total_flops()


@pytest.mark.parametrize("case", CASES[:2], ids=str)
def test_a_draft_is_verified_at_every_position(case: Case, tmp_path: Path) -> None:
    module, model = build(case, tmp_path)
    program = compile_speculative(model, None, prompt=9, generate=4, drafts=2, acceptance=1.0)
    first = counted_flops(module, input_ids=ids(module, 1, 9), logits_to_keep=1)
    verified = flops_in_pieces(module, 1, [9, 3]) - flops_in_pieces(module, 1, [9])
    assert program.matrix_flops == first + verified
