"""Where this repository keeps its data; independent of the folder a notebook runs in."""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT / "data"
