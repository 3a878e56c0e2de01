"""What in a model's table contradicts itself: one sentence with key, value and likely slip."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workloads.input_slips import denoiser_slip, input_slip, object_slip

if TYPE_CHECKING:
    from workloads.model import Model


def first_slip(model: Model) -> str | None:
    """The first contradiction in a model's table, or None."""
    for check in (
        *(_heads, _positions, _relative, _attention, _experts, _embedding),
        *(input_slip, object_slip, _stages, _block, _head, denoiser_slip, _encoder),
    ):
        problem = check(model)
        if problem:
            return problem
    return None


def _heads(model: Model) -> str | None:
    if model.heads % model.kv_heads:
        return (
            f"heads = {model.heads} is not divisible by kv_heads = {model.kv_heads}: every "
            "key-value head serves the same number of query heads; are the two swapped?"
        )
    return None


def _positions(model: Model) -> str | None:
    if model.positions == "rope" and not 0 < model.rotary_dim <= model.head_dim:
        return (
            f"rotary_dim = {model.rotary_dim} is not within 1 to head_dim = {model.head_dim}: "
            "it counts the elements of one head that are rotated"
        )
    if model.rotary_dim % 2:
        return f"rotary_dim = {model.rotary_dim} is odd: rotation works on pairs of elements"
    if model.positions != "rope" and model.rotary_dim:
        return (
            f'rotary_dim = {model.rotary_dim} contradicts positions = "{model.positions}": '
            'only positions = "rope" rotates'
        )
    return None


def _relative(model: Model) -> str | None:
    relative = model.positions == "relative"
    if (model.memory or model.segment_biases or model.tied_biases) and not relative:
        return 'memory, segment_biases and tied_biases need positions = "relative"'
    if relative and (model.kv_heads != model.heads or model.qk_norm != "none" or model.encoder):
        return 'positions = "relative" needs kv_heads = heads, no qk_norm and no encoder'
    if relative and (model.causal != bool(model.memory) or model.window is not None):
        return 'positions = "relative" needs a memory in a decoder, none in an encoder, no window'
    if model.positions == "disentangled":
        return _disentangled(model)
    if model.position_products or model.relative_norm or model.shared_position_keys:
        return 'position_products and what goes with them need positions = "disentangled"'
    if (model.positions == "bias") != bool(model.relative_buckets):
        return (
            f"relative_buckets = {model.relative_buckets} contradicts positions = "
            f'"{model.positions}": positions = "bias" needs at least 1 bucket, all others none'
        )
    return None


def _disentangled(model: Model) -> str | None:
    if model.relative_buckets < 2 or len(set(model.position_products)) < len(
        model.position_products
    ):
        return (
            f"relative_buckets = {model.relative_buckets}, position_products = "
            f"{list(model.position_products)}: expected at least 2 rows, and no product twice"
        )
    if model.family != "encoder" or model.kv_heads != model.heads or model.window is not None:
        return 'positions = "disentangled" needs family = "encoder", kv_heads = heads and no window'
    return None


def _attention(model: Model) -> str | None:
    if "local" in model.pattern and model.window is None:
        return "window is missing: the layers that pattern calls local need one"
    if model.global_tokens and not model.banded:
        return f"global_tokens = {model.global_tokens} needs banded = true"
    if model.banded and (model.window is None or model.causal or model.pattern):
        return 'banded = true needs a window, family = "encoder" and no pattern'
    if model.banded and (model.kv_heads != model.heads or model.positions != "learned"):
        return 'banded = true needs kv_heads = heads and positions = "learned"'
    if model.query_rank and not model.kv_rank:
        return f"query_rank = {model.query_rank} needs a kv_rank: both are of latent attention"
    if not model.kv_rank:
        if model.value_dim not in (0, model.head_dim):
            return (
                f"value_dim = {model.value_dim} contradicts head_dim = {model.head_dim}: only "
                "latent attention (kv_rank) has values of another width"
            )
        return None
    if model.positions != "rope" or model.rotary_dim >= model.head_dim:
        return 'kv_rank needs positions = "rope" and rotary_dim below head_dim'
    if model.kv_heads != model.heads or model.qk_norm != "none":
        return f"kv_rank = {model.kv_rank} needs kv_heads = heads and no qk_norm"
    return None


def _experts(model: Model) -> str | None:
    if not model.experts:
        given = (model.experts_per_token, model.expert_intermediate, model.shared_intermediate)
        if any(given) or model.dense_layers or model.router_bias or model.shared_gate:
            return "experts is 0 or missing: what else is said about experts needs it"
        return None
    if not 0 < model.experts_per_token <= model.experts:
        return (
            f"experts_per_token = {model.experts_per_token} is not within 1 to experts = "
            f"{model.experts}: it counts the experts that each token goes through"
        )
    if not model.expert_intermediate:
        return "expert_intermediate is 0 or missing: it is the width inside one expert"
    if model.parallel_block:
        return "parallel_block = true contradicts experts: no such block is known"
    return None


