"""Step 4's tables against single sentences read one by one, what is left out, reuse; and what notebook 04 makes of them."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import tiny_folders
import torch
from brute_force import probability_at

from kn_utils.chapters.attribution.table import attribute_relation
from kn_utils.chapters.distant_prompts import figures
from kn_utils.chapters.distant_prompts import numbers as summary
from kn_utils.chapters.distant_prompts.claims import web_sentences
from kn_utils.chapters.distant_prompts.table import read_sentences
from kn_utils.chapters.knowledge_neurons.table import find_neurons
from kn_utils.chapters.knowledge_neurons.thresholds import Thresholds
from kn_utils.data.facts import WebSentences, load_dataset
from kn_utils.data.held_out import is_held_out_fact, is_held_out_sentence
from kn_utils.model.attribution import Quadrature
from kn_utils.model.models import LanguageModel, load_model
from kn_utils.model.sentences import KINDS, NOTHING_BEFORE, NOTHING_BEHIND_HEAD, Corpus, find_slots, read_corpus
from kn_utils.stats.rule import UNTESTED
from kn_utils.store.files import read_provenance, read_table
from kn_utils.store.paper import paper_values
from kn_utils.store.results import digest
from kn_utils.store.runs import NothingToShowError, Run

TEMPLATES = ["The capital of [X] is [Y].", "[X] has the capital [Y]", "[X] is home to [Y].", "[X] is known for [Y] ."]
LOW = Thresholds(attribution=0.1, activation=0.1, prompt_share=0.5)  # so that random weights have neurons that prompts share
COLUMNS = {
    "relation": "str",
    "fact": "int32",
    "method": "str",
    "kind": "str",
    "sentence": "int32",
    "start": "int32",
    "end": "int32",
}
COLUMNS |= {"neurons": "int32", "activation": "float64"}


@pytest.fixture(scope="session")
def web_data(tmp_path_factory):
    """The tiny data with four templates that suit every model, and with web sentences."""
    folder = tmp_path_factory.mktemp("web") / "web"
    return tiny_folders.write_sentences(tiny_folders.write_data(folder, templates=dict.fromkeys(tiny_folders.FACTS, TEMPLATES)))


def run_to_step_2(lm, dataset, results_dir, relation="P36"):
    run = Run(lm.name, dataset, results_dir=results_dir)
    attribute_relation(lm, run, relation, Quadrature())
    find_neurons(run, relation, LOW)
    return run


@pytest.fixture(scope="session")
def made(loaded, web_data, tmp_path_factory):
    """A function from a model type to its run and step 4's main table, made once."""
    done = {}

    def made(model_type):
        if model_type not in done:
            lm, dataset = loaded(model_type), load_dataset(web_data)
            run = run_to_step_2(lm, dataset, tmp_path_factory.mktemp("results"))
            done[model_type] = run, read_table(read_sentences(lm, run, "P36", read_corpus(dataset)))
        return done[model_type]

    return made


def mean_by_hand(lm, text, start, end, neurons):
    """The mean activation of neurons at a word of a sentence, by one plain forward pass per layer."""
    if lm.masked:
        ids = lm.tokenizer(text[:start] + lm.tokenizer.mask_token + text[end:])["input_ids"]
        position = ids.index(lm.tokenizer.mask_token_id)
    else:
        ids = lm.tokenizer(text[:start].rstrip())["input_ids"]
        position = len(ids) - 1
    values = [float(probability_at(lm, torch.tensor(ids), position, 0, layer)[1][neuron]) for layer, neuron in neurons]
    return sum(values) / len(values)


