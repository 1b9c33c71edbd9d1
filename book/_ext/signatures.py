"""Signatures in the API pages show paths inside this repository, not where it lies on the machine that built the book."""

from kn_utils.paths import ROOT


def shorten(app, what, name, obj, options, signature, return_annotation):
    """Leave the folder of the repository out of default values."""
    return signature and signature.replace(f"{ROOT}/", ""), return_annotation


def setup(app):
    app.connect("autodoc-process-signature", shorten)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
