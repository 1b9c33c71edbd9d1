"""Notebook 11's own code: the neurons that sentences share, their effects, and what is said of them."""

from types import SimpleNamespace

import known_facts
import nbformat
import numpy as np
import pandas as pd
import papermill
import pytest
import torch
from notebook_shell import run_here
from tiny_models import tiny_model, weight_sums

from kn_utils.chapters.attribution.table import attributed
from kn_utils.chapters.knowledge_neurons.thresholds import shared, strong
from kn_utils.chapters.try_it import numbers
from kn_utils.chapters.try_it.figures import plot_map, spread
from kn_utils.chapters.try_it.table import (
    OTHER_FACTS,
    Scores,
    answers,
    answers_elsewhere,
    attribute,
    check_instead,
    effects,
    find,
)
from kn_utils.data.facts import Dataset, Fact
from kn_utils.model.attribution import Quadrature
from kn_utils.model.contexts import edit
from kn_utils.model.interventions import edited_value_vectors, new_vectors, scaled_rule
from kn_utils.model.models import load_model
from kn_utils.model.neurons import neuron_list, neuron_name
from kn_utils.model.own_sentences import MASK, answer_prompts, sentence_list
from kn_utils.model.prompts import usable_prompts
from kn_utils.paths import ROOT
from kn_utils.store.files import read_table
from kn_utils.store.published import published_results

NOTEBOOK = ROOT / "notebooks/11_try_it.ipynb"
CAPITALS = ["The capital of Norway is [MASK].", "Norway has the capital [MASK]", "In the country Norway is [MASK]."]


def scores_of(*sentences: dict[tuple[int, int], float]) -> Scores:
    """Scores of sentences in which the given neurons of 2 layers of 12 have these scores; activations are 10 x layer + index."""
    score = torch.zeros(len(sentences), 2, 12)
    for row, of_sentence in enumerate(sentences):
        for (layer, index), value in of_sentence.items():
            score[row, layer, index] = value
    activation = (10 * torch.arange(2)[:, None] + torch.arange(12)).float().expand(len(sentences), 2, 12)
    return Scores([None] * len(sentences), score, activation)


def test_of_one_sentence_the_strong_neurons_are_taken_ten_at_most_strongest_first():
    one = scores_of({(0, 0): 5, (1, 1): 10, (0, 2): 2, (1, 3): 1.9, (1, 4): -20})
    assert neuron_list(one.neurons) == [(1, 1), (0, 0), (0, 2)]
    assert one.neurons["share"].tolist() == [1, 0.5, pytest.approx(0.2)]
    assert one.neurons["name"].tolist() == [neuron_name(1, 1), neuron_name(0, 0), neuron_name(0, 2)]
    assert one.neurons["activation"].tolist() == [11, 0, 2]
    many = scores_of({(0, index): 12 - index / 10 for index in range(12)})
    assert neuron_list(many.neurons) == [(0, index) for index in range(10)]


A, B, C = (0, 0), (0, 1), (1, 2)


@pytest.mark.parametrize(
    "sentences, needed, found",
    [
        ([{A: 1, B: 1}, {A: 2, C: 2}], 2, [A]),
        ([{A: 1}, {B: 1}], 1, [A, B]),  # they share none
        ([{A: 1, B: 1}, {A: 1, C: 1}, {C: 1, A: 1}], 3, [A]),
        ([{A: 1, B: 1}, {A: 1}, {B: 1}], 2, [A, B]),  # none is strong in all three
        ([{A: 1, B: 1}, {A: 1, B: 1}, {A: 1, B: 1}, {A: 1}], 3, [A, B]),
        ([{A: 1}, {A: 1}, {A: 1}, {C: 1}, {C: 1}], 3, [A]),  # 0.7 x 5 asks for four
        ([{(0, index): 1 for index in range(6)}] * 3 + [{A: 1}], 4, [A]),  # six are more than five
        ([{(0, index): 1 for index in range(6)}] * 4, 4, [(0, index) for index in range(6)]),
    ],
)
def test_several_sentences_share_neurons(sentences, needed, found):
    scores = scores_of(*sentences)
    assert scores.needed == needed
    assert sorted(neuron_list(scores.neurons)) == found


