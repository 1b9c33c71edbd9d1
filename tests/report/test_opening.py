"""The report's first screen: what it says about claims, and the table of verdicts."""

import math
import re
from types import SimpleNamespace

import pytest

from kn_utils.data.facts import load_dataset
from kn_utils.report import verdicts
from kn_utils.report.figures import verdict_matrix
from kn_utils.report.judge import CLAIMS as ALL_CLAIMS
from kn_utils.report.judge import Judged, judge_all
from kn_utils.report.opening import by_row, joint_verdict, published_verdicts, sentences
from kn_utils.report.tables import by_run
from kn_utils.stats.intervals import with_interval
from kn_utils.stats.rule import CONTRADICTED, CONTROL, OPEN, PARTLY, SIGNS, SUPPORTED, UNTESTED, VERDICTS, Claim, Condition
from kn_utils.store.published import PublishedResults, published_results
from kn_utils.store.runs import Run

PARAREL = PublishedResults("starter", "pararel")
HOLDS = Condition("more", 2.0, 1.0, 3.0, 10, above=0)
FAILS = Condition("more", 2.0, -1.0, 3.0, 10, above=0)
NO_INTERVAL = Condition("more", 2.0, math.nan, math.nan, 1, above=0)
CLAIMS = [Claim("4", name) for name in ("a", "b", "c", "<d>")]
ERASURES = "erasures harm it"
CLAIMS += [Claim("5", f"erasing {name} harms it", relation=name, row=ERASURES) for name in ("P19", "P27")]


def judged(*conditions):
    return [Judged(claim, [condition]) for claim, condition in zip(CLAIMS, conditions, strict=True)]


OWN, PUBLISHED, DECODER = "this run: one, P36, 5 facts", "published: two, P36, 7 facts", "published: three, P36, 8 facts"
MODELS = {
    OWN: (SimpleNamespace(model="one"), ["P36"]),
    PUBLISHED: (PublishedResults("starter", "starter"), ["P36"]),
    DECODER: (PublishedResults("mine", "starter"), ["P36"]),
}


@pytest.fixture
def runs():
    return {
        OWN: judged(HOLDS, FAILS, HOLDS, NO_INTERVAL, HOLDS, HOLDS),
        PUBLISHED: judged(HOLDS, FAILS, FAILS, NO_INTERVAL, HOLDS, NO_INTERVAL),
    }


def test_every_verdict_has_a_sign():
    assert set(VERDICTS) <= set(SIGNS)


def test_claims_that_no_run_can_test_are_left_out(runs):
    assert list(by_row(runs)) == ["a", "b", "c", ERASURES]  # the claims on single relations share a row


@pytest.mark.parametrize(
    "found, joint",
    [
        ([SUPPORTED, SUPPORTED], SUPPORTED),
        ([CONTRADICTED, UNTESTED], CONTRADICTED),
        ([SUPPORTED, CONTRADICTED], PARTLY),
        ([OPEN, SUPPORTED], PARTLY),
        ([PARTLY, OPEN, UNTESTED], OPEN),
        ([PARTLY, CONTRADICTED], PARTLY),
        ([UNTESTED, UNTESTED], UNTESTED),
    ],
)
def test_claims_of_a_row_have_the_verdict_on_which_they_agree(found, joint):
    assert joint_verdict(found) == joint


CONTROL_FAILS = [
    HOLDS,
    Condition("a control", -2.0, -3.0, -1.0, n=10, above=0, role=CONTROL),
    Condition("another", 0.0, -1.0, 1.0, n=10, above=0, role=CONTROL),
]
AGAINST = Condition("more", -2.0, -3.0, -1.0, n=10, above=0)


def test_sentences_are_about_the_published_results_and_count_what_stands_everywhere_or_in_part(runs):
    first = [Judged(CLAIMS[0], CONTROL_FAILS), Judged(CLAIMS[1], [AGAINST])]
    runs[PUBLISHED] = [*first, *runs[PUBLISHED][2:]]
    runs[DECODER] = judged(HOLDS, FAILS, HOLDS, HOLDS, HOLDS, HOLDS)
    stands, fails, known = sentences(runs, MODELS).split("\n\n")
    assert f"**Supported in all our 2 published results, 2:** <d>; {ERASURES}." in stands and "Of 5 claims" in stands
    assert stands.endswith("**The effect is there, but in one or more a control fails or is open, 1:** a.")
    assert fails == "**Contradicted in one or more, 1:** b. **Open in one or more, 1:** c."
    assert (
        "BERT-base-cased, the paper's model, was **not** run" in known
        and "`starter` (ours, 23 million parameters)" in known
        and "SmolLM2" not in known
    )


def test_without_published_results_the_sentences_are_about_the_runs(runs):
    run = Run("bert-base-cased", load_dataset("starter"))
    stands, fails = sentences({OWN: runs[OWN]}, {OWN: (run, ["P36"])}).split("\n\n")
    assert f"**Supported in all 1 runs, 3:** a; c; {ERASURES}." in stands and "**Open in one or more, 1:** b." in fails


