"""The rule by which claims are judged, on contrasts made by hand; and claims on tables small enough to work out by hand."""

import math
from importlib import import_module

import pandas as pd
import pytest

from kn_utils.chapters.distant_prompts.claims import web_sentences
from kn_utils.chapters.edit_facts.claims import edit_rate, side_effects
from kn_utils.chapters.edit_facts.numbers import SUCCESS
from kn_utils.chapters.erase_relation.claims import erased
from kn_utils.chapters.knowledge_neurons.claims import shared_within, upper_layers
from kn_utils.chapters.modify_activation.claims import changed_probability, other_facts
from kn_utils.paths import ROOT
from kn_utils.report import tables
from kn_utils.report.judge import CLAIMS, Judged, judge, judge_all
from kn_utils.stats.rule import (
    NOT_REPLICATED,
    PARTLY,
    REPLICATED,
    UNTESTED,
    Claim,
    Condition,
    Reported,
    half_the_paper,
    number,
    reported,
    verdict,
)
from kn_utils.store.paper import paper_values
from kn_utils.store.runs import NothingToShowError

HOLDS = Condition("more", 2.0, 1.0, 3.0, 10, above=0)
FAILS = Condition("more", 2.0, -1.0, 3.0, 10, above=0)
NO_INTERVAL = Condition("more", 2.0, math.nan, math.nan, 1, above=0)


@pytest.mark.parametrize(
    "conditions, expected",
    [
        ([HOLDS], REPLICATED),
        ([HOLDS, HOLDS], REPLICATED),
        ([HOLDS, FAILS], PARTLY),
        ([HOLDS, NO_INTERVAL], REPLICATED),  # a control that cannot be computed is untested, not failed
        ([HOLDS, NO_INTERVAL, FAILS], PARTLY),
        ([FAILS, HOLDS], NOT_REPLICATED),
        ([NO_INTERVAL, HOLDS], UNTESTED),
        ([], UNTESTED),
    ],
)
def test_the_first_condition_is_the_claim_and_the_others_are_its_controls(conditions, expected):
    assert verdict(conditions) == expected


@pytest.mark.parametrize(
    "low, high, bounds, holds",
    [
        (0.1, 9, {"above": 0}, True),
        (0.0, 9, {"above": 0}, False),  # the interval touches the bound
        (-9, -0.1, {"below": 0}, True),
        (-9, 0.1, {"below": 0}, False),
        (2.1, 4.9, {"above": 2, "below": 5}, True),
        (2.1, 5.1, {"above": 2, "below": 5}, False),
        (math.nan, math.nan, {}, False),
    ],
)
def test_a_condition_holds_if_its_whole_interval_lies_in_the_range(low, high, bounds, holds):
    assert Condition("", (low + high) / 2, low, high, 10, **bounds).holds is holds


@pytest.mark.parametrize(
    "paper, low, high, holds", [(-30, -20, -16, True), (-30, -20, -14, False), (30, 16, 20, True), (30, -20, -16, False)]
)
def test_half_the_effect_is_on_the_papers_side_of_zero(paper, low, high, holds):
    size = half_the_paper(Condition("change", (low + high) / 2, low, high, 10, paper=Reported(paper, True)))
    assert size.holds is holds and size.is_size


def test_values_of_the_paper_are_unconfirmed_if_one_of_them_is():
    paper = paper_values()["value"]
    change = reported(lambda ours, random: ours - random, "edit_change_rate", "edit_change_rate_random")
    assert change.value == pytest.approx(paper["edit_change_rate"] - paper["edit_change_rate_random"]) and change.checked
    assert not reported(max, "shared_in_relation_attribution", "shared_in_relation_activation").checked


def test_numbers_are_written_with_a_minus_that_lines_do_not_break_at():
    assert [number(value) for value in (0.094, -1.25, 12345.67, -5.6e21)] == ["0.09", "−1.25", "12,345.7", "−5.6e+21"]