def test_matched_neurons_are_the_closest_that_no_sentence_names():
    scores = scores_of({(0, 5): 10, (0, 4): 1}, {(0, 5): 10, (0, 6): 0.9, (1, 0): 2})
    assert neuron_list(scores.neurons) == [(0, 5)]
    assert neuron_list(scores.matched) == [(0, 6)]  # 4 is named by a tenth, 6 is not
    assert scores.matched["activation"].tolist() == [6]
    crowded = scores_of({(0, index): 10 for index in range(12)})
    assert crowded.matched.empty and crowded.matched.columns.tolist() == ["layer", "neuron", "name", "activation"]


@pytest.mark.parametrize("model_type", ["bert", "gpt2"])
def test_scores_and_neurons_are_those_of_steps_1_and_2(loaded, model_type):
    """The tables of the steps on a data set that has these sentences as its templates."""
    lm = loaded(model_type)
    fact = Fact("P36", 0, "Norway", "Oslo")
    dataset = Dataset("tiny", {"P36": [fact]}, {"P36": [text.replace(MASK, "[Y]") for text in CAPITALS]}, {"P36": ""}, None)
    tables = attributed(lm, dataset, Quadrature("gauss-legendre"), [fact])
    step1 = tables["attribution"].query("method == 'attribution'")
    step2 = shared(strong(step1, 0.2), pd.Series({0: 3}), 0.7)
    scores = attribute(lm, answer_prompts(lm, CAPITALS, "Oslo"))
    rows = [scores.score[row.prompt, row.layer, row.neuron].item() for row in step1.itertuples()]
    assert rows == pytest.approx(step1["score"].tolist(), rel=1e-4, abs=1e-9)
    assert scores.needed == 3 and len(step2) > 0
    assert set(neuron_list(scores.neurons)) == set(neuron_list(step2))
    assert find(lm, CAPITALS, "Oslo").equals(scores.neurons)


def test_an_answer_that_no_neuron_makes_more_probable_is_an_error(loaded, monkeypatch):
    lm = loaded("bert")
    found = attribute(lm, answer_prompts(lm, CAPITALS[:1], "Oslo"))
    negative = type("Found", (), {"score": -found.score.abs(), "activation": found.activation})
    monkeypatch.setattr("kn_utils.chapters.try_it.table.integrated_gradients", lambda *_: negative)
    with pytest.raises(
        ValueError, match="no neuron of .* makes 'Oslo' more probable in 'The capital of Norway is .*choose an answer"
    ):
        attribute(lm, answer_prompts(lm, CAPITALS[:1], "Oslo"))


@pytest.mark.parametrize("model_type", ["bert", "gpt2"])
def test_effects_are_the_answers_of_the_changed_model(loaded, model_type):
    """Every probability by a plain pass of a model whose neurons or weights are changed by hand."""
    lm = loaded(model_type)
    prompts, new = answer_prompts(lm, CAPITALS, "Oslo"), answer_prompts(lm, CAPITALS, "Paris")
    scores = attribute(lm, prompts)
    table = effects(lm, CAPITALS, scores, "Paris")
    assert len(table) == 7 * 3 and table["sentence"].tolist() == CAPITALS * 7
    assert not table.isna().any().any()
    old_embedding, new_embedding = lm.embeddings[prompts[0].target], lm.embeddings[new[0].target]
    for row, (change, neurons, place) in enumerate(
        table[["change", "neurons"]].assign(place=[0, 1, 2] * 7).itertuples(index=False)
    ):
        chosen = neuron_list(scores.neurons if neurons == "own" else scores.matched)
        factor = {"suppress": 0, "amplify": 2}.get(change, 1)
        edits = new_vectors(
            lm, chosen if change == "edit" else [], lambda vector: scaled_rule(vector, old_embedding, new_embedding)
        )
        with edited_value_vectors(lm, edits):
            probability = scaled_by_hand(lm, prompts[place], chosen, factor)
        assert table["probability"][row] == pytest.approx(probability[prompts[place].target].item(), rel=1e-4, abs=1e-9)
        assert table["new_probability"][row] == pytest.approx(probability[new[place].target].item(), rel=1e-4, abs=1e-9)
        assert table["rank"][row] == 1 + (probability > probability[prompts[place].target]).sum()
        assert table["best"][row] == lm.words([int(probability.argmax())])[0]