@pytest.mark.parametrize("model_type", ["bert", "gpt2"])
def test_every_activation_is_that_of_the_sentence_alone(model_type, loaded, made):
    lm, (run, table) = loaded(model_type), made(model_type)
    assert {column: str(kind) for column, kind in table.dtypes.items()} == COLUMNS
    corpus, neurons = read_corpus(run.dataset), run.read("knowledge_neurons", ["P36"])
    texts = {
        (slot.fact.index, slot.kind, slot.index): slot.text
        for fact in run.facts("P36", lm)
        for slot in find_slots(corpus, fact, run.seed, lm.masked)
        if hasattr(slot, "text")
    }
    assert set(table["method"]) == {"attribution", "activation"} and set(table["kind"]) == set(KINDS)
    for row in table.sample(40, random_state=0).itertuples():
        own = neurons[(neurons["fact"] == row.fact) & (neurons["method"] == row.method)]
        places = list(zip(own["layer"], own["neuron"], strict=True))
        assert row.neurons == len(places) > 0
        expected = mean_by_hand(lm, texts[row.fact, row.kind, row.sentence], row.start, row.end, places)
        assert row.activation == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_head_and_tail_sentences_are_masked_at_the_tail(made):
    run, table = made("bert")
    for row in table[table["kind"] == "head_and_tail"].itertuples():
        text = run.dataset.web_sentences("P36")[row.fact].head_and_tail[row.sentence]
        assert text[row.start : row.end] == run.dataset.facts["P36"][row.fact].object


def test_rows_are_for_facts_with_neurons_and_their_methods_alone(made):
    run, table = made("bert")
    neurons = run.read("knowledge_neurons", ["P36"])
    has = set(zip(neurons["fact"], neurons["method"], strict=True))
    assert set(zip(table["fact"], table["method"], strict=True)) == has
    assert {fact for fact, _ in has} == {0, 1, 2, 5}  # the others' objects are not one token


def left_out_of(run):
    table = run.read("sentences_left_out", ["P36"])
    return {(row.fact, row.kind, row.reason): row.count for row in table.itertuples(index=False)}


def test_sentences_left_out_are_counted(made):
    run, table = made("gpt2")
    left_out = left_out_of(run)
    read = {kind: set(table.query("kind == @kind and fact == 0")["sentence"]) for kind in KINDS}
    assert read["head_and_tail"] == {0, 1}  # the second names the tail again, behind the head
    assert read["head_only"] == {0} and left_out[0, "head_only", NOTHING_BEHIND_HEAD] == 1
    assert read["head_only_comparable"] == {0} and left_out[0, "head_only_comparable", NOTHING_BEHIND_HEAD] == 1
    assert len(read["random"]) + left_out.get((0, "random", NOTHING_BEFORE), 0) == 2


def test_facts_without_neurons_by_one_method(loaded, web_data, tmp_path, monkeypatch):
    lm, dataset = loaded("bert"), load_dataset(web_data)
    run = run_to_step_2(lm, dataset, tmp_path)
    read = Run.read
    neurons = pd.DataFrame(
        [("P36", 0, "attribution", 0, 3, 3), ("P36", 0, "attribution", 2, 7, 3), ("P36", 1, "activation", 1, 4, 3)],
        columns=["relation", "fact", "method", "layer", "neuron", "prompts"],
    )
    monkeypatch.setattr(
        Run, "read", lambda self, name, which: neurons if name == "knowledge_neurons" else read(self, name, which)
    )
    table = read_table(read_sentences(lm, run, "P36", read_corpus(dataset)))
    assert set(zip(table["fact"], table["method"], table["neurons"], strict=True)) == {
        (0, "attribution", 2),
        (1, "activation", 1),
    }
    counts = summary.count_facts(run, ["P36"], table)
    assert counts.loc["attribution"].to_dict() == {
        "drawn": 6,
        "without prompts": 2,
        "without neurons": 3,
        "without sentences": 0,
        "compared": 1,
    }
    assert counts.loc["activation"].to_dict() == {
        "drawn": 6,
        "without prompts": 2,
        "without neurons": 3,
        "without sentences": 0,
        "compared": 1,
    }


