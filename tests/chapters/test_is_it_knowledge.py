"""The step of notebook 12 against plain code; its draws and statistics by hand; and models for which its rule comes out either way."""

from itertools import product

import known_facts
import numpy as np
import pandas as pd
import pytest
import torch

from kn_utils.chapters.is_it_knowledge import claims, figures, numbers
from kn_utils.chapters.is_it_knowledge.table import (
    GRAMMAR,
    GROUPS,
    INVENTED,
    KNOWN,
    LEFT_OUT,
    NEVER_RIGHT,
    WRONG_OBJECT,
    compare_knowledge,
    draw_items,
    passing,
)
from kn_utils.data.facts import Fact, load_dataset
from kn_utils.data.held_out import is_held_out_fact
from kn_utils.data.not_facts import grammar_items, invented_subjects
from kn_utils.model.attribution import integrated_gradients
from kn_utils.model.half_neurons import QUADRATURE
from kn_utils.model.prompts import stack, usable_prompts
from kn_utils.model.trials import drawn_halves, suppressed_log_odds
from kn_utils.stats.rule import CLAIM, CONTRADICTED, SUPPORTED, verdict
from kn_utils.store.runs import NothingToShowError, Run

COLUMNS = ["relation", "fact", "group", "subject", "object", "prompts", "neurons", "agreement"]
COLUMNS += ["log_odds_before", "log_odds_after", "log_odds_matched"]


@pytest.fixture(scope="module", params=["bert", "llama"])
def done(request, tmp_path_factory):
    """A tiny model that has learnt its facts, its run, and the table of one relation."""
    lm, run = known_facts.trained_run(request.param, tmp_path_factory.mktemp("results"))
    compare_knowledge(lm, run, "P36", n_chosen=2)
    return lm, run, run.read("is_it_knowledge", ["P36"])


def test_rows_and_columns(done):
    *_, table = done
    assert list(table) == COLUMNS
    counts = table["group"].value_counts()
    assert (counts[[KNOWN, INVENTED, WRONG_OBJECT]] == 2).all() and set(counts.index) - {KNOWN, INVENTED, WRONG_OBJECT} <= set(
        GROUPS
    )
    known = table[table["group"] == KNOWN].set_index("fact")
    for group, same, other in ((INVENTED, "object", "subject"), (WRONG_OBJECT, "subject", "object")):
        rows = table[table["group"] == group].set_index("fact")
        assert (rows[same] == known[same]).all() and (rows[other] != known[other]).all()


def test_every_number_of_a_row_is_what_plain_code_gives(done):
    lm, run, table = done
    for row in table.itertuples():
        fact = Fact("P36", row.fact, row.subject, row.object)
        data = run.dataset
        if row.group == GRAMMAR:
            data = grammar_items()
            [fact] = [item for items in data.facts.values() for item in items if item.subject == row.subject]
        halves = drawn_halves(lm, data, fact.relation, run.seed)
        prompts = usable_prompts(lm, data, fact)
        single = [integrated_gradients(lm, stack([prompt], lm.device), QUADRATURE) for prompt in prompts]
        shares = [found.score[0] / found.score.max() for found in single]
        counted = sum((share >= 0.2).int() for share in shares) >= max(0.7 * len(prompts), 3)
        assert (row.prompts, row.neurons) == (len(prompts), int(counted.sum()))
        named = [set(map(tuple, (share >= 0.1).nonzero().tolist())) for share in shares]
        mean = torch.stack([found.activation[0] for found in single]).mean(0)
        chosen, matched = {}, {}
        for half in (0, 1):
            of_half = [share for share, prompt in zip(shares, prompts, strict=True) if halves[prompt.index] == half]
            order = (sum(of_half) / len(of_half)).flatten().argsort(descending=True)[:4].tolist()
            chosen[half] = [divmod(place, lm.n_neurons) for place in order]
            matched[half] = nearest(chosen[half], mean, set.union(*named, set(chosen[half])))
        assert row.agreement == pytest.approx(len(set(chosen[0]) & set(chosen[1])) / 4)
        odds = [
            suppressed_log_odds(lm, [prompt], [[[], chosen[1 - half], matched[1 - half]]])[0]
            for prompt in prompts
            for half in [halves[prompt.index]]
        ]
        expected = np.mean(odds, axis=0)
        assert [row.log_odds_before, row.log_odds_after, row.log_odds_matched] == pytest.approx(expected, abs=1e-3)


