"""What of a model's table follows from its other keys."""

from __future__ import annotations

from typing import Any, TypeGuard

from workloads.backbone import feature_sides
from workloads.errors import shown

INHERITED = (
    *("hidden", "heads", "kv_heads", "head_dim", "intermediate", "layers", "activation", "gated"),
    *("norm", "norm_position", "positions", "relative_buckets", "max_positions"),
    *("position_padding", "vocab", "embedding_norm", "embedding_scale", "final_norm"),
    *("qkv_bias", "key_bias", "output_bias", "mlp_bias"),
)
"""Keys that the encoder of an encoder-decoder takes over from its decoder."""


def fill(table: Any) -> Any:
    """The table with head_dim, kv_heads, rotary_dim, positions of an image, an encoder's keys."""
    if not isinstance(table, dict):
        return table
    filled = dict(table)
    hidden, heads = filled.get("hidden"), filled.get("heads")
    if _is_size(hidden) and _is_size(heads) and "head_dim" not in filled:
        if hidden % heads:
            raise ValueError(
                f"hidden = {shown(hidden)} is not divisible by heads = {shown(heads)}: every "
                "head has the same width; check that neither number is mistyped"
            )
        filled["head_dim"] = hidden // heads
    filled.setdefault("kv_heads", heads)
    queries = filled.get("queries")
    if filled.get("positions") == "each_layer" and _is_size(queries):
        filled.setdefault("max_positions", queries)
    if filled.get("positions") == "rope":
        filled.setdefault("rotary_dim", filled.get("head_dim"))
    _image(filled)
    for key in (
        "notes",
        "pattern",
        "position_products",
        "adaptive_cutoffs",
        "depths",
        "stage_heads",
        "tasks",
    ):
        if isinstance(filled.get(key), list):
            filled[key] = tuple(filled[key])
    filters = filled.get("filters")
    if isinstance(filters, list):
        filled["filters"] = tuple(tuple(f) if isinstance(f, list) else f for f in filters)
    if isinstance(filled.get("encoder"), dict):
        filled["encoder"] = _encoder(filled["encoder"], filled)
    return filled


def _image(filled: dict[str, Any]) -> None:
    """The positions of an image, and the layers of all stages."""
    depths = filled.get("depths")
    if isinstance(depths, list | tuple) and all(_is_size(depth) for depth in depths) and depths:
        filled.setdefault("layers", sum(depths))
    image, patch = filled.get("image"), filled.get("patch")
    width = filled.get("image_width") or image
    if not _is_size(image) or not _is_size(width):
        return
    if filled.get("input") == "patches" and _is_size(patch):
        first = filled.get("class_tokens", 1)
        if isinstance(first, int):
            patches = (image // patch) * (width // patch)
            filled.setdefault("max_positions", patches + first)
    backbone = filled.get("backbone")
    if filled.get("input") == "features" and isinstance(backbone, dict):
        filled["backbone"] = backbone = {
            key: tuple(value) if isinstance(value, list) else value
            for key, value in backbone.items()
        }
        widths = backbone.get("widths")
        if isinstance(widths, tuple):
            height, wide = feature_sides(image, width, len(widths))
            filled.setdefault("max_positions", height * wide)


def _encoder(table: dict[str, Any], decoder: dict[str, Any]) -> dict[str, Any]:
    own_widths = "hidden" in table or "heads" in table
    taken = {
        key: decoder[key]
        for key in INHERITED
        if key in decoder and not (own_widths and key in ("head_dim", "kv_heads"))
    }
    if table.get("input", "tokens") != "tokens":
        taken.pop("vocab", None)
    if table.get("input") == "features":
        taken.pop("max_positions", None)
    filled: dict[str, Any] = fill({"name": "encoder", **taken, **table, "family": "encoder"})
    return filled


def _is_size(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0
