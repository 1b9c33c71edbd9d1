"""Text about runs and from data sets: names for readers, and escaping of what may be markup."""

import re
from collections.abc import Mapping, Sequence

NO_FORMULAS = "tex2jax_ignore mathjax_ignore"  # HTML classes in which dollar signs are not formulas


def plain(text: object) -> str:
    """Return Markdown that shows a text literally: without emphasis, HTML, links or formulas."""
    escaped = re.sub(r"([\\`*_{}\[\]<>#$&~|!^])", r"\\\1", str(text))
    return escaped.replace(r"\$", rf'<span class="{NO_FORMULAS}">\$</span>')


def relation_name(relation: str, labels: Mapping[str, str]) -> str:
    """Return a relation as text: "capital (P36)"."""
    return f"{labels[relation]} ({relation})"


def scope(results: object, relations: Sequence[str]) -> str:
    """Return the model, the data set and the relations (or their number) as text, for titles.

    `results` are a `Run` or `PublishedResults`. The bundled model and the bundled facts have one name, so the text tells them apart.
    """
    dataset = getattr(results.dataset, "name", results.dataset)
    model = f"{results.model} (model)" if results.model == dataset else results.model
    facts = f"the {dataset} facts" if results.model == dataset else dataset
    shown = ", ".join(relations) if len(relations) <= 4 else f"{len(relations)} relations"
    return f"{model} on {facts}, {shown}"
