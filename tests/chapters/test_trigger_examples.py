"""Step 5's table against rankings made by hand, and the page that notebook 05 shows of it."""

import json
import re
from html.parser import HTMLParser

import pandas as pd
import pytest
import tiny_folders

from kn_utils.chapters.attribution.table import attribute_relation
from kn_utils.chapters.distant_prompts.table import read_sentences
from kn_utils.chapters.knowledge_neurons.table import find_neurons
from kn_utils.chapters.knowledge_neurons.thresholds import Thresholds
from kn_utils.chapters.trigger_examples import numbers as summary
from kn_utils.chapters.trigger_examples.table import rank, rank_sentences
from kn_utils.data.facts import Dataset, Fact, WebSentences, load_dataset
from kn_utils.model.attribution import Quadrature
from kn_utils.model.sentences import read_corpus
from kn_utils.store.files import read_provenance, read_table
from kn_utils.store.results import digest
from kn_utils.store.runs import Run

TEMPLATES = ["The capital of [X] is [Y].", "[X] has the capital [Y]", "[X] is home to [Y].", "[X] is known for [Y] ."]
LOW = Thresholds(attribution=0.1, activation=0.1, prompt_share=0.5)
COLUMNS = {"relation": "str", "fact": "int32", "method": "str", "sentence": "int32", "rank": "int32", "of": "int32"}
COLUMNS |= {"score": "float64", "start": "int32", "end": "int32", "text": "str"}


@pytest.fixture
def made(loaded, tmp_path):
    """The run of a tiny model up to step 4."""
    folder = tiny_folders.write_data(tmp_path / "web", templates=dict.fromkeys(tiny_folders.FACTS, TEMPLATES))
    lm, dataset = loaded("bert"), load_dataset(tiny_folders.write_sentences(folder))
    run = Run(lm.name, dataset, results_dir=tmp_path / "results")
    attribute_relation(lm, run, "P36", Quadrature())
    find_neurons(run, "P36", LOW)
    read_sentences(lm, run, "P36", read_corpus(dataset))
    return run


def read_of(fact, method, neurons, activations, kind="head_and_tail"):
    """Rows of step 4's table: one sentence per activation."""
    rows = [("P1", fact, method, kind, index, index, index + 2, neurons, value) for index, value in enumerate(activations)]
    return pd.DataFrame(rows, columns=["relation", "fact", "method", "kind", "sentence", "start", "end", "neurons", "activation"])


WEBS = [WebSentences([f"{fact}: sentence {index}" for index in range(9)], ["other"] * 9) for fact in range(3)]


def ranked(*tables, n):
    table = rank(pd.concat(tables, ignore_index=True), WEBS, n)
    return [tuple(row) for row in table[["fact", "method", "sentence", "rank", "of", "score"]].itertuples(index=False)]


def test_the_highest_and_the_lowest_are_kept_with_their_sums():
    own = read_of(0, "attribution", 4, [0.5, -0.25, 2.0, 1.0, 0.0, 0.75])
    other = read_of(0, "attribution", 4, [9.0], kind="head_only")
    expected = [(2, 1, 8.0), (3, 2, 4.0), (4, 5, 0.0), (1, 6, -1.0)]
    assert ranked(own, other, n=2) == [(0, "attribution", sentence, place, 6, score) for sentence, place, score in expected]


def test_a_fact_with_few_sentences_has_each_once():
    assert ranked(read_of(1, "attribution", 1, [1.0, 3.0, 2.0]), n=2) == [
        (1, "attribution", 1, 1, 3, 3.0),
        (1, "attribution", 2, 2, 3, 2.0),
        (1, "attribution", 0, 3, 3, 1.0),
    ]
    assert ranked(read_of(1, "attribution", 1, [1.0]), n=3) == [(1, "attribution", 0, 1, 1, 1.0)]