def test_the_first_sentence_is_on_the_thesis_where_it_was_tested(runs):
    few = next(claim for claim in ALL_CLAIMS if claim.section.startswith("17"))
    for name in (PUBLISHED, DECODER):
        runs[name] = [*judged(*[HOLDS] * 6), Judged(few, [AGAINST if name == DECODER else HOLDS])]
    runs[OWN] = [*runs[OWN], Judged(few, [HOLDS])]
    first, *_ = sentences(runs, MODELS).split("\n\n")
    assert first == (
        "**Do they store facts?** **○ open** in 1; **✕ contradicted** in 1 of our 2 published results (experiments against it: 17 in 1), "
        "beyond the paper: [part two](18_what_follows.html)."
    )


def test_a_chapter_begins_with_each_claim_its_verdicts_and_what_fails(runs):
    runs[PUBLISHED][0] = Judged(CLAIMS[0], CONTROL_FAILS)
    runs[DECODER] = judged(HOLDS, FAILS, HOLDS, NO_INTERVAL, HOLDS, HOLDS)
    head, blank, *lines = published_verdicts(runs, MODELS).split("\n")
    assert head == "In our 2 published results (“them”: a fact's knowledge neurons):" and not blank
    assert lines == [
        "* a: **● supported** in 1; **◐ partly** in 1. Controls that fail: a control (must be above 0). Controls that are open: "
        "another (must be above 0)",
        "* b: **○ open** in all",
        "* c: **● supported** in 1; **○ open** in 1",
        f"* {ERASURES}: **● supported** in all",
    ]
    nothing = dict.fromkeys(MODELS, judged(*[NO_INTERVAL] * 6))
    assert published_verdicts(nothing, MODELS).endswith("\n* not tested")


def test_nothing_is_said_of_models_that_need_no_word(runs):
    models = {OWN: (PublishedResults("google-bert--bert-base-cased", "pararel"), ["P36"])}
    assert "Know first" not in sentences({OWN: runs[OWN]}, models)


def test_the_matrix_has_a_row_for_each_claim_and_a_cell_with_verdict_and_interval_for_each_run(runs):
    html = verdict_matrix(runs)
    assert re.findall(r"<th scope='col'>(.*?)</th>", html) == [
        "claim",
        "this run: one <small>P36, 5 facts</small>",
        "published: two <small>P36, 7 facts</small>",
    ]
    assert re.findall(r"<th scope='row'>(.*?)</th>", html) == ["a", "b", "c", ERASURES]
    *_, erased, erased_there = re.findall(r"<small>(.*?)</small>", html)
    assert (erased, erased_there) == ("2 of 2 supported", "1 of 1 supported")
    first, second = re.findall(r"<td class='verdict (.*?)'><b>(.*?)</b> <small>(.*?)</small></td>", html)[:2]
    assert first == second == (VERDICTS[0].replace(" ", "-"), f"{SIGNS[VERDICTS[0]]} {VERDICTS[0]}", "2.00 [1.00, 3.00]")
    assert html.count("<td") == 8 and all(name in html.partition("<thead>")[0] for name in VERDICTS)


def test_a_chapter_names_the_number_of_each_claim(runs):
    html = verdict_matrix(runs, with_contrasts=True)
    claims = re.findall(r"<th scope='row'>(.*?)</th>", html)
    assert claims[0] == f"a <small>→ {HOLDS.contrast}</small>" and claims[-1] == ERASURES


def test_the_answer_of_a_chapter_has_all_published_results_on_all_their_relations(monkeypatch):
    shown = []
    monkeypatch.setattr(verdicts, "display", shown.append)
    verdicts.answer(Run("starter", load_dataset("starter")), ["P36"], 42, "12", "It is.", "Or not.")
    text, table, own = (one.data for one in shown)
    assert own == "**This run.** It is. Or not." and text.startswith(f"In our {len(published_results())} published results")
    heads = re.findall(r"<th scope='col'>(.*?)</th>", table)
    assert len(heads) == 2 + len(published_results()) and any("published: starter on pararel <small>" in head for head in heads)
    judged = judge_all(PARAREL.read, PARAREL.relations, 42, "12")[0]
    number = judged.conditions[0]
    assert with_interval(number.value, number.low, number.high) in table


def test_a_cell_says_if_no_control_was_tested(runs):
    untested = Condition("control", math.nan, math.nan, math.nan, n=0, above=0, role=CONTROL)
    runs[OWN][0] = Judged(CLAIMS[0], [HOLDS, untested])
    assert "<small>2.00 [1.00, 3.00]; no control tested</small>" in verdict_matrix(runs)
    [cell, *_] = by_run(runs, brief=True)[OWN]
    assert cell.endswith("no control tested") and verdict_matrix(runs).count("no control tested") == 1