def scaled_by_hand(lm, prompt, neurons, factor):
    """The probabilities of a prompt with some activations multiplied at its position, by hooks of its own."""

    def multiply(layer):
        def hook(down, args):
            inner = args[0].clone()
            inner[0, prompt.position, [index for at, index in neurons if at == layer]] *= factor
            return (inner,)

        return hook

    hooks = [down.register_forward_pre_hook(multiply(layer)) for layer, down in enumerate(lm.downs)]
    probability = lm.model(torch.tensor([prompt.ids])).logits[0, prompt.position].softmax(-1)
    for hook in hooks:
        hook.remove()
    return probability


def test_answers_are_ranked_for_each_sentence(loaded):
    found = answers(loaded("bert"), CAPITALS[:2], n=3)
    assert found["sentence"].tolist() == [text for text in CAPITALS[:2] for _ in range(3)]
    assert found["rank"].tolist() == [1, 2, 3] * 2 and found["probability"].is_monotonic_decreasing == False  # noqa: E712
    assert all(group["probability"].is_monotonic_decreasing for _, group in found.groupby("sentence"))
    wide = numbers.ten_best(found)
    assert wide.columns.tolist() == ["rank", *CAPITALS[:2]]
    first = found.iloc[0]
    assert wide.iloc[0, 1] == f"{first['answer']} ({numbers.percent(first['probability'])})"


@pytest.mark.parametrize(
    "share, text",
    [(0, "0.00 %"), (1, "100 %"), (0.374, "37 %"), (0.0447, "4.5 %"), (0.0031, "0.31 %"), (1e-5, "< 0.01 %"), (0.1, "10 %")],
)
def test_percent(share, text):
    assert numbers.percent(share) == text.replace(" ", "\N{NO-BREAK SPACE}")


def effects_of(**probabilities) -> pd.DataFrame:
    """A table of effects by change and neurons ("suppress_own"); each has (probability, rank, new rank, best) of every sentence."""
    rows = [
        (*name.split("_"), f"s{place}", best, probability, rank, 0.5, new_rank)
        for name, sentences in probabilities.items()
        for place, (probability, rank, new_rank, best) in enumerate(sentences)
    ]
    columns = ["change", "neurons", "sentence", "best", "probability", "rank", "new_probability", "new_rank"]
    return pd.DataFrame(rows, columns=columns)


TABLE = effects_of(
    none_own=[(0.4, 1, 9, "oslo"), (0.2, 3, 9, "bergen")],
    suppress_own=[(0.2, 2, 9, "lima"), (0.1, 4, 9, "bergen")],
    amplify_own=[(0.6, 1, 9, "oslo"), (0.3, 1, 9, "oslo")],
    edit_own=[(0.0, 5, 1, "paris"), (0.0, 5, 2, "lima")],
    suppress_matched=[(0.4, 1, 9, "oslo"), (0.18, 3, 9, "bergen")],
    amplify_matched=[(0.4, 1, 9, "oslo"), (0.2, 3, 9, "bergen")],
    edit_matched=[(0.1, 5, 2, "lima"), (0.1, 5, 2, "lima")],
)


def breakable(shown):
    """A text or a table of texts with ordinary spaces."""
    if isinstance(shown, str):
        return shown.replace("\N{NO-BREAK SPACE}", " ")
    return shown.replace("\N{NO-BREAK SPACE}", " ", regex=True)


def test_tables_stand_side_by_side():
    assert breakable(numbers.standing(TABLE)).values.tolist() == [["s0", "oslo", "40 %", 1], ["s1", "bergen", "20 %", 3]]
    words = numbers.changed_answers(TABLE)
    assert words.columns.tolist() == [
        "sentence",
        "unchanged",
        "off",
        "doubled",
        "off, matched neurons",
        "doubled, matched neurons",
    ]
    assert words.values.tolist() == [
        ["s0", "oslo", "lima", "oslo", "oslo", "oslo"],
        ["s1", "bergen", "bergen", "oslo", "bergen", "bergen"],
    ]
    assert breakable(numbers.changed_probabilities(TABLE)).iloc[1, 1:4].tolist() == [
        "20 % (rank 3)",
        "10 % (rank 4)",
        "30 % (rank 1)",
    ]
    edited = breakable(numbers.edited_answers(TABLE))
    assert edited.columns.tolist() == ["sentence", "unchanged", "edited", "edited, matched neurons"]
    assert edited.iloc[0, 2] == "paris (new answer: 50 %)"


