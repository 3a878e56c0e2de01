"""A scenario is what `moments run` runs: the same figures, the same words for what was assumed."""

import pytest

from hardware_profiles import load_profile
from simulator import Scenario, simulate
from workloads import InputError, compile_forward, load_model


def test_what_is_not_said_is_filled_in_and_listed() -> None:
    prepared = Scenario("gpt2", "nvidia-a100-sxm4-80gb").prepared()
    assert prepared.assumed == ("--prompt 128", "--dtype fp16", "--runtime pytorch-eager")
    assert prepared.notes[0] == "assumed --prompt 128, --dtype fp16, --runtime pytorch-eager"


def test_it_is_the_run_that_the_parts_give() -> None:
    scenario = Scenario("gpt2", "nvidia-a100-sxm4-80gb", prompt=32, generate=3, dtype="bf16")
    program = compile_forward(load_model("gpt2"), prompt=32, generate=3, dtype="bf16")
    by_hand = simulate(program, load_profile("nvidia-a100-sxm4-80gb"))
    assert scenario.run().cycles == by_hand.cycles


def test_threads_are_cores_of_the_machine() -> None:
    prepared = Scenario("gpt2", "amd-epyc-7763-1s", threads=3).prepared()
    assert prepared.profile.cores.count == 3


def test_a_prompt_and_a_context_exclude_each_other() -> None:
    with pytest.raises(InputError, match="--prompt and --context: give one"):
        Scenario("gpt2", "nvidia-a100-sxm4-80gb", prompt=3, context=4).prepared()
