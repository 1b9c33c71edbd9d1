"""A run: the model, data set, draw of facts and results folder that the notebooks share, and the tables made so far."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from kn_utils.data.facts import Dataset, Fact
from kn_utils.model.models import LanguageModel
from kn_utils.model.prompts import draw_facts
from kn_utils.parameters import check
from kn_utils.paths import table_path
from kn_utils.steps import STEP_OF, upstream
from kn_utils.store.files import read_provenance, read_table
from kn_utils.store.provenance import package_versions, sources_digest
from kn_utils.store.results import FACTS_PER_PART, Work, compute_in_parts, digest
from kn_utils.store.workers import default_workers

FACT_KEY = ["relation", "fact"]  # the columns that name a fact
MODEL_INPUTS = ("weights", "settings", "dtype", "device")


class NothingToShowError(ValueError):
    """Raised when a step's tables are valid but hold nothing to show; the message says why.

    `book/run_notebook.py` counts it as success, and no page is made of it.
    """


def scope(model: str, dataset: str, relations: Sequence[str]) -> str:
    """Return what a result is of, for readers: the model, the data set and the relations, or their number."""
    shown = ", ".join(relations) if len(relations) <= 4 else f"{len(relations)} relations"
    return f"{model} on {dataset}, {shown}"


@dataclass(frozen=True)
class Run:
    """What all steps share; `model` is the model's name in paths, `LanguageModel.name` or `kn_utils.paths.result_name`.

    `workers` processes share the work, by default one for each core. Raises ValueError for a number or a folder that is not allowed.
    """

    model: str
    dataset: Dataset
    n_facts: int | None = None
    seed: int = 42
    results_dir: str | Path = "results"
    workers: int | None = None
    _drawn: dict[tuple[str, str], list[Fact]] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self):
        check(n_facts=self.n_facts, seed=self.seed, results_dir=self.results_dir, workers=self.workers)

    def scope(self, relations: Sequence[str]) -> str:
        """Return the model, the data set and the relations, or their number, for the title of a figure."""
        return scope(self.model, self.dataset.name, relations)

    def facts(self, relation: str, lm: LanguageModel) -> list[Fact]:
        """Return the facts of a relation that the run is about: drawn so that the model can be prompted with `n_facts` of them."""
        place = (lm.name, relation)
        if place not in self._drawn:  # drawing may tokenise the whole relation
            self._drawn[place] = draw_facts(lm, self.dataset, relation, self.n_facts, self.seed)
        return self._drawn[place]

    def path(self, table: str, relation: str) -> Path:
        """Return where a table of a relation is kept."""
        return table_path(self.results_dir, self.model, self.dataset.name, table, relation)

    def make(
        self,
        step: str,
        relation: str,
        facts: Sequence,
        work: Work,
        inputs: dict,
        lm: LanguageModel | None = None,
        per_part: int = FACTS_PER_PART,
    ) -> Path:
        """Make the tables of a step for one relation, unless they are there, and return the path of the step's own table.

        `work` turns `per_part` of the `facts` into the rows of all tables. `inputs` are those of the step beside what every step depends
        on; a step without `lm` takes the model's from the tables that it reads.
        Raises as `made_with` for tables of earlier steps, and as `kn_utils.store.results.compute_in_parts`.
        """
        tables = [self.path(table, relation) for table in STEP_OF[step].tables]
        earlier = {name: self.made_with(name, relation, lm) for name in upstream(STEP_OF[step])}
        carried = {name: made[name] for made in earlier.values() for name in MODEL_INPUTS if name in made}
        made_from = {"made_from": {name: digest(made) for name, made in earlier.items()}} if earlier else {}
        whole = self._inputs(step, relation) | (lm.identity() if lm else carried) | made_from | inputs
        compute_in_parts(tables, whole, facts, work, per_part, self.workers or default_workers(lm and lm.device))
        return tables[0]

    def _inputs(self, step: str, relation: str) -> dict:
        """What the values of every step depend on, but for the model's weights."""
        return {
            "step": step,
            "sources": sources_digest(f"kn_utils.chapters.{step}.table"),
            "versions": package_versions(),
            "model": self.model,
            "dataset": self.dataset.name,
            "facts_and_templates": self.dataset.digest(relation),
            "relation": relation,
            "n_facts": self.n_facts,
            "seed": self.seed,
        }

    def made_with(self, table: str, relation: str, lm: LanguageModel | None = None) -> dict:
        """Return the inputs that a finished table was made with.

        Raises FileNotFoundError if there is no table, and ValueError if it was made by other code, is of other facts, another draw or
        another model, or was made from a table of an earlier step that has been made anew since.
        """
        path, step = self.path(table, relation), STEP_OF[table]
        if not path.is_file():
            raise FileNotFoundError(f"there is no {path}: run notebooks/{step.notebook}.ipynb with the same parameters first")
        found = read_provenance(path)["inputs"]
        again = f"run notebooks/{step.notebook}.ipynb again"
        wanted = self._inputs(step.name, relation)
        if found.get("sources") != wanted.pop("sources"):
            raise ValueError(f"{path} was made by other code than this: {again}")
        wanted = {name: wanted[name] for name in ("facts_and_templates", "n_facts", "seed")}
        wanted |= {name: lm.identity()[name] for name in ("weights", "settings")} if lm else {}
        if different := {name: value for name, value in wanted.items() if found.get(name) != value}:
            named = ", ".join(f"{name} {found.get(name)!r} where {value!r} is asked for" for name, value in different.items())
            raise ValueError(f"{path} was made with {named}: use the same here, or {again}")
        for earlier in upstream(step):
            if (
                self.path(earlier, relation).is_file()
                and digest(self.made_with(earlier, relation, lm)) != found["made_from"][earlier]
            ):
                raise ValueError(f"{path} was made from {earlier} that has been made anew since: {again}")
        return found

    def read(self, table: str, relations: Sequence[str]) -> pd.DataFrame:
        """Return a table of several relations joined. Raises as `made_with`, and ValueError if a file is damaged."""
        for relation in relations:
            self.made_with(table, relation)
        return pd.concat([read_table(self.path(table, relation)) for relation in relations], ignore_index=True)

    def asked_facts(self, relations: Sequence[str]) -> pd.DataFrame:
        """Return the facts that the model was prompted with. Raises as `asked_facts`, and as `read`."""
        return asked_facts(self.read("facts", relations))


def asked_facts(facts: pd.DataFrame) -> pd.DataFrame:
    """Return the facts of step 1's table `facts` that the model was prompted with: columns relation, fact, subject, object, prompts.

    Raises NothingToShowError if there is none.
    """
    asked = facts.loc[facts["prompts"] > 0, [*FACT_KEY, "subject", "object", "prompts"]].reset_index(drop=True)
    if asked.empty:
        raise NothingToShowError(f"none of the {len(facts)} facts could be asked: {facts['left_out_because'].iloc[0]}")
    return asked
