"""Figures as files, with the same bytes at every run."""

import io
import os
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from kn_utils.paths import ROOT, user_path

UNDATED = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": {}}
SETTINGS = {
    "svg.hashsalt": "knowledge-neurons",  # otherwise ids inside the file are random
    "svg.fonttype": "path",  # pages need no font
    "pdf.fonttype": 42,  # TrueType fonts, for printers and editors
}


def save_figure(figure: Figure, folder: str | Path, name: str) -> list[Path]:
    """Write a figure as SVG, PDF and PNG (300 dpi) and return the paths. Files are written under a temporary name and renamed.

    Raises OSError, with advice, if a file cannot be written.
    """
    folder = user_path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return [_write(figure, folder / f"{name}.{kind}", kind) for kind in UNDATED]
    except OSError as reason:
        raise OSError(f"cannot write figures to {folder} ({reason}): free space or choose another figures_dir") from reason


def _write(figure: Figure, path: Path, kind: str) -> Path:
    partial = path.with_name(f".{path.name}.part")
    with plt.rc_context(SETTINGS):
        figure.savefig(partial, format=kind, dpi=300, metadata=UNDATED[kind])
    return partial.replace(path)


def svg_text(figure: Figure) -> str:
    """Return a figure as SVG, the same text at every run."""
    written = io.StringIO()
    with plt.rc_context(SETTINGS):
        figure.savefig(
            written, format="svg", dpi=200, metadata=UNDATED["svg"]
        )  # the resolution of dots that are drawn as a bitmap
    return written.getvalue()


def file_links(saved: dict[str, Sequence[Path]]) -> str:
    """Return a Markdown table of figures with links to their files."""
    links = {name: ", ".join(f"[{path.suffix[1:].upper()}]({_address(path)})" for path in paths) for name, paths in saved.items()}
    return "\n".join(["| figure | files |", "|---|---|", *(f"| {name} | {files} |" for name, files in links.items())])


def _address(path: Path) -> str:
    """Return the address of a file, relative to the folder `notebooks` of the book or of this repository; else a file: URI."""
    path = Path(os.path.normpath(path))
    home = next((folder for folder in (ROOT / "book", ROOT) if path.is_relative_to(folder)), None)
    return quote(Path(os.path.relpath(path, home / "notebooks")).as_posix()) if home else path.as_uri()
