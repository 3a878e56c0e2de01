"""The config of each bundled model as its publisher has it: what differs from transformers' own."""

from __future__ import annotations

from typing import Any

Published = tuple[str, str, dict[str, Any]]  # class of module, class of config, its changes


def grouped(*sizes: int, **more: Any) -> dict[str, Any]:
    """Layers, hidden, heads, key-value heads, intermediate, vocabulary, positions."""
    names = (
        "num_hidden_layers",
        "hidden_size",
        "num_attention_heads",
        "num_key_value_heads",
        "intermediate_size",
        "vocab_size",
        "max_position_embeddings",
    )
    return {**dict(zip(names, sizes, strict=False)), **more}


def encoder(*sizes: int, **more: Any) -> dict[str, Any]:
    """Layers, hidden, heads, intermediate."""
    names = ("num_hidden_layers", "hidden_size", "num_attention_heads", "intermediate_size")
    return {**dict(zip(names, sizes, strict=True)), **more}


def gpt2(*sizes: int) -> Published:
    names = ("n_layer", "n_embd", "n_head", "n_positions")
    return "GPT2LMHeadModel", "GPT2Config", dict(zip(names, sizes, strict=False))


def opt(layers: int, hidden: int, heads: int, **more: Any) -> Published:
    changes = encoder(layers, hidden, heads, 4 * hidden, **more)
    changes["ffn_dim"] = changes.pop("intermediate_size")
    changes.setdefault("word_embed_proj_dim", hidden)
    return "OPTForCausalLM", "OPTConfig", changes


def neox(layers: int, hidden: int, heads: int, vocab: int, **more: Any) -> Published:
    changes = encoder(layers, hidden, heads, 4 * hidden, vocab_size=vocab, **more)
    return "GPTNeoXForCausalLM", "GPTNeoXConfig", changes


def bloom(layers: int, hidden: int, heads: int) -> Published:
    changes = {"n_layer": layers, "hidden_size": hidden, "n_head": heads}
    return "BloomForCausalLM", "BloomConfig", changes


def decoder(name: str, *sizes: int, **more: Any) -> Published:
    return f"{name}ForCausalLM", f"{name}Config", grouped(*sizes, **more)


def rotated(part: float) -> dict[str, Any]:
    return {"rope_type": "default", "rope_theta": 1e4, "partial_rotary_factor": part}


def gemma3(*sizes: int, **more: Any) -> Published:
    return "Gemma3ForCausalLM", "Gemma3TextConfig", grouped(*sizes, **more)


def vit(*sizes: int, **more: Any) -> Published:
    return "ViTForImageClassification", "ViTConfig", encoder(*sizes, num_labels=1000, **more)


def swin(width: int, depths: list[int], heads: int, **more: Any) -> Published:
    numbers = [heads << i for i in range(4)]
    changes = {"embed_dim": width, "depths": depths, "num_heads": numbers, "num_labels": 1000}
    return "SwinForImageClassification", "SwinConfig", {**changes, **more}


def swinv2(width: int, depths: list[int], heads: int, side: int, image: int = 256) -> Published:
    _, _, changes = swin(width, depths, heads, window_size=side, image_size=image)
    return "Swinv2ForImageClassification", "Swinv2Config", changes


TIED = {"tie_word_embeddings": True}
UNTIED = {"tie_word_embeddings": False}

