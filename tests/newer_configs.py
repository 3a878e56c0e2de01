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
