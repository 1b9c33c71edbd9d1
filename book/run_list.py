"""The notebook runs that book/runs.yml declares: which notebook, with which parameters, and where the executed notebook and its page go."""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from os.path import expanduser

from snakemake.exceptions import WorkflowError
from snakemake.utils import validate

from kn_utils.data.facts import Dataset, load_dataset, split_relations
from kn_utils.parameters import FIRST_TOKEN, ONE_TOKEN, PARAMETERS, check
from kn_utils.paths import ROOT, result_name
from kn_utils.steps import STEPS, Step, upstream

SCHEMA = ROOT / "book/runs.schema.yml"


@dataclass(frozen=True)
class NotebookRun:
    """One execution of a notebook; `relation` is the relation it is for, "" for all of its notebook's together."""

    notebook: str
    relation: str
    parameters: dict
    executed: str
    page: str


class RunList:
    """What to run for one model and data set; paths are relative to the repository.

    `config` is the content of book/runs.yml. What a data set lacks is not run: `notes` says so, for users.
    Raises ValueError for a run list that does not fit `SCHEMA`, a parameter that is not allowed, a notebook that does not exist and a
    relation that the data set does not have, and FileNotFoundError for a data set that is not there.
    """

    def __init__(self, config: Mapping):
        _check_structure(config)
        self.config = config
        self.n_facts = None if config["n_facts"] == "all" else config["n_facts"]
        check(n_facts=self.n_facts, seed=config["seed"], results_dir=config["results_dir"])
        self.dataset: Dataset = load_dataset(config["dataset"], config.get("objects", ONE_TOKEN))
        self.results = f"{expanduser(config['results_dir'])}/{result_name(config['model'])}/{self.dataset.name}"
        self.notes: list[str] = []
        self.skipped = self._skipped()
        self.notebooks = [name for name in config["notebooks"] if name not in self.skipped]
        self._relations = {notebook: self._choose(notebook) for notebook in self.notebooks}
        for notebook in self.notebooks:
            if not (ROOT / f"notebooks/{notebook}.ipynb").is_file():
                raise ValueError(f"the run list names {notebook}, but there is no notebooks/{notebook}.ipynb")
            given = self.settings(notebook).get("parameters", {})
            check(**{name: value for name, value in given.items() if name in PARAMETERS})

    def _skipped(self) -> list[str]:
        """Return the notebooks that read web sentences, and those that read what these make, if the data set lacks web sentences."""
        lacking = [relation for relation in self.dataset.relations if not _has_sentences(self.dataset, relation)]
        skipped: list[Step] = []
        for step in STEPS if lacking else ():
            if step.web_sentences or any(earlier.name in upstream(step) for earlier in skipped):
                skipped.append(step)
        notebooks = [step.notebook for step in skipped if step.notebook in self.config["notebooks"]]
        if notebooks:
            self.notes.append(f"{' and '.join(notebooks)} are skipped: the data set has no web sentences of {', '.join(lacking)}")
        return notebooks

    def _choose(self, notebook: str) -> list[str]:
        chosen = self.dataset.select(self.config["relations"])
        listed = self.settings(notebook).get("relations", "all")
        own = chosen if listed == "all" else split_relations(listed)
        found = [name for name in own if name in chosen]
        if missing := [name for name in own if name not in chosen]:
            self.notes.append(f"{notebook} runs over {', '.join(found) or 'all relations'}: this run has no {', '.join(missing)}")
        return found or chosen

    def relations(self, notebook: str) -> list[str]:
        """Return the relations that a notebook runs over: those listed for it, or all of the run if none of these is among them."""
        return self._relations[notebook]

    def settings(self, notebook: str) -> dict:
        """Return what the list says of a notebook: "if_drawn" goes first where not all facts are taken."""
        settings = self.config["notebooks"][notebook]
        return settings if self.n_facts is None else settings | settings.get("if_drawn", {})

    def each(self, notebook: str) -> bool:
        """Return whether a notebook runs once for each relation."""
        return self.config["notebooks"][notebook]["jobs"] == "each"

    def run(self, notebook: str, relation: str = "") -> NotebookRun:
        """Return a notebook's run for one relation, or for all of them together; one that runs alone gets its own parameters only."""
        common = {name: self.config[name] for name in ("model", "dataset", "results_dir", "seed")}
        common |= {"n_facts": self.n_facts}
        own = self.settings(notebook).get("parameters", {})
        if "objects" in self.config and "dataset" not in own:
            common["objects"] = self.config["objects"]
        relations = relation or ",".join(self.relations(notebook))
        place = f"{notebook}/{relation}" if relation else notebook
        alone = self.config["notebooks"][notebook]["jobs"] == "alone"
        parameters = ({} if alone else {"relation": relations} | common) | own
        return NotebookRun(
            notebook, relation, parameters, f"{self.results}/notebooks/{place}.ipynb", f"book/notebooks/{notebook}.ipynb"
        )

    def all_runs(self) -> list[NotebookRun]:
        """Return the run of every notebook over all its relations together: those that have a page."""
        return [self.run(name) for name in self.notebooks]


def _check_structure(config: Mapping) -> None:
    try:
        validate(deepcopy(config), str(SCHEMA))
    except WorkflowError as error:
        reason = error.__context__  # jsonschema's own error; Snakemake's prints the whole schema with it
        place = "".join(f", {name}" for name in reason.absolute_path)
        raise ValueError(f"the run list{place}: {reason.message}") from None


def _has_sentences(dataset: Dataset, relation: str) -> bool:
    if dataset.name in ("pararel", f"pararel-{FIRST_TOKEN}"):  # has all of them, and looking would download them
        return True
    try:
        return bool(dataset.locate("sentences", relation))
    except FileNotFoundError:
        return False