def _embedding(model: Model) -> str | None:
    if model.adaptive_divisor or model.adaptive_cutoffs:
        return _clusters(model)
    if (model.projection == "none") != (model.embedding_width in (0, model.hidden)):
        # ALBERT projects even where both widths are equal
        if model.projection == "sum" and model.embedding_width:
            return None
        return (
            f'projection = "{model.projection}" contradicts embedding_width = '
            f"{model.embedding_width} and hidden = {model.hidden}: rows of another width are "
            "projected"
        )
    return None


def _clusters(model: Model) -> str | None:
    borders = (0, *model.adaptive_cutoffs, model.vocab)
    if list(borders) != sorted(set(borders)) or len(borders) > 100 or not model.adaptive_divisor:
        return (
            f"adaptive_cutoffs = {list(model.adaptive_cutoffs)}, adaptive_divisor = "
            f"{model.adaptive_divisor}: expected numbers of tokens that rise to below vocab = "
            f"{model.vocab}, and a divisor"
        )
    plain = model.projection == "none" and model.embedding_width in (0, model.hidden)
    if not plain or model.input != "tokens" or model.encoder or not model.adaptive_head:
        return "adaptive_cutoffs needs an adaptive_head, one table of tokens and no projection"
    if not model.tied_embeddings or model.family != "decoder":
        return "adaptive_cutoffs needs tied_embeddings = true in a decoder"
    return None


def _stages(model: Model) -> str | None:
    if not model.depths:
        if model.stage_heads or model.window_side or model.cosine:
            return "depths is missing: what else is said about stages needs it"
        return None
    if model.input != "patches" or model.class_tokens or not model.window_side:
        return 'depths needs input = "patches", class_tokens = 0 and a window_side'
    if len(model.stage_heads) != len(model.depths) or len(model.depths) > 8:
        return f"stage_heads has {len(model.stage_heads)} entries, expected one for each depth"
    if sum(model.depths) != model.layers or model.stage_heads[0] != model.heads:
        return (
            f"layers = {model.layers}, heads = {model.heads}: expected the sum of depths, and"
            " the first of stage_heads"
        )
    for i, heads in enumerate(model.stage_heads):
        if (model.hidden << i) % heads:
            return f"stage_heads = {heads} does not divide the width {model.hidden << i}"
    if model.positions != "none" or model.family != "encoder" or model.kv_heads != model.heads:
        return 'depths needs positions = "none", family = "encoder" and kv_heads = heads'
    if model.norm_position not in ("pre", "output") or model.experts or model.parallel_block:
        return 'depths needs norm_position = "pre" or "output", no experts, no parallel_block'
    return None


def _block(model: Model) -> str | None:
    if model.convolution_kernel % 2 == 0 and model.convolution_kernel:
        return f"convolution_kernel = {model.convolution_kernel} is even: it has a middle"
    if model.parallel_block and model.norm_position != "pre":
        return (
            f'parallel_block = true contradicts norm_position = "{model.norm_position}": the '
            "parallel forms (GPT-J, GPT-NeoX, Phi) normalize their input"
        )
    if model.layer_scale and (
        model.parallel_block
        or model.norm_position not in ("pre", "post")
        or model.depths
        or model.modulation
        or model.encoder
    ):
        return 'layer_scale needs norm_position = "pre" or "post" in one plain stack of layers'
    if model.shared_norm and not model.parallel_block:
        return "shared_norm = true needs parallel_block = true: else there is nothing to share"
    return None


def _head(model: Model) -> str | None:
    names = [task.name for task in model.tasks]
    if len(set(names)) < len(names) or len(names) > 1000:
        return "tasks: each needs a name of its own, and there are at most 1000"
    if model.head == "classifier" and not model.classes:
        return 'classes is 0 or missing: with head = "classifier" it is at least 1'
    if model.family == "encoder" and model.head == "lm" and model.positions != "relative":
        return 'head = "lm" is for decoders: an encoder that fills masks has head = "mlm"'
    if model.family != "encoder" and model.head == "mlm":
        return 'head = "mlm" is for encoders: a decoder has head = "lm"'
    return None


def _encoder(model: Model) -> str | None:
    if (model.family == "encoder_decoder") != (model.encoder is not None):
        return f'family = "{model.family}": an encoder_decoder, and it alone, has a table encoder'
    if model.encoder is None:
        return None
    if model.encoder.head != "none" or model.encoder.pooler:
        return "encoder.head: the encoder of an encoder-decoder has no head and no pooler"
    theirs = (model.encoder.vocab, _table_width(model.encoder))
    ours = (model.vocab, _table_width(model))
    if model.encoder.input == "tokens" and model.shared_embeddings and theirs != ours:
        return (
            f"encoder.vocab = {theirs[0]} (width {theirs[1]}) contradicts vocab = {ours[0]} (width "
            f"{ours[1]}): shared_embeddings = true means that both have one table"
        )
    if model.parallel_block or model.kv_rank:
        return "parallel_block and kv_rank contradict encoder: no such decoder reads an encoder"
    return None


def _table_width(model: Model) -> int:
    return model.embedding_width or model.hidden