def nearest(neurons, activation, taken):
    """For each neuron the free one of its layer whose activation is nearest."""
    found = []
    for layer, index in neurons:
        free = [other for other in range(activation.shape[1]) if (layer, other) not in {*taken, *found}]
        found.append((layer, min(free, key=lambda other: abs(activation[layer, other] - activation[layer, index]))))
    return found


def test_a_neuron_passes_in_seven_tenths_of_the_prompts_and_at_least_three():
    scores = torch.zeros(6, 1, 3)
    scores[:5, 0, 0], scores[:4, 0, 1] = 0.2, 1
    assert passing(scores).tolist() == [[True, False, False]]
    assert passing(scores[:3]).tolist() == [[True, True, False]]
    assert passing(scores[:2]).tolist() == [[False, False, False]]


# ---- what is drawn


@pytest.fixture
def asked(tmp_path, monkeypatch):
    """A run of the bundled facts in which step 1 answered the fact with the number n right in n of three prompts, in turn."""
    run = Run("starter", load_dataset("starter"), results_dir=tmp_path)
    facts = {name: run.dataset.facts[name] for name in run.dataset.relations}
    tables = {
        "facts": lambda name: [(name, fact.index, fact.subject, fact.object, 3) for fact in facts[name]],
        "prompts": lambda name: [
            (name, fact.index, place, place < fact.index % 4) for fact, place in product(facts[name], range(3))
        ],
    }
    columns = {
        "facts": ["relation", "fact", "subject", "object", "prompts"],
        "prompts": ["relation", "fact", "prompt", "correct"],
    }
    monkeypatch.setattr(Run, "read", lambda self, table, names: pd.DataFrame(tables[table](names[0]), columns=columns[table]))
    return run


def test_known_and_never_right_facts_are_drawn_and_those_left_out_of_training_are_a_group_of_their_own(asked):
    items = draw_items(asked, grammar_items(), "P19", 100)
    by_group = {group: [fact for other, fact in items if other == group] for group in GROUPS}
    held_out = {fact.index for fact in asked.dataset.facts["P19"] if is_held_out_fact(fact.subject, fact.object)}
    every = set(range(len(asked.dataset.facts["P19"])))
    assert {fact.index for fact in by_group[KNOWN]} == {index for index in every - held_out if index % 4 >= 2}
    assert {fact.index for fact in by_group[NEVER_RIGHT]} == {index for index in every - held_out if index % 4 == 0}
    assert {fact.index for fact in by_group[LEFT_OUT]} == {index for index in held_out if index % 4 == 0}
    assert held_out and by_group[LEFT_OUT]


def test_other_models_have_no_group_that_was_left_out(asked):
    other = Run("another", asked.dataset, results_dir=asked.results_dir)
    items = draw_items(other, grammar_items(), "P19", 100)
    every = range(len(asked.dataset.facts["P19"]))
    assert {fact.index for group, fact in items if group == NEVER_RIGHT} == {index for index in every if index % 4 == 0}
    assert LEFT_OUT not in {group for group, _ in items}


def test_invented_subjects_and_wrong_objects_are_of_the_known_facts(asked):
    items = draw_items(asked, grammar_items(), "P19", 5)
    known, invented, wrong = ([fact for other, fact in items if other == group] for group in (KNOWN, INVENTED, WRONG_OBJECT))
    assert len(known) == 5
    assert [(fact.index, fact.object) for fact in invented] == [(fact.index, fact.object) for fact in known]
    assert len({fact.subject for fact in invented} & set(invented_subjects())) == 5
    assert [(fact.index, fact.subject) for fact in wrong] == [(fact.index, fact.subject) for fact in known]
    right = {(fact.subject, fact.object) for fact in asked.dataset.facts["P19"]}
    assert not right & {(fact.subject, fact.object) for fact in wrong}
    assert {fact.object for fact in wrong} <= {fact.object for fact in asked.dataset.facts["P19"]}
    assert items == draw_items(asked, grammar_items(), "P19", 5)


