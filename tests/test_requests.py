"""From options to programs: what goes together, what is filled in, what the runtime decides."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from simulator import Scenario
from simulator.look import request_text
from workloads import InputError

A100 = "nvidia-a100-sxm4-80gb"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"draft": "gpt2", "beams": 2}, "--draft and --beams: .*give one of them"),
        ({"draft": "gpt2", "context": 5}, "--draft and --context: .*give one of them"),
        ({"draft_tokens": 3}, "--draft-tokens 3: says how a draft does; give --draft MODEL too"),
        ({"acceptance": 0.0}, "--acceptance 0.0: says how a draft does"),
        ({"chunk": 5, "context": 5}, "--chunk and --context: a context has been read already"),
        ({"chunk": 0}, "chunk = 0: expected a whole number"),
        ({"overlap": 3}, "--overlap 3: of segments; give --segment-length too"),
        ({"segment_length": 8, "generate": 2}, "--segment-length and --generate: segments are"),
        ({"segment_length": 8, "context": 2}, "--segment-length and --context"),
        ({"segment_length": 8, "chunk": 2}, "--segment-length and --chunk"),
        ({"segment_length": 8, "beams": 2}, "--segment-length and --beams"),
        ({"segment_length": 8, "draft": "gpt2"}, "--segment-length and --draft"),
        ({"segment_length": 8, "sample": "top-k"}, "--segment-length and --sample"),
        ({"tensor_parallel": 2, "beams": 2}, "several devices and --beams"),
        ({"tensor_parallel": 2, "cold": "disk"}, "several devices and --cold"),
        ({"draft": "gtp2", "generate": 3}, 'did you mean "gpt2"'),
    ],
)
def test_what_does_not_go_together(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Scenario("gpt2", A100, **options).prepared()


def test_what_a_draft_is_assumed_to_do_is_listed() -> None:
    options: dict[str, Any] = {"prompt": 10, "generate": 9, "dtype": "fp16", "runtime": "kernel"}
    prepared = Scenario("gpt2-xl", A100, draft="gpt2", **options).prepared()
    assert prepared.assumed == ("--draft-tokens 4", "--acceptance 0.7")
    said = Scenario("gpt2-xl", A100, draft="gpt2", draft_tokens=4, acceptance=0.7, **options)
    assert said.prepared().program == prepared.program
    assert said.without_draft() == Scenario("gpt2-xl", A100, **options)
    assert request_text(prepared.program) == "prompt 10 + 9 generated, batch 1, fp16"


def test_a_chunked_prompt_may_be_spread() -> None:
    run = Scenario("llama-2-7b", A100, prompt=64, generate=2, chunk=16, tensor_parallel=2).run()
    assert [p.chosen for p in run.program.passes] == [0, 0, 0, 1, 1]
    assert run.tokens_per_s == pytest.approx(2 / run.latency_s)
    assert request_text(run.program).startswith("prompt 64 + 2 generated")


def test_a_runtime_may_read_prompts_in_chunks(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(
        'extends = "pytorch-eager"\nname = "mine"\ntitle = "Mine"\nsource = "written by hand"\n'
        "[gpu]\nprefill_chunk = 16\n"
    )
    for prompt, passes in ((16, 1), (40, 3)):
        prepared = Scenario("gpt2", A100, runtime=str(file), prompt=prompt).prepared()
        assert len(prepared.program.passes) == passes
    # what cannot be read in chunks is read whole
    assert len(Scenario("bert-base", A100, runtime=str(file)).prepared().program.passes) == 1
    asked = Scenario("gpt2", A100, runtime=str(file), prompt=40, chunk=20).prepared()
    assert [p.tokens for p in asked.program.passes] == [20, 20]