def test_a_second_call_reuses_and_other_sentences_compute_anew(loaded, web_data, tmp_path, capfd):
    lm, dataset = loaded("bert"), load_dataset(web_data)
    run, corpus = run_to_step_2(lm, dataset, tmp_path), read_corpus(dataset)
    main = read_sentences(lm, run, "P36", corpus)
    first = read_table(main)
    earlier = ("attribution", "knowledge_neurons")
    made = {name: digest(run.made_with(name, "P36")) for name in earlier}
    assert read_provenance(main)["inputs"]["made_from"] == made
    capfd.readouterr()
    read_sentences(lm, run, "P36", corpus)
    assert capfd.readouterr().out == f"P36: reusing {main}\n"
    corpus.relations["P101"][0].head_only.append("Norway is home to physics")
    read_sentences(lm, run, "P36", Corpus(corpus.relations))
    assert "was made with other all_sentences; computing it anew" in capfd.readouterr().out
    own = "kind != 'random'"
    pd.testing.assert_frame_equal(read_table(main).query(own), first.query(own))


def test_parts_do_not_change_the_values(loaded, web_data, made, tmp_path, monkeypatch):
    lm, dataset = loaded("bert"), load_dataset(web_data)
    monkeypatch.setattr("kn_utils.chapters.distant_prompts.table.FACTS_PER_PART", 1)
    run = run_to_step_2(lm, dataset, tmp_path)
    table = read_table(read_sentences(lm, run, "P36", read_corpus(dataset)))
    pd.testing.assert_frame_equal(table, made("bert")[1], rtol=1e-4, atol=1e-6)


def test_other_weights_than_step_2s_are_an_error(folder_of, web_data, tmp_path):
    lm, dataset = load_model(folder_of("bert"), "cpu"), load_dataset(web_data)
    run = run_to_step_2(lm, dataset, tmp_path)
    with torch.no_grad():
        lm.downs[0].weight[0, 0] += 1
    with pytest.raises(ValueError, match="was made with weights"):
        read_sentences(LanguageModel(lm.name, lm.model, lm.tokenizer), run, "P36", read_corpus(dataset))


def test_step_2_must_have_been_run(loaded, web_data, tmp_path):
    dataset = load_dataset(web_data)
    run = Run("tiny-bert", dataset, results_dir=tmp_path)
    with pytest.raises(FileNotFoundError, match="run notebooks/02_knowledge_neurons.ipynb"):
        read_sentences(loaded("bert"), run, "P36", read_corpus(dataset))


def table_of(values):
    """Step 4's table of {(relation, fact, method, kind): activations}."""
    rows = [(*place, index, value) for place, own in values.items() for index, value in enumerate(own)]
    return pd.DataFrame(rows, columns=["relation", "fact", "method", "kind", "sentence", "activation"])


VALUES = {
    ("P1", 0, "attribution", "head_and_tail"): [1.0, 3.0],
    ("P1", 0, "attribution", "head_only"): [1.0],
    ("P1", 0, "attribution", "random"): [0.0, 0.0, 0.3],
    ("P1", 1, "attribution", "head_and_tail"): [9.0],  # no head-only sentence
    ("P1", 1, "attribution", "random"): [9.0],
    ("P2", 0, "attribution", "head_and_tail"): [4.0],
    ("P2", 0, "attribution", "head_only"): [5.0],
    ("P2", 0, "attribution", "head_only_comparable"): [1.0, 2.0],
    ("P2", 0, "attribution", "random"): [4.0],
    ("P2", 0, "activation", "head_and_tail"): [0.5],
    ("P2", 0, "activation", "head_only"): [-0.5],
}