def test_every_item_of_grammar_is_dealt_to_one_relation(asked):
    grammar = grammar_items()
    dealt = [
        fact for name in asked.dataset.relations for group, fact in draw_items(asked, grammar, name, 100) if group == GRAMMAR
    ]
    assert len(dealt) == len(set(dealt)) == sum(map(len, grammar.facts.values()))


# ---- statistics by hand


def table_of(changes, matched=0.0):
    """The table from {(relation, group): [change of each item]}."""
    rows = [
        (relation, place, group, "s", "o", 6, 3, 0.5, 1.0, 1.0 + change, 1.0 + matched)
        for (relation, group), values in changes.items()
        for place, change in enumerate(values)
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def test_r_is_a_ratio_of_means_over_the_relations_that_have_both():
    table = table_of(
        {("P1", KNOWN): [-1.0, -3.0], ("P1", NEVER_RIGHT): [-1.0], ("P2", KNOWN): [-4.0], ("P2", NEVER_RIGHT): [-2.0, -0.5, -0.5]}
        | {("P3", NEVER_RIGHT): [-100.0], ("P4", KNOWN): [-100.0]}
    )
    [row] = numbers.ratios(table, seed=0).itertuples()
    assert (row.group, row.items) == (NEVER_RIGHT, 4)
    assert row.value == pytest.approx(100 * (1 + 1) / (2 + 4))
    known, other = numbers.known_and(table.assign(log_odds_matched=1.5), NEVER_RIGHT, numbers.LESS_MATCHED)
    assert known.tolist() == [-1.5, -3.5, -4.5] and other.tolist() == [-1.5, -2.5, -1, -1]


def test_a_change_of_probability_is_that_of_the_mean_log_odds():
    table = table_of({("P1", KNOWN): [0.0], ("P1", NEVER_RIGHT): [0.0]})
    table["log_odds_before"], table["log_odds_after"] = np.log(
        [[1, 1 / 9], [1 / 3, 1 / 19]]
    )  # P: 0.5 and 0.1, then 0.25 and 0.05
    known, other = numbers.known_and(table, NEVER_RIGHT, numbers.PROBABILITY)
    assert known.tolist() == pytest.approx([-0.25]) and other.tolist() == pytest.approx([-0.05])


def test_means_of_each_group():
    table = table_of({("P1", KNOWN): [-1.0, -3.0], ("P2", KNOWN): [-4.0], ("P2", GRAMMAR): [-7.0]}, matched=0.25)
    means = numbers.group_means(table, seed=0).set_index(["group", "measure"])["value"]
    assert means[KNOWN].to_dict() == {numbers.CHANGE: -3, numbers.MATCHED: 0.25, numbers.COUNT: 3, numbers.AGREEMENT: 50}
    assert means[GRAMMAR, numbers.CHANGE] == -7 and NEVER_RIGHT not in means.index


def test_without_an_effect_on_known_facts_there_is_no_r():
    table = table_of({("P1", KNOWN): [0.5, -0.5], ("P1", NEVER_RIGHT): [-1.0]})
    with pytest.raises(NothingToShowError, match="does not lower the log-odds of the known facts"):
        numbers.ratios(table, seed=0)


@pytest.mark.parametrize("rows", [{}, {("P1", KNOWN): [-1.0, -1.0]}, {("P1", KNOWN): [-1.0], ("P2", NEVER_RIGHT): [-1.0]}])
def test_nothing_to_compare_is_said(rows):
    with pytest.raises(NothingToShowError):
        (numbers.ratios if rows else numbers.group_means)(table_of(rows), seed=0)


@pytest.mark.parametrize(
    "low, high, expected",
    [(51, 90, "not knowledge"), (3, 24, "knowledge"), (10, 90, "open"), (26, 49, "open"), (np.nan, np.nan, "not tested")],
)
def test_the_rule(low, high, expected):
    assert numbers.by_the_rule(low, high) == expected


def test_figures_and_texts_show_the_numbers():
    groups = (KNOWN, NEVER_RIGHT, WRONG_OBJECT)
    table = table_of(
        {(name, group): [-1.0 - place, -2.0] for name in ("P1", "P2", "P3") for place, group in enumerate(groups)}, 0.5
    )
    means, ratios = numbers.group_means(table, 0), numbers.ratios(table, 0)
    [axis] = figures.plot_ratios(ratios, "title").axes
    assert list(axis.lines[0].get_xdata()) == ratios["value"].tolist()
    assert [label.get_text() for label in axis.get_yticklabels()] == [numbers.NAMES[group] for group in groups[1:]]
    change, count, agreement = figures.plot_groups(means, "title").axes
    drawn = {line.get_label(): list(line.get_xdata()) for line in change.lines}
    assert drawn["own neurons"] == means.query("measure == 'own neurons'")["value"].tolist()
    assert drawn["matched neurons"] == [0.5] * 3
    assert list(count.lines[0].get_xdata()) == [3] * 3 and list(agreement.lines[0].get_xdata()) == [50] * 3
    in_probabilities = numbers.ratios(table, 0, numbers.PROBABILITY)
    assert in_probabilities["value"].tolist() != ratios["value"].tolist()
    text = numbers.finding(means, ratios, in_probabilities)
    assert "changes the log-odds of its object by −1.50 [" in text and "] %; wrong objects 166.7 [" in text
    assert numbers.named_ratios(ratios).set_index("group").loc["wrong objects", "by the rule"] == "not knowledge"


def test_a_group_without_items_is_said_and_has_dashes():
    table = table_of({("P1", KNOWN): [-1.0, -1.5], ("P1", NEVER_RIGHT): [-2.0, -2.5], ("P2", INVENTED): [-3.0]})
    means, ratios = numbers.group_means(table, 0), numbers.ratios(table, 0)
    rows = numbers.named_means(means)
    assert rows.index.tolist() == [numbers.NAMES[group] for group in GROUPS] and rows["items"].tolist() == [2, 2, 0, 1, 0, 0]
    assert rows.loc["grammar", list(numbers.MEASURES)].isna().all()
    assert numbers.new_relations(means).set_index("group")["change of log-odds"][numbers.NAMES[LEFT_OUT]] == "–"
    named = numbers.named_ratios(ratios).set_index("group")
    assert named["items"].tolist() == [2, 0, 0, 0, 0]  # P2 has no known fact to compare
    assert named.loc["invented subjects"].tolist() == ["–", "not tested", 0]
    assert numbers.missing(means) == " Not shown, without items to compare: facts left out of training; wrong objects; grammar."
    assert "invented subjects; wrong objects" in numbers.missing(ratios)
    every = table_of({("P1", group): [-1.0, -2.0] for group in GROUPS})
    assert numbers.missing(numbers.group_means(every, 0)) == ""


def test_the_unit_follows_a_share_without_an_interval():
    table = table_of({("P1", KNOWN): [-2.0], ("P1", NEVER_RIGHT): [-1.0]})
    changes = [numbers.ratios(table, 0, change) for change in (numbers.CHANGE, numbers.PROBABILITY)]
    text = numbers.finding(numbers.group_means(table, 0), *changes)
    assert "facts never answered right 50.0 % (no interval). The verdict" in text and text.endswith("% (no interval).")


# ---- models for which the truth is known

FACTS = {
    "P36": [["Norway", "Oslo"], ["Peru", "Lima"], ["Zealand", "Paris"], ["France", "logic"]]
    + [["Marino", "physics"], ["Turing", "mathematics"], ["Curie", "Wellington"], ["Lovelace", "Europe"]]
}
TEMPLATES = {"P36": ["The capital of [X] [Y]", "In [X] [Y]", "famous is [X] [Y]", "the country [X] [Y]"]}


@pytest.mark.parametrize("word_activation, expected", [(None, SUPPORTED), (3.0, CONTRADICTED)])
def test_the_rule_tells_stored_facts_from_words(tmp_path, word_activation, expected):
    """Four of eight facts have neurons of their own. Without neurons for words, nothing can be lost of the others; with them it can."""
    lm, run = known_facts.planted_run(tmp_path, FACTS, TEMPLATES, 4, word_activation)
    compare_knowledge(lm, run, "P36", n_chosen=4)
    table = run.read("is_it_knowledge", ["P36"])
    assert table["group"].value_counts()[KNOWN] == 4 and table["group"].value_counts()[NEVER_RIGHT] >= 3
    conditions = claims.CLAIMS[0].conditions({"is_it_knowledge": table}, 0)
    assert verdict([condition for condition in conditions if condition.role == CLAIM]) == expected, conditions
