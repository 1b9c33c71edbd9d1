"""The step of notebook 13 against plain code; its donors and statistics by hand; and models for which its rules come out either way."""

import known_facts
import numpy as np
import pandas as pd
import pytest

from kn_utils.chapters.fact_or_word import claims, numbers
from kn_utils.chapters.fact_or_word.figures import plot_shares
from kn_utils.chapters.fact_or_word.table import (
    DONORS,
    ITSELF,
    NOT_OWN,
    OTHER_OTHER,
    OTHER_SAME,
    OWN,
    SAME_OTHER,
    SAME_SAME,
    THEIR_OBJECT,
    THIS_OBJECT,
    draw_donors,
    draw_facts_with_partner,
    is_known,
    swap_neurons,
)
from kn_utils.data.facts import Fact
from kn_utils.model.prompts import usable_prompts
from kn_utils.model.trials import attribute_facts, drawn_halves, suppressed_log_odds
from kn_utils.stats.rule import CLAIM, CONTRADICTED, SUPPORTED, verdict
from kn_utils.store.runs import NothingToShowError

FACTS = {
    "P36": [["Norway", "Oslo"], ["Peru", "Oslo"], ["Zealand", "Lima"], ["France", "Lima"]],
    "P101": [["Marino", "Oslo"], ["Turing", "Oslo"], ["Curie", "Lima"], ["Lovelace", "Lima"]],
}
TEMPLATES = {
    "P36": ["The capital of [X] [Y]", "In [X] [Y]", "famous is [X] [Y]", "the country [X] [Y]"],
    "P101": ["known for [X] [Y]", "the field [X] [Y]", "who works [X] [Y]", "home to [X] [Y]"],
}


@pytest.fixture(scope="module", params=[None, 12.0], ids=["facts", "words"])
def planted(request, tmp_path_factory):
    """A model in which each fact has three neurons of its own, or words have them too; its run and table; and whether words have them."""
    lm, run = known_facts.planted_run(tmp_path_factory.mktemp("planted"), FACTS, TEMPLATES, 4, request.param)
    for relation in FACTS:
        swap_neurons(lm, run, relation, n_chosen=4)
    return lm, run, run.read("fact_or_word", list(FACTS)), request.param is not None


def test_the_rules_tell_facts_from_words(planted):
    *_, table, words = planted
    verdicts = [
        verdict([condition for condition in claim.conditions({"fact_or_word": table}, 0) if condition.role == CLAIM])
        for claim in claims.CLAIMS
    ]
    assert verdicts == ([SUPPORTED, CONTRADICTED] if words else [CONTRADICTED, SUPPORTED])


def test_every_set_of_a_fact_is_suppressed_in_its_held_out_prompts(planted):
    """All numbers of one fact, prompt by prompt."""
    lm, run, table, _ = planted
    rows = table[(table["relation"] == "P36") & (table["fact"] == 0)].set_index(["neurons", "asked"])
    fact = run.dataset.facts["P36"][0]
    halves = {name: drawn_halves(lm, run.dataset, name, run.seed) for name in FACTS}
    own = attribute_facts(lm, run.dataset, [fact], halves)[fact]

    def expected(choose, prompts):
        odds = [
            suppressed_log_odds(lm, [prompt], [[[], choose(1 - halves[prompt.fact.relation][prompt.index])]])[0]
            for prompt in prompts
        ]
        return pytest.approx(np.mean(odds, axis=0), abs=1e-4)

    for kind in DONORS:
        row = rows.loc[(kind, ITSELF)]
        donor = run.dataset.facts[row["other_relation"]][row["other_fact"]]
        assert (donor.object == fact.object, donor.relation == fact.relation) == (
            kind.startswith("same"),
            kind.endswith("same relation"),
        )
        found = attribute_facts(lm, run.dataset, [donor], halves)[donor]
        assert [row["log_odds_before"], row["log_odds_after"]] == expected(found.chosen, own.prompts)
        if kind == SAME_SAME:
            other = rows.loc[(NOT_OWN, ITSELF)]
            not_own = expected(lambda half, found=found: found.chosen(half, without=own.chosen(half)), own.prompts)
            assert [other["log_odds_before"], other["log_odds_after"]] == not_own
        if kind == OTHER_SAME:
            counterfactual = usable_prompts(lm, run.dataset, Fact("P36", donor.index, donor.subject, fact.object))
            for asked, prompts in ((THEIR_OBJECT, found.prompts), (THIS_OBJECT, counterfactual)):
                row = rows.loc[(OWN, asked)]
                assert [row["log_odds_before"], row["log_odds_after"]] == expected(own.chosen, prompts)
    row = rows.loc[(OWN, ITSELF)]
    assert [row["log_odds_before"], row["log_odds_after"]] == expected(own.chosen, own.prompts) and row["prompts"] == 4


