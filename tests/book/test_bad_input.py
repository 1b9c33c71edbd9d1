"""What a reader can get wrong, in one table: parameters, models, data sets, folders, the run list, commands.

Each row is one error, which says what was wrong, and what is allowed or where to look; nothing is written. Malformed data files have their
own table in test_facts.py, damaged tables and full disks theirs in test_results.py.
"""

import json
import math
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import known_facts
import papermill
import pytest
import tiny_folders
import yaml
from notebook_shell import run_here
from safetensors.torch import load_file, save_file
from spoilt_models import pickled_alone

from kn_utils.chapters.attribution.table import attribute_relation
from kn_utils.chapters.does_it_help_editing.table import compare_edits
from kn_utils.chapters.edit_facts.plans import check_choice, chosen_edit
from kn_utils.chapters.edit_facts.table import edit_facts
from kn_utils.chapters.erase_relation.table import erase_relation
from kn_utils.chapters.how_much_passes.table import exchange_states
from kn_utils.chapters.is_it_knowledge.table import compare_knowledge
from kn_utils.chapters.knowledge_neurons.table import find_neurons
from kn_utils.chapters.knowledge_neurons.thresholds import Thresholds
from kn_utils.chapters.trigger_examples.table import rank_sentences
from kn_utils.chapters.which_score.table import compare_scores
from kn_utils.data.facts import UPSTREAM, load_dataset
from kn_utils.model.attribution import Quadrature
from kn_utils.model.models import load_model
from kn_utils.model.own_sentences import answer_prompts, sentence_list
from kn_utils.model.prompts import NOT_OBJECT_FINAL, encode
from kn_utils.model.sentences import read_corpus
from kn_utils.paths import ROOT, result_name
from kn_utils.plots.files import save_figure
from kn_utils.store import publish
from kn_utils.store.runs import Run

sys.path.append(str(ROOT / "book"))
from run_list import RunList
from run_notebook import run_notebook

CONFIG = yaml.safe_load((ROOT / "book/runs.yml").read_text(encoding="utf-8"))
NAN, INF = math.nan, math.inf


