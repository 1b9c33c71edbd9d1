"""Figures as files: the same bytes at every run, and never half a file."""

from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

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
    folder = Path(folder)
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
