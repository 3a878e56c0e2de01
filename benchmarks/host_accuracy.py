"""Whole models under PyTorch on this machine, beside the prediction of a calibrated profile.

After `moments calibrate --host`: `python -m benchmarks.host_accuracy out/host.toml
out/host-runtime.toml`. Weights are constants, since times do not depend on them; all cases take
turns, and of each the fastest fifth of its repetitions counts, since other programs only add time.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from rich.console import Console
from rich.table import Table

from hardware_profiles import load_profile
from hardware_profiles.variants import with_cores
from simulator import simulate
from simulator.calibrate_host.rounds import Job, Timing, load, timed_rounds
from simulator.runtime import load_runtime
from workloads import compile_forward, load_model


@dataclass(frozen=True)
class Case:
    """One pass: `tokens` read, or one token after `tokens` cached ones where `step`."""

    model: str
    batch: int
    tokens: int
    step: bool = False

    @property
    def label(self) -> str:
        return f"{self.model} b{self.batch} {'after ' if self.step else ''}{self.tokens}"


CASES = (
    Case("bert-base", 1, 16), Case("bert-base", 1, 128), Case("bert-base", 8, 32),
    Case("bert-base", 4, 128), Case("bert-base", 1, 512),
    Case("gpt2", 1, 16), Case("gpt2", 1, 128), Case("gpt2", 4, 64),
    Case("gpt2", 1, 128, True), Case("gpt2", 4, 128, True),
    Case("vit-b-16-224", 1, 197), Case("vit-b-16-224", 4, 197),
    Case("t5-base", 1, 64), Case("t5-base", 4, 32),
    Case("whisper-tiny", 1, 1500), Case("whisper-tiny", 1, 16, True),
    Case("qwen2.5-0.5b", 1, 16), Case("qwen2.5-0.5b", 1, 128), Case("qwen2.5-0.5b", 1, 128, True),
    Case("llama-3.2-1b", 1, 16), Case("llama-3.2-1b", 1, 64), Case("llama-3.2-1b", 1, 64, True),
)  # fmt: skip
_TARGET = 16
"""Tokens that the decoder of an encoder-decoder reads beside the encoder's."""


def module(name: str) -> Any:
    """The model as transformers builds it from a config, with constants for weights."""
    import torch

    hf: Any = import_module("transformers")
    makers: dict[str, Callable[[], Any]] = {
        "bert-base": lambda: hf.BertModel(hf.BertConfig()),
        "gpt2": lambda: hf.GPT2LMHeadModel(hf.GPT2Config()),
        "vit-b-16-224": lambda: hf.ViTForImageClassification(hf.ViTConfig(num_labels=1000)),
        "t5-base": lambda: hf.T5ForConditionalGeneration(
            hf.T5Config(d_model=768, d_ff=3072, num_layers=12, num_heads=12)
        ),
        "whisper-tiny": lambda: hf.WhisperForConditionalGeneration(hf.WhisperConfig()),
        "qwen2.5-0.5b": lambda: hf.Qwen2ForCausalLM(
            hf.Qwen2Config(vocab_size=151936, hidden_size=896, intermediate_size=4864,
                           num_hidden_layers=24, num_attention_heads=14, num_key_value_heads=2,
                           tie_word_embeddings=True)
        ),
        "llama-3.2-1b": lambda: hf.LlamaForCausalLM(
            hf.LlamaConfig(vocab_size=128256, hidden_size=2048, intermediate_size=8192,
                           num_hidden_layers=16, num_attention_heads=32, num_key_value_heads=8,
                           tie_word_embeddings=True)
        ),
    }  # fmt: skip
    with torch.device("meta"):
        built = makers[name]()
    built = built.to_empty(device="cpu").eval()
    built.tie_weights()
    for tensor in (*built.parameters(), *built.buffers()):
        if tensor.is_floating_point():
            tensor.data.fill_(0.01)
        else:
            tensor.data.zero_()
    return built


def call(case: Case, built: Any) -> Callable[[], Any]:
    """One pass of `case`; a step forgets the token again."""
    import torch

    ids = torch.ones(case.batch, case.tokens, dtype=torch.long)
    if case.model.startswith("vit"):
        pixels = torch.rand(case.batch, 3, 224, 224)
        return lambda: built(pixel_values=pixels)
    if case.model.startswith("whisper"):
        sound = torch.rand(case.batch, 80, 3000)
        if not case.step:
            return lambda: built.model.encoder(sound)
        encoded = built.model.encoder(sound)
        return _step(built, ids, encoder_outputs=encoded)
    if case.step:
        return _step(built, ids)
    if case.model.startswith("t5"):
        target = torch.ones(case.batch, _TARGET, dtype=torch.long)
        return lambda: built(input_ids=ids, decoder_input_ids=target)
    return lambda: built(input_ids=ids)