def test_facts_and_methods_are_ranked_apart_and_ties_keep_their_order():
    tables = (
        read_of(2, "attribution", 1, [1.0, 1.0]),
        read_of(0, "attribution", 1, [5.0]),
        read_of(0, "activation", 2, [7.0, 8.0]),
    )
    assert ranked(*tables, n=1) == [
        (0, "activation", 1, 1, 2, 16.0),
        (0, "activation", 0, 2, 2, 14.0),
        (0, "attribution", 0, 1, 1, 5.0),
        (2, "attribution", 0, 1, 2, 1.0),
        (2, "attribution", 1, 2, 2, 1.0),
    ]


def test_the_text_is_that_of_the_sentence():
    table = rank(read_of(2, "attribution", 1, [0.0, 1.0]), WEBS, 1)
    assert table["text"].tolist() == ["2: sentence 1", "2: sentence 0"]
    assert {column: str(kind) for column, kind in table.dtypes.items()} == COLUMNS


def test_nothing_to_rank():
    table = rank(read_of(0, "attribution", 1, [], kind="head_and_tail"), WEBS, 3)
    assert len(table) == 0 and {column: str(kind) for column, kind in table.dtypes.items()} == COLUMNS


def test_the_step_ranks_what_step_4_read(made, capfd):
    main = rank_sentences(made, "P36", n=1)
    table, read = read_table(main), made.read("distant_prompts", ["P36"]).query("kind == 'head_and_tail'")
    scores = (read["activation"] * read["neurons"]).groupby([read["fact"], read["method"], read["sentence"]]).sum()
    assert {column: str(kind) for column, kind in table.dtypes.items()} == COLUMNS
    sentences = made.dataset.web_sentences("P36")
    for place, own in table.groupby(["fact", "method"]):
        sums = scores.loc[place]
        assert own["rank"].tolist() == [1, 2] and own["of"].tolist() == [2, 2]
        assert own["score"].tolist() == [sums.max(), sums.min()] and own["sentence"].tolist() == [sums.idxmax(), sums.idxmin()]
        for row in own.itertuples():
            assert row.text == sentences[row.fact].head_and_tail[row.sentence]
            assert row.text[row.start : row.end] == made.dataset.facts["P36"][row.fact].object
    assert table["fact"].nunique() == 4
    upstream = read_provenance(made.path("distant_prompts", "P36"))["inputs"]
    inputs = read_provenance(main)["inputs"]
    assert inputs["made_from"]["distant_prompts"] == digest(upstream) and inputs["weights"] == upstream["weights"]
    capfd.readouterr()
    rank_sentences(made, "P36", n=1)
    assert capfd.readouterr().out == f"P36: reusing {main}\n"
    rank_sentences(made, "P36", n=2)
    assert "was made with other n_examples; computing it anew" in capfd.readouterr().out


def test_changed_sentences_are_an_error(made, tmp_path):
    path = tmp_path / "web" / "distant" / "P36.json"
    bags = json.loads(path.read_text(encoding="utf-8"))
    bags[0]["th_bags"][0] = "Norway has changed"
    path.write_text(json.dumps(bags), encoding="utf-8")
    with pytest.raises(ValueError, match="the web sentences of P36 have changed: run notebooks/04_distant_prompts.ipynb again"):
        rank_sentences(made, "P36")


def test_step_4_must_have_been_run(made):
    with pytest.raises(FileNotFoundError, match="run notebooks/04_distant_prompts.ipynb"):
        rank_sentences(made, "P101")


NASTY = 'Tom & <Jerry\'s> "$5" <script>alert(1)</script> cost $3'
FACT = Fact("P1", 0, "<b>Tom</b> & co", '<i onmouseover="x">Jerry</i>')
DATASET = Dataset("d", {"P1": [FACT, Fact("P1", 1, "b", "c")]}, {"P1": []}, {"P1": "p"}, None)
NEURONS = pd.DataFrame(
    [
        ("P1", 0, "attribution", 0, 9),
        ("P1", 0, "attribution", 11, 0),
        ("P1", 0, "activation", 3, 3),
        ("P1", 1, "attribution", 5, 5),
    ],
    columns=["relation", "fact", "method", "layer", "neuron"],
)