def answers(rows):
    """Step 3's table from (relation, fact, method, target, before, after), the same for both operations but for the sign of the change."""
    columns = ["relation", "fact", "method", "target", "probability_before", "probability_after"]
    table = pd.DataFrame(rows, columns=columns)
    amplified = table.assign(operation="amplify", probability_after=2 * table["probability_before"] - table["probability_after"])
    return {"modify_activation": pd.concat([table.assign(operation="suppress"), amplified], ignore_index=True)}


def three_methods(relation, fact, before, ours, others=(("activation", 1.0), ("random", 1.0))):
    found = [("attribution", ours), *others]
    return [(relation, fact, method, "own", before, before * factor) for method, factor in found]


def test_the_change_is_a_ratio_of_means_in_a_relation_and_a_mean_over_relations():
    rows = (
        three_methods("P1", 0, 0.8, 0.5)
        + three_methods("P1", 1, 0.2, 1.0)
        + three_methods("P2", 0, 0.5, 0.8)
        + three_methods("P2", 1, 0.5, 0.8)
    )
    suppressed = changed_probability("suppress", answers(rows), seed=0)
    amplified = changed_probability("amplify", answers(rows), seed=0)
    assert suppressed[0].value == pytest.approx((-40 - 20) / 2) and amplified[0].value == pytest.approx(30)
    assert suppressed[0].n == 4 and suppressed[0].paper.value == paper_values()["value"]["suppress_attribution"]
    assert (suppressed[0].low, suppressed[0].high) == pytest.approx((-35, -10))  # P1 drawn as its first fact twice, or its second
    assert verdict(suppressed) == verdict(amplified) == PARTLY  # less than half the paper's for all that is known


def test_a_change_that_random_neurons_make_too_is_replicated_only_in_part():
    rows = [row for fact in range(4) for row in three_methods("P1", fact, 0.5, 0.6, (("activation", 1.0), ("random", 0.6)))]
    conditions = changed_probability("suppress", answers(rows), seed=0)
    assert [condition.holds for condition in conditions] == [True, True, False, True]
    none = [row for fact in range(4) for row in three_methods("P1", fact, 0.5, 1.0)]
    assert verdict(changed_probability("suppress", answers(none), seed=0)) == NOT_REPLICATED


def test_other_facts_are_measured_against_the_fact_itself():
    rows = [
        ("P1", fact, "attribution", target, 0.5, after) for fact in range(3) for target, after in (("own", 0.25), ("other", 0.49))
    ]
    for condition in other_facts(answers(rows), seed=0):
        assert condition.value == pytest.approx(4) and condition.holds
    with pytest.raises(NothingToShowError, match="no facts of other relations"):
        other_facts(answers([row for row in rows if row[3] == "own"]), seed=0)


FACTS = pd.DataFrame(
    [(relation, fact, "subject", f"{relation}-{fact}", 3) for relation in ("P1", "P2") for fact in range(3)],
    columns=["relation", "fact", "subject", "object", "prompts"],
)


def neurons(places):
    rows = [
        (relation, fact, method, layer, neuron)
        for relation, fact, layer, neuron in places
        for method in ("attribution", "activation")
    ]
    return pd.DataFrame(rows, columns=["relation", "fact", "method", "layer", "neuron"])


def test_sharing_within_relations_is_a_difference_of_pairs():
    own = neurons((row.relation, row.fact, 5, int(row.relation[1])) for row in FACTS.itertuples())
    claim, control, size = shared_within({"facts": FACTS, "knowledge_neurons": own}, seed=0)
    assert (claim.value, control.value) == (1, 1)  # each relation's facts share its one neuron; none share objects
    assert (claim.low, claim.high, size.holds) == (1, 1, True)


def test_upper_layers_are_the_upper_third():
    layers = {"completeness": pd.DataFrame({"relation": "P1", "layer": range(6)})}
    own = neurons([("P1", 0, 3, 0), ("P1", 0, 4, 0), ("P1", 1, 5, 0), ("P1", 1, 5, 1)])
    against_chance, _ = upper_layers(layers | {"knowledge_neurons": own}, seed=0)
    assert against_chance.value == 75 and against_chance.above == pytest.approx(100 / 3)