def test_means_are_over_facts_with_both_kinds_of_sentences():
    means = summary.fact_means(table_of(VALUES))
    assert means[["relation", "fact", "method"]].to_numpy().tolist() == [
        ["P1", 0, "attribution"],
        ["P2", 0, "activation"],
        ["P2", 0, "attribution"],
    ]
    table = summary.mean_activations(means, 0).set_index(["method", "kind"])
    found = {place: (row["mean"], row["facts"]) for place, row in table.iterrows()}
    assert found == {
        ("attribution", "head_and_tail"): (3.0, 2),
        ("attribution", "head_only"): (3.0, 2),
        ("attribution", "head_only_comparable"): (1.5, 1),
        ("attribution", "random"): (pytest.approx(2.05), 2),
        ("activation", "head_and_tail"): (0.5, 1),
        ("activation", "head_only"): (-0.5, 1),
    }
    higher = summary.higher_shares(means, 0).set_index(["method", "kind"])["share"].to_dict()
    assert higher == {
        ("attribution", "head_only"): 50,
        ("attribution", "head_only_comparable"): 100,
        ("attribution", "random"): 50,
        ("activation", "head_only"): 100,
    }
    more = summary.differences(means, 0).set_index(["method", "kind"])["difference"].to_dict()
    assert more == {
        ("attribution", "head_only"): 0,
        ("attribution", "head_only_comparable"): 2.5,
        ("attribution", "random"): pytest.approx(0.95),
        ("activation", "head_only"): 1,
    }
    by_relation = summary.relation_means(means).set_index(["relation", "method", "kind"])
    assert by_relation.loc[("P1", "attribution", "head_and_tail"), "mean"] == 2
    assert by_relation.loc[("P2", "activation", "head_only"), "mean"] == -0.5
    assert len(by_relation) == 9 and (by_relation["facts"] == 1).all()


def test_the_claim_has_the_differences_that_are_shown():
    means = summary.fact_means(table_of(VALUES))
    shown = summary.differences(means, 4).query("method == 'attribution'").set_index("kind")
    comparable, head, random, *_ = web_sentences({"distant_prompts": table_of(VALUES)}, 4)
    for condition, kind in ((head, "head_only"), (random, "random"), (comparable, "head_only_comparable")):
        assert (condition.value, condition.n) == (shown.loc[kind, "difference"], shown.loc[kind, "facts"])
    without_random = {place: values for place, values in VALUES.items() if place[3] != "random"}
    _, _, random, *_ = web_sentences({"distant_prompts": table_of(without_random)}, 4)
    assert random.state == UNTESTED and random.reason == "there are no such sentences"
    alone = {place: values for place, values in VALUES.items() if place[3] in ("head_and_tail", "head_only")}
    with pytest.raises(NothingToShowError, match="comparable with the tail"):
        web_sentences({"distant_prompts": table_of(alone)}, 4)


def test_the_loss_without_the_tail_is_of_the_facts_with_such_sentences():
    means = summary.fact_means(table_of(VALUES)).query("method == 'attribution'")
    assert summary.lost_without_tail(means, "head_only_comparable", 0)[0] == pytest.approx(100 * 2.5 / 4)
    assert summary.lost_without_tail(means, "head_only", 0)[0] == 0


def test_sentences_and_facts_are_split_by_the_training_of_starter():
    """Two facts of one relation, and two sentences of each: the activation says which were left out."""
    pairs = [(f"subject {number}", "object") for number in range(40)]
    held = [next(pair for pair in pairs if is_held_out_fact(*pair) == left_out) for left_out in (True, False)]
    facts = pd.DataFrame(
        [("P1", fact, *pair) for fact, pair in enumerate(held)], columns=["relation", "fact", "subject", "object"]
    )
    texts = [f"sentence {number}" for number in range(40)]
    left_out, kept = (
        next(text for text in texts if is_held_out_sentence(text)),
        next(text for text in texts if not is_held_out_sentence(text)),
    )
    corpus = Corpus({"P1": [WebSentences([left_out, kept], []) for _ in held]})
    rows = [
        ("P1", fact, "attribution", "head_and_tail", sentence, 10.0 * fact + sentence) for fact in (0, 1) for sentence in (0, 1)
    ]
    rows += [("P1", fact, "attribution", kind, 0, 0.0) for fact in (0, 1) for kind in ("head_only", "head_only_comparable")]
    table = pd.DataFrame(rows, columns=["relation", "fact", "method", "kind", "sentence", "activation"])
    found = summary.by_training(table, facts, corpus, 0).set_index(["facts", "sentences"])
    difference = found["difference"].str.split(" ").str[0].to_dict()
    assert difference == {
        ("in training", "in training"): "11.0",
        ("in training", "left out"): "10.0",
        ("in training", "all"): "10.5",
        ("left out", "in training"): "1.00",
        ("left out", "left out"): "0.00",
        ("left out", "all"): "0.50",
        ("all", "in training"): "6.00",
        ("all", "left out"): "5.00",
        ("all", "all"): "5.50",
    }
    assert found.loc[("all", "all"), "n"] == 2 and found.loc[("all", "all"), "lost (%)"].startswith("100.0")


