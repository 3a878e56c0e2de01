"""How many trained values a model has, part by part."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workloads.adaptive import projection_values, table_values
from workloads.attention import value_width
from workloads.backbone import backbone_matrices
from workloads.condition import condition_parameters
from workloads.denoise import denoiser_parameters
from workloads.detection import detector_parameters
from workloads.disentangled import disentangled_parameters
from workloads.embed import table_width
from workloads.layers import LayerKind, kind_counts, layer_kind
from workloads.output import head_width
from workloads.relative import relative_parameters
from workloads.sound import sound_parameters
from workloads.stages import image_stages, stage_parameters

if TYPE_CHECKING:
    from workloads.model import Model


def count_parameters(model: Model) -> int:
    """All trained values; a table or layer that is shared counts once."""
    return sum(parameter_parts(model).values())


def parameter_parts(model: Model) -> dict[str, int]:
    """The trained values of encoder, embedding, layers and output.

    What two parts share ("shared") is in both and taken off once, so that they add up.
    """
    if model.depths:
        last = image_stages(model)[-1].model
        return {
            "embedding": embedding_parameters(model),
            "layers": stage_parameters(model)[0],
            "output": output_parameters(last),
        }
    parts = {"encoder": count_parameters(model.encoder)} if model.encoder is not None else {}
    layers = sum(
        count * layer_parameters(model, kind) for kind, count in stored_layers(model).items()
    )
    if model.tied_biases:
        layers -= (model.layers - 1) * relative_parameters(model)
    parts |= {
        "embedding": embedding_parameters(model),
        "layers": layers,
        "output": output_parameters(model),
    }
    reader = model.encoder
    if reader is not None and reader.input == "tokens" and model.shared_embeddings:
        parts["shared"] = -reader.vocab * table_width(reader)
    return parts


def stored_layers(model: Model) -> dict[LayerKind, int]:
    """How many sets of weights there are of each kind of layer."""
    counts = kind_counts(model)
    return dict.fromkeys(counts, 1) if model.shared_layers else counts


def matrix_parameters(model: Model) -> int:
    """The values in weight matrices that are multiplied (no tables, norms, biases).

    These are what quantization of the weights shrinks. An output matrix tied to the table of
    token embeddings is the table, hence not among them.
    """
    if model.depths:
        last = image_stages(model)[-1].model
        inside = stage_parameters(model)[1]
        return inside + _input_matrices(model) + head_matrix_parameters(last)
    total = sum(count * layer_matrices(model, kind) for kind, count in stored_layers(model).items())
    total += _input_matrices(model)
    if model.pooler:
        total += model.hidden**2
    total += _beside_matrix(model)
    if model.encoder is not None:
        total += matrix_parameters(model.encoder)
    return total + head_matrix_parameters(model)


def _beside_matrix(model: Model) -> int:
    """The convolution beside the first layer."""
    return model.convolution_kernel * model.hidden**2


def norm_parameters(model: Model, width: int | None = None) -> int:
    """One norm: a gain, and in layer norm a bias."""
    columns = model.hidden if width is None else width
    return columns * (2 if model.norm == "layer_norm" else 1)


def _input_matrices(model: Model) -> int:
    """Projections and convolutions before the first layer, without biases."""
    if model.input == "patches":
        total = model.channels * model.patch**2 * model.hidden
        return total + (condition_parameters(model)[1] if model.modulation else 0)
    if model.input == "mel":
        return 3 * (model.channels + model.hidden) * model.hidden
    if model.input == "features":
        return backbone_matrices(model)
    if model.input == "sound":
        return sound_parameters(model)[1]
    if model.adaptive_divisor:
        return projection_values(model)
    return 0 if model.projection == "none" else table_width(model) * model.hidden


def embedding_parameters(model: Model) -> int:
    """Tables (tokens, positions, token types, biases of distances), projections, class tokens."""
    width = table_width(model)
    summed = width if model.projection == "sum" else model.hidden
    table = table_values(model) if model.adaptive_divisor else model.vocab * width
    total = _input_matrices(model) + table + model.token_types * summed
    total += _position_values(model, summed) + _input_rest(model)
    # a bias; a vector that stood in the place of what was masked in training
    total += model.hidden * ((model.projection == "sum") + model.masked_vector)
    if model.embedding_norm:
        total += norm_parameters(model, summed)
    if model.convolution_kernel:
        total += _beside_matrix(model) + model.hidden + norm_parameters(model)
    return total


def _position_values(model: Model, width: int) -> int:
    """Trained positions and distances, of objects too, and those of single layers."""
    total = 0
    if model.positions == "learned":
        rows = model.max_positions + model.position_padding
        total = (rows - (0 if model.class_positions else model.class_tokens)) * width
    if model.positions == "bias":
        total = model.relative_buckets * model.heads
    if model.positions == "disentangled":
        total = model.relative_buckets * model.hidden
        total += model.relative_norm * norm_parameters(model)
    if model.queries and model.family != "encoder":
        total += model.queries * model.hidden
    if model.layer_positions:
        total += (model.layers - 1) * model.max_positions * model.hidden
    return total


def _input_rest(model: Model) -> int:
    """What images and sound have besides matrices: biases, norms, class tokens."""
    total = 0
    if model.input == "patches":
        total = (1 + model.class_tokens) * model.hidden
    if model.input == "mel":
        total = 2 * model.hidden
    if model.input == "features":
        total = model.hidden
    for used, count in ((model.input == "sound", sound_parameters),
                        (model.modulation, condition_parameters)):  # fmt: skip
        if used:
            every, matrices = count(model)
            total += every - matrices
    return total


def layer_parameters(model: Model, kind: LayerKind | None = None) -> int:
    """One layer of a kind (default: of the first): all its projections and norms."""
    kind = layer_kind(model, 0) if kind is None else kind
    total = layer_matrices(model, kind) + _attention_rest(model) + _feed_forward_rest(model, kind)
    blocks = 2
    if model.encoder is not None:
        blocks = 3
        widths = model.heads + model.kv_heads * (1 + model.key_bias)
        total += widths * model.head_dim * model.qkv_bias + model.hidden * model.output_bias
    if model.modulation:
        return total + 6 * model.hidden
    norms = 1 if model.shared_norm else blocks * (2 if model.norm_position == "both" else 1)
    scales = 2 * model.hidden * model.layer_scale
    return total + norms * norm_parameters(model) + scales


def layer_matrices(model: Model, kind: LayerKind) -> int:
    """The values in the matrices of one layer of a kind."""
    inner = 3 if model.gated else 2
    total = _attention_matrices(model)
    if model.encoder is not None:
        queries, keys = model.heads * model.head_dim, model.kv_heads * model.head_dim
        total += 2 * model.hidden * queries + 2 * model.encoder.hidden * keys
    if model.modulation:
        total += 6 * model.hidden**2
    if not kind.experts:
        return total + inner * model.hidden * model.intermediate
    each = inner * model.hidden * model.expert_intermediate
    shared = inner * model.hidden * model.shared_intermediate
    if model.shared_intermediate:
        shared += model.hidden * model.shared_gate
    return total + model.hidden * model.experts + model.experts * each + shared


def _attention_matrices(model: Model) -> int:
    output = model.heads * value_width(model) * model.hidden
    if model.positions == "relative":
        output += model.hidden * model.heads * model.head_dim  # of the distances
    if model.positions == "disentangled":
        output += disentangled_parameters(model)[1]
    if model.banded:
        output += 3 * model.hidden * model.heads * model.head_dim  # of the global tokens
    if not model.kv_rank:
        return model.hidden * model.head_dim * (model.heads + 2 * model.kv_heads) + output
    plain = model.head_dim - model.rotary_dim
    queries = model.heads * model.head_dim
    through = model.query_rank
    down = model.hidden * (through + model.kv_rank + model.rotary_dim)
    up = (through or model.hidden) * queries
    return down + up + model.kv_rank * model.heads * (plain + value_width(model)) + output


def _attention_rest(model: Model) -> int:
    """Biases, norms of queries and keys, sinks."""
    total = model.hidden * model.output_bias + model.heads * model.attention_sinks
    if model.kv_rank:
        if model.query_rank:
            total += norm_parameters(model, model.query_rank) + model.query_rank * model.qkv_bias
        total += norm_parameters(model, model.kv_rank)
        return total + (model.kv_rank + model.rotary_dim) * model.qkv_bias
    if model.positions == "relative":
        total += relative_parameters(model)
    if model.positions == "disentangled":
        every, matrices = disentangled_parameters(model)
        total += every - matrices
    keys = model.kv_heads * model.head_dim
    if model.banded:
        total += 3 * keys * model.qkv_bias
    total += (model.heads * model.head_dim + keys * (1 + model.key_bias)) * model.qkv_bias
    if model.qk_norm == "head":
        total += 2 * norm_parameters(model, model.head_dim)
    if model.qk_norm == "width":
        total += norm_parameters(model, (model.heads + model.kv_heads) * model.head_dim)
    return total


def _feed_forward_rest(model: Model, kind: LayerKind) -> int:
    """Biases of the feed-forward, of the router and of the experts."""
    inner = 2 if model.gated else 1
    if not kind.experts:
        return (inner * model.intermediate + model.hidden) * model.mlp_bias
    each = (inner * model.expert_intermediate + model.hidden) * model.mlp_bias
    total = model.experts * each + model.experts * model.router_bias
    if model.shared_intermediate:
        total += (inner * model.shared_intermediate + model.hidden) * model.mlp_bias
    return total


def head_matrix_parameters(model: Model) -> int:
    """The matrices of the head without biases; 0 for a matrix tied to the embedding."""
    width = head_width(model)
    total = model.hidden * width if model.head == "mlm" or model.projection == "tokens" else 0
    total += model.hidden * sum(t.pooler * model.hidden + t.classes for t in model.tasks)
    if model.head == "denoiser":
        return total + denoiser_parameters(model)[1]
    if model.head == "detector":
        return total + detector_parameters(model)[1]
    if model.head == "classifier":
        return total + width * model.classes
    if model.adaptive_divisor and model.head == "lm":
        total += model.hidden**2  # the projection of the commonest tokens is not tied
    if model.head == "none" or model.tied_embeddings:
        return total
    return total + width * model.vocab


def output_parameters(model: Model) -> int:
    """Final norm, pooler and head."""
    total = head_matrix_parameters(model)
    if model.final_norm:
        total += norm_parameters(model)
    if model.pooler:
        total += model.hidden**2 + model.hidden
    if model.head == "mlm":
        total += head_width(model) + norm_parameters(model, head_width(model))
    if model.adaptive_head:
        # a column and a bias for each cluster of rare tokens
        clusters = model.adaptive_clusters
        total += clusters * (head_width(model) + model.head_bias)
    total += sum(task.pooler * model.hidden + task.bias * task.classes for task in model.tasks)
    if model.head == "denoiser":
        every, matrices = denoiser_parameters(model)
        return total + every - matrices
    if model.head == "detector":
        every, matrices = detector_parameters(model)
        return total + every - matrices
    if model.head_bias:
        total += model.classes if model.head == "classifier" else model.vocab
    return total
