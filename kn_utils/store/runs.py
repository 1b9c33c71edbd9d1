"""A run: model, data set, sample of facts and results folder, which all notebooks share, and the tables made so far."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from kn_utils.data.facts import Dataset, Fact
from kn_utils.model.models import LanguageModel
from kn_utils.model.prompts import draw_facts
from kn_utils.parameters import check
from kn_utils.paths import readable_path, table_path
from kn_utils.steps import STEP_OF, upstream
from kn_utils.store.files import read_provenance, read_table
from kn_utils.store.provenance import package_versions, sources_digest
from kn_utils.store.published import PublishedResults, published_inputs
from kn_utils.store.results import FACTS_PER_PART, Work, compute_in_parts, digest
from kn_utils.store.workers import default_workers

FACT_KEY = ["relation", "fact"]  # the key columns of a fact
PROMPT_KEY = [*FACT_KEY, "prompt"]  # and of a prompt
MODEL_INPUTS = ("weights", "settings", "dtype", "device")


class NothingToShowError(ValueError):
    """Tables are valid, but have no data to show or to test a claim on; the message gives the reason.

    `book/run_notebook.py` treats it as success and makes no page.
    """


@dataclass(frozen=True)
class Run:
    """The settings that all steps share. `model` is the name in paths: `LanguageModel.name`, or `kn_utils.paths.result_name`.

    `workers` is the number of worker processes, by default one for each core. Raises ValueError for a value that is not allowed.
    """

    model: str
    dataset: Dataset
    n_facts: int | None = None
    seed: int = 42
    results_dir: str | Path = "results"
    workers: int | None = None
    _drawn: dict[tuple[str, str], list[Fact]] = field(default_factory=dict, repr=False, compare=False)
    _said: set[str] = field(default_factory=set, repr=False, compare=False)  # tables taken from our published results

    def __post_init__(self):
        check(n_facts=self.n_facts, seed=self.seed, results_dir=self.results_dir, workers=self.workers)

    def facts(self, relation: str, lm: LanguageModel) -> list[Fact]:
        """Return the sample of a relation's facts; `n_facts` of them have a usable prompt."""
        key = (lm.name, relation)
        if key not in self._drawn:  # drawing may tokenise the whole relation
            self._drawn[key] = draw_facts(lm, self.dataset, relation, self.n_facts, self.seed)
        return self._drawn[key]

    def path(self, table: str, relation: str) -> Path:
        """Return the path of a table of a relation."""
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
        """Make or reuse the tables of a step for one relation, and return the path of the step's first table.

        `work` returns the rows of all tables for `per_part` of the `facts`. `inputs` are the step's own inputs; the inputs of all steps are
        added. Without `lm`, the inputs that describe the model come from the tables of earlier steps.
        Raises as `made_with` for these tables, and as `kn_utils.store.results.compute_in_parts`.
        """
        tables = [self.path(table, relation) for table in STEP_OF[step].tables]
        # of a step, only the tables that are read may be published
        earlier = {STEP_OF[table].name: self.made_with(table, relation, lm) for table in STEP_OF[step].needs}
        model_inputs = {name: made[name] for made in earlier.values() for name in MODEL_INPUTS if name in made}
        made_from = {"made_from": {name: digest(made) for name, made in earlier.items()}} if earlier else {}
        all_inputs = self._inputs(step, relation) | (lm.identity() if lm else model_inputs) | made_from | inputs
        compute_in_parts(tables, all_inputs, facts, work, per_part, self.workers or default_workers(lm and lm.device))
        return tables[0]

    def _inputs(self, step: str, relation: str) -> dict:
        """Return the inputs of every step, without those that describe the model."""
        return {
            "step": step,
            "sources": sources_digest(f"kn_utils.chapters.{step}.table"),
            "versions": package_versions(),
            "model": self.model,
            "dataset": self.dataset.name,
            "relation": relation,
        } | self._sample(relation)

    def made_with(self, table: str, relation: str, lm: LanguageModel | None = None) -> dict:
        """Return the inputs of a finished table: of this run or, if it has neither this table nor those before it, of what we published.

        Raises FileNotFoundError if there is no table, and ValueError if it was made by other code, from other facts, with another sample or
        another model, or from a table of an earlier step that was computed again afterwards. A published table may come from older code.
        """
        path, step = self.path(table, relation), STEP_OF[table]
        if not path.is_file():
            return self._published_inputs(table, relation, lm)
        found = read_provenance(path)["inputs"]
        again = f"run notebooks/{step.notebook}.ipynb again"
        if found.get("sources") != self._inputs(step.name, relation)["sources"]:
            raise ValueError(f"{path} was made by other code than this: {again}")
        wanted = self._sample(relation)
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

    def file(self, table: str, relation: str) -> Path:
        """Return the file that `read` reads: the run's own, or that of our published results. Raises as `made_with`."""
        self.made_with(table, relation)
        path = self.path(table, relation)
        return path if path.is_file() else self._published.path(table)

    def provenance(self, table: str, relation: str) -> dict:
        """Return the provenance of a table. Raises as `made_with`."""
        found = read_provenance(self.file(table, relation))
        return found if "inputs" in found else found[relation]  # a published file has that of every relation

    def _sample(self, relation: str) -> dict:
        """Return the inputs that say which facts a table is about."""
        return {"facts_and_templates": self.dataset.digest(relation), "n_facts": self.n_facts, "seed": self.seed}

    def _published_inputs(self, table: str, relation: str, lm: LanguageModel | None) -> dict:
        """Return the inputs of a published table of the same facts and model. Raises FileNotFoundError if there is none."""
        step = STEP_OF[table]
        own = [name for name in (step.name, *upstream(step)) if self.path(name, relation).is_file()]
        wanted = self._sample(relation) | ({"weights": lm.identity()["weights"]} if lm else {})
        found = None if own else published_inputs(self._published, table, relation, wanted)
        if found is None:
            raise FileNotFoundError(
                f"there is no {self.path(table, relation)}: run notebooks/{step.notebook}.ipynb with the same parameters first"
            )
        return found

    @property
    def _published(self) -> PublishedResults:
        return PublishedResults(self.model, self.dataset.name)

    def has(self, table: str, relations: Sequence[str]) -> bool:
        """Return whether a table can be read for all these relations. Raises ValueError as `made_with`."""
        try:
            for relation in relations:
                self.made_with(table, relation)
        except FileNotFoundError:
            return False
        return True

    def read(self, table: str, relations: Sequence[str]) -> pd.DataFrame:
        """Return the joined tables of several relations. It is printed once if one is taken from our published results.

        Raises as `made_with`, and ValueError if a file is damaged.
        """
        for relation in relations:
            self.made_with(table, relation)
        elsewhere = [relation for relation in relations if not self.path(table, relation).is_file()]
        rows = {name: read_table(self.path(table, name)) for name in relations if name not in elsewhere}
        if elsewhere:
            self._say_published(table)
            published = self._published.read(table, elsewhere)
            rows |= {name: published[published["relation"] == name] for name in elsewhere}
        return pd.concat([rows[relation] for relation in relations], ignore_index=True)

    def _say_published(self, table: str) -> None:
        if table not in self._said:
            self._said.add(table)
            folder = readable_path(self.path(table, "").parent)
            print(f"{table}: our published table of {self.model} on {self.dataset.name} is used, since {folder} has none")

    def facts_with_prompts(self, relations: Sequence[str]) -> pd.DataFrame:
        """Return the facts with at least one prompt. Raises as the function `facts_with_prompts`, and as `read`."""
        return facts_with_prompts(self.read("facts", relations))


def facts_with_prompts(facts: pd.DataFrame) -> pd.DataFrame:
    """Return the facts of step 1's table `facts` with at least one prompt: columns relation, fact, subject, object, prompts.

    Raises NothingToShowError if there is none.
    """
    asked = facts.loc[facts["prompts"] > 0, [*FACT_KEY, "subject", "object", "prompts"]].reset_index(drop=True)
    if asked.empty:
        raise NothingToShowError(f"none of the {len(facts)} facts has a usable prompt: {facts['left_out_because'].iloc[0]}")
    return asked
