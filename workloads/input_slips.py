"""What in a model's table contradicts its input, or the objects and images that it gives."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workloads.backbone import feature_sides

if TYPE_CHECKING:
    from workloads.model import Model


def input_slip(model: Model) -> str | None:
    """What an image, sound or tokens lack."""
    if not model.class_positions and (model.input != "patches" or model.positions != "learned"):
        return 'class_positions = false needs input = "patches" and positions = "learned"'
    if (model.positions == "convolution") != (model.input == "sound"):
        return f'positions = "{model.positions}": "convolution" goes with input = "sound"'
    if (model.filters or model.position_kernel) and model.input != "sound":
        return 'filters and position_kernel need input = "sound"'
    if model.input == "tokens":
        if not model.vocab and not model.queries:
            return 'vocab is 0 or missing: with input = "tokens" it is at least 1'
        return None
    checks = {"patches": _image, "sound": _sound, "features": _features}
    problem = checks[model.input](model) if model.input in checks else None
    if problem:
        return problem
    if model.family != "encoder" or model.head in ("lm", "mlm"):
        return f'input = "{model.input}" needs family = "encoder" and no head over a vocabulary'
    return None


def _features(model: Model) -> str | None:
    backbone = model.backbone
    if backbone is None or len(backbone.widths) != len(backbone.depths) or not model.image:
        return 'input = "features" needs a backbone with a depth for each width, and an image'
    if any(width % 4 for width in backbone.widths):
        return f"backbone.widths = {list(backbone.widths)}: expected multiples of 4"
    height, width = feature_sides(
        model.image, model.image_width or model.image, len(backbone.widths)
    )
    if model.max_positions != height * width or model.positions != "each_layer":
        return (
            f'max_positions = {model.max_positions}, positions = "{model.positions}": expected '
            f'{height} x {width} features of the image, and "each_layer"'
        )
    return None


def object_slip(model: Model) -> str | None:
    """What a detector of objects or its decoder lacks."""
    if (model.head == "detector" or model.positions == "each_layer") and not (
        model.queries or (model.input == "features" and model.head == "none")
    ):
        return 'queries is 0 or missing: head = "detector" and its decoder need at least 1'
    if model.head == "detector" and not model.classes:
        return 'classes is 0 or missing: with head = "detector" it is at least 1'
    if not model.queries:
        return "layer_positions needs queries" if model.layer_positions else None
    if model.family == "encoder":
        if model.input != "patches" or model.queries >= model.class_tokens or model.depths:
            return f"queries = {model.queries}: expected fewer than class_tokens, and patches"
        return None
    if model.encoder is None or model.encoder.input != "features":
        return f'queries = {model.queries}: expected an encoder with input = "features"'
    plain = model.kv_heads == model.heads and model.qk_norm == "none" and not model.experts
    if model.positions != "each_layer" or model.max_positions != model.queries or not plain:
        return 'queries of a decoder need positions = "each_layer", and as many max_positions'
    if model.head not in ("none", "detector") or model.embedding_width or model.window:
        return 'queries of a decoder need head = "detector" or "none", no window'
    return None


def denoiser_slip(model: Model) -> str | None:
    """What a model of images from noise lacks."""
    if not model.modulation:
        if model.labels or model.guidance or model.head == "denoiser":
            return 'labels, guidance and head = "denoiser" need modulation = true'
        return None
    if model.input != "patches" or model.class_tokens or model.depths or model.queries:
        return 'modulation needs input = "patches" and class_tokens = 0'
    if model.norm != "layer_norm" or model.norm_position != "pre" or model.final_norm:
        return 'modulation needs norm = "layer_norm", norm_position = "pre" and no final_norm'
    if model.head != "denoiser" or not model.labels or model.pooler or model.tasks:
        return 'modulation needs labels, and head = "denoiser" alone'
    if model.parallel_block or model.experts or model.mean_pooling:
        return "modulation needs a plain feed-forward behind attention"
    return None


def _sound(model: Model) -> str | None:
    if not 1 <= len(model.filters) <= 100:
        return (
            f"filters has {len(model.filters)} entries: expected a width, kernel, stride for each"
        )
    if not model.position_kernel or model.hidden % model.position_groups:
        return (
            f"position_kernel = {model.position_kernel}, position_groups = "
            f"{model.position_groups}: expected a kernel, and groups that divide hidden = "
            f"{model.hidden}"
        )
    return None


def _image(model: Model) -> str | None:
    width = model.image_width or model.image
    if model.image_width and min(model.image, width) < model.patch:
        return f"image_width = {width}: expected at least patch = {model.patch}"
    if not 0 < model.patch <= model.image or (model.image % model.patch and not model.image_width):
        return (
            f"image = {model.image} is not a positive multiple of patch = {model.patch}: "
            "the image is cut into whole squares; both are in pixels"
        )
    if (
        model.max_positions
        != (model.image // model.patch) * (width // model.patch) + model.class_tokens
    ):
        return (
            f"max_positions = {model.max_positions} contradicts image = {model.image} and "
            f"patch = {model.patch}: expected (image / patch)^2 + 1 for the class token"
        )
    return None
