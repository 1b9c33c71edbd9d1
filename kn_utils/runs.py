"""A run: the model, data set, draw of facts and results folder that the notebooks share, and the tables made so far."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from kn_utils.checks import check_folder, check_whole
from kn_utils.facts import Dataset, Fact
from kn_utils.models import LanguageModel
from kn_utils.paths import NOTEBOOK_OF, table_path
from kn_utils.prompts import draw_facts
from kn_utils.results import fingerprint, read_provenance, read_table

SHARED = ("facts_and_templates", "n_facts", "seed")


def scope(model: str, dataset: str, relations: Sequence[str]) -> str:
    """Return what a result is of, for readers: the model, the data set and the relations, or their number."""
    shown = ", ".join(relations) if len(relations) <= 4 else f"{len(relations)} relations"
    return f"{model} on {dataset}, {shown}"


class NothingToShowError(ValueError):
    """The tables of a step are made, but hold nothing to show; the message says why. A workflow that wants tables alone goes on."""


@dataclass(frozen=True)
class Run:
    """What all steps share; `model` is the model's name in paths, `LanguageModel.name` or `kn_utils.paths.model_name`.

    Raises ValueError for a number of facts, a seed or a results folder that can be none.
    """

    model: str
    dataset: Dataset
    n_facts: int | None = None
    seed: int = 42
    results_dir: str | Path = "results"

    def __post_init__(self):
        if self.n_facts is not None:
            check_whole("n_facts", self.n_facts, instead="None (all facts)")
        check_whole("seed", self.seed, lowest=0)
        check_folder("results_dir", self.results_dir)

    def scope(self, relations: Sequence[str]) -> str:
        """Return the model, the data set and the relations, or their number, for the title of a figure."""
        return scope(self.model, self.dataset.name, relations)

    def facts(self, relation: str, lm: LanguageModel) -> list[Fact]:
        """Return the facts of a relation that the run is about: drawn so that the model can be asked `n_facts` of them."""
        return draw_facts(lm, self.dataset, relation, self.n_facts, self.seed)

    def path(self, table: str, relation: str) -> Path:
        """Return where a table of a relation is kept."""
        return table_path(self.results_dir, self.model, self.dataset.name, table, relation)

    def inputs(self, step: str, relation: str, lm: LanguageModel | None = None) -> dict:
        """Return what the values of every step depend on, for its provenance; with the model's weights where it is used."""
        return {
            "step": step,
            "model": self.model,
            "dataset": self.dataset.name,
            "facts_and_templates": self.dataset.digest(relation),
            "relation": relation,
            "n_facts": self.n_facts,
            "seed": self.seed,
            "versions": fingerprint(),
        } | (lm.identity() if lm else {})

    def made_with(self, table: str, relation: str, lm: LanguageModel | None = None) -> dict:
        """Return the inputs that a finished table was made with.

        Raises FileNotFoundError if there is no table and ValueError if it is of other facts, another draw or another model, or was made
        from a table of an earlier step that has been made anew since.
        """
        path = self.path(table, relation)
        if not path.is_file():
            raise FileNotFoundError(
                f"there is no {path}: run notebooks/{NOTEBOOK_OF[table]}.ipynb with the same parameters first"
            )
        found = read_provenance(path)["inputs"]
        wanted = {name: self.inputs(table, relation)[name] for name in SHARED}
        wanted |= {name: lm.identity()[name] for name in ("weights", "settings")} if lm else {}
        if different := {name: value for name, value in wanted.items() if found.get(name) != value}:
            says = ", ".join(f"{name} {found.get(name)!r} where {value!r} is asked for" for name, value in different.items())
            raise ValueError(f"{path} was made with {says}: use the same here, or run notebooks/{NOTEBOOK_OF[table]}.ipynb again")
        for earlier in NOTEBOOK_OF.keys() & found.keys():
            if self.path(earlier, relation).is_file() and self.made_with(earlier, relation, lm) != found[earlier]:
                raise ValueError(
                    f"{path} was made from {earlier} that has been made anew since: run notebooks/{NOTEBOOK_OF[table]}.ipynb again"
                )
        return found

    def read(self, table: str, relations: Sequence[str]) -> pd.DataFrame:
        """Return a table of several relations joined. Raises as `made_with`, and ValueError if a file is damaged."""
        for relation in relations:
            self.made_with(table, relation)
        return pd.concat([read_table(self.path(table, relation)) for relation in relations], ignore_index=True)