def _step(built: Any, ids: Any, **more: Any) -> Callable[[], Any]:
    name = "decoder_input_ids" if more else "input_ids"
    cache = built(**{name: ids}, use_cache=True, **more).past_key_values

    def run() -> None:
        inputs = {name: ids[:, :1], "past_key_values": cache, **more}
        built(**inputs, use_cache=True).logits[:, -1].argmax(-1)
        cache.crop(-1)

    return run


def predicted_s(case: Case, threads: int, profile: Any, runtime: Any) -> float:
    """The simulator's time for the same pass."""
    request: dict[str, Any] = {"batch": case.batch}
    if case.step:
        request["context"] = case.tokens
    elif not case.model.startswith("whisper"):
        request["prompt"] = case.tokens
    if case.model.startswith("t5"):
        request["target"] = _TARGET
    program = compile_forward(load_model(case.model), **request)
    return simulate(program, with_cores(profile, threads), runtime).latency_s


def measured(
    cases: tuple[Case, ...], threads: list[int], budget_s: float
) -> Iterator[tuple[Job, Timing]]:
    """Timings of all cases with each number of threads."""
    import torch

    with torch.inference_mode():
        built = {name: module(name) for name in dict.fromkeys(case.model for case in cases)}
        calls = {case.label: call(case, built[case.model]) for case in cases}
        jobs = [Job(n, t, run) for t in threads for n, run in calls.items()]
        yield from zip(
            jobs,
            timed_rounds(jobs, budget_s, set_threads=torch.set_num_threads),
            strict=True,
        )


def main() -> None:
    """Measures, predicts and prints; `--csv` keeps the measurements with their conditions."""
    parser = argparse.ArgumentParser(prog="benchmarks.host_accuracy", description=__doc__)
    parser.add_argument("profile")
    parser.add_argument("runtime")
    parser.add_argument("--seconds", type=float, default=240.0)
    parser.add_argument("--models", default="", help="only those with these names, with commas")
    parser.add_argument("--threads", type=int, action="append", help="[1 and all cores]")
    parser.add_argument("--csv")
    options = parser.parse_args()
    profile, runtime = load_profile(options.profile), load_runtime(options.runtime)
    wanted = set(filter(None, options.models.split(",")))
    cases = tuple(case for case in CASES if not wanted or case.model in wanted)
    threads = options.threads or sorted({1, profile.cores.count})
    before, start = load(), time.strftime("%Y-%m-%d %H:%M")
    rows = []
    by_label = {case.label: case for case in cases}
    for job, timing in measured(cases, threads, options.seconds):
        seconds = predicted_s(by_label[job.name], job.threads, profile, runtime)
        rows.append((job, timing, seconds))
    _print(rows)
    said = f"{start}, load {before} before and {load()} after, {profile.title}, {_versions()}"
    Console().print(said, highlight=False)
    if options.csv:
        _write(options.csv, rows, said)


def _versions() -> str:
    import torch
    import transformers

    return f"torch {torch.__version__}, transformers {transformers.__version__}"


def _print(rows: list[tuple[Job, Timing, float]]) -> None:
    table = Table(box=None, padding=(0, 2, 0, 0))
    for heading in ("case", "threads", "predicted ms", "measured ms", "error", "spread", "n"):
        table.add_column(heading, justify="left" if heading == "case" else "right")
    for job, timing, seconds in rows:
        table.add_row(
            job.name, str(job.threads), f"{seconds * 1e3:.1f}", f"{timing.seconds * 1e3:.1f}",
            f"{seconds / timing.seconds - 1:+.1%}", f"{timing.spread:.0%}",
            str(timing.repetitions),
        )  # fmt: skip
    console = Console(width=100)
    console.print(table)
    for threads in sorted({job.threads for job, _, _ in rows}):
        errors = [abs(s / t.seconds - 1) for job, t, s in rows if job.threads == threads]
        console.print(
            f"{threads} threads: median absolute error {statistics.median(errors):.1%}, "
            f"mean {statistics.mean(errors):.1%}"
        )


def _write(path: str, rows: list[tuple[Job, Timing, float]], said: str) -> None:
    with open(path, "w", newline="", encoding="utf-8") as file:
        file.write(f"# {said}\n")
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("case", "threads", "measured_s", "spread", "repetitions", "predicted_s"))
        for job, timing, seconds in rows:
            writer.writerow(
                (job.name, job.threads, f"{timing.seconds:.5g}", f"{timing.spread:.3f}",
                 timing.repetitions, f"{seconds:.5g}")
            )  # fmt: skip


if __name__ == "__main__":
    main()