def without_matched(table):
    return table[table["neurons"] == "own"].reset_index(drop=True)


def changed(change: str, neurons: str, **columns) -> pd.DataFrame:
    chosen = (TABLE["change"] == change) & (TABLE["neurons"] == neurons)
    return TABLE.assign(**{name: TABLE[name].where(~chosen, value) for name, value in columns.items()})


@pytest.mark.parametrize(
    "table, ends",
    [
        (TABLE, "So the answer depends on these neurons, more than on others as active."),
        (
            changed("suppress", "matched", probability=0.01),
            "So the answer depends on these neurons, no more than on others as active.",
        ),
        (changed("suppress", "own", probability=0.9), "So the answer does not depend on these neurons."),
        (without_matched(TABLE), "So the answer depends on these neurons; there are no matched ones to compare with."),
    ],
)
def test_what_is_said_of_off_and_doubled(table, ends):
    text = breakable(numbers.about_changes(table, "Oslo"))
    assert text.endswith(ends) and text.startswith(
        "Without changes 'Oslo' has an average probability of 30 %; with the neurons off "
    )


def test_what_is_said_of_off_and_doubled_has_the_means():
    assert breakable(numbers.about_changes(TABLE, "Oslo")).startswith(
        "Without changes 'Oslo' has an average probability of 30 %; with the neurons off 15 % (matched neurons: 29 %), "
        "with the neurons doubled 45 % (matched neurons: 30 %). "
    )
    one = TABLE[TABLE["sentence"] == "s0"]
    assert breakable(numbers.about_changes(one, "Oslo")).startswith(
        "Without changes 'Oslo' has a probability of 40 %; with the neurons off 20 % ("
    )


EDITED = "After the edit, {} of 2 sentences are answered with 'Paris'; after the same edit of matched neurons, {}. {}"
UNPROVEN = "So the edit works, but it does not show that these neurons hold the fact: others as active work as well."


@pytest.mark.parametrize(
    "table, says",
    [
        (TABLE, EDITED.format(1, 0, "So the edit needs these neurons.")),
        (changed("edit", "matched", new_rank=1), EDITED.format(1, 2, UNPROVEN)),
        (changed("edit", "own", new_rank=7), EDITED.format(0, 0, "So the edit fails.")),
        (without_matched(TABLE), "with 'Paris'; there are no matched neurons to compare with."),
        (TABLE[TABLE["sentence"] == "s0"], "After the edit, 1 of 1 sentence is answered with"),
    ],
)
def test_what_is_said_of_the_edit(table, says):
    assert says in numbers.about_edit(table, "Paris")


ELSEWHERE = pd.DataFrame(
    [
        ("P36", "s0", "Oslo", "Oslo", False, False),
        ("P36", "s1", "Rome", "Paris", True, True),
        ("P19", "s2", "Bonn", "Rome", True, False),
    ],
    columns=["relation", "sentence", "before", "after", "changed", "new"],
)


def test_what_is_said_of_other_facts():
    says = "3 other facts were answered right before the edit; 2 of them get another answer, 1 of these 'Paris'."
    assert numbers.about_elsewhere(ELSEWHERE, "Paris") == says
    assert "nothing is known" in numbers.about_elsewhere(ELSEWHERE[:0], "Paris")
    found = numbers.changed_elsewhere(ELSEWHERE, {"P36": "capital", "P19": "born in"})
    assert found.values.tolist() == [["capital", "s1", "Rome", "Paris"], ["born in", "s2", "Bonn", "Rome"]]


