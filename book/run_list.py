"""The notebook runs that book/runs.yml declares: which notebook, with which parameters, and where the executed notebook and its page go."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kn_utils.checks import check_folder, check_whole
from kn_utils.data.facts import Dataset, load_dataset, split_relations
from kn_utils.paths import ROOT, model_name

SETTINGS = ("model", "dataset", "relations", "n_facts", "seed", "results_dir", "notebooks", "contents")
NOTEBOOK_SETTINGS = ("jobs", "shards", "relations", "pages", "parameters", "if_drawn")
JOBS = ("each", "together")
SHARDED = "01_attribution"  # the notebook whose facts may be split over jobs


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
    a setting that there is not, or one with a value that is not allowed.
    """

    def __init__(self, config: Mapping):
        self.config = config
        _check_settings("the run list", config, SETTINGS)
        if config["n_facts"] != "all":
            check_whole("n_facts", config["n_facts"], instead="all")
        check_whole("seed", config["seed"], lowest=0)
        check_folder("results_dir", config["results_dir"])
        self.dataset: Dataset = load_dataset(config["dataset"])
        self.results = f"{config['results_dir']}/{model_name(config['model'])}/{self.dataset.name}"
        for notebook, settings in config["notebooks"].items():
            _check_settings(f"{notebook} in the run list", settings, NOTEBOOK_SETTINGS)
            _check_settings(f"if_drawn of {notebook} in the run list", settings.get("if_drawn", {}), NOTEBOOK_SETTINGS)
            if not (ROOT / f"notebooks/{notebook}.ipynb").is_file():
                raise ValueError(f"the run list names {notebook}, but there is no notebooks/{notebook}.ipynb")
            if settings.get("jobs") not in JOBS:
                raise ValueError(f"jobs of {notebook} is {settings.get('jobs')!r}; it must be one of {', '.join(JOBS)}")
            if "shards" in settings:
                _check_shards(notebook, settings)
            if not self.relations(notebook):
                chosen = ", ".join(self.dataset.select(config["relations"]))
                raise ValueError(
                    f"{notebook} has no relation to run over: none of {self.settings(notebook)['relations']} is among {chosen}"
                )

    def relations(self, notebook: str) -> list[str]:
        """Return the relations that a notebook runs over: its own ones among those of the whole list."""
        chosen = self.dataset.select(self.config["relations"])
        own = self.settings(notebook).get("relations", "all")
        return chosen if own == "all" else [name for name in split_relations(own) if name in chosen]

    def settings(self, notebook: str) -> dict:
        """Return what the list says of a notebook: "if_drawn" goes first where not all facts are taken."""
        settings = self.config["notebooks"][notebook]
        return settings if self.config["n_facts"] == "all" else settings | settings.get("if_drawn", {})

    def each(self, notebook: str) -> bool:
        """Return whether a notebook runs once for each relation."""
        return self.config["notebooks"][notebook]["jobs"] == "each"

    @property
    def shards(self) -> list[str]:
        """Return the shares in which the facts of a relation are attributed, such as "2-of-4"; none where that is a single job."""
        count = self.config["notebooks"][SHARDED].get("shards", 1)
        return [f"{number}-of-{count}" for number in range(1, count + 1)] if count > 1 else []

    def pages(self, notebook: str) -> list[str]:
        """Return the relations for which a notebook has a page of its own."""
        listed = split_relations(self.config["notebooks"][notebook].get("pages", ""))
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


def _check_settings(what: str, settings: object, known: Sequence[str]) -> None:
    if not isinstance(settings, Mapping):
        raise ValueError(f"{what} is {settings!r}; it must be settings: {', '.join(known)}")
    if unknown := sorted(map(str, settings.keys() - set(known))):
        raise ValueError(f"{what} has no setting {', '.join(unknown)}; there are: {', '.join(known)}")


def _check_shards(notebook: str, settings: Mapping) -> None:
    check_whole(f"shards of {notebook}", settings["shards"])
    if notebook != SHARDED or settings["jobs"] != "each":
        raise ValueError(f"{notebook} with jobs {settings['jobs']!r} has no shards; only {SHARDED} with jobs 'each' has")
