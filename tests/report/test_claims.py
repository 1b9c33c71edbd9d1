"""The rule by which claims are judged, on contrasts made by hand; and how verdicts are shown."""

import math
from importlib import import_module

import pandas as pd
import pytest

from kn_utils.paths import ROOT
from kn_utils.report import tables
from kn_utils.report.judge import CLAIMS, Judged, judge, judge_all
from kn_utils.stats.rule import (
    CONTRADICTED,
    CONTROL,
    OPEN,
    PARTLY,
    SHOWN,
    SUPPORTED,
    TIMES,
    UNTESTED,
    Claim,
    Condition,
    Reported,
    hardly,
    other_verdicts,
    reported,
    untested,
    verdict,
)
from kn_utils.store.paper import paper_values


def condition(low, high, role="claim", **bounds):
    return Condition("more", (low + high) / 2, low, high, n=10, role=role, **(bounds or {"above": 0}))


HOLDS, UNCLEAR, FAILS = condition(1.0, 3.0), condition(-1.0, 3.0), condition(-3.0, -1.0)
CONTROL_HOLDS, CONTROL_UNCLEAR, CONTROL_FAILS = (condition(low, high, CONTROL) for low, high in ((1, 3), (-1, 3), (-3, -1)))
NO_INTERVAL, NO_CONTROL = untested("more", "no rows", "claim"), untested("more than others", "no rows")


@pytest.mark.parametrize(
    "conditions, expected",
    [
        ([HOLDS], SUPPORTED),
        ([HOLDS, CONTROL_HOLDS], SUPPORTED),
        ([HOLDS, CONTROL_UNCLEAR], PARTLY),
        ([HOLDS, CONTROL_FAILS], PARTLY),
        ([HOLDS, NO_CONTROL], SUPPORTED),  # a control without data is not tested, not failed
        ([HOLDS, NO_CONTROL, CONTROL_FAILS], PARTLY),
        ([UNCLEAR, CONTROL_HOLDS], OPEN),
        ([UNCLEAR, CONTROL_FAILS], OPEN),
        ([FAILS, CONTROL_HOLDS], CONTRADICTED),
        ([HOLDS, FAILS], CONTRADICTED),  # both are the claim
        ([HOLDS, UNCLEAR], OPEN),
        ([HOLDS, condition(-3, -1, SHOWN)], SUPPORTED),  # what is shown decides nothing
        ([NO_INTERVAL, CONTROL_HOLDS], UNTESTED),
        ([CONTROL_HOLDS], UNTESTED),
        ([], UNTESTED),
    ],
)
def test_direction_and_controls_decide(conditions, expected):
    assert verdict(conditions) == expected


@pytest.mark.parametrize(
    "low, high, bounds, state",
    [
        (0.1, 9, {"above": 0}, SUPPORTED),
        (0.0, 9, {"above": 0}, OPEN),  # the interval touches the bound
        (-9, 0.1, {"above": 0}, OPEN),
        (-9, -0.1, {"above": 0}, CONTRADICTED),
        (-9, -0.1, {"below": 0}, SUPPORTED),
        (0.1, 9, {"below": 0}, CONTRADICTED),
        (2.1, 4.9, {"above": 2, "below": 5}, SUPPORTED),
        (2.1, 5.1, {"above": 2, "below": 5}, OPEN),
        (1.1, 5.1, {"above": 2, "below": 5}, OPEN),
        (5.1, 6, {"above": 2, "below": 5}, CONTRADICTED),
        (1, 1.9, {"above": 2, "below": 5}, CONTRADICTED),
        (math.nan, math.nan, {"above": 0}, UNTESTED),
    ],
)
def test_the_whole_interval_must_lie_in_the_range(low, high, bounds, state):
    assert condition(low, high, **bounds).state == state


def test_the_size_is_a_ratio_to_the_papers_and_decides_nothing():
    paper = Reported(-30, True)
    small = Condition("change", -3.0, -4.0, -2.0, n=10, below=0, paper=paper)
    assert small.of_paper == pytest.approx((0.1, 2 / 30, 4 / 30)) and verdict([small]) == SUPPORTED
    shown = Condition("the paper's measure", -15.0, -16.0, -14.0, role=SHOWN, paper=paper)
    judged = Judged(Claim("9", "it falls"), [small, shown])
    assert judged.size is shown and judged.verdict == SUPPORTED
    assert Judged(Claim("9", "it hardly falls"), [hardly("change", (1, 0, 2), paper=paper)]).size is None


def test_other_limits_for_hardly_are_shown():
    within = hardly("change (%)", (8.0, 7.0, 9.0))
    assert (within.above, within.below) == (-10, 10) and other_verdicts([within]) == {5: CONTRADICTED, 20: SUPPORTED}
    ratio = hardly("perplexity, after / before", (1.04, 0.9, 1.06), TIMES)
    assert (ratio.above, ratio.below) == (-math.inf, 1.1) and other_verdicts([ratio]) == {5: OPEN, 20: SUPPORTED}
    control = hardly("others, after / before", (1.15, 1.12, 1.18), TIMES, role=CONTROL)
    assert other_verdicts([HOLDS, control]) == {5: PARTLY, 20: SUPPORTED}
    assert other_verdicts([HOLDS]) == {}


