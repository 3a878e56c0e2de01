"""How many trained values a model has, part by part."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workloads.attention import value_width
from workloads.embed import table_width
from workloads.layers import LayerKind, kind_counts, layer_kind
from workloads.output import head_width
from workloads.relative import relative_parameters
from workloads.stages import image_stages, stage_parameters

if TYPE_CHECKING:
    from workloads.model import Model


def count_parameters(model: Model) -> int:
    """All trained values; a table or layer that is shared counts once."""
    if model.depths:
        last = image_stages(model)[-1].model
        return embedding_parameters(model) + stage_parameters(model)[0] + output_parameters(last)
    total = (
        embedding_parameters(model)
        + sum(count * layer_parameters(model, kind) for kind, count in stored_layers(model).items())
        + output_parameters(model)
    )
    if model.tied_biases:
        total -= (model.layers - 1) * relative_parameters(model)
    if model.encoder is None:
        return total
    total += count_parameters(model.encoder)
    if model.encoder.input == "tokens" and model.shared_embeddings:
        total -= model.encoder.vocab * table_width(model.encoder)
    return total


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
    if model.encoder is not None:
        total += matrix_parameters(model.encoder)
    return total + head_matrix_parameters(model)


def norm_parameters(model: Model, width: int | None = None) -> int:
    """One norm: a gain, and in layer norm a bias."""
    columns = model.hidden if width is None else width
    return columns * (2 if model.norm == "layer_norm" else 1)


def _input_matrices(model: Model) -> int:
    """Projections and convolutions before the first layer, without biases."""
    if model.input == "patches":
        return model.channels * model.patch**2 * model.hidden
    if model.input == "mel":
        return 3 * (model.channels + model.hidden) * model.hidden
    return 0 if model.projection == "none" else table_width(model) * model.hidden


def embedding_parameters(model: Model) -> int:
    """Tables (tokens, positions, token types, biases of distances), projections, class tokens."""
    width = table_width(model)
    summed = width if model.projection == "sum" else model.hidden
    total = _input_matrices(model) + model.vocab * width + model.token_types * summed
    if model.positions == "learned":
        total += (model.max_positions + model.position_padding) * summed
    if model.positions == "bias":
        total += model.relative_buckets * model.heads
    if model.input == "patches":
        total += (1 + model.class_tokens) * model.hidden
    if model.input == "mel":
        total += 2 * model.hidden
    if model.projection == "sum" or model.segment_biases:
        total += model.hidden  # a bias; XLNet's vector in the place of what is masked
    if model.embedding_norm:
        total += norm_parameters(model, summed)
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
    norms = 1 if model.shared_norm else blocks * (2 if model.norm_position == "both" else 1)
    return total + norms * norm_parameters(model)


def layer_matrices(model: Model, kind: LayerKind) -> int:
    """The values in the matrices of one layer of a kind."""
    inner = 3 if model.gated else 2
    total = _attention_matrices(model)
    if model.encoder is not None:
        queries, keys = model.heads * model.head_dim, model.kv_heads * model.head_dim
        total += 2 * model.hidden * queries + 2 * model.encoder.hidden * keys
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
    if model.head == "classifier":
        return total + width * model.classes
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
    if model.head_bias:
        total += model.classes if model.head == "classifier" else model.vocab
    return total