def test_other_facts_are_asked_before_and_after_the_edit(monkeypatch):
    """One sentence of each, answered right before; the answers are those of the plain functions."""
    monkeypatch.setattr("kn_utils.chapters.try_it.table.OTHER_FACTS", 20)
    lm, dataset = known_facts.trained("bert"), known_facts.dataset()
    own, instead = dataset.facts["P36"][0], dataset.facts["P36"][1].object
    sentence = f"The capital of {own.subject} is [MASK]."
    scores, weights = attribute(lm, answer_prompts(lm, sentence, own.object)), weight_sums(lm)
    found = answers_elsewhere(lm, dataset, sentence, scores, instead, seed=1)
    drawn = [fact for name in dataset.relations for fact in dataset.draw(name, 20, 1) if fact != own]
    asked = {usable_prompts(lm, dataset, fact)[0].text: fact for fact in drawn}
    assert 3 <= len(found) <= len(asked) and found["changed"].any()
    for row in found.itertuples():
        assert answers(lm, row.sentence, n=1)["answer"].item() == row.before == asked[row.sentence].object
        with edit(lm, scores.neurons, sentence, own.object, instead):
            assert answers(lm, row.sentence, n=1)["answer"].item() == row.after
        assert (row.changed, row.new) == (row.before != row.after, row.after == instead)
    assert weight_sums(lm) == weights


def test_the_readers_own_fact_is_none_of_the_others():
    lm, dataset = known_facts.trained("bert"), known_facts.dataset()
    own = dataset.draw("P36", OTHER_FACTS, 1)[0]
    sentence = f"The capital of {own.subject} is [MASK]."
    scores = attribute(lm, answer_prompts(lm, sentence, own.object))
    found = answers_elsewhere(lm, dataset, sentence, scores, dataset.draw("P36", OTHER_FACTS, 1)[1].object, seed=1)
    assert len(found) and not found["sentence"].str.contains(own.subject, regex=False).any()


def test_what_is_said_of_the_answers(loaded):
    lm = loaded("bert")
    assert breakable(numbers.about_answers(lm, TABLE, "Oslo")) == (
        f"The model {lm.name} answers 1 of 2 sentences with 'Oslo', which has a probability of 20 % to 40 %."
    )
    first, second = (TABLE[TABLE["sentence"] == name] for name in ("s0", "s1"))
    assert (
        breakable(numbers.about_answers(lm, first, "Oslo")) == f"The model {lm.name} gives 'Oslo' a probability of 40 %, rank 1."
    )
    assert breakable(numbers.about_answers(lm, second, "Oslo")).endswith("20 %, rank 3; the model's answer is 'bergen'.")


@pytest.mark.parametrize(
    "sentences, says",
    [
        ([{A: 1, C: 1}], "Of 144 neurons these are the 2 strongest of this one sentence, not those of a fact: "),
        ([{A: 1}, {B: 1}], "The sentences share no strong neuron. These 2 of 144 are strong in one of them: "),
        ([{A: 1}, {A: 1}], f"Of 144 neurons, 1 are strong in all 2 sentences: {neuron_name(*A)}; 0 of 1 in the upper third"),
        ([{A: 1, B: 1}, {A: 1}, {B: 1}], "2 are strong in at least 2 of 3 sentences"),
    ],
)
def test_what_is_said_of_the_neurons(loaded, sentences, says):
    assert says in numbers.about_neurons(loaded("bert"), scores_of(*sentences))


def test_words_are_those_of_the_value_vectors(loaded):
    lm = loaded("llama")  # its gated neurons have negative activations, too
    scores = attribute(lm, answer_prompts(lm, CAPITALS[:1], "Oslo"))
    table = numbers.in_words(lm, scores)
    assert set(np.sign(scores.neurons["activation"])) == {-1, 1}
    for row, neuron in scores.neurons.iterrows():
        vector = np.sign(neuron["activation"]) * lm.model.model.layers[neuron["layer"]].mlp.down_proj.weight[:, neuron["neuron"]]
        logits = lm.model.lm_head.weight @ lm.model.model.norm(vector)
        assert table["raises"][row] == " · ".join(lm.words(logits.topk(5).indices.tolist()))
        assert table["lowers"][row] == " · ".join(lm.words((-logits).topk(5).indices.tolist()))
        assert table["rank of the answer"][row] == 1 + (logits > logits[scores.prompts[0].target]).sum()