@dataclass
class Place:
    """Where a row does its wrong thing: an empty folder, a run with the tables of steps 1 and 2, tiny models and data."""

    folder: Path
    known: Run
    known_lm: object
    folder_of: object
    loaded: object
    data: Path
    monkeypatch: object

    @property
    def results(self) -> Path:
        """Where rows would write their results; it must not come to be."""
        return self.folder / "results"

    @property
    def file(self) -> Path:
        """A file, where a folder is asked for."""
        path = self.folder / "a file"
        path.write_text("no folder", encoding="utf-8")
        return path

    def run(self, **parameters) -> Run:
        """A run on the tiny data set, as every notebook makes it."""
        return Run(**({"model": "tiny-bert", "dataset": load_dataset(self.data), "results_dir": self.results} | parameters))

    def attribute(self, lm=None, relation="P36", method=None, **parameters):
        """Notebook 01's step."""
        return attribute_relation(lm or self.loaded("bert"), self.run(**parameters), relation, method or Quadrature())

    def attribute_with(self, model: Path):
        """Notebook 01's step with another model."""
        return self.attribute(load_model(model, "cpu"))

    def chosen_edit(self, *what):
        """Notebook 06's worked example."""
        return chosen_edit(self.known_lm, self.known, ["P36"], *what)

    def choose(self, *what):
        """What notebook 06 checks of it before it edits any fact."""
        return check_choice(self.known_lm, self.known, ["P36"], *what)

    def ask(self, answer, name="answer"):
        """Notebook 11's question."""
        return answer_prompts(self.known_lm, "The capital of Norway is [MASK].", answer, name)

    def model(self, **changes) -> Path:
        """A copy of a tiny model, with changes of its configuration: None removes a line."""
        folder = shutil.copytree(self.folder_of("bert"), self.folder / "mine")
        rewrite(folder / "config.json", changes)
        return folder

    def without(self, name: str) -> Path:
        """A copy of a tiny model that lacks a file."""
        folder = self.model()
        (folder / name).unlink()
        return folder

    def with_weight(self, value: float) -> Path:
        """A copy of a tiny model with one weight changed."""
        folder = self.model()
        weights = load_file(folder / "model.safetensors")
        weights["bert.encoder.layer.1.output.dense.weight"][0, 0] = value
        save_file(weights, folder / "model.safetensors", {"format": "pt"})
        return folder

    def with_vocabulary(self, size: int) -> Path:
        """A tiny model of a vocabulary that is not its tokenizer's."""
        return tiny_folders.write_model(self.folder / "mine", "bert", vocab_size=size)

    def with_mask(self, mask: str | None) -> Path:
        """A copy of a tiny model whose tokenizer has another mask token, or none."""
        folder = self.model()
        rewrite(folder / "tokenizer_config.json", {"mask_token": mask})
        return folder

    def first_step(self, model_type: str, relation: str) -> Run:
        """A run with the tables of step 1."""
        lm = self.loaded(model_type)
        run = Run(lm.name, load_dataset(self.data), results_dir=self.folder / "made")
        attribute_relation(lm, run, relation)
        return run

    def paper_data(self, folder: Path | str):
        """The paper's data set, from a copy that is said to be in `folder`."""
        self.monkeypatch.setenv("KN_DATA_DIR", str(folder))
        return load_dataset("pararel")

    def publish(self, *arguments):
        """The command that publishes results."""
        self.monkeypatch.setattr(publish, "RESULTS", self.folder / "published")
        self.monkeypatch.setattr(publish, "commit", lambda: "0" * 40)
        self.monkeypatch.setattr(sys, "argv", ["python -m kn_utils.store.publish", *map(str, arguments)])
        return publish.main()

    def run_list(self, **changes):
        """The run list with lines changed."""
        return RunList(CONFIG | changes)

    def notebook_settings(self, **settings):
        """The run list of one notebook."""
        return self.run_list(notebooks={"07_erase_relation": settings})

    def run_notebook(self, name: str, **parameters):
        """What the workflow runs."""
        return run_notebook(ROOT / f"notebooks/{name}.ipynb", self.folder / "out.ipynb", parameters)

    def notebook(self, name: str, **parameters):
        """A notebook with parameters of its own, before any other has run."""
        fixed = {"relation": "P36", "model": self.folder_of("bert"), "dataset": self.data, "results_dir": self.results}
        run_here(name, **{key: str(value) for key, value in fixed.items()} | parameters)


def rewrite(path: Path, changes: dict) -> None:
    content = json.loads(path.read_text(encoding="utf-8")) | changes
    kept = {name: value for name, value in content.items() if value is not None}
    path.write_text(json.dumps(kept), encoding="utf-8")


