"""A model as a table of numbers: what the compiler needs to know, checked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from workloads.errors import InputError, nearest, shown
from workloads.filling import fill
from workloads.sizes import (
    Backbone,
    Count,
    Filter,
    Layers,
    Positions,
    Vocabulary,
    Width,
)
from workloads.sizes import Task as Task
from workloads.slips import first_slip

Family = Literal["encoder", "decoder", "encoder_decoder"]
Head = Literal["none", "lm", "mlm", "classifier", "detector", "denoiser"]
Span = Literal["local", "global"]


class Model(BaseModel):
    """A Transformer as a table of numbers. Code knows families of blocks, not model names.

    `hidden`, `intermediate`, `head_dim` are widths in elements. Attention has `heads` query heads
    on `kv_heads` key-value heads. A block is attention then feed-forward, each with a residual;
    `norm_position` pre: normalized input, with `final_norm` after the last block (Llama, GPT-2);
    post: normalized sum (BERT); output: normalized result before the sum (OLMo 2); both: pre and
    output (Gemma 2). With `parallel_block` both read the block's input, through one norm
    (`shared_norm`: GPT-J, Phi-2) or two (GPT-NeoX). `gated`: activation(gate) * up. `qk_norm`
    normalizes queries and keys before they are rotated, each head (Qwen 3) or the whole width
    (OLMo 2). `attention_softcap`, `logit_softcap`: cap * tanh(x / cap) (Gemma 2);
    `attention_sinks`: one learned score a head that takes part in the softmax (GPT-OSS).

    `positions` learned adds a table of max_positions + `position_padding` rows, sinusoidal one that
    is not trained; rope rotates `rotary_dim` elements of each head of queries and keys; alibi adds
    a slope to the scores, bias a trained value of `relative_buckets` a head (T5), shared by all
    layers; relative multiplies queries with sines of distances (Transformer-XL; XLNet, whose
    `segment_biases` are weights for pairs of texts, and `masked_vector` is one of training alone;
    with `tied_biases` all layers add one pair of vectors to the queries); disentangled multiplies
    queries and keys with `relative_buckets` rows of distances (DeBERTa: `position_products`;
    `relative_norm` normalizes the rows, with `shared_position_keys` they go through the weights of
    contents, with `short_span` only as many as there are distances). `memory`: earlier positions of
    which each layer keeps its input, instead of keys and values. `window`: keys that a query may
    see, in the layers that `pattern` (repeated over the layers; empty: all) calls local. `banded`:
    an encoder's positions see window // 2 to each side and no more, but for `global_tokens`, which
    see and are seen by all (Longformer).

    With `experts` a token's feed-forward is the sum of `experts_per_token` of them, each
    `expert_intermediate` wide, and of one that all tokens share (`shared_intermediate`; 0: none).
    The first `dense_layers` are plain, and of the rest only each `expert_period`-th has experts.
    With `kv_rank` keys and values come from a latent row of that width (DeepSeek), queries through
    one of `query_rank` (0: directly); of the `head_dim` of a key the last `rotary_dim` are rotated
    and common to all heads, and a value has `value_dim`.

    A `convolution_kernel` adds a convolution of the embeddings to the first layer (DeBERTa v2).

    With `modulation` norms have no weights but are scaled and shifted by what each layer makes of a
    noise level and one of `labels` classes; with `guidance` each image is computed twice, with its
    class and without (DiT).

    `embedding_width` (0: hidden) is that of the token table, and the rows are `projection` "tokens"
    (without bias, before positions are added, and back before the head: OPT) or "sum" (with bias,
    after the norm of the embeddings: ALBERT, ELECTRA) made `hidden` wide. `shared_layers`: all
    layers have the weights of one (ALBERT).

    `input` patches: an image of `image` x `image` pixels and `channels` cut into squares of
    `patch`, preceded by `class_tokens` (ViT 1, DeiT 2); mel: `channels` bands through two
    convolutions of 3 frames, the second with stride 2 (Whisper). Both fix the number of positions.
    Without `class_positions` only patches have positions; `layer_scale` multiplies the result of
    each sub-block with a weight a column (DeiT III).
    sound: samples through `filters` (width, kernel, stride), the `first` or `each` with a norm, and
    positions from a convolution of `position_kernel` in groups (wav2vec 2.0).
    features: an image through a `backbone` of convolutions (DETR). An image is `image` pixels high
    and `image_width` (0: as high) wide. Positions "each_layer" are added to what queries and keys
    are projected from, sines in an encoder, `queries` trained rows in its decoder, which stand for
    objects (DETR); in an encoder the last `queries` class tokens do, and `layer_positions` trains
    positions for every layer (YOLOS).

    `depths` layers in several stages with `stage_heads` heads: attention within windows of
    `window_side` squared positions, each stage half as many positions a side and twice as wide
    (Swin); hidden, heads and intermediate are then those of the first stage. `cosine`: scores are
    cosines and the biases of distances come from a small network (Swin v2). `mean_pooling`: a
    classifier reads the mean of all positions.

    An encoder_decoder has its encoder as the table `encoder`, which takes over from this one, the
    decoder, what it does not say. With `shared_embeddings` both have one table of tokens.

    `head`: lm (logits over vocab), mlm (dense, activation, norm, logits: BERT), classifier
    (`classes` from the `pooler` or the first position, or with `classify_every` each position),
    detector (`classes` after `class_layers` layers, and a box, for each of the `queries`),
    denoiser (an image with less noise: DiT).
    `pooler`: a dense layer and its activation on the first position, with `pooler_every` on each.
    `tasks` are further heads, which read the same rows of the last layer.
    `adaptive_head` (0: none): logits that every position needs, of common tokens and of the
    `adaptive_clusters` of rare ones; the logits of the rare tokens themselves are not counted. With
    `adaptive_divisor` the rows of clusters, which begin at `adaptive_cutoffs`, are narrower by it
    each (Transformer-XL large).
    `notes` are assumptions that a reader must be told.

    Not modelled: dropout (inference).
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: str
    family: Family
    layers: Layers
    hidden: Width
    heads: Width
    kv_heads: Width
    head_dim: Width
    intermediate: Width
    activation: Literal["gelu", "gelu_tanh", "silu", "relu"]
    gated: bool = False
    norm: Literal["layer_norm", "rms_norm"] = "layer_norm"
    norm_position: Literal["pre", "post", "output", "both"] = "pre"
    qk_norm: Literal["none", "head", "width"] = "none"
    positions: Literal[
        "learned",
        "sinusoidal",
        "rope",
        "alibi",
        "bias",
        "relative",
        "disentangled",
        "convolution",
        "each_layer",
        "none",
    ]
    rotary_dim: Count = 0
    relative_buckets: Count = 0
    relative_norm: bool = False
    position_products: tuple[Literal["c2p", "p2c"], ...] = ()
    shared_position_keys: bool = False
    short_span: bool = False
    convolution_kernel: Count = 0
    convolution_activation: Literal["gelu", "gelu_tanh", "silu", "relu", "tanh"] = "tanh"
    max_positions: Positions
    position_padding: Count = 0
    memory: Count = 0
    segment_biases: bool = False
    tied_biases: bool = False
    adaptive_head: Count = 0
    adaptive_clusters: Count = 0
    adaptive_cutoffs: tuple[Vocabulary, ...] = ()
    adaptive_divisor: Annotated[int, Field(ge=0, le=4096)] = 0
    window: Positions | None = None
    pattern: tuple[Span, ...] = ()
    banded: bool = False
    global_tokens: Count = 0
    attention_softcap: bool = False
    logit_softcap: bool = False
    attention_sinks: bool = False
    value_dim: Count = 0
    query_rank: Count = 0
    kv_rank: Count = 0
    experts: Count = 0
    experts_per_token: Count = 0
    expert_intermediate: Count = 0
    shared_intermediate: Count = 0
    shared_gate: bool = False
    dense_layers: Count = 0
    expert_period: Annotated[int, Field(ge=1, le=10_000)] = 1
    router_bias: bool = False
    depths: tuple[Layers, ...] = ()
    stage_heads: tuple[Width, ...] = ()
    window_side: Count = 0
    cosine: bool = False
    mean_pooling: bool = False
    input: Literal["tokens", "patches", "mel", "sound", "features"] = "tokens"
    vocab: Vocabulary = 0
    token_types: Count = 0
    patch: Count = 0
    image: Count = 0
    image_width: Count = 0
    backbone: Backbone | None = None
    queries: Count = 0
    class_layers: Annotated[int, Field(ge=1, le=100)] = 1
    layer_positions: bool = False
    channels: Annotated[int, Field(ge=1, le=4096)] = 3
    class_tokens: Annotated[int, Field(ge=0, le=4096)] = 1
    class_positions: bool = True
    layer_scale: bool = False
    filters: tuple[Filter, ...] = ()
    filter_norm: Literal["first", "each"] = "first"
    filter_bias: bool = False
    position_kernel: Count = 0
    position_groups: Annotated[int, Field(ge=1, le=4_194_304)] = 1
    masked_vector: bool = False
    modulation: bool = False
    labels: Count = 0
    guidance: bool = False
    embedding_width: Count = 0
    projection: Literal["none", "tokens", "sum"] = "none"
    embedding_scale: bool = False
    embedding_norm: bool = False
    final_norm: bool = False
    shared_layers: bool = False
    qkv_bias: bool = False
    key_bias: bool = True
    output_bias: bool = False
    mlp_bias: bool = False
    parallel_block: bool = False
    shared_norm: bool = False
    encoder: Model | None = None
    shared_embeddings: bool = True
    tied_embeddings: bool = False
    pooler: bool = False
    pooler_every: bool = False
    pooler_activation: Literal["tanh", "relu", "gelu"] = "tanh"
    head: Head = "none"
    head_bias: bool = False
    classes: Vocabulary = 0
    classify_every: bool = False
    tasks: tuple[Task, ...] = ()
    source: str = ""
    notes: tuple[str, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _fill(cls, table: Any) -> Any:
        return fill(table)

    @model_validator(mode="after")
    def _check(self) -> Self:
        problem = first_slip(self)
        if problem:
            raise ValueError(problem)
        return self

    @property
    def parameters(self) -> int:
        """Number of trained values, a tied table counted once."""
        from workloads.parameters import count_parameters

        return count_parameters(self)

    @property
    def causal(self) -> bool:
        """Whether it writes tokens one by one over a cache: no encoder, no decoder of objects."""
        return self.family != "encoder" and not self.queries

    @property
    def fixed_input(self) -> int | None:
        """Positions that the input always has (an image, 30 seconds of sound), or None."""
        reader = self.encoder or self
        return None if reader.input in ("tokens", "sound") else reader.max_positions


def build_model(
    table: dict[str, Any], where: str, called: Mapping[str, str] | None = None
) -> Model:
    """The model in `table`; `where` names its file in the message of the InputError.

    `called` maps our keys to those that stand in the file, for the message.
    """
    try:
        return Model.model_validate(table)
    except ValidationError as error:
        message = _first_problem(error)
        for ours, theirs in (called or {}).items():
            message = re.sub(rf"\b{ours} = ", f"{theirs} = ", message)
        raise InputError(f"{where}: {message}") from None


def _first_problem(error: ValidationError) -> str:
    """The first thing that pydantic found, as one sentence with key, value and expectation."""
    detail = error.errors(include_url=False)[0]
    key = ".".join(str(part) for part in detail["loc"])
    if detail["type"] == "missing":
        return f"{key} is missing: a model cannot be built without it"
    if detail["type"] == "extra_forbidden":
        return f"{key} is not a key of a model{nearest(key, Model.model_fields)}"
    message = str(detail["msg"]).removeprefix("Value error, ")
    if not key:
        return message
    if detail["type"] == "value_error":
        return f"{key}: {message}"
    expectation = message.removeprefix("Input should be ")
    slip = ""
    if isinstance(detail["input"], str) and "integer" in expectation:
        slip = "; write the number without quotes"
    return f"{key} = {shown(detail['input'])}: expected {expectation}{slip}"
