"""Loads MathJax, which is large, on pages with formulas only: Sphinx loads it also on a page whose table of contents has such pages."""

from docutils import nodes


def leave_out(app, pagename, templatename, context, doctree):
    if doctree is None or not any(doctree.findall(lambda node: isinstance(node, nodes.math | nodes.math_block))):
        context["script_files"] = [script for script in context["script_files"] if "mathjax" not in _text(script)]


def _text(script) -> str:
    return f"{getattr(script, 'filename', script)} {getattr(script, 'attributes', '')}".lower()


def setup(app):
    app.connect("html-page-context", leave_out, priority=900)  # sphinx.ext.mathjax adds it at 500
    return {"parallel_read_safe": True, "parallel_write_safe": True}