def test_values_of_the_paper_are_unconfirmed_if_one_of_them_is():
    paper = paper_values()["value"]
    change = reported(lambda ours, random: ours - random, "edit_change_rate", "edit_change_rate_random")
    assert change.value == pytest.approx(paper["edit_change_rate"] - paper["edit_change_rate_random"]) and change.checked
    assert not reported(max, "shared_in_relation_attribution", "shared_in_relation_activation").checked


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
    assert judge(claim, read, ["P19", "P20", "P36"], seed=0).verdict == SUPPORTED
    assert seen[0]["value"].tolist() == [1, 2, 3]


def test_an_empty_table_cannot_be_tested_and_a_damaged_one_is_an_error():
    claim = Claim("4.3", "it changes", ("modify_activation",), lambda tables, seed: [HOLDS])
    assert "is empty" in judge(claim, lambda table, relations: pd.DataFrame(), ["P1"], seed=0).explanation

    def damaged(table, relations):
        raise ValueError("damaged")

    with pytest.raises(ValueError, match="damaged"):
        judge(claim, damaged, ["P1"], seed=0)


def test_the_tables_show_every_verdict_with_its_numbers():
    less = Condition("less than 1", 2.0, 1.5, 2.5, n=10, unit="edits", below=1, role=CONTROL, paper=Reported(4.0, False))
    results = [HOLDS, less, NO_CONTROL]
    part = judge(Claim("9", "it is so", conditions=lambda tables, seed: results), lambda *_: None, ["P1"], seed=0)
    untested_claim = judge(Claim("9", "it takes a second", remark="other hardware"), lambda *_: None, [], seed=0)
    assert tables.reasons_table([part, untested_claim])["because"].tolist() == [
        "less than 1: 2.00 [1.50, 2.50], must be below 1",
        "other hardware",
    ]
    shown = tables.condition_table([part])
    assert shown["paper"].tolist() == ["–", "4.00 *", "–"] and shown["ours / paper"].tolist() == ["–", "0.50 [0.38, 0.62]", "–"]
    assert shown["state"].tolist() == [SUPPORTED, CONTRADICTED, UNTESTED] and shown[tables.OURS].tolist()[2] == "no rows"
    compared = tables.by_run({"ours": [part, untested_claim], "theirs": [untested_claim, untested_claim]})
    assert compared["claim"].tolist() == ["9: it is so\n→ more", "9: it takes a second"]
    assert compared.loc[0, "ours"].splitlines() == [
        "◐ partly",
        "2.00 [1.00, 3.00]",
        "10 facts",
        "does not hold: less than 1",
        "1 of 2 controls not tested",
        "ours / paper (less than 1): 0.50 [0.38, 0.62]",
    ]
    assert compared.loc[0, ["paper", "theirs"]].tolist() == ["4.00 *\n(less than 1)", UNTESTED]


def test_a_claim_that_cannot_be_tested_names_the_reason():
    assert Judged(Claim("9", "a"), [NO_INTERVAL]).explanation == "more: no rows"
    few = Condition("more", 2.0, math.nan, math.nan, unit="relations")
    assert Judged(Claim("9", "a"), [few]).explanation == "more: too few relations for an interval"


def test_verdicts_at_other_limits_are_a_table():
    kept = judge(Claim("9", "it stays", conditions=lambda *_: [hardly("change", (8, 7, 9))]), lambda *_: None, ["P1"], seed=0)
    [row] = tables.limits_table([kept, Judged(Claim("9", "it grows"), [HOLDS])]).to_dict("records")
    assert row == {"claim": "9: it stays", "5 %": "✕ contradicted", "10 %": "● supported", "20 %": "● supported"}


def judged(*verdicts_of_claims):
    """Claims a, b, ... with the given verdicts."""
    conditions = {SUPPORTED: [HOLDS], PARTLY: [HOLDS, CONTROL_FAILS], OPEN: [UNCLEAR], CONTRADICTED: [FAILS], UNTESTED: []}
    return [Judged(Claim("9", name), conditions[verdict]) for name, verdict in zip("abcde", verdicts_of_claims, strict=False)]


def test_runs_are_compared_where_they_can_test_a_claim():
    runs = {
        "one": judged(SUPPORTED, SUPPORTED, CONTRADICTED, SUPPORTED, OPEN),
        "two": judged(SUPPORTED, PARTLY, CONTRADICTED, UNTESTED, CONTRADICTED),
    }  # only one run can test d
    compared = "**Supported in every run:** a. **Contradicted in every run:** c. **Other claims:** b; e."
    assert " ".join(tables.compared_verdicts(runs)) == compared


def test_the_claims_of_every_chapter_are_judged():
    rooms = [path.parent.name for path in (ROOT / "kn_utils/chapters").glob("*/claims.py")]
    found = [claim for room in rooms for claim in import_module(f"kn_utils.chapters.{room}.claims").CLAIMS]
    assert len(rooms) > 5 and sorted(map(repr, found)) == sorted(map(repr, CLAIMS))


def test_an_interval_a_little_outside_of_the_range_may_be_undecided():
    states = [
        Condition("R", 30, low, high, below=25, undecided=25).state for low, high in ((5, 24), (20, 60), (30, 45), (51, 70))
    ]
    assert states == [SUPPORTED, OPEN, OPEN, CONTRADICTED]
    assert Condition("R", 30, 20, 40, below=25, undecided=25).required == "below 25 (contradicted above 50)"
    assert Condition("share", 30, 20, 24, above=50, undecided=25).state == CONTRADICTED
    assert Condition("share", 30, 20, 26, above=50, undecided=25).state == OPEN