COUNT = "must be None (all facts) or a whole number of at least 1"
SCORE = "must be a number from 0.1 to 1; step 1 keeps no smaller scores"
NO_COUNTS = [0, -1, 2.0, 2.5, NAN, INF, "2", "ten", "", True, [], [2], {}]
NO_SHARES = [-0.1, 1.01, NAN, INF, "0.2", None, True, [], [0.2]]
NO_POSITIVES = [0, -1, NAN, INF, "0.1", None, True, []]
NO_FACTORS = [-1, NAN, INF, -INF, "8", "", None, True, [8]]
PARAMETERS = {  # of the notebooks: what takes them, values that are none, and what the error says is allowed
    "n_facts": (lambda at, value: at.attribute(n_facts=value), NO_COUNTS, COUNT),
    "seed": (
        lambda at, value: at.attribute(seed=value),
        [-1, 2.5, NAN, INF, "42", "", None, True, [1]],
        "a whole number of at least 0",
    ),
    "results_dir": (
        lambda at, value: at.attribute(results_dir=value),
        ["", " ", None, 5, True, [], "nul\0byte"],
        "the path of a folder",
    ),
    "objects": (
        lambda at, value: load_dataset(at.data, value),
        ["two-token", "", None, 1, ["one-token"]],
        "one of one-token, first-token",
    ),
    "dtype": (
        lambda at, value: load_model("starter", "cpu", value),
        ["float64", "half", "", None, 16, ["float16"]],
        "one of float32, bfloat16, float16",
    ),
    "quadrature": (
        lambda at, value: Quadrature(quadrature=value),
        ["simpson", "", None, 20, ["released"]],
        "one of released, gauss-legendre",
    ),
    "tolerance": (lambda at, value: Quadrature(tolerance=value), NO_POSITIVES, "a positive number"),
    "max_memory_gb": (lambda at, value: Quadrature(max_memory_gb=value), NO_POSITIVES, "a positive number"),
    "score_share": (lambda at, value: Thresholds(attribution=value), [*NO_SHARES, 0.09], SCORE),
    "baseline_share": (lambda at, value: Thresholds(activation=value), [*NO_SHARES, 0.09], SCORE),
    "prompt_share": (lambda at, value: Thresholds(prompt_share=value), NO_SHARES, "a number from 0 to 1"),
    "n_examples": (lambda at, value: rank_sentences(at.run(), "P36", value), [*NO_COUNTS, None], "a whole number of at least 1"),
    "lambda1": (lambda at, value: edit_facts(at.known_lm, at.known, "P36", lambda1=value), NO_FACTORS, "a number of at least 0"),
    "lambda2": (lambda at, value: edit_facts(at.known_lm, at.known, "P36", lambda2=value), NO_FACTORS, "a number of at least 0"),
    "common_share": (lambda at, value: edit_facts(at.known_lm, at.known, "P36", 1, 8, value), NO_SHARES, "a number from 0 to 1"),
    "subject": (
        lambda at, value: at.chosen_edit(value, ""),
        [None, 0, 1984, True, [], ["Norway"]],
        "must be text (by papermill: -r subject",
    ),
    "new_object": (
        lambda at, value: at.chosen_edit("", value),
        [None, 0, 1984, NAN, ["Oslo"]],
        "must be text (by papermill: -r new_object",
    ),
    "sentences": (
        lambda at, value: sentence_list(value),
        [None, 1984, True, [1], ["a", None], {}],
        "must be text, or a list of texts (by papermill: -r sentences",
    ),
    "answer": (
        lambda at, value: at.ask(value),
        [None, 1984, True, [], ["Oslo"]],
        "must be text (by papermill: -r answer",
    ),
    "instead": (
        lambda at, value: at.ask(value, "instead"),
        [None, 1984, NAN, ["Oslo"]],
        "must be text (by papermill: -r instead",
    ),
    "workers": (
        lambda at, value: at.run(workers=value),
        NO_COUNTS,
        "None (one for each core) or a whole number of at least 1",
    ),
    "other_facts": (lambda at, value: erase_relation(at.known_lm, at.known, "P36", value), NO_COUNTS, COUNT),
    "n_chosen": (
        lambda at, value: compare_knowledge(at.known_lm, at.known, "P36", value),
        [*NO_COUNTS, None],
        "a whole number of at least 1",
    ),
    "n_prompts": (
        lambda at, value: compare_scores(at.known_lm, at.known, "P36", value),
        [*NO_COUNTS, None],
        "a whole number of at least 1",
    ),
    "n_pairs": (
        lambda at, value: exchange_states(at.known_lm, at.known, "P36", value),
        [*NO_COUNTS, None],
        "a whole number of at least 1",
    ),
    "n_edits": (
        lambda at, value: compare_edits(at.known_lm, at.known, "P36", value),
        [*NO_COUNTS, None],
        "a whole number of at least 1",
    ),
    "min_probability": (
        lambda at, value: compare_scores(at.known_lm, at.known, "P36", min_probability=value),
        NO_SHARES,
        "a number from 0 to 1",
    ),
    "max_probability": (
        lambda at, value: compare_scores(at.known_lm, at.known, "P36", max_probability=value),
        NO_SHARES,
        "a number from 0 to 1",
    ),
}
A_MODEL = "A model is one of starter, smollm2-135m, a local folder in the hub's layout with safetensors weights"
A_DATA_SET = "use 'starter', 'pararel', or a folder that holds query_pairs.json and patterns/<relation>.jsonl"
A_COPY = "it must hold a copy of Hunter-DDM/knowledge-neurons in its own layout; unset it to download"
A_DEVICE = "use 'auto', 'cpu', or a device torch has"
RELATIONS = " has no relation {}; it has: P30, P36, P101, or 'all'"
FIRST = "run notebooks/{}.ipynb with the same parameters first"
SETTINGS = "'model', 'dataset', 'objects', 'relations', 'n_facts', 'seed', 'results_dir', 'notebooks', 'contents']"
OWN_SETTINGS = "'jobs', 'relations', 'parameters', 'if_drawn']"

