"""Escaping of text from data sets and folder names, which may contain markup."""

import re

NO_FORMULAS = "tex2jax_ignore mathjax_ignore"  # HTML classes in which dollar signs are not formulas


def plain(text: object) -> str:
    """Return Markdown that shows a text literally: without emphasis, HTML, links or formulas."""
    escaped = re.sub(r"([\\`*_{}\[\]<>#$&~|!^])", r"\\\1", str(text))
    return escaped.replace(r"\$", rf'<span class="{NO_FORMULAS}">\$</span>')
