"""Text from data sets and folders' names in what notebooks and pages show: it may look like markup and must be shown as it is."""

import re

NO_FORMULAS = "tex2jax_ignore mathjax_ignore"  # classes of HTML in which a pair of dollar signs is no formula


def plain(text: object) -> str:
    """Return Markdown that shows a text as it is: no emphasis, no HTML, no links and no formulas."""
    escaped = re.sub(r"([\\`*_{}\[\]<>#$&~|!^])", r"\\\1", str(text))
    return escaped.replace(r"\$", rf'<span class="{NO_FORMULAS}">\$</span>')
