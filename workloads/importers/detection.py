"""Detection of objects of Hugging Face: YOLOS and DETR."""

from __future__ import annotations

from typing import Any

from workloads.importers.config import Config
from workloads.importers.encoder_decoders import two_sides
from workloads.importers.heads import DETR_HEADS, YOLOS_HEADS, head
from workloads.importers.vision import patches, sizes

_IMAGE = (800, 1066)
"""A photograph of 480 x 640 pixels as DETR's preprocessor makes it: 800 on the shorter side."""

_RESNETS = {"resnet50": [3, 4, 6, 3], "resnet101": [3, 4, 23, 3], "resnet152": [3, 8, 36, 3]}
_STEM, _WIDTHS = 64, [256, 512, 1024, 2048]


def yolos(config: Config) -> dict[str, Any]:
    """YolosModel and its detector: ViT with a token for each object that it may find."""
    keys = patches(config, "Yolos", YOLOS_HEADS)
    objects = config.size("queries", ("num_detection_tokens",), default=100)
    return {
        **keys,
        "class_tokens": 1 + objects,
        "queries": objects,
        "class_layers": 3,
        "layer_positions": config.flag("use_mid_position_embeddings", True),
    }


def detr(config: Config) -> dict[str, Any]:
    """DetrModel and its detector on a residual network; the size of images is assumed, and said."""
    config.refuse("dilation", True, because="a backbone with dilation (DC5)")
    if config.text("position_embedding_type", "sine") != "sine":
        raise config.wrong("position_embedding_type", 'only "sine" is modelled')
    keys = {
        **head(config, "Detr", DETR_HEADS, "ForObjectDetection"),
        "backbone": _backbone(config),
    }
    shared, encoder = two_sides(config, vocab=None, function="relu")
    height, width = _IMAGE
    config.notes.append(
        f"{config.where} does not say how large images are: taken as {height} x {width} pixels"
    )
    encoder |= {
        "input": "features",
        "image": height,
        "image_width": width,
        "channels": config.size("channels", ("num_channels",), default=3),
        "backbone": keys.pop("backbone"),
        "final_norm": False,
    }
    return {
        **shared,
        **keys,
        "family": "encoder_decoder",
        "norm_position": "post",
        "final_norm": True,
        "positions": "each_layer",
        "queries": config.size("queries", ("num_queries",), default=100),
        "class_layers": 1,
        "encoder": encoder,
    }


def _backbone(config: Config) -> dict[str, Any]:
    """The residual network, by its name in timm or as the config of a ResNet."""
    table = config.table.get("backbone_config")
    if table is None:
        table = {"model_type": "timm_backbone", "backbone": config.table.get("backbone")}
    if not isinstance(table, dict):
        raise config.wrong("backbone_config", "expected a table or null")
    inner = Config(table, f"{config.where}: backbone_config")
    kind = inner.text("model_type", "resnet")
    if kind == "timm_backbone":
        name = inner.text("backbone", "resnet50")
        if name not in _RESNETS:
            raise inner.wrong("backbone", f"expected one of {', '.join(_RESNETS)}")
        return {"stem": _STEM, "widths": _WIDTHS, "depths": _RESNETS[name]}
    if kind != "resnet" or inner.text("layer_type", "bottleneck") != "bottleneck":
        raise inner.wrong("model_type", 'expected "resnet" of layer_type "bottleneck"')
    for key in ("downsample_in_first_stage", "downsample_in_bottleneck"):
        inner.refuse(key, True, because="a stride in another place")
    widths, depths = (
        sizes(inner, key) if inner.table.get(key) is not None else default
        for key, default in (("hidden_sizes", _WIDTHS), ("depths", _RESNETS["resnet50"]))
    )
    if len(widths) != len(depths):
        raise inner.wrong("depths", "expected as many entries as hidden_sizes")
    stem = inner.size("stem", ("embedding_size",), default=_STEM)
    return {"stem": stem, "widths": widths, "depths": depths}
