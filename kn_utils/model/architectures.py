"""Which models can be asked at all, and what is known by name: everything else about a model is found by computation.

A new architecture needs no entry here. `LAST_BLOCKS` makes some encoders faster.
"""

import re
from dataclasses import dataclass

from torch import nn
from transformers import (
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    AutoModelForMaskedLM,
    PreTrainedConfig,
)
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES,
    MODEL_FOR_MASKED_LM_MAPPING_NAMES,
)

EXPERTS = re.compile(r"(moe|experts?|router|moeblock|moelayer)$", re.IGNORECASE)  # at the end of a class's name


@dataclass(frozen=True)
class Attention:
    """Names of the modules of a post-norm encoder block, needed to run the last block at a single position."""

    query: str
    key: str
    value: str
    output: str
    norm: str
    up: str
    activation: str


LAST_BLOCKS = (
    Attention(  # BERT, RoBERTa, ELECTRA and their relatives
        query="attention.self.query",
        key="attention.self.key",
        value="attention.self.value",
        output="attention.output.dense",
        norm="attention.output.LayerNorm",
        up="intermediate.dense",
        activation="intermediate.intermediate_act_fn",
    ),
    Attention(  # DistilBERT
        query="attention.q_lin",
        key="attention.k_lin",
        value="attention.v_lin",
        output="attention.out_lin",
        norm="sa_layer_norm",
        up="ffn.lin1",
        activation="ffn.activation",
    ),
    Attention(  # ALBERT
        query="attention.query",
        key="attention.key",
        value="attention.value",
        output="attention.dense",
        norm="attention.LayerNorm",
        up="ffn",
        activation="activation",
    ),
)


def is_masked(config: PreTrainedConfig) -> bool:
    """Return True for a masked and False for a left-to-right language model.

    Raises ValueError for an encoder-decoder, and for an encoder that is set up as a decoder.
    """
    name = config.model_type
    masked = name in MODEL_FOR_MASKED_LM_MAPPING_NAMES
    if getattr(config, "is_encoder_decoder", False):
        raise ValueError(f"a {name!r} is an encoder-decoder; only encoders and decoders are supported")
    if masked and getattr(config, "is_decoder", False):
        raise ValueError(f"a {name!r} that is set up as a decoder (is_decoder) is not supported, only as a masked language model")
    return masked


def auto_class(config: PreTrainedConfig) -> type:
    """Return the class of transformers that loads the language model of a configuration; of a multimodal one, the text model is used.

    Raises ValueError as `is_masked`, and for a type that has no language model.
    """
    name = config.model_type
    if is_masked(config):
        return AutoModelForMaskedLM
    if name in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        return AutoModelForCausalLM
    if name in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES:
        return AutoModelForImageTextToText
    raise ValueError(f"transformers has no language model of the type {name!r}")


def check_no_experts(model: nn.Module) -> None:
    """Raise ValueError for a model with mixture-of-experts layers."""
    if experts := sorted({name for name in map(_class_name, model.modules()) if EXPERTS.search(name)}):
        raise ValueError(f"it has mixture-of-experts layers ({', '.join(experts)}); only dense feed-forward layers are supported")


def _class_name(module: nn.Module) -> str:
    return type(module).__name__
