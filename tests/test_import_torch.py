"""torch modules as programs, against torch's own counters and the models that are bundled."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest

from hardware_profiles import load_profile
from simulator import simulate
from tests.real_modules import counted_flops, counted_parameters, torch, transformers
from workloads import InputError, compile_forward, from_onnx, from_torch, load_model
from workloads.importers.imported.program import Imported
from workloads.moment import Moment

pytestmark = pytest.mark.real

SMALL = {
    "hidden_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 80,
    "vocab_size": 99,
    "max_position_embeddings": 40,
}
VIT = {k: v for k, v in SMALL.items() if k not in ("vocab_size", "max_position_embeddings")}
T5 = {"d_model": 48, "d_kv": 12, "d_ff": 80, "num_layers": 3, "num_heads": 4, "vocab_size": 99}
WHISPER = {
    "d_model": 48, "encoder_layers": 3, "encoder_attention_heads": 4, "encoder_ffn_dim": 80,
    "vocab_size": 99, "max_source_positions": 50, "num_mel_bins": 16, "pad_token_id": 0,
    "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 1,
}  # fmt: skip
CASES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "bert": ("BertModel", "BertConfig", SMALL),
    "gpt2": (
        "GPT2LMHeadModel",
        "GPT2Config",
        {"n_embd": 48, "n_layer": 3, "n_head": 4, "vocab_size": 99, "n_positions": 40,
         "bos_token_id": 1, "eos_token_id": 2, "use_cache": False},
    ),
    "llama": (
        "LlamaForCausalLM",
        "LlamaConfig",
        {**SMALL, "num_key_value_heads": 2, "use_cache": False},
    ),
    "vit": ("ViTModel", "ViTConfig", {**VIT, "image_size": 32, "patch_size": 8}),
    "t5": ("T5EncoderModel", "T5Config", T5),
    "whisper": ("WhisperModel", "WhisperConfig", WHISPER),
}  # fmt: skip


def module_and_inputs(
    name: str, attention: str = "sdpa", device: str = "meta"
) -> tuple[Any, dict[str, Any]]:
    architecture, config_class, changes = CASES[name]
    config = getattr(transformers, config_class)(**changes)
    config._attn_implementation = attention
    with torch.device(device):
        module = getattr(transformers, architecture)(config).eval()
    if name == "whisper":
        return module.encoder, {"input_features": torch.ones((2, 16, 100), device=device)}
    if name == "vit":
        return module, {"pixel_values": torch.ones((2, 3, 32, 32), device=device)}
    return module, {"input_ids": torch.ones((2, 8), dtype=torch.long, device=device)}


@cache
def imported_case(name: str, attention: str) -> Imported:
    module, inputs = module_and_inputs(name, attention)
    return from_torch(module, (), inputs)


def moments(imported: Imported) -> list[Moment]:
    return [m for r in imported.program.passes[0].repeats for m in r.segment.moments]


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("name", CASES)
def test_flops_and_parameters_are_those_that_torch_counts(name: str, attention: str) -> None:
    imported = imported_case(name, attention)
    eager, same = module_and_inputs(name, "eager", "cpu")
    assert imported.program.matrix_flops == counted_flops(eager, **same)
    assert imported.parameters == counted_parameters(eager)
    assert imported.unknown == ""


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("name", CASES)
def test_layers_repeat_and_their_cores_are_found(name: str, attention: str) -> None:
    imported = imported_case(name, attention)
    repeats = imported.program.passes[0].repeats
    layer = max(repeats, key=lambda r: r.count)
    # T5's first layer computes the bias of positions that the others take over
    assert layer.count == (2 if name == "t5" else 3)
    core = [m.kind for m in layer.segment.moments if m.group == "core"]
    assert core == ["matmul", "softmax", "matmul"]
    assert {m.stage for m in layer.segment.moments} == {"attention", "feed_forward"}


def test_norms_and_rotations_that_are_written_out_are_found_again() -> None:
    layer = imported_case("llama", "sdpa").program.passes[0].repeats[1].segment
    kinds = [m.kind for m in layer.moments]
    assert (kinds.count("rms_norm"), kinds.count("rope"), kinds.count("silu")) == (2, 2, 1)
    assert [m.group for m in layer.moments].count("gate_up") == 2


@pytest.fixture(scope="module")
def bert_base() -> Imported:
    with torch.device("meta"):
        module = transformers.BertModel(transformers.BertConfig()).eval()
        inputs = {"input_ids": torch.ones((1, 128), dtype=torch.long)}
    return from_torch(module, (), inputs, name="bert-base")


def test_bert_base_is_the_bundled_model(bert_base: Imported) -> None:
    bundled = compile_forward(load_model("bert-base"), prompt=128)
    program = bert_base.program
    assert [(r.count, len(r.segment.moments)) for r in program.passes[0].repeats] == [
        (r.count, len(r.segment.moments)) for r in bundled.passes[0].repeats
    ]
    assert program.matrix_flops == bundled.matrix_flops
    assert bert_base.parameters == load_model("bert-base").parameters == 109_482_240
    # the module also keeps its 512 position numbers, of 8 bytes each
    buffers = 512 * 8
    assert program.footprint.weight_bytes == bundled.footprint.weight_bytes + buffers


@pytest.mark.parametrize(
    ("machine", "runtime"),
    [
        ("amd-epyc-7763-1s", "pytorch-eager"),
        ("amd-epyc-7763-1s", "onnxruntime"),
        ("nvidia-a100-sxm4-80gb", "pytorch-cuda-graphs"),
        ("nvidia-a100-sxm4-80gb", "tensorrt"),
    ],
)
def test_bert_base_takes_as_long_as_the_bundled_model(
    bert_base: Imported, machine: str, runtime: str
) -> None:
    profile = load_profile(machine)
    bundled = simulate(compile_forward(load_model("bert-base"), prompt=128), profile, runtime)
    imported = simulate(bert_base.program, profile, runtime)
    assert imported.latency_s == pytest.approx(bundled.latency_s, rel=0.01)


def test_tied_weights_are_one() -> None:
    class Tied(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.table = torch.nn.Embedding(50, 8)
            self.head = torch.nn.Linear(8, 50, bias=False)
            self.head.weight = self.table.weight

        def forward(self, ids: Any) -> Any:
            return self.head(self.table(ids))

    imported = from_torch(Tied(), (torch.zeros((2, 3), dtype=torch.long),))
    assert (imported.parameters, imported.program.footprint.weight_bytes) == (400, 1600)


def test_copies_are_those_that_torch_makes() -> None:
    class Turn(torch.nn.Module):  # type: ignore[misc]
        def forward(self, x: Any) -> Any:
            return x.transpose(1, 2).reshape(2, -1).reshape(4, -1)  # the first copies

    (moment,) = moments(from_torch(Turn(), (torch.zeros(2, 3, 4),)))
    assert (moment.kind, moment.read_bytes, moment.write_bytes) == ("copy", 96, 96)


def test_in_place_operations_count_and_the_next_ones_follow_them() -> None:
    class Grow(torch.nn.Module):  # type: ignore[misc]
        def forward(self, x: Any) -> Any:
            y = x + 1
            y.mul_(2)
            return torch.exp(y)

    imported = from_torch(Grow(), (torch.zeros(8),))
    segment = imported.program.passes[0].repeats[0].segment
    assert [m.counts.vector_ops + m.counts.special_ops for m in segment.moments] == [8, 8, 8]
    assert segment.edges == ((0, 1), (1, 2))


class Strange(torch.nn.Module):  # type: ignore[misc]
    def forward(self, x: Any) -> Any:
        return torch.linalg.cholesky_ex(x)[0] + torch.linalg.cholesky_ex(x * 2)[0]


def test_unknown_operators_are_listed_all_at_once() -> None:
    with pytest.raises(InputError, match=r"linalg_cholesky_ex \(2 x, such as"):
        from_torch(Strange(), (torch.eye(4),))
    imported = from_torch(Strange(), (torch.eye(4),), unknown="as-copy")
    assert "linalg_cholesky_ex" in imported.program.notes[0]


def test_what_torch_cannot_trace() -> None:
    class Branch(torch.nn.Module):  # type: ignore[misc]
        def forward(self, x: Any) -> Any:
            return x if x.sum() > 0 else -x

    with pytest.raises(InputError, match=r"Branch: torch\.export cannot trace it: "):
        from_torch(Branch(), (torch.zeros(3),))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", CASES)
def test_the_onnx_file_of_a_module_has_the_flops_of_the_module(name: str, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript", reason="needs onnxscript to export")
    module, inputs = module_and_inputs(name, device="cpu")
    file = tmp_path / f"{name}.onnx"
    torch.onnx.export(
        module,
        (),
        str(file),
        kwargs=inputs,
        dynamo=name != "t5",  # whose relative positions only the older exporter takes
        opset_version=18,
        verbose=False,
    )
    imported = from_onnx(file)
    assert imported.program.matrix_flops == from_torch(module, (), inputs).program.matrix_flops
    most = max(r.count for r in imported.program.passes[0].repeats)
    assert most == (2 if name == "t5" else 3)


def test_a_decode_step_appends_to_the_cache_and_counts_as_the_bundled_family() -> None:
    config = transformers.LlamaConfig(**{**SMALL, "num_key_value_heads": 2})
    with torch.device("meta"):
        model = transformers.LlamaForCausalLM(config).eval()
        past = [(torch.zeros(2, 2, 9, 12), torch.zeros(2, 2, 9, 12)) for _ in range(3)]
        ids = torch.ones((2, 1), dtype=torch.long)

    class Step(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, ids: Any, past_key_values: Any) -> Any:
            cache = transformers.DynamicCache(config=config)
            for i, (key, value) in enumerate(past_key_values):
                cache.update(key, value, i)
            return self.model(input_ids=ids, past_key_values=cache, use_cache=True).logits

    imported = from_torch(Step(), (ids, past))
    rows, hidden, inner = 2, 48, 80
    matrices = 2 * hidden * hidden + 2 * hidden * hidden // 2 + 3 * hidden * inner
    core = 2 * 2 * 10 * hidden  # scores and context of 2 sequences, 10 positions
    assert imported.program.counts.macs == 3 * (rows * matrices + core) + rows * hidden * 99
    # 3 layers, keys and values, 2 sequences x 2 heads x 10 positions x 12, fp32
    assert imported.program.footprint.kv_cache_bytes == 3 * 2 * 2 * 2 * 10 * 12 * 4
    layer = max(imported.program.passes[0].repeats, key=lambda r: r.count)
    assert layer.count == 3
    assert [m.kind for m in layer.segment.moments].count("cache_append") == 2
    assert (imported.program.passes[0].tokens, imported.program.passes[0].context) == (1, 9)