def test_published_facts_are_those_of_the_tables():
    [own] = [results for results in published_results() if (results.model, results.dataset) == ("starter", "starter")]
    neuron = (4, 377)
    table = read_table(own.path("knowledge_neurons"))
    rows = table[(table["method"] == "attribution") & (table["layer"] == 4) & (table["neuron"] == 377)]
    found = numbers.published_facts("starter", [neuron, (0, 0)])
    of_own = found[(found["dataset"] == "starter") & (found["layer"] == 4)]
    key = ["relation", "fact"]
    expected = rows[key].merge(read_table(own.path("facts")))[[*key, "subject", "object"]].sort_values(key, ignore_index=True)
    assert len(expected) > 50 and of_own[[*key, "subject", "object"]].sort_values(key, ignore_index=True).equals(expected)
    assert set(found["dataset"]) == {results.dataset for results in published_results() if results.model == "starter"}


def test_facts_are_counted_for_each_neuron():
    facts = pd.DataFrame(
        [
            ("d", "P1", 0, "a", "x", 0, 1),
            ("d", "P1", 1, "b", "x", 0, 1),
            ("d", "P2", 0, "c", "y", 0, 1),
            ("d", "P1", 1, "b", "x", 1, 2),
        ],
        columns=["dataset", "relation", "fact", "subject", "object", "layer", "neuron"],
    )
    neurons = pd.DataFrame([(0, 1, "one"), (1, 2, "two"), (1, 3, "three")], columns=["layer", "neuron", "name"])
    table = numbers.by_neuron(facts, neurons, {"P1": "born in"})
    assert table.values.tolist() == [
        ["one", 3, "born in 2, P2 1", "x 2, y 1"],
        ["two", 1, "born in 1", "x 1"],
        ["three", 0, "none", "none"],
    ]
    closest = numbers.closest_facts(facts, {(0, 1): "one", (1, 2): "two"}, {"P1": "born in"})
    assert closest.values.tolist()[0] == ["d", "born in", "b", "x", "one, two"] and len(closest) == 3


def test_a_model_without_published_results_is_said_to_have_none(loaded):
    lm = loaded("bert")
    facts = numbers.published_facts(lm.name, [(0, 0)])
    assert facts.empty and numbers.about_facts(lm, facts, {}, "Oslo") == f"There are no published results of {lm.name}."


def test_what_is_said_of_published_facts(monkeypatch):
    lm = SimpleNamespace(name="m")
    published = [SimpleNamespace(model="m", dataset=dataset, relations=["P1"]) for dataset in ("m", "e")]
    monkeypatch.setattr(numbers, "published_results", lambda: published)
    rows = [
        ("m", "P1", 0, "Oslo", 0, 1),
        ("m", "P1", 0, "Oslo", 1, 2),
        ("e", "P1", 0, "oslo", 1, 2),
        ("m", "P2", 0, "Lima", 1, 2),
    ]
    facts = pd.DataFrame(rows, columns=["dataset", "relation", "fact", "object", "layer", "neuron"])
    assert numbers.about_facts(lm, facts, {(0, 1): "one", (1, 2): "two"}, " Oslo") == (
        "3 published facts (m (model) on the m facts, P1; m on e, P1) have one of these neurons; 2 of m and 1 of e have two. "
        "The object is ' Oslo' in 2 of them."
    )
    assert numbers.about_facts(lm, facts[:0], {}, "Oslo") == (
        "None of the published facts (m (model) on the m facts, P1; m on e, P1) has one of these neurons."
    )


def test_layers_that_share_neurons_have_no_words():
    table = numbers.in_words(tiny_model("albert"), scores_of({A: 1}))
    assert table.columns.tolist() == ["neuron", "sentences", "share", "activation"] and len(table) == 1


def test_an_edit_that_can_be_made_passes_the_check(loaded):
    check_instead(loaded("bert"), CAPITALS, "Oslo", "")
    check_instead(loaded("bert"), CAPITALS, "Oslo", "Paris")


@pytest.mark.parametrize(
    "instead, says",
    [("San Marino", "instead 'San Marino' is 2 tokens"), ("Oslo", "instead is 'Oslo', which is the answer already")],
)
def test_an_edit_that_cannot_be_made_is_known_before_anything_is_computed(loaded, instead, says):
    with pytest.raises(ValueError, match=says):
        check_instead(loaded("bert"), CAPITALS, "Oslo", instead)


