"""Figures as files: the same bytes at every run, and never half a file."""

import os
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from kn_utils.paths import ROOT, user_path

UNDATED = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": {}}
SETTINGS = {
    "svg.hashsalt": "knowledge-neurons",  # names inside the file are random otherwise
    "svg.fonttype": "path",  # a page shows it right without the font; the PDF has the text, with its font
    "pdf.fonttype": 42,  # TrueType, which printers and editors read
}


def save_figure(figure: Figure, folder: str | Path, name: str) -> list[Path]:
    """Write a figure as SVG, PDF and PNG (300 dpi) and return the paths; each is written beside and renamed.

    Raises OSError, with what to do, if that cannot be done.
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


def file_links(saved: dict[str, Sequence[Path]]) -> str:
    """Return a Markdown table of figures, by what they show, with links to their files."""
    links = {name: ", ".join(f"[{path.suffix[1:].upper()}]({_address(path)})" for path in paths) for name, paths in saved.items()}
    return "\n".join(["| figure | files |", "|---|---|", *(f"| {name} | {files} |" for name, files in links.items())])


def _address(path: Path) -> str:
    """A file's address on a page in the folder `notebooks`, of the book for files in it, else of this repository."""
    path = Path(os.path.normpath(path))
    home = next((folder for folder in (ROOT / "book", ROOT) if path.is_relative_to(folder)), None)
    return quote(Path(os.path.relpath(path, home / "notebooks")).as_posix()) if home else path.as_uri()