# (what is done, the exception, parts of its message)
ROWS = {
    f"{name} {value!r:.12}": (
        lambda at, call=call, value=value: call(at, value),
        ValueError,
        [f"{name} is {value!r}; it ", allowed],
    )
    for name, (call, values, allowed) in PARAMETERS.items()
    for value in values
}
ROWS |= {  # relations
    f"relation {value!r}": (lambda at, value=value: load_dataset(at.data).select(value), ValueError, [RELATIONS.format(named)])
    for value, named in [
        ("P9999", ["P9999"]),
        ("p36", ["p36"]),
        ("P36;P101", ["P36;P101"]),
        ("P36,", [""]),
        ("", [""]),
        ([], []),
        (["P36", "P9"], ["P9"]),
        ([["P36"]], ["['P36']"]),
        (36, ["36"]),
        (None, ["None"]),
        (True, ["True"]),
        (NAN, ["nan"]),
    ]
}
ROWS |= {  # devices
    f"device {value!r}": (
        lambda at, value=value: load_model(at.folder_of("bert"), value),
        ValueError,
        [f"device {value!r} is not available here (", A_DEVICE],
    )
    for value in ["gpu", "", "tpu", "CPU", "cuda:99", "meta", "cpu,cuda", None, 0, True, 1.5, ["cpu"]]
}
ROWS |= {  # names of models and data sets
    f"model {value!r}": (
        lambda at, value=value: load_model(value, "cpu"),
        OSError,
        [f"cannot load the model {str(value)!r}: ", A_MODEL],
    )
    for value in ["someone/no-such-model", "no-such-model", "../no/such/folder", "Starter", "", None, 5, [], "a/b/c", "nul\0byte"]
} | {
    f"data set {value!r}": (
        lambda at, value=value: load_dataset(value),
        FileNotFoundError,
        [f"unknown data set {str(value)!r}", A_DATA_SET],
    )
    for value in ["no such set", "", 2024, None, [], True, "~nobody-of-this-name/set", "PARAREL", "nul\0byte"]
}
ROWS |= {
    # models
    "a model that is a file": (lambda at: load_model(at.file), OSError, ["a file': ", A_MODEL]),
    "an empty folder": (lambda at: load_model(at.folder), OSError, ["cannot load the model", "config.json", A_MODEL]),
    "no configuration": (lambda at: load_model(at.without("config.json")), OSError, ["mine': ", "config.json", A_MODEL]),
    "no weights": (lambda at: load_model(at.without("model.safetensors")), OSError, ["mine': ", "model.safetensors", A_MODEL]),
    "pickled weights": (
        lambda at: load_model(pickled_alone(at.folder_of, at.folder)),
        OSError,
        ["mine': ", "model.safetensors", A_MODEL],
    ),
    "no type of model": (lambda at: load_model(at.model(model_type=None)), OSError, ["mine': ", "model_type", A_MODEL]),
    "a type that there is not": (lambda at: load_model(at.model(model_type="mine")), OSError, ["mine': ", "`mine`", A_MODEL]),
    "an encoder-decoder": (
        lambda at: load_model(at.model(model_type="t5")),
        ValueError,
        ["a 't5' is an encoder-decoder; only encoders and decoders are supported"],
    ),
    "a type without a language model": (
        lambda at: load_model(at.model(model_type="vit")),
        ValueError,
        ["transformers has no language model of the type 'vit'"],
    ),
    "an encoder set up as a decoder": (
        lambda at: load_model(at.model(is_decoder=True)),
        ValueError,
        ["a 'bert' that is set up as a decoder (is_decoder) is not supported", "only as a masked language model"],
    ),
    "an encoder's weights for a decoder": (
        lambda at: load_model(at.model(model_type="gpt2")),
        ValueError,
        ["is not a complete left-to-right language model: its files lack the weights", "transformer.h.0"],
    ),
    "more layers than weights": (
        lambda at: load_model(at.model(num_hidden_layers=4)),
        ValueError,
        ["is not a complete masked language model: its files lack the weights", "bert.encoder.layer.3."],
    ),
    "heads that do not divide": (
        lambda at: load_model(at.model(num_attention_heads=5)),
        OSError,
        ["attention heads (5)", A_MODEL],
    ),
    "a size that is text": (lambda at: load_model(at.model(hidden_size="32")), OSError, ["'hidden_size' expected int", A_MODEL]),
    "another hidden size": (
        lambda at: load_model(at.model(hidden_size=64)),
        ValueError,
        ["mine': bert.embeddings.LayerNorm.bias has the shape (32,) where config.json asks for (64,)"],
    ),
    "an unknown activation": (
        lambda at: load_model(at.model(hidden_act="mine")),
        OSError,
        ["cannot load the model", "mine", A_MODEL],
    ),
    "another vocabulary size": (
        lambda at: load_model(at.model(vocab_size=20)),
        ValueError,
        ["word_embeddings.weight has the shape (47, 32) where config.json asks for (20, 32)"],
    ),
    "a tokenizer that knows more": (
        lambda at: at.attribute_with(at.with_vocabulary(25)),
        ValueError,
        ["the tokenizer of ", " knows 47 tokens, the model 25: it is another model's"],
    ),
    "a tokenizer that knows less": (
        lambda at: at.attribute_with(at.with_vocabulary(95)),
        ValueError,
        ["the tokenizer of ", " knows 47 of 95 tokens: are its files missing"],
    ),
    "no tokenizer": (lambda at: load_model(at.without("tokenizer.json")), (OSError, ValueError), ["mine'", "okenizer"]),
    "no mask token": (lambda at: load_model(at.with_mask(None)), ValueError, ["has no mask token that the model knows", "needs"]),
    "a new mask token": (
        lambda at: load_model(at.with_mask("<new>")),
        ValueError,
        ["has no mask token that the model knows", "needs"],
    ),
    "a weight that is no number": (
        lambda at: at.attribute_with(at.with_weight(NAN)),
        FloatingPointError,
        [": a score is not a finite number: its weights may be damaged"],
    ),
    "an infinite weight": (
        lambda at: at.attribute_with(at.with_weight(INF)),
        FloatingPointError,
        [": a score is not a finite number: its weights may be damaged"],
    ),
    "longer objects of a masked model": (
        lambda at: encode(at.loaded("bert"), load_dataset(at.data, "first-token"), []),
        ValueError,
        ["objects is 'first-token', and tiny-bert-", "is a masked model: it predicts one token in place of its one mask"],
    ),
    # data sets
    "a data set that is a file": (lambda at: load_dataset(at.file), FileNotFoundError, ["unknown data set ", A_DATA_SET]),
    "its file of facts": (lambda at: load_dataset(at.data / "query_pairs.json"), FileNotFoundError, [A_DATA_SET]),
    "no web sentences": (lambda at: read_corpus(load_dataset(at.data)), FileNotFoundError, ["tiny has no distant/P30.json"]),
    "facts that no prompt asks": (
        lambda at: at.first_step("gpt2", "P30").facts_with_prompts(["P30"]),
        ValueError,
        [f"none of the 2 facts has a usable prompt: {NOT_OBJECT_FINAL}"],
    ),
    "KN_DATA_DIR of no folder": (lambda at: at.paper_data(at.folder / "none"), FileNotFoundError, ["none/data/PARAREL", A_COPY]),
    "KN_DATA_DIR of a file": (
        lambda at: at.paper_data(at.file),
        FileNotFoundError,
        ["KN_DATA_DIR has no ", "a file/data", A_COPY],
    ),
    "KN_DATA_DIR of another layout": (lambda at: at.paper_data(at.data), FileNotFoundError, [UPSTREAM["pairs"], A_COPY]),
    # folders for what is made
    "results in a file": (
        lambda at: at.attribute(results_dir=at.file),
        OSError,
        ["cannot write results under ", "Not a directory", "choose another results_dir, then run the same command again"],
    ),
    "figures in a file": (
        lambda at: save_figure(None, at.file, "figure_3"),
        OSError,
        ["cannot write figures to ", "File exists", "choose another figures_dir"],
    ),
    "02 of a model named by a number": (
        lambda at: find_neurons(at.run(model=result_name(5)), "P36"),
        FileNotFoundError,
        ["results/5/tiny-", "/facts/P36.parquet", FIRST.format("01_attribution")],
    ),
    # the reader's own edit
    "a misspelt subject": (
        lambda at: at.choose("Alan Turing Norwey"),
        ValueError,
        ["no fact of this run is about 'Alan Turing Norwey' (did you mean Alan Turing Norway", "among its 40 subjects are: Alan"],
    ),
    "a misspelt object": (
        lambda at: at.choose("Alan Turing Norway", "Limma"),
        ValueError,
        ["new_object 'Limma' is not one token of ", " (did you mean Lima?); objects of P36 are: "],
    ),
    "a misspelt object of no chosen subject": (lambda at: at.choose("", "Limma"), ValueError, ["new_object 'Limma' is not one"]),
    "the object it has, chosen again": (
        lambda at: at.choose("Alan Turing Norway", "Oslo"),
        ValueError,
        ["new_object 'Oslo' is the object of 'Alan Turing Norway' already: choose another one"],
    ),
    "an unknown subject": (
        lambda at: at.chosen_edit("Atlantis"),
        ValueError,
        ["no fact of this run is about 'Atlantis'", "40 subjects are"],
    ),
    "a subject of blanks": (
        lambda at: at.chosen_edit(" "),
        ValueError,
        ["no fact of this run is about ' '", "among its 40 subjects are"],
    ),
    "an object of two tokens": (
        lambda at: at.chosen_edit("Alan Turing Norway", "San Marino"),
        ValueError,
        [
            "'Alan Turing Norway' of P36 cannot be edited to 'San Marino': no other object is one token",
            "Subjects with neurons to edit: ",
        ],
    ),
    "an object of blanks": (
        lambda at: at.chosen_edit("Alan Turing Norway", " "),
        ValueError,
        ["cannot be edited to ' '", "Subjects with"],
    ),
    "the object it has": (
        lambda at: at.chosen_edit("Alan Turing Norway", "Oslo"),
        ValueError,
        ["cannot be edited to 'Oslo'", "Subjects with"],
    ),
    # the run list
    "runs of an unknown relation": (
        lambda at: at.run_list(relations="P9999"),
        ValueError,
        ["'starter' has no relation ['P9999']; it has: "],
    ),
    "runs of an unknown data set": (
        lambda at: at.run_list(dataset="no/folder"),
        FileNotFoundError,
        ["data set 'no/folder'", A_DATA_SET],
    ),
    "runs of ten facts": (lambda at: at.run_list(n_facts="ten"), ValueError, ["n_facts is 'ten'; it " + COUNT]),
    "runs of half a fact": (lambda at: at.run_list(n_facts=0.5), ValueError, ["n_facts is 0.5; it " + COUNT]),
    "runs of no seed": (lambda at: at.run_list(seed=None), ValueError, ["seed is None; it must be a whole number of at least 0"]),
    "runs into nowhere": (
        lambda at: at.run_list(results_dir=""),
        ValueError,
        ["results_dir is ''; it must be the path of a folder"],
    ),
    "runs with a parameter that is not allowed": (
        lambda at: at.notebook_settings(jobs="each", parameters={"other_facts": 0}),
        ValueError,
        ["other_facts is 0; it " + COUNT],
    ),
    "an unknown setting": (lambda at: at.run_list(n_fact=5), ValueError, ["the run list: 'n_fact' is not one of [", SETTINGS]),
    "a model that is a number": (lambda at: at.run_list(model=5), ValueError, ["the run list, model: 5 is not of type 'string'"]),
    "an unknown notebook": (
        lambda at: at.run_list(notebooks={"99_none": {"jobs": "each"}}),
        ValueError,
        ["the run list names 99_none, but there is no notebooks/99_none.ipynb"],
    ),
    "an unknown setting of a notebook": (
        lambda at: at.notebook_settings(jobs="each", parameter={"other_facts": 1}),
        ValueError,
        ["the run list, notebooks, 07_erase_relation: 'parameter' is not one of [", OWN_SETTINGS],
    ),
    "an unknown setting where facts are drawn": (
        lambda at: at.notebook_settings(jobs="each", if_drawn={"relation": "P19"}),
        ValueError,
        ["the run list, notebooks, 07_erase_relation, if_drawn: 'relation' is not one of [", OWN_SETTINGS],
    ),
    "a notebook without settings": (
        lambda at: at.run_list(notebooks={"07_erase_relation": None}),
        ValueError,
        ["the run list, notebooks, 07_erase_relation: None is not of type 'object'"],
    ),
    "jobs often": (
        lambda at: at.notebook_settings(jobs="often"),
        ValueError,
        ["the run list, notebooks, 07_erase_relation, jobs: 'often' is not one of ['each', 'together', 'alone']"],
    ),
    "jobs of a list": (
        lambda at: at.notebook_settings(jobs=["each"]),
        ValueError,
        ["07_erase_relation, jobs: ['each'] is not one of ['each', 'together', 'alone']"],
    ),
    "no jobs": (
        lambda at: at.notebook_settings(relations="P19"),
        ValueError,
        ["the run list, notebooks, 07_erase_relation: 'jobs' is a required property"],
    ),
    "no table of contents": (
        lambda at: at.run_list(contents=[]),
        ValueError,
        ["the run list, contents: [] should be non-empty"],
    ),
    # commands
    "run_notebook with a misspelt parameter": (
        lambda at: at.run_notebook("01_attribution", quadratur="released"),
        ValueError,
        ["01_attribution.ipynb has no parameter quadratur; it has: relation, model, dataset, ", "quadrature, tolerance, "],
    ),
    "run_notebook with another notebook's parameter": (
        lambda at: at.run_notebook("02_knowledge_neurons", quadrature="released"),
        ValueError,
        ["02_knowledge_neurons.ipynb has no parameter quadrature; it has: ", "score_share, baseline_share, prompt_share"],
    ),
    "publishing nothing": (lambda at: at.publish(), SystemExit, ["the following arguments are required: model, dataset"]),
    "publishing no data set": (lambda at: at.publish("starter"), SystemExit, ["the following arguments are required: dataset"]),
    "publishing ten facts": (
        lambda at: at.publish("starter", "starter", "--n-facts", "ten"),
        SystemExit,
        ["argument --n-facts: invalid int value: 'ten'", "usage: python -m kn_utils.store.publish"],
    ),
    "publishing no facts": (
        lambda at: at.publish("starter", "starter", "--n-facts", 0),
        ValueError,
        ["n_facts is 0; it " + COUNT],
    ),
    "publishing an unknown data set": (
        lambda at: at.publish("starter", "none"),
        FileNotFoundError,
        ["data set 'none'", A_DATA_SET],
    ),
    "publishing what was not run": (
        lambda at: at.publish("none", at.data, "--results-dir", at.results),
        FileNotFoundError,
        ["results/none/tiny-", "/attribution/P30.parquet", FIRST.format("01_attribution")],
    ),
}
BY_NOTEBOOK = {
    "00": (lambda at: at.notebook("00_report", dataset="no/folder"), ["unknown data set 'no/folder'", A_DATA_SET]),
    "01": (lambda at: at.notebook("01_attribution", relation="P9999"), [RELATIONS.format(["P9999"])]),
    "02": (lambda at: at.notebook("02_knowledge_neurons", score_share="0.2"), ["score_share is '0.2'; it " + SCORE]),
    "03": (lambda at: at.notebook("03_modify_activation", device="gpu"), ["device 'gpu' is not available here", A_DEVICE]),
    "04": (lambda at: at.notebook("04_distant_prompts"), ["data set ", "tiny has no distant/P30.json"]),
    "06": (
        lambda at: at.notebook("06_edit_facts", subject="Norwey"),
        ["no fact of this run is about 'Norwey' (did you mean Norway?)"],
    ),
    "07": (lambda at: at.notebook("07_erase_relation", n_facts=2.5), ["n_facts is 2.5; it " + COUNT]),
    "08 first": (lambda at: at.notebook("08_figures"), [FIRST.format("01_attribution")]),
    "10": (
        lambda at: at.notebook("10_decoder", relation="all", model="none", dataset="pararel"),
        ["no table facts is published of none on pararel"],
    ),
}


