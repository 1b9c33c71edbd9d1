"""The notebook runs that book/runs.yml declares: which notebook, with which parameters, and where the executed notebook and its page go."""

from collections.abc import Mapping
from dataclasses import dataclass

from kn_utils.facts import Dataset, load_dataset
from kn_utils.paths import ROOT, model_name

JOBS = ("each", "together")


@dataclass(frozen=True)
class NotebookRun:
    """One execution of a notebook; `relation` is the relation it is for, "" for all of its notebook's together."""

    notebook: str
    relation: str
    parameters: dict
    executed: str
    page: str

    @property
    def template(self) -> str:
        """The notebook as it is stored, without outputs."""
        return f"notebooks/{self.notebook}.ipynb"


class RunList:
    """What to run for one model and data set; paths are relative to the repository.

    `config` is the content of book/runs.yml. Raises ValueError for a notebook that does not exist, a relation the data set does not have,
    or a setting with a value that is not allowed.
    """

    def __init__(self, config: Mapping):
        self.config = config
        self.dataset: Dataset = load_dataset(config["dataset"])
        self.results = f"{config['results_dir']}/{model_name(config['model'])}/{self.dataset.name}"
        for notebook, settings in config["notebooks"].items():
            if not (ROOT / f"notebooks/{notebook}.ipynb").is_file():
                raise ValueError(f"the run list names {notebook}, but there is no notebooks/{notebook}.ipynb")
            if settings.get("jobs") not in JOBS:
                raise ValueError(f"jobs of {notebook} is {settings.get('jobs')!r}; it must be one of {', '.join(JOBS)}")
            if not self.relations(notebook):
                chosen = ", ".join(self.dataset.select(config["relations"]))
                raise ValueError(
                    f"{notebook} has no relation to run over: none of {self.settings(notebook)['relations']} is among {chosen}"
                )

    def relations(self, notebook: str) -> list[str]:
        """Return the relations that a notebook runs over: its own ones among those of the whole list."""
        chosen = self.dataset.select(self.config["relations"])
        own = self.settings(notebook).get("relations", "all")
        return chosen if own == "all" else [name for name in own.split(",") if name in chosen]

    def settings(self, notebook: str) -> dict:
        """Return what the list says of a notebook: "if_drawn" goes first where not all facts are taken."""
        settings = self.config["notebooks"][notebook]
        return settings if self.config["n_facts"] == "all" else settings | settings.get("if_drawn", {})

    def each(self, notebook: str) -> bool:
        """Return whether a notebook runs once for each relation."""
        return self.config["notebooks"][notebook]["jobs"] == "each"

    def pages(self, notebook: str) -> list[str]:
        """Return the relations for which a notebook has a page of its own."""
        listed = self.config["notebooks"][notebook].get("pages", "").split(",")
        return [name for name in self.relations(notebook) if name in listed]

    def run(self, notebook: str, relation: str = "") -> NotebookRun:
        """Return a notebook's run for one relation, or for all of them together."""
        settings = self.settings(notebook)
        common = {name: self.config[name] for name in ("model", "dataset", "results_dir", "n_facts", "seed")}
        common["n_facts"] = None if common["n_facts"] == "all" else common["n_facts"]
        relations = relation or ",".join(self.relations(notebook))
        place = f"{notebook}/{relation}" if relation else notebook
        page = f"relations/{relation}" if relation else f"notebooks/{notebook}"
        parameters = {"relation": relations} | common | settings.get("parameters", {})
        return NotebookRun(notebook, relation, parameters, f"{self.results}/notebooks/{place}.ipynb", f"book/{page}.ipynb")

    def all_runs(self) -> list[NotebookRun]:
        """Return every run: of each notebook those for single relations, then the one for all."""
        return [self.run(name, relation) for name in self.config["notebooks"] for relation in [*self.pages(name), ""]]
