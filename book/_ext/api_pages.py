"""Pages of the package's modules: made anew in every build, and in no table of contents, which every page of the book would hold."""

import shutil
from pathlib import Path

from sphinx.ext.autosummary import autosummary_toc


def remove_old(app, config):
    """Remove the pages of the build before: autosummary keeps those of modules that are gone."""
    shutil.rmtree(Path(app.srcdir, "api"), ignore_errors=True)


def leave_out(app, doctree):
    """Take the list of pages out of the table of contents; the table that links them stays."""
    for contents in [*doctree.findall(autosummary_toc)]:
        contents.parent.remove(contents)


def setup(app):
    app.connect("config-inited", remove_old, priority=100)  # sphinx-external-toc lists what there is at 500
    app.connect("doctree-read", leave_out, priority=100)  # Sphinx collects the contents at 500
    return {"parallel_read_safe": True, "parallel_write_safe": True}