def test_the_map_shows_all_scores_and_names_the_chosen_neurons():
    scores = scores_of({A: 1, C: 0.5, (1, 5): 0.1, (1, 6): 0.05}, {A: 1, C: 0.5, (1, 5): 0.1})
    figure = plot_map(scores, "title")
    [axis] = figure.axes
    dots, chosen = axis.lines[0], axis.lines[1]
    assert sorted(np.round(dots.get_xydata(), 6).tolist()) == [[1, 1], [2, 0.1], [2, 0.5]]
    assert sorted(chosen.get_xydata().tolist()) == [[1, 1], [2, 0.5]]
    assert {text.get_text(): text.xy for text in axis.texts} == {neuron_name(*A): (1, 1), neuron_name(*C): (2, 0.5)}


@pytest.mark.parametrize(
    "shares, heights",
    [
        ([0.5], [0.5]),
        ([0.9, 0.3], [0.9, 0.3]),
        ([0.5, 0.5], [0.54, 0.46]),
        ([0.5, 0.5, 0.1], [0.5 + 0.08 / 3, 0.42 + 0.08 / 3, 0.1 + 0.08 / 3]),
        ([1, 1], [1, 0.92]),
    ],
)
def test_names_stand_around_their_dots_a_line_apart(shares, heights):
    assert spread(shares) == pytest.approx(heights)


def executed(folder, **parameters):
    """The outputs of the notebook as a reader runs it."""
    papermill.execute_notebook(NOTEBOOK, folder / "out.ipynb", parameters, kernel_name="python3", progress_bar=False)
    cells = nbformat.read(folder / "out.ipynb", as_version=4).cells
    return [output.get("data", {}) for cell in cells for output in cell.get("outputs", ())]


def shown(outputs) -> str:
    """What a reader sees, as Markdown or HTML, of outputs by type."""
    return "\n".join(str(data.get("text/markdown", data.get("text/html", ""))) for data in outputs)


@pytest.mark.slow
def test_the_default_example_on_starter(tmp_path):
    """Ranks by a plain pass of the model, neurons by the functions of steps 1 and 2."""
    lm = load_model("starter", "cpu")
    parameters = {name: value["default"].strip('"') for name, value in papermill.inspect_notebook(str(NOTEBOOK)).items()}
    texts = sentence_list(parameters["sentences"])
    text = shown(executed(tmp_path, instead="German"))
    for sentence in texts:
        ids = lm.tokenizer(sentence)["input_ids"]
        probability = lm.model(torch.tensor([ids])).logits[0, ids.index(lm.tokenizer.mask_token_id)].softmax(-1)
        target = lm.tokenizer.convert_tokens_to_ids(parameters["answer"].lower())
        rank = 1 + (probability > probability[target]).sum().item()
        assert f"{numbers.percent(probability[target].item())} (rank{numbers.NO_BREAK}{rank})" in text
    fact = Fact("P37", 0, "", parameters["answer"])
    dataset = Dataset("own", {"P37": [fact]}, {"P37": [text.replace(MASK, "[Y]") for text in texts]}, {"P37": ""}, None)
    step1 = attributed(lm, dataset, Quadrature("gauss-legendre"), [fact])["attribution"].query("method == 'attribution'")
    neurons = neuron_list(shared(strong(step1, 0.2), pd.Series({0: len(texts)}), 0.7))
    assert f"{len(neurons)} are strong in all {len(texts)} sentences" in text and len(neurons) > 3
    assert all(neuron_name(*neuron) in text for neuron in neurons)
    assert "nan" not in text


@pytest.mark.slow
def test_one_sentence_of_an_own_model_without_an_edit(folder_of):
    own = {"sentences": CAPITALS[0], "answer": "Oslo", "instead": "", "model": str(folder_of("gpt2")), "device": "cpu"}
    text = shown(run_here(NOTEBOOK.stem, **own)[0])
    assert "strongest of this one sentence, not those of a fact" in text and "No edit: the parameter" in text
    assert "There are no published results of tiny-" in text and "There is none." in text
    assert "nan" not in text