def examples_of(*rows):
    return pd.DataFrame(rows, columns=["relation", "fact", "method", "rank", "of", "score", "start", "end", "text"])


class Reader(HTMLParser):
    """The tags of a page, and its text by cell."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.cells = set(), []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        if tag in ("td", "th"):
            self.cells.append("")

    def handle_data(self, data):
        if self.cells:
            self.cells[-1] += data


def test_marked_escapes_on_all_sides_of_the_mark():
    assert summary.marked("a<b&c>d", 1, 6) == "a<mark>&lt;b&amp;c&gt;</mark>d"
    assert summary.marked("<>&\"'", 2, 3) == "&lt;&gt;<mark>&amp;</mark>&quot;&#x27;"


def test_whatever_comes_from_the_data_is_escaped():
    start = NASTY.index("<Jerry")
    long = "x" * 400 + NASTY
    examples = examples_of(
        ("P1", 0, "attribution", 1, 2, 4.5, start, start + 9, NASTY),
        ("P1", 0, "attribution", 2, 2, -0.25, 400, 403, long),
        ("P1", 0, "activation", 1, 1, 9.0, 0, 1, "not this"),
    )
    page = summary.examples_table(examples, DATASET, NEURONS, [("P1", 0)])
    read = Reader(page)
    assert read.tags == {"table", "thead", "tbody", "tr", "th", "td", "mark"}
    cells = [cell.strip() for cell in read.cells]
    assert cells[:6] == ["subject", "object", "rank", "score", "sentence", "neurons"]
    assert cells[6:12] == [FACT.subject, FACT.object, "1 of 2", "4.500", NASTY, "L1.9, L12.0"]
    assert cells[12:] == [FACT.subject, FACT.object, "2 of 2", "-0.250", long, ""]  # the neurons once per fact
    assert re.findall("<mark>(.*?)</mark>", page) == ["&lt;Jerry&#x27;s&gt;", "Tom"]
    assert "mathjax_ignore" in page


def test_the_strongest_facts_come_first():
    examples = examples_of(
        *(
            ("P1", fact, "attribution", 1, of, score, 0, 1, "t")
            for fact, of, score in [(0, 2, 1.0), (1, 2, 3.0), (2, 1, 9.0), (3, 5, 2.0)]
        ),
        ("P1", 0, "attribution", 2, 2, 8.0, 0, 1, "t"),
        ("P1", 0, "activation", 1, 2, 99.0, 0, 1, "t"),
    )
    assert summary.strongest_facts(examples, 2) == [("P1", 1), ("P1", 3)]
    assert summary.strongest_facts(examples, 9) == [("P1", 1), ("P1", 3), ("P1", 0)]


def test_gaps_between_the_highest_and_the_lowest_score():
    examples = examples_of(
        ("P1", 0, "attribution", 9, 9, -1.0, 0, 1, "t"),
        ("P1", 0, "attribution", 1, 9, 4.0, 0, 1, "t"),
        ("P1", 1, "attribution", 1, 1, 4.0, 0, 1, "t"),
    )
    assert summary.score_gaps(examples).to_dict("records") == [
        {"relation": "P1", "fact": 0, "method": "attribution", "sentences": 9, "highest": 4.0, "lowest": -1.0}
    ]


def test_the_finding_is_the_median_difference():
    rows = [("P1", fact, "attribution", 4, 5.0 + fact, 1.0) for fact in range(3)]
    gaps = pd.DataFrame(rows, columns=["relation", "fact", "method", "sentences", "highest", "lowest"])
    assert "differ by 5.00 [2.80, 7.20] (median of 3 facts; a fact has 4 sentences" in summary.finding(gaps, seed=0)
    assert summary.finding(gaps[:0], seed=0) == "No fact has knowledge neurons and several sentences to rank."