def test_donors_are_known_and_have_another_subject(planted):
    lm, run, *_ = planted
    facts = run.dataset.facts["P36"]
    for fact in facts:
        donors = draw_donors(lm, run, fact, facts)
        assert set(donors) == set(DONORS) and donors == draw_donors(lm, run, fact, facts)
        assert all(is_known(lm, run, donor) and donor.subject != fact.subject for donor in donors.values())
    assert not is_known(lm, run, Fact("P36", 0, "Norway", "Lima"))
    without = draw_donors(lm, run, facts[0], facts[2:])
    assert SAME_SAME not in without and without[OTHER_SAME].object == "Lima"


def test_facts_with_a_partner_are_drawn():
    known = [Fact("P", index, *pair) for index, pair in enumerate([("a", "x"), ("b", "y"), ("c", "x"), ("b", "y"), ("d", "z")])]
    assert draw_facts_with_partner(known, 9, "seed") == [known[0], known[2]]
    assert len(draw_facts_with_partner(known, 1, "seed")) == 1


# ---- statistics by hand


def table_of(changes):
    """The table from {(neurons, asked): {(relation, fact): change}}."""
    rows = [(*fact, *kind, 1.0, 1.0 + change) for kind, facts in changes.items() for fact, change in facts.items()]
    return pd.DataFrame(rows, columns=["relation", "fact", "neurons", "asked", "log_odds_before", "log_odds_after"])


def test_a_share_is_a_ratio_of_means_on_the_facts_that_have_both():
    own = {("P1", 0): -1.0, ("P1", 1): -3.0, ("P2", 0): -4.0, ("P2", 1): -50.0}
    table = table_of(
        {(OWN, ITSELF): own, (SAME_SAME, ITSELF): {("P1", 0): -0.5, ("P1", 1): -0.5, ("P2", 0): -1.0}, (OWN, THEIR_OBJECT): own}
    )
    wide = numbers.changes(table)
    [same, their] = numbers.shares(wide, 0).itertuples()
    assert (same.kind, same.facts) == (SAME_SAME, 3) and same.value == pytest.approx(100 * (0.5 + 1) / (2 + 4))
    assert their.value == pytest.approx(100) and their.facts == 4
    value, low, high = numbers.fact_part(wide, 0)
    assert value == pytest.approx(75) and low == pytest.approx(100 - same.high) and high == pytest.approx(100 - same.low)
    assert numbers.own_change(wide, 0).startswith("−14.5 [")
    assert "same object, same relation 25.0 [" in numbers.finding(wide, 0)
    one = {(kind, ITSELF): {("P1", 0): change} for kind, change in ((OWN, -2.0), (SAME_SAME, -1.0), (OTHER_SAME, -0.5))}
    shown = "same object, same relation 50.0 % (no interval); other object, same relation 25.0 % (no interval)."
    assert numbers.finding(numbers.changes(table_of(one)), 0).endswith(shown)
    [axis] = plot_shares(numbers.shares(wide, 0), "title").axes
    assert list(axis.lines[0].get_xdata()) == pytest.approx([25, 100])
    assert numbers.named_shares(numbers.shares(wide, 0))["neurons"].tolist() == [numbers.NAMES[SAME_SAME], "own, on another fact"]


def test_nothing_to_show_is_said():
    with pytest.raises(NothingToShowError, match="no two known facts"):
        numbers.changes(table_of({}))
    with pytest.raises(NothingToShowError, match="does not lower"):
        numbers.changes(table_of({(OWN, ITSELF): {("P1", 0): 1.0}}))
    only_own = {"fact_or_word": table_of({(OWN, ITSELF): {("P1", 0): -1.0}})}
    for claim in claims.CLAIMS:
        with pytest.raises(NothingToShowError):
            claim.conditions(only_own, 0)


def test_neurons_of_a_single_fact_are_counted():
    neurons = [("P1", 0, 0, 1), ("P1", 0, 0, 2), ("P1", 1, 0, 2), ("P2", 0, 0, 3), ("P2", 1, 0, 3), ("P2", 1, 1, 1)]
    neurons = pd.DataFrame(neurons, columns=["relation", "fact", "layer", "neuron"]).assign(method="attribution")
    facts = pd.DataFrame([("P1", 0, "x"), ("P1", 1, "x"), ("P2", 0, "x"), ("P2", 1, "y")], columns=["relation", "fact", "object"])
    counted = numbers.exclusive(neurons, facts)
    # L1.1 and L2.1 have one fact each, L1.2 two with one object, L1.3 two with different ones
    assert counted["share (%)"].tolist() == pytest.approx([100 * 2 / 6, 100 * 4 / 6, 100 * 2 / 4])
    assert counted["of"].tolist() == [6, 6, 4]
    baseline = neurons.assign(method="activation")
    pd.testing.assert_frame_equal(numbers.exclusive(pd.concat([neurons, baseline]), facts), counted)
    with pytest.raises(NothingToShowError):
        numbers.exclusive(baseline, facts)


def test_every_kind_has_a_name():
    assert {SAME_SAME, SAME_OTHER, OTHER_SAME, OTHER_OTHER, NOT_OWN, *numbers.MIRROR.values()} <= set(numbers.NAMES)
