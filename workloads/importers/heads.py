"""What follows the last layer, read from the class name in a config.json's `architectures`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from workloads.errors import nearest, shown
from workloads.importers.config import Config

# keys of Model, by what follows the family's prefix in the name of the class
Heads = Mapping[str, Mapping[str, Any]]

_CLASSIFY = {"head": "classifier", "head_bias": True}
_SPANS = {"head": "classifier", "head_bias": True, "classify_every": True, "classes": 2}
_TAGS = {"head": "classifier", "head_bias": True, "classify_every": True}

BERT_HEADS: Heads = {
    "Model": {"pooler": True},
    "ForMaskedLM": {"head": "mlm", "head_bias": True},
    "ForSequenceClassification": {"pooler": True, **_CLASSIFY},
    "ForNextSentencePrediction": {"pooler": True, **_CLASSIFY, "classes": 2},
    "ForTokenClassification": _TAGS,
    "ForQuestionAnswering": _SPANS,
}
ROBERTA_HEADS: Heads = {
    key: value for key, value in BERT_HEADS.items() if key != "ForNextSentencePrediction"
}
DISTILBERT_HEADS: Heads = {
    "Model": {},
    "ForMaskedLM": {"head": "mlm", "head_bias": True},
    "ForSequenceClassification": {"pooler": True, "pooler_activation": "relu", **_CLASSIFY},
    "ForTokenClassification": _TAGS,
    "ForQuestionAnswering": _SPANS,
}
ALBERT_HEADS: Heads = {
    "Model": {"pooler": True},
    "ForMaskedLM": {"head": "mlm", "head_bias": True},
    "ForSequenceClassification": {"pooler": True, **_CLASSIFY},
    "ForTokenClassification": _TAGS,
    "ForQuestionAnswering": _SPANS,
}
# a dense layer on every position, and whether it was replaced
_DETECT = {"pooler": True, "pooler_every": True, "pooler_activation": "gelu", "classes": 1}
ELECTRA_HEADS: Heads = {
    "Model": {},
    "ForPreTraining": {**_TAGS, **_DETECT},
    "ForMaskedLM": {"head": "mlm", "head_bias": True},
    "ForSequenceClassification": {"pooler": True, "pooler_activation": "gelu", **_CLASSIFY},
    "ForTokenClassification": _TAGS,
    "ForQuestionAnswering": _SPANS,
}
WAV2VEC2_HEADS: Heads = {
    "Model": {},
    # a class for each letter; as many as vocab_size says
    "ForCTC": {**_TAGS, "classes": 1},
}
DEBERTA_HEADS: Heads = {
    "Model": {},
    "ForMaskedLM": {"head": "mlm", "head_bias": True},
    "ForSequenceClassification": {"pooler": True, "pooler_activation": "gelu", **_CLASSIFY},
    "ForTokenClassification": _TAGS,
    "ForQuestionAnswering": _SPANS,
}
VIT_HEADS: Heads = {
    "Model": {"pooler": True},
    "ForImageClassification": _CLASSIFY,
}
# "no object" is a class too
_OBJECTS = {"head": "detector"}
YOLOS_HEADS: Heads = {"Model": {"pooler": True}, "ForObjectDetection": _OBJECTS}
DETR_HEADS: Heads = {"Model": {}, "ForObjectDetection": _OBJECTS}
XLNET_HEADS: Heads = {
    "Model": {},
    "LMHeadModel": {"head": "lm", "head_bias": True},
    "ForSequenceClassification": {"pooler": True, **_CLASSIFY},
    "ForTokenClassification": _TAGS,
    "ForQuestionAnsweringSimple": _SPANS,
}
SWIN_HEADS: Heads = {"Model": {}, "ForImageClassification": _CLASSIFY}
# a decoder's score works on every position; the last is picked from the result
DECODER_HEADS: Heads = {
    "Model": {},
    "LMHeadModel": {"head": "lm"},
    "ForCausalLM": {"head": "lm"},
    "ForSequenceClassification": {"head": "classifier", "classify_every": True},
    "ForTokenClassification": _TAGS,
    "ForQuestionAnswering": _SPANS,
}

_LM: Heads = {"Model": {}, "ForConditionalGeneration": {"head": "lm"}}
# the decoder reads the same text again; a dense layer and tanh on the row of its last token
_REREAD = {"pooler": True, **_CLASSIFY}
BART_HEADS: Heads = {**_LM, "ForSequenceClassification": _REREAD, "ForQuestionAnswering": _SPANS}
T5_HEADS: Heads = {
    **BART_HEADS,
    "EncoderModel": {"alone": True},
    "ForTokenClassification": {"alone": True, **_TAGS},
}
MARIAN_HEADS: Heads = {"Model": {}, "MTModel": {"head": "lm"}}
WHISPER_HEADS = _LM


def head(config: Config, prefix: str, heads: Heads, usual: str) -> dict[str, Any]:
    """The keys of `Model` that say what follows the last layer.

    Without `architectures` it is the `usual` class, and a note says so.
    """
    names = config.table.get("architectures")
    if not names:
        config.notes.append(f'no "architectures" in {config.where}: taken as {prefix}{usual}')
        suffix = usual
    elif not isinstance(names, list) or not isinstance(names[0], str):
        raise config.wrong("architectures", "expected a list with the name of a class")
    elif not names[0].startswith(prefix):
        raise config.wrong(
            "architectures",
            f"contradicts model_type = {shown(config.table.get('model_type'))}, whose classes "
            f"begin with {prefix}",
        )
    else:
        suffix = names[0].removeprefix(prefix)
    if suffix not in heads:
        known = ", ".join(prefix + name for name in heads)
        hint = nearest(prefix + suffix, [prefix + name for name in heads])
        raise config.wrong("architectures", f"expected one of {known}{hint}")
    keys = dict(heads[suffix])
    if keys.get("head") == "classifier":
        keys.setdefault("classes", _labels(config))
    if keys.get("head") == "detector":
        keys["classes"] = _labels(config) + 1
    return keys


def _labels(config: Config) -> int:
    """Number of classes: num_labels, else the labels that are named, else 2 as in the library."""
    named = config.table.get("id2label")
    count = len(named) if isinstance(named, dict) else None
    if config.table.get("num_labels") is None:
        return count or 2
    stated = config.size("classes", ("num_labels",))
    if count is not None and count != stated:
        raise config.wrong("num_labels", f"contradicts id2label, which names {count} labels")
    return stated