def test_web_sentences_need_both_kinds():
    kinds = {"head_and_tail": 2.0, "head_only": 0.5, "head_only_comparable": 1.0, "random": 0.0}
    rows = [("P1", fact, "attribution", kind, value + fact) for fact in range(3) for kind, value in kinds.items()]
    table = pd.DataFrame(rows, columns=["relation", "fact", "method", "kind", "activation"])
    head, random, comparable, lost = web_sentences({"distant_prompts": table}, seed=0)
    assert [head.value, random.value, comparable.value] == [1.5, 2.0, 1.0] and lost.value == pytest.approx(100 * 1.5 / 3)
    with pytest.raises(NothingToShowError, match="no fact has both"):
        web_sentences({"distant_prompts": table[table["kind"] == "head_only"]}, seed=0)


def edits(ours, random, rise):
    """Step 6's table: whether an edit of each fact succeeded, with our neurons and random ones, and how often perplexity doubles."""
    rows = [
        ("P1", fact, "scaled", control, done, 4 * done, 4, 10.0, 10.0 * 2**factor, 5.0, 5.0)
        for control, successes, factor in ((False, ours, rise), (True, random, 0))
        for fact, done in enumerate(successes)
    ]
    perplexities = [f"perplexity_{kind}_{when}" for kind in ("same", "other") for when in ("before", "after")]
    columns = ["relation", "fact", "rule", "control", "success", "templates_success", "templates", *perplexities]
    return {"edit_facts": pd.DataFrame(rows, columns=columns)}


def test_edits_are_compared_with_random_neurons_of_the_same_facts():
    claim, templates, size = edit_rate(SUCCESS, edits([1, 1, 1, 0], [0, 0, 0, 1], 0), seed=0)
    assert (claim.value, templates.value, claim.n, claim.unit) == (50, 50, 4, "edits in 1 relation")
    assert not claim.holds and size.paper.value == pytest.approx(34.4)  # one edit in four the other way: too few
    assert verdict(edit_rate(SUCCESS, edits([1, 1, 1, 1], [0, 0, 0, 0], 0), seed=0)) == REPLICATED
    with pytest.raises(NothingToShowError, match="no fact was edited"):
        edit_rate(SUCCESS, {"edit_facts": edits([1], [0], 0)["edit_facts"].head(0)}, seed=0)


def test_side_effects_are_ratios_of_perplexity():
    same, other, against_random = side_effects(edits([1, 1], [0, 0], rise=1), seed=0)
    assert same.value == pytest.approx(100) and other.value == pytest.approx(0) and against_random.value == pytest.approx(10)
    assert [same.holds, other.holds, against_random.holds] == [False, True, False]


def test_erasure_compares_the_relation_with_all_others_and_with_random_neurons():
    rows = [
        ("P19", method, evaluated, fact, phase, 2, -2 * math.log(factor if phase == "after" else 1) - 2)
        for method, own, others in (("attribution", 3, 1.5), ("random", 1.25, 1))
        for evaluated, factor in (("P19", own), ("P20", others))
        for fact in range(3)
        for phase in ("before", "after")
    ]
    columns = ["relation", "method", "evaluated", "fact", "phase", "prompts", "log_probability"]
    claim, control, size = erased("P19", {"erase_facts": pd.DataFrame(rows, columns=columns)}, seed=0)
    assert claim.value == pytest.approx(200 - 50) and control.value == pytest.approx(200 - 25) and claim.n == 6
    assert (
        size.paper.value == pytest.approx(100 * (2996 / 1450 - 121.6 / 120.3)) and verdict([claim, control, size]) == REPLICATED
    )


def test_what_has_not_been_run_cannot_be_tested_and_says_which_notebook_to_run():
    def nothing(table, relations):
        raise FileNotFoundError(table)

    judged = judge_all(nothing, ["P1"], seed=0)
    assert [one.claim for one in judged] == list(CLAIMS) and {one.verdict for one in judged} == {UNTESTED}
    by_claim = {one.claim.text: one.explanation for one in judged}
    assert (
        by_claim["edits hardly harm other facts"]
        == "there is no table edit_facts of these relations: notebook 06_edit_facts makes it"
    )
    assert by_claim["erasing P19 raises its perplexity more than that of all others"] == "P19 is not among the relations"
    assert all(by_claim.values())


