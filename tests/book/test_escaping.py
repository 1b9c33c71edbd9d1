"""Text from data sets and folders' names may look like markup: notebooks, figures and pages show it as it is."""

import json
from html.parser import HTMLParser
from pathlib import Path

import known_facts
import matplotlib.pyplot as plt
import pandas as pd
import pytest
import tiny_folders
from markdown_it import MarkdownIt
from matplotlib.text import Text
from notebook_shell import PANDAS, notebook_shell, run_cells
from tokenizers import AddedToken

from kn_utils.chapters.attribution import figures
from kn_utils.data.facts import load_dataset
from kn_utils.model.models import LanguageModel, load_model
from kn_utils.paths import result_name
from kn_utils.plots import style
from kn_utils.plots.markup import NO_FORMULAS, plain
from kn_utils.steps import STEPS
from kn_utils.store import provenance
from kn_utils.store import publish as publish_module
from kn_utils.store.publish import publish
from kn_utils.store.runs import Run

SCRIPT, FORMULA, ANSWER = "<script>1</script>", "$x_$", "<blink>"  # the formula is one that matplotlib cannot read
FORBIDDEN = {"script", "blink", "marquee"}
NAME = "<marquee>$w_$"  # of folders
SUBJECTS = [f"{SCRIPT} {FORMULA} {subject}" for subject, _ in tiny_folders.many_facts(10)]
OBJECTS = [ANSWER, "Oslo", "Lima", "Paris"]
FACTS = {
    "P36": [[subject, OBJECTS[index % 4]] for index, subject in enumerate(SUBJECTS)],
    "P101": [[subject, OBJECTS[index % 3]] for index, subject in enumerate(SUBJECTS[::4])],
}
TEMPLATES = [f"The {mark} capital of [X] is [Y]." for mark in (SCRIPT, FORMULA, "_*`#`*_", "country")]


class Tags(HTMLParser):
    """The tags that a browser would see, and the text between them."""

    def __init__(self, html: str):
        super().__init__()
        self.tags, self.text = set(), ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)

    def handle_data(self, data):
        self.text += data


# ---- text


@pytest.mark.parametrize(
    "text", [SCRIPT, FORMULA, NAME, "[a](b) ![c](d) **e** _f_ `g` ~h~ | i", "\\$1 &amp; &#36; # j", "P36, P101: 3 facts"]
)
def test_plain_markdown_shows_a_text_as_it_is(text):
    shown = Tags(MarkdownIt("commonmark").enable("strikethrough").render(f"* {plain(text)}"))
    assert shown.text.strip() == text
    assert shown.tags <= {"ul", "li", "span"} and ("span" in shown.tags) == ("$" in text)


def test_ordinary_text_needs_no_markup():
    assert plain("Oslo-Gardermoen (OSL), 3.5 %") == "Oslo-Gardermoen (OSL), 3.5 %"
    assert plain("$") == rf'<span class="{NO_FORMULAS}">\$</span>'


# ---- figures


@pytest.fixture
def styled():
    with plt.rc_context(), pd.option_context(*(item for name in PANDAS for item in (name, pd.get_option(name)))):
        style.use_style()
        yield
        plt.close("all")


def test_dollar_signs_in_titles_and_labels_are_drawn(styled):
    rows = [("P36", 0, prompt, 10.0**-prompt, True) for prompt in range(4)]
    answers = pd.DataFrame(rows, columns=["relation", "fact", "prompt", "probability", "correct"])
    figure = figures.plot_answers(answers, TEMPLATES, FORMULA)
    figure.canvas.draw()
    assert figure.get_suptitle() == FORMULA
    assert FORMULA in figure.axes[0].get_yticklabels()[1].get_text()
    numbers = [label.get_text() for label in figure.axes[1].get_xticklabels()]
    assert {"1", "0.1", "0.01"} <= set(numbers) and not any("$" in number for number in numbers)


def test_without_the_style_that_title_cannot_be_drawn():
    with plt.rc_context({"text.parse_math": True}), pytest.raises(ValueError, match="x_"):
        plt.figure().suptitle(FORMULA).figure.canvas.draw()
    plt.close("all")


def test_tables_say_that_they_hold_no_formulas(styled):
    table = pd.DataFrame({"text": [FORMULA]})
    for html in (table._repr_html_(), table.style.format(escape="html").to_html()):
        assert FORMULA in html and "mathjax_ignore" in html


# ---- notebooks