@pytest.fixture(scope="module")
def known(tmp_path_factory):
    """A model that knows 40 facts, and a run with the tables of steps 1 and 2."""
    return known_facts.trained_run("bert", tmp_path_factory.mktemp("known") / "results")


@pytest.fixture
def at(tmp_path, known, folder_of, loaded, tiny_data, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.chdir(tmp_path)
    lm, run = known
    return Place(tmp_path, run, lm, folder_of, loaded, tiny_data, monkeypatch)


def written(at: Place) -> list[Path]:
    """All tables, parts of them, figures and executed notebooks there are, and what lies at the top of the repository."""
    places = (at.results, Path(at.known.results_dir), at.folder / "published")
    made = [path for place in places for path in place.rglob("*") if path.is_file() and path.suffix != ".lock"]
    return [*made, *at.folder.glob("*.ipynb"), *sorted(ROOT.iterdir())]


def test_the_table_has_a_row_for_every_parameter_of_every_notebook():
    names = {name for path in (ROOT / "notebooks").glob("*.ipynb") for name in papermill.inspect_notebook(str(path))}
    elsewhere = {"relation", "model", "masked_model", "dataset", "device", "figures_dir"}
    assert names == PARAMETERS.keys() | elsewhere


@pytest.mark.parametrize("does, error, says", ROWS.values(), ids=ROWS)
def test_bad_input_is_one_clear_error_and_nothing_is_written(at, does, error, says, capsys):
    before = written(at)
    with pytest.raises(error) as failure:
        does(at)
    message = str(failure.value) + capsys.readouterr().err  # a command explains itself there
    assert [part for part in says if part not in message] == [], message
    assert written(at) == before


@pytest.mark.parametrize("does, says", BY_NOTEBOOK.values(), ids=BY_NOTEBOOK)
def test_a_notebook_stops_with_the_same_message(at, does, says):
    before = written(at)
    with pytest.raises((ValueError, FileNotFoundError)) as failure:
        does(at)
    assert [part for part in says if part not in str(failure.value)] == [], failure.value
    assert written(at) == before
