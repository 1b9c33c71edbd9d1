"""Removes the API pages of the build before: autosummary writes them anew, and keeps those of modules that are gone."""

import shutil
from pathlib import Path


def remove(app, config):
    shutil.rmtree(Path(app.srcdir, "api"), ignore_errors=True)


def setup(app):
    app.connect("config-inited", remove, priority=100)  # sphinx-external-toc lists what there is at 500
    return {"parallel_read_safe": True, "parallel_write_safe": True}