ENCODERS: dict[str, Published] = {
    "bert-base": ("BertModel", "BertConfig", {}),
    "bert-large": ("BertModel", "BertConfig", encoder(24, 1024, 16, 4096)),
    "roberta-base": (
        "RobertaModel",
        "RobertaConfig",
        {"max_position_embeddings": 514, "type_vocab_size": 1},
    ),
    "roberta-large": (
        "RobertaModel",
        "RobertaConfig",
        encoder(24, 1024, 16, 4096, max_position_embeddings=514, type_vocab_size=1),
    ),
    "electra-small": ("ElectraForPreTraining", "ElectraConfig", {}),
    "electra-base": (
        "ElectraForPreTraining",
        "ElectraConfig",
        encoder(12, 768, 12, 3072, embedding_size=768),
    ),
    "electra-large": (
        "ElectraForPreTraining",
        "ElectraConfig",
        encoder(24, 1024, 16, 4096, embedding_size=1024),
    ),
    "albert-base-v2": ("AlbertModel", "AlbertConfig", encoder(12, 768, 12, 3072)),
    "albert-large-v2": ("AlbertModel", "AlbertConfig", encoder(24, 1024, 16, 4096)),
    "albert-xlarge-v2": ("AlbertModel", "AlbertConfig", encoder(24, 2048, 16, 8192)),
    "albert-xxlarge-v2": ("AlbertModel", "AlbertConfig", {}),
    "longformer-base-4096": (
        "LongformerModel",
        "LongformerConfig",
        {"vocab_size": 50265, "max_position_embeddings": 4098, "type_vocab_size": 1},
    ),
    "longformer-large-4096": (
        "LongformerModel",
        "LongformerConfig",
        encoder(
            24,
            1024,
            16,
            4096,
            vocab_size=50265,
            max_position_embeddings=4098,
            type_vocab_size=1,
        ),
    ),
    "xlnet-base": (
        "XLNetLMHeadModel",
        "XLNetConfig",
        {"d_model": 768, "n_layer": 12, "n_head": 12, "d_inner": 3072},
    ),
    "xlnet-large": ("XLNetLMHeadModel", "XLNetConfig", {}),
    "distilbert-base": ("DistilBertModel", "DistilBertConfig", {}),
}
VISION: dict[str, Published] = {
    "vit-b-16-224": vit(12, 768, 12, 3072),
    "vit-b-16-384": vit(12, 768, 12, 3072, image_size=384),
    "vit-b-32-224": vit(12, 768, 12, 3072, patch_size=32),
    "vit-b-32-384": vit(12, 768, 12, 3072, image_size=384, patch_size=32),
    "vit-l-16-224": vit(24, 1024, 16, 4096),
    "vit-l-16-384": vit(24, 1024, 16, 4096, image_size=384),
    "vit-l-32-384": vit(24, 1024, 16, 4096, image_size=384, patch_size=32),
    "vit-h-14-224": vit(32, 1280, 16, 5120, patch_size=14),
    "swin-tiny": swin(96, [2, 2, 6, 2], 3),
    "swin-small": swin(96, [2, 2, 18, 2], 3),
    "swin-base": swin(128, [2, 2, 18, 2], 4),
    "swin-base-384": swin(128, [2, 2, 18, 2], 4, image_size=384, window_size=12),
    "swin-large": swin(192, [2, 2, 18, 2], 6),
    "swin-v2-tiny-win8-256": swinv2(96, [2, 2, 6, 2], 3, 8),
    "swin-v2-tiny-win16-256": swinv2(96, [2, 2, 6, 2], 3, 16),
    "swin-v2-small-win8-256": swinv2(96, [2, 2, 18, 2], 3, 8),
    "swin-v2-base-win8-256": swinv2(128, [2, 2, 18, 2], 4, 8),
    "deit-ti-16-224": vit(12, 192, 3, 768),
    "deit-s-16-224": vit(12, 384, 6, 1536),
    "deit-b-16-224": vit(12, 768, 12, 3072),
    "deit-b-16-384": vit(12, 768, 12, 3072, image_size=384),
    "deit-b-distilled-16-224": (
        "DeiTForImageClassification",
        "DeiTConfig",
        {"num_labels": 1000},
    ),
    "deit-b-distilled-16-384": (
        "DeiTForImageClassification",
        "DeiTConfig",
        {"num_labels": 1000, "image_size": 384},
    ),
}
DECODERS: dict[str, Published] = {
    "gpt2": gpt2(),
    "gpt2-medium": gpt2(24, 1024, 16),
    "gpt2-large": gpt2(36, 1280, 20),
    "gpt2-xl": gpt2(48, 1600, 25),
    "gpt-3-125m": gpt2(12, 768, 12, 2048),
    "gpt-3-350m": gpt2(24, 1024, 16, 2048),
    "gpt-3-760m": gpt2(24, 1536, 16, 2048),
    "gpt-3-1.3b": gpt2(24, 2048, 16, 2048),
    "gpt-3-2.7b": gpt2(32, 2560, 32, 2048),
    "gpt-3-6.7b": gpt2(32, 4096, 32, 2048),
    "gpt-3-13b": gpt2(40, 5120, 40, 2048),
    "gpt-3-175b": gpt2(96, 12288, 96, 2048),
    "gpt-j-6b": ("GPTJForCausalLM", "GPTJConfig", {}),
    "gpt-neox-20b": ("GPTNeoXForCausalLM", "GPTNeoXConfig", {"hidden_act": "gelu_fast"}),
    "pythia-70m": neox(6, 512, 8, 50304),
    "pythia-160m": neox(12, 768, 12, 50304),
    "pythia-410m": neox(24, 1024, 16, 50304),
    "pythia-1b": neox(16, 2048, 8, 50304),
    "pythia-1.4b": neox(24, 2048, 16, 50304),
    "pythia-2.8b": neox(32, 2560, 32, 50304),
    "pythia-6.9b": neox(32, 4096, 32, 50432),
    "pythia-12b": neox(36, 5120, 40, 50688),
    "opt-125m": opt(12, 768, 12),
    "opt-350m": opt(24, 1024, 16, word_embed_proj_dim=512, do_layer_norm_before=False),
    "opt-1.3b": opt(24, 2048, 32),
    "opt-2.7b": opt(32, 2560, 32),
    "opt-6.7b": opt(32, 4096, 32),
    "opt-13b": opt(40, 5120, 40),
    "opt-30b": opt(48, 7168, 56),
    "opt-66b": opt(64, 9216, 72),
    "opt-175b": opt(96, 12288, 96),
    "bloom-560m": bloom(24, 1024, 16),
    "bloom-1b1": bloom(24, 1536, 16),
    "bloom-1b7": bloom(24, 2048, 16),
    "bloom-3b": bloom(30, 2560, 32),
    "bloom-7b1": bloom(30, 4096, 32),
    "bloom-176b": bloom(70, 14336, 112),
    "falcon-7b": ("FalconForCausalLM", "FalconConfig", {}),
    "falcon-40b": (
        "FalconForCausalLM",
        "FalconConfig",
        {
            "num_hidden_layers": 60,
            "hidden_size": 8192,
            "num_attention_heads": 128,
            "num_kv_heads": 8,
            "new_decoder_architecture": True,
        },
    ),
    "falcon-180b": (
        "FalconForCausalLM",
        "FalconConfig",
        {
            "num_hidden_layers": 80,
            "hidden_size": 14848,
            "num_attention_heads": 232,
            "num_kv_heads": 8,
            "new_decoder_architecture": True,
        },
    ),
    "phi-1.5": decoder("Phi", 24, 2048, 32, 32, 8192, 51200, 2048, rope_parameters=rotated(0.5)),
    "phi-2": decoder("Phi", 32, 2560, 32, 32, 10240, 51200, 2048, rope_parameters=rotated(0.4)),
    "phi-3-mini-4k": decoder("Phi3", 32, 3072, 32, 32, 8192, 32064, 4096, sliding_window=2047),
    "phi-3-medium-4k": decoder("Phi3", 40, 5120, 40, 10, 17920, 32064, 4096, sliding_window=2047),
    "phi-4": decoder("Phi3", 40, 5120, 40, 10, 17920, 100352, 16384),
    "stablelm-3b-4e1t": decoder("StableLm", 32, 2560, 32, 32, 6912, 50304, 4096),
    "stablelm-2-1.6b": decoder("StableLm", 24, 2048, 32, 32, 5632, 100352, 4096, use_qkv_bias=True),
    "starcoder2-3b": decoder(
        "Starcoder2", 30, 3072, 24, 2, 12288, 49152, 16384, sliding_window=4096
    ),
    "starcoder2-7b": decoder(
        "Starcoder2", 32, 4608, 36, 4, 18432, 49152, 16384, sliding_window=4096
    ),
    "starcoder2-15b": decoder(
        "Starcoder2", 40, 6144, 48, 4, 24576, 49152, 16384, sliding_window=4096, **UNTIED
    ),
    "olmo-2-1b": decoder("Olmo2", 16, 2048, 16, 16, 8192, 100352, 4096),
    "olmo-2-7b": decoder("Olmo2", 32, 4096, 32, 32, 11008, 100352, 4096),
    "olmo-2-13b": decoder("Olmo2", 40, 5120, 40, 40, 13824, 100352, 4096),
    "olmo-2-32b": decoder("Olmo2", 64, 5120, 40, 8, 27648, 100352, 4096),
    "tiny-llama-1.1b": decoder("Llama", 22, 2048, 32, 4, 5632, 32000, 2048),
    "llama-7b": decoder("Llama", 32, 4096, 32, 32, 11008, 32000, 2048),
    "llama-13b": decoder("Llama", 40, 5120, 40, 40, 13824, 32000, 2048),
    "llama-30b": decoder("Llama", 60, 6656, 52, 52, 17920, 32000, 2048),
    "llama-65b": decoder("Llama", 80, 8192, 64, 64, 22016, 32000, 2048),
    "llama-2-7b": decoder("Llama", 32, 4096, 32, 32, 11008, 32000, 4096),
    "llama-2-13b": decoder("Llama", 40, 5120, 40, 40, 13824, 32000, 4096),
    "llama-2-70b": decoder("Llama", 80, 8192, 64, 8, 28672, 32000, 4096),
    "llama-3-8b": decoder("Llama", 32, 4096, 32, 8, 14336, 128256, 8192),
    "llama-3-70b": decoder("Llama", 80, 8192, 64, 8, 28672, 128256, 8192),
    "llama-3.1-8b": decoder("Llama", 32, 4096, 32, 8, 14336, 128256, 131072),
    "llama-3.1-70b": decoder("Llama", 80, 8192, 64, 8, 28672, 128256, 131072),
    "llama-3.1-405b": decoder("Llama", 126, 16384, 128, 8, 53248, 128256, 131072),
    "llama-3.2-1b": decoder("Llama", 16, 2048, 32, 8, 8192, 128256, 131072, **TIED),
    "llama-3.2-3b": decoder("Llama", 28, 3072, 24, 8, 8192, 128256, 131072, **TIED),
    "llama-3.3-70b": decoder("Llama", 80, 8192, 64, 8, 28672, 128256, 131072),
    "mistral-7b": decoder("Mistral", 32, 4096, 32, 8, 14336, 32000, 32768),
    "mistral-nemo-12b": decoder(
        "Mistral", 40, 5120, 32, 8, 14336, 131072, 131072, head_dim=128, sliding_window=None
    ),
    "qwen2-0.5b": decoder("Qwen2", 24, 896, 14, 2, 4864, 151936, 131072, **TIED),
    "qwen2-1.5b": decoder("Qwen2", 28, 1536, 12, 2, 8960, 151936, 131072, **TIED),
    "qwen2-7b": decoder("Qwen2", 28, 3584, 28, 4, 18944, 152064, 131072),
    "qwen2-72b": decoder("Qwen2", 80, 8192, 64, 8, 29568, 152064, 131072),
    "qwen2.5-0.5b": decoder("Qwen2", 24, 896, 14, 2, 4864, 151936, 32768, **TIED),
    "qwen2.5-1.5b": decoder("Qwen2", 28, 1536, 12, 2, 8960, 151936, 131072, **TIED),
    "qwen2.5-3b": decoder("Qwen2", 36, 2048, 16, 2, 11008, 151936, 32768, **TIED),
    "qwen2.5-7b": decoder("Qwen2", 28, 3584, 28, 4, 18944, 152064, 131072),
    "qwen2.5-14b": decoder("Qwen2", 48, 5120, 40, 8, 13824, 152064, 131072),
    "qwen2.5-32b": decoder("Qwen2", 64, 5120, 40, 8, 27648, 152064, 131072),
    "qwen2.5-72b": decoder("Qwen2", 80, 8192, 64, 8, 29568, 152064, 131072),
    "qwen3-0.6b": decoder("Qwen3", 28, 1024, 16, 8, 3072, 151936, 40960, **TIED),
    "qwen3-1.7b": decoder("Qwen3", 28, 2048, 16, 8, 6144, 151936, 40960, **TIED),
    "qwen3-4b": decoder("Qwen3", 36, 2560, 32, 8, 9728, 151936, 40960, **TIED),
    "qwen3-8b": decoder("Qwen3", 36, 4096, 32, 8, 12288, 151936, 40960),
    "qwen3-14b": decoder("Qwen3", 40, 5120, 40, 8, 17408, 151936, 40960),
    "qwen3-32b": decoder("Qwen3", 64, 5120, 64, 8, 25600, 151936, 40960),
    "gemma-2b": decoder("Gemma", 18, 2048, 8, 1, 16384, 256000, 8192),
    "gemma-7b": decoder("Gemma", 28, 3072, 16, 16, 24576, 256000, 8192),
    "gemma-2-2b": decoder("Gemma2", 26, 2304, 8, 4, 9216, 256000, 8192),
    "gemma-2-9b": decoder("Gemma2", 42, 3584, 16, 8, 14336, 256000, 8192),
    "gemma-2-27b": decoder("Gemma2", 46, 4608, 32, 16, 36864, 256000, 8192, head_dim=128),
    "gemma-3-270m": gemma3(18, 640, 4, 1, 2048, 262144, 32768, sliding_window=512),
    "gemma-3-1b": gemma3(26, 1152, 4, 1, 6912, 262144, 32768, sliding_window=512),
    "gemma-3-4b": gemma3(34, 2560, 8, 4, 10240, 262208, 131072, sliding_window=1024),
    "gemma-3-12b": gemma3(48, 3840, 16, 8, 15360, 262208, 131072, sliding_window=1024),
    "gemma-3-27b": gemma3(
        62, 5376, 32, 16, 21504, 262208, 131072, sliding_window=1024, head_dim=128
    ),
}
EXPERTS: dict[str, Published] = {
    "mixtral-8x7b": decoder("Mixtral", 32, 4096, 32, 8, 14336, 32000, 32768),
    "mixtral-8x22b": decoder("Mixtral", 56, 6144, 48, 8, 16384, 32768, 65536),
    "qwen3-30b-a3b": decoder("Qwen3Moe", 48, 2048, 32, 4, 6144, 151936, 40960, head_dim=128),
    "qwen3-235b-a22b": decoder(
        "Qwen3Moe", 94, 4096, 64, 4, 12288, 151936, 40960, head_dim=128, moe_intermediate_size=1536
    ),
    "gpt-oss-20b": (
        "GptOssForCausalLM",
        "GptOssConfig",
        {"num_hidden_layers": 24, "num_local_experts": 32},
    ),
    "gpt-oss-120b": ("GptOssForCausalLM", "GptOssConfig", {}),
    "deepseek-v3": (
        "DeepseekV3ForCausalLM",
        "DeepseekV3Config",
        {"max_position_embeddings": 163840},
    ),
    "deepseek-r1": (
        "DeepseekV3ForCausalLM",
        "DeepseekV3Config",
        {"max_position_embeddings": 163840},
    ),
}


