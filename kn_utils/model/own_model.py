"""A model by its name, or one that is loaded already."""

from __future__ import annotations  # as in `kn_utils.model.models`

import os
from pathlib import Path

import transformers

from kn_utils.model.models import BUNDLED, LanguageModel, load_model
from kn_utils.model.tokenizers import check_tokenizer
from kn_utils.parameters import did_you_mean


def load(
    model: str | Path | transformers.PreTrainedModel, tokenizer: object = None, device: str = "auto", dtype: str = "float32"
) -> LanguageModel:
    """Return a model for the functions of this package; its `model` and `tokenizer` are those of transformers.

    `model` is "starter", "smollm2-135m", a local folder, a hub id, or a model of transformers. The last one needs its tokenizer, keeps
    its device and dtype, and its weights are frozen in place. Raises as `load_model`, and ValueError without a tokenizer.

    >>> from kn_utils import load
    >>> load("starter").model.config.num_hidden_layers
    6
    """
    if not isinstance(model, transformers.PreTrainedModel):
        check_name(model)
        return load_model(model, device, dtype)
    if tokenizer is None:
        raise ValueError("a model that is loaded already needs its tokenizer: load(model, tokenizer)")
    lm = LanguageModel(model.config.model_type, model, tokenizer)
    check_tokenizer(lm.name, lm.masked, tokenizer, model, {})
    return lm


def check_name(model: str | Path) -> None:
    """Raise ValueError for a misspelt name of a bundled model, before it is looked for on the hub."""
    name = str(model)
    similar = did_you_mean(name, BUNDLED)
    if similar and name not in BUNDLED and not os.path.isdir(os.path.expanduser(name)):
        raise ValueError(f"there is no model {name!r}{similar}")
