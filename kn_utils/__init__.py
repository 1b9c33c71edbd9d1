"""Knowledge neurons in pretrained transformers: the helpers behind the notebooks.

Read `data`, `model` and `store` first, then one chapter in `chapters`. In a chapter, `table` makes the result tables, `numbers` computes
statistics from them, `figures` draws these, and `claims` tests the paper's claims. `report` collects the claims.

For a fact of your own, as in notebook 11:

>>> from kn_utils import find, load, suppress
>>> lm = load("starter")
>>> neurons = find(lm, "The Eiffel Tower is in [MASK].", "paris")
>>> with suppress(lm, neurons):
...     logits = lm.model(**lm.tokenizer("The Eiffel Tower is in [MASK].", return_tensors="pt")).logits
"""

from importlib import import_module

__version__ = "0.5.0"

_EXPORTS = {  # imported at first use: torch and transformers take seconds
    "load": "kn_utils.model.own_model",
    "answers": "kn_utils.chapters.try_it.table",
    "find": "kn_utils.chapters.try_it.table",
    "suppress": "kn_utils.model.contexts",
    "amplify": "kn_utils.model.contexts",
    "edit": "kn_utils.model.contexts",
}
__all__ = [*_EXPORTS]


def __getattr__(name: str) -> object:
    if name not in _EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_EXPORTS[name]), name)