def t5(layers: int, hidden: int, heads: int, head_dim: int, inner: int) -> Published:
    changes = {
        "num_layers": layers,
        "num_decoder_layers": layers,
        "d_model": hidden,
        "num_heads": heads,
        "d_kv": head_dim,
        "d_ff": inner,
    }
    return "T5ForConditionalGeneration", "T5Config", changes


def flan(layers: int, hidden: int, heads: int, inner: int) -> Published:
    architecture, config, changes = t5(layers, hidden, heads, 64, inner)
    return architecture, config, {**changes, "feed_forward_proj": "gated-gelu", **UNTIED}


def two_sides(layers: int, decoders: int, hidden: int, heads: int, **more: Any) -> dict[str, Any]:
    sizes = {"encoder_layers": layers, "decoder_layers": decoders, "d_model": hidden}
    for side in ("encoder", "decoder"):
        sizes |= {f"{side}_attention_heads": heads, f"{side}_ffn_dim": 4 * hidden}
    return {**sizes, **more}


def whisper(*sizes: int, **more: Any) -> Published:
    return "WhisperForConditionalGeneration", "WhisperConfig", two_sides(*sizes, **more)


ENCODER_DECODERS: dict[str, Published] = {
    "t5-small": t5(6, 512, 8, 64, 2048),
    "t5-base": t5(12, 768, 12, 64, 3072),
    "t5-large": t5(24, 1024, 16, 64, 4096),
    "t5-3b": t5(24, 1024, 32, 128, 16384),
    "t5-11b": t5(24, 1024, 128, 128, 65536),
    "flan-t5-small": flan(8, 512, 6, 1024),
    "flan-t5-base": flan(12, 768, 12, 2048),
    "flan-t5-large": flan(24, 1024, 16, 2816),
    "flan-t5-xl": flan(24, 2048, 32, 5120),
    "flan-t5-xxl": flan(24, 4096, 64, 10240),
    "bart-base": ("BartForConditionalGeneration", "BartConfig", two_sides(6, 6, 768, 12)),
    "bart-large": ("BartForConditionalGeneration", "BartConfig", two_sides(12, 12, 1024, 16)),
    "opus-mt-en-de": (
        "MarianMTModel",
        "MarianConfig",
        two_sides(
            6, 6, 512, 8, max_position_embeddings=512, activation_function="swish",
            scale_embedding=True,
        ),
    ),
    "whisper-tiny": whisper(4, 4, 384, 6),
    "whisper-base": whisper(6, 6, 512, 8),
    "whisper-small": whisper(12, 12, 768, 12),
    "whisper-medium": whisper(24, 24, 1024, 16),
    "whisper-large": whisper(32, 32, 1280, 20),
    "whisper-large-v2": whisper(32, 32, 1280, 20),
    "whisper-large-v3": whisper(32, 32, 1280, 20, num_mel_bins=128, vocab_size=51866),
    "whisper-large-v3-turbo": whisper(32, 4, 1280, 20, num_mel_bins=128, vocab_size=51866),
}  # fmt: skip
PUBLISHED: dict[str, Published] = {**ENCODERS, **VISION, **DECODERS, **EXPERTS, **ENCODER_DECODERS}
