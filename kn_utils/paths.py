"""Where this repository keeps its data and results, whatever folder a notebook runs in; and which notebook makes which table."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT / "data"

MADE_BY = {
    "01_attribution": ("attribution", "facts", "prompts", "completeness"),
    "02_knowledge_neurons": ("knowledge_neurons", "refinement"),
    "03_modify_activation": ("modify_activation",),
    "04_distant_prompts": ("distant_prompts", "sentences_left_out"),
    "05_trigger_examples": ("trigger_examples",),
    "06_edit_facts": ("edit_facts", "edit_strength", "edit_candidates"),
    "07_erase_relation": ("erase_relation", "erase_facts", "erase_dose"),
}
NOTEBOOK_OF = {table: notebook for notebook, tables in MADE_BY.items() for table in tables}


def model_name(name: str | Path) -> str:
    """Return the name that results of a model are kept under: a folder's own name, or the hub id with its slash replaced."""
    folder = os.path.expanduser(str(name))
    return Path(folder).resolve().name if os.path.isdir(folder) else str(name).replace("/", "--")


def table_path(results_dir: str | Path, model: str, dataset: str, step: str, relation: str) -> Path:
    """Return where a step's table of one relation is kept: `results/<model>/<dataset>/<step>/<relation>.parquet`.

    A relative `results_dir` lies in this repository, whatever folder a notebook runs in.
    """
    return ROOT / results_dir / model / dataset / step / f"{relation}.parquet"


def readable_path(path: Path) -> Path:
    """Return a path as a reader is shown it: from this repository on, if it lies in it."""
    return path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