def write_data(folder):
    """A data set in which all that can look like markup does."""
    data = tiny_folders.write_data(folder / NAME, FACTS, dict.fromkeys(FACTS, TEMPLATES))
    tiny_folders.write_sentences(data, FACTS)
    labels = [{"relation": name, "label": f"{SCRIPT} {FORMULA}"} for name in FACTS]
    (data / "relations.jsonl").write_text("".join(json.dumps(line) + "\n" for line in labels), encoding="utf-8")
    return data


def write_model(folder, data):
    """A tiny decoder for which ANSWER is one token, and which knows the facts."""
    lm = load_model(tiny_folders.write_model(folder, "gpt2", n_positions=128), "cpu")
    lm.tokenizer.add_tokens([AddedToken(ANSWER, lstrip=True)])  # with its space
    lm.tokenizer.model_max_length = 128
    lm.model.resize_token_embeddings(len(lm.tokenizer))
    known_facts.learn(LanguageModel(lm.name, lm.model, lm.tokenizer), load_dataset(data))
    lm.model.save_pretrained(folder)
    lm.tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def parameters(tmp_path_factory):
    """The parameters of all notebooks, for a run over these data."""
    folder = tmp_path_factory.mktemp("escaping")
    data = write_data(folder / "data")
    model = write_model(folder / "model" / NAME, data)
    common = {"relation": "P36,P101", "model": str(model), "dataset": str(data), "device": "cpu", "common_share": 0.9}
    common |= {"score_share": 0.1, "baseline_share": 0.1, "prompt_share": 0.5}  # so that the tiny model has knowledge neurons
    common |= {"n_prompts": 2, "n_chosen": 1, "min_probability": 0.0}
    return common | {"results_dir": str(folder / "results"), "figures_dir": str(folder / "figures")}


NAMES_DATA = {
    "01_attribution",
    "03_modify_activation",
    "04_distant_prompts",
    "05_trigger_examples",
    "06_edit_facts",
    "09_query_results",
    "14_which_score",
    "16_does_it_help_editing",
}
WITHOUT_TABLES = ("00_report", "08_figures", "09_query_results", "10_decoder", "18_what_follows")


@pytest.mark.slow
def test_all_notebooks_run_on_a_decoder_and_show_markup_in_the_data_as_text(
    parameters, tmp_path, monkeypatch, few_resamples, nothing_published
):
    for module in (provenance, publish_module):  # as if nothing had changed since a commit: notebook 10 shows published results
        monkeypatch.setattr(module, "commit", lambda: "0" * 40)
    found = {}
    for name in [*(step.notebook for step in STEPS), *WITHOUT_TABLES]:
        given = parameters | published_from(parameters, tmp_path) if name == "10_decoder" else parameters
        with notebook_shell() as shell:
            shown = [problems(data) for data in run_cells(shell, name, given)]
            found[name] = [problem for own, _ in shown for problem in own] + problems_of_figures()
        text = "\n".join(text for _, text in shown)
        expected = [NAME, SCRIPT, FORMULA] if name in NAMES_DATA else [NAME]
        found[name] += [f"{mark} is not shown" for mark in expected if mark not in text]
    assert not any(found.values()), found


def published_from(parameters: dict, folder: Path) -> dict:
    """Publish the run, as both of the models that notebook 10 compares."""
    run = Run(result_name(parameters["model"]), load_dataset(parameters["dataset"]), results_dir=parameters["results_dir"])
    publish(run, folder)
    return {"masked_model": parameters["model"], "results_dir": str(folder)}


def problems(data: dict) -> tuple[list[str], str]:
    """What is wrong with one output, of several types, and the text that a reader sees of it."""
    markdown = data.get("text/markdown", "")
    html = data.get("text/html") or MarkdownIt("commonmark").enable("table").render(markdown)
    seen = Tags(html)
    wrong = {
        "a tag of the data": seen.tags & FORBIDDEN,
        "a formula": "$" in markdown.replace(rf'<span class="{NO_FORMULAS}">\$</span>', ""),
        "a table with formulas": "<table" in html and "mathjax_ignore" not in html and "text/html" in data,
    }
    return [f"{problem} in {html}" for problem, there in wrong.items() if there], seen.text


def problems_of_figures() -> list[str]:
    """Formulas in place of numbers in a notebook's figures; where FORMULA is read as one, a figure cannot be drawn at all."""
    found = []
    for number in plt.get_fignums():
        shown = [text.get_text() for text in plt.figure(number).findobj(Text) if text.get_visible()]
        found += [f"figure {number}: {text}" for text in shown if "mathdefault" in text]
    return found
