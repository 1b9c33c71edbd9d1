"""A model by its name, or one that is loaded already."""

from pathlib import Path

from transformers import PreTrainedModel

from kn_utils.model.models import LanguageModel, load_model


def load(model: str | Path | PreTrainedModel, tokenizer: object = None, device: str = "auto") -> LanguageModel:
    """Return a model for the functions of this package; its `model` and `tokenizer` are those of transformers.

    `model` is "starter", "smollm2-135m", a local folder, a hub id, or a model of transformers. The last one needs its tokenizer, stays on
    its device, and its weights are frozen in place. Raises as `load_model`, and ValueError without a tokenizer.

    >>> from kn_utils import load
    >>> load("starter").model.config.num_hidden_layers
    6
    """
    if not isinstance(model, PreTrainedModel):
        return load_model(model, device)
    if tokenizer is None:
        raise ValueError("a model that is loaded already needs its tokenizer: load(model, tokenizer)")
    return LanguageModel(model.config.model_type, model, tokenizer)