def test_relations_without_a_table_are_left_out():
    made = {"P19": pd.DataFrame({"value": [1]}), "P36": pd.DataFrame({"value": [2, 3]})}

    def read(table, relations):
        if missing := [name for name in relations if name not in made]:
            raise FileNotFoundError(missing[0])
        return pd.concat([made[name] for name in relations])

    seen = []
    claim = Claim("5.1", "it changes", ("edit_facts",), lambda tables, seed: seen.append(tables["edit_facts"]) or [HOLDS])
    assert judge(claim, read, ["P19", "P20", "P36"], seed=0).verdict == REPLICATED
    assert seen[0]["value"].tolist() == [1, 2, 3]


def test_an_empty_table_cannot_be_tested_and_a_damaged_one_is_an_error():
    claim = Claim("4.3", "it changes", ("modify_activation",), lambda tables, seed: [HOLDS])
    assert "is empty" in judge(claim, lambda table, relations: pd.DataFrame(), ["P1"], seed=0).explanation

    def damaged(table, relations):
        raise ValueError("damaged")

    with pytest.raises(ValueError, match="damaged"):
        judge(claim, damaged, ["P1"], seed=0)


def test_the_tables_show_every_verdict_with_its_numbers():
    results = [HOLDS, Condition("less than 1", 2.0, 1.5, 2.5, 10, "edits", below=1, paper=Reported(3.0, False))]
    part = judge(Claim("9", "it is so", conditions=lambda tables, seed: results), lambda *_: None, ["P1"], seed=0)
    untested = judge(Claim("9", "it takes a second", remark="other hardware"), lambda *_: None, [], seed=0)
    assert tables.reasons_table([part, untested])["because"].tolist() == [
        "less than 1: 2.00 [1.50, 2.50], must be below 1.00",
        "other hardware",
    ]
    assert tables.condition_table([part])["paper"].tolist() == ["–", "3.00 *"]
    compared = tables.by_run({"ours": [part, untested], "theirs": [untested, untested]})
    assert compared["claim"].tolist() == ["9: it is so\n→ more", "9: it takes a second"]
    assert compared.loc[0, ["paper", "ours", "theirs"]].tolist() == ["–", "◐ partly\n2.00 [1.00, 3.00]\n10 facts", UNTESTED]


def judged(*verdicts_of_claims):
    """Claims a, b, ... with the given verdicts."""
    conditions = {REPLICATED: [HOLDS], PARTLY: [HOLDS, FAILS], NOT_REPLICATED: [FAILS], UNTESTED: [NO_INTERVAL]}
    return [Judged(Claim("9", name), conditions[verdict]) for name, verdict in zip("abcd", verdicts_of_claims, strict=False)]


def test_sentences_name_the_claims_of_each_verdict():
    found = judged(REPLICATED, NOT_REPLICATED, UNTESTED, REPLICATED)
    assert tables.verdict_sentences(found) == "**Replicated:** a; d. **Not replicated:** b. **Cannot be tested here:** c."
    assert tables.counted_verdicts(found) == "of 3 claims that can be tested, 2 replicated, 0 partly, 1 not"
    assert tables.counted_verdicts(judged(UNTESTED)) == "none of the claims can be tested"


def test_runs_are_compared_where_they_can_test_a_claim():
    runs = {
        "one": judged(REPLICATED, REPLICATED, NOT_REPLICATED, UNTESTED),
        "two": judged(UNTESTED, PARTLY, NOT_REPLICATED, UNTESTED),
    }
    assert (
        tables.compared_verdicts(runs)
        == "**Replicated wherever it can be tested:** a. **Nowhere:** c. **In some runs, or in part:** b."
    )


def test_the_claims_of_every_chapter_are_judged():
    rooms = [path.parent.name for path in (ROOT / "kn_utils/chapters").glob("*/claims.py")]
    found = [claim for room in rooms for claim in import_module(f"kn_utils.chapters.{room}.claims").CLAIMS]
    assert len(rooms) > 5 and sorted(map(repr, found)) == sorted(map(repr, CLAIMS))