def test_the_finding_compares_with_comparable_words():
    means = summary.fact_means(table_of(VALUES))
    found = summary.finding(summary.mean_activations(means, 0), summary.differences(means, 0))
    assert "a mean activation of 3.00" in found and "the head only 3.00" in found
    assert "not clearly more or less active" in found and "(difference 2.50 (no interval))" in found  # one fact has such a word
    baseline = means[means["method"] == "activation"]
    assert "No fact" in summary.finding(summary.mean_activations(baseline, 0), summary.differences(baseline, 0))


def test_intervals_are_from_relations():
    kinds = ("head_and_tail", "head_only")
    values = {
        (f"P{relation}", fact, "attribution", kind): [float(relation)]
        for relation in range(9)
        for fact in range(20)
        for kind in kinds
    }
    row = summary.mean_activations(summary.fact_means(table_of(values)), 0).iloc[0]
    half = 2.306 * np.std(range(9), ddof=1) / 3  # t with eight degrees of freedom; the facts of a relation are all the same
    assert row["mean"] == 4
    assert [row["low"] - 4, row["high"] - 4] == pytest.approx([-half, half], rel=0.15)


def test_nothing_to_compare_is_an_error():
    with pytest.raises(ValueError, match="no fact has both knowledge neurons and readable sentences"):
        summary.fact_means(table_of({("P1", 0, "attribution", "head_only"): [1.0]}))


def test_sentences_are_counted_by_kind_and_reason(made):
    run, table = made("gpt2")
    left_out = run.read("sentences_left_out", ["P36"])
    counts = summary.count_sentences(table, left_out)
    assert counts.index.tolist() == list(KINDS)
    assert counts.loc[["head_and_tail", "head_only", "head_only_comparable", "random"]].sum(axis=1).tolist() == [8, 8, 8, 8]
    assert counts.loc["head_only", "read"] == counts.loc["head_only", NOTHING_BEHIND_HEAD] == 4
    counts = summary.count_sentences(table.query("kind != 'random'"), left_out.head(0))
    assert counts["read"].to_dict() == {"head_and_tail": 8, "head_only": 4, "head_only_comparable": 4, "random": 0}
    assert counts.columns.tolist() == ["read"]


def test_figures():
    means = summary.fact_means(table_of(VALUES))
    figure = figures.plot_activations(summary.mean_activations(means, 0), "about")
    ours, baseline = figure.axes
    [paper] = [line for line in ours.lines if line.get_marker() == "D" and len(line.get_xdata())]
    ids = ["distant_head_and_tail", "distant_head_only", "distant_random"]
    assert list(paper.get_xdata()) == paper_values().loc[ids, "value"].tolist()
    assert [label.get_text() for label in ours.get_yticklabels()] == list(figures.KIND_NAMES.values())
    assert not any(line.get_marker() == "D" for line in baseline.lines)
    dots = next(line for line in baseline.lines if line.get_marker() == "s")
    assert list(dots.get_xdata()[:2]) == [0.5, -0.5] and np.isnan(dots.get_xdata()[2:]).all()
    names = {"P1": "capital", "P2": "field of work"}
    ours, baseline = figures.plot_relations(summary.relation_means(means), names, "about").axes
    assert [label.get_text() for label in ours.get_yticklabels()] == ["capital (P1)", "field of work (P2)"]
    assert [list(line.get_xdata()) for line in ours.lines if line.get_label() == "head and tail"] == [[2, 4]]
    [line] = [line for line in baseline.lines if line.get_label() == "head and tail"]
    assert np.isnan(line.get_xdata()[0]) and line.get_xdata()[1] == 0.5
    plt.close("all")
