"""The configs of bundled encoders of text, sound and images with parts of their own."""

from __future__ import annotations

from typing import Any

from tests.bundled_configs import Published, encoder

_RELATIVE = {
    "relative_attention": True,
    "position_biased_input": False,
    "pos_att_type": ["p2c", "c2p"],
}


def deberta(*sizes: int) -> Published:
    changes = {**encoder(*sizes), **_RELATIVE, "type_vocab_size": 0}
    return "DebertaModel", "DebertaConfig", changes


def deberta_v2(*sizes: int, **more: Any) -> Published:
    changes = {
        **encoder(*sizes),
        **_RELATIVE,
        "position_buckets": 256,
        "norm_rel_ebd": "layer_norm",
        "share_att_key": True,
        **more,
    }
    return "DebertaV2Model", "DebertaV2Config", changes


def wav2vec2(*sizes: int, **more: Any) -> Published:
    return "Wav2Vec2ForCTC", "Wav2Vec2Config", encoder(*sizes, **more)


def yolos(*sizes: int, image: list[int], **more: Any) -> Published:
    changes = encoder(12, *sizes, image_size=image, num_labels=91, **more)
    return "YolosForObjectDetection", "YolosConfig", changes


def detr(depths: list[int]) -> Published:
    backbone = {"model_type": "resnet", "depths": depths, "out_features": ["stage4"]}
    changes = {"backbone_config": backbone, "num_labels": 91}
    return "DetrForObjectDetection", "DetrConfig", changes


_CONVOLUTION = {"conv_kernel_size": 3, "conv_act": "gelu", "attention_head_size": 64}
_STABLE = {"feat_extract_norm": "layer", "conv_bias": True, "do_stable_layer_norm": True}
NEWER: dict[str, Published] = {
    "deberta-base": deberta(12, 768, 12, 3072),
    "deberta-large": deberta(24, 1024, 16, 4096),
    "deberta-v2-xlarge": deberta_v2(24, 1536, 24, 6144, **_CONVOLUTION),
    "deberta-v2-xxlarge": deberta_v2(48, 1536, 24, 6144, **_CONVOLUTION),
    "deberta-v3-xsmall": deberta_v2(12, 384, 6, 1536),
    "deberta-v3-small": deberta_v2(6, 768, 12, 3072),
    "deberta-v3-base": deberta_v2(12, 768, 12, 3072),
    "deberta-v3-large": deberta_v2(24, 1024, 16, 4096),
    "wav2vec2-base-960h": wav2vec2(12, 768, 12, 3072),
    "wav2vec2-large-960h": wav2vec2(24, 1024, 16, 4096),
    "wav2vec2-large-960h-lv60": wav2vec2(24, 1024, 16, 4096, **_STABLE),
    "yolos-tiny": yolos(192, 3, 768, image=[800, 1333], use_mid_position_embeddings=False),
    "yolos-small": yolos(384, 6, 1536, image=[512, 864]),
    "yolos-base": yolos(768, 12, 3072, image=[800, 1344]),
    "detr-resnet-50": detr([3, 4, 6, 3]),
    "detr-resnet-101": detr([3, 4, 23, 3]),
}

_ENCODER = {
    "hidden_act": "gelu",
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_attention_heads": 12,
    "num_hidden_layers": 12,
}
DEBERTA: dict[str, Any] = {
    **_ENCODER,
    "architectures": ["DebertaModel"],
    "model_type": "deberta",
    "max_position_embeddings": 512,
    "max_relative_positions": -1,
    "pad_token_id": 0,
    "pos_att_type": "c2p|p2c",
    "position_biased_input": False,
    "relative_attention": True,
    "type_vocab_size": 0,
    "vocab_size": 50265,
}
DEBERTA_V3: dict[str, Any] = {
    **DEBERTA,
    "architectures": ["DebertaV2Model"],
    "model_type": "deberta-v2",
    "norm_rel_ebd": "layer_norm",
    "pooler_hidden_act": "gelu",
    "pooler_hidden_size": 768,
    "pos_att_type": "p2c|c2p",
    "position_buckets": 256,
    "share_att_key": True,
    "vocab_size": 128100,
}
WAV2VEC2: dict[str, Any] = {
    **_ENCODER,
    "architectures": ["Wav2Vec2ForCTC"],
    "model_type": "wav2vec2",
    "conv_bias": False,
    "conv_dim": [512, 512, 512, 512, 512, 512, 512],
    "conv_kernel": [10, 3, 3, 3, 3, 2, 2],
    "conv_stride": [5, 2, 2, 2, 2, 2, 2],
    "do_stable_layer_norm": False,
    "feat_extract_activation": "gelu",
    "feat_extract_norm": "group",
    "mask_time_prob": 0.05,
    "num_conv_pos_embedding_groups": 16,
    "num_conv_pos_embeddings": 128,
    "num_feat_extract_layers": 7,
    "vocab_size": 32,
}
_LABELS = {str(number): f"LABEL_{number}" for number in range(91)}
YOLOS: dict[str, Any] = {
    **_ENCODER,
    "architectures": ["YolosForObjectDetection"],
    "model_type": "yolos",
    "hidden_size": 384,
    "id2label": _LABELS,
    "image_size": [512, 864],
    "intermediate_size": 1536,
    "num_attention_heads": 6,
    "num_channels": 3,
    "num_detection_tokens": 100,
    "patch_size": 16,
    "qkv_bias": True,
    "use_mid_position_embeddings": True,
}
DETR: dict[str, Any] = {
    "architectures": ["DetrForObjectDetection"],
    "model_type": "detr",
    "activation_function": "relu",
    "backbone": "resnet50",
    "d_model": 256,
    "decoder_attention_heads": 8,
    "decoder_ffn_dim": 2048,
    "decoder_layers": 6,
    "dilation": False,
    "encoder_attention_heads": 8,
    "encoder_ffn_dim": 2048,
    "encoder_layers": 6,
    "id2label": _LABELS,
    "is_encoder_decoder": True,
    "num_queries": 100,
    "position_embedding_type": "sine",
}
NEWER_CONFIGS: dict[str, dict[str, Any]] = {
    "deberta-base": DEBERTA,
    "deberta-v3-base": DEBERTA_V3,
    "wav2vec2-base-960h": WAV2VEC2,
    "yolos-small": YOLOS,
    "detr-resnet-50": DETR,
}
