"""The last page of part two: what verdicts say of the thesis, in either direction."""

import math
from itertools import product

import pytest

from kn_utils.report import what_follows
from kn_utils.report.judge import CLAIMS, Judged
from kn_utils.report.what_follows import AGAINST, EXPERIMENTS, FAILS, FOR, NOT_TESTED, UNCLEAR, conclusion, consequences, stances
from kn_utils.stats.rule import CONTRADICTED, CONTROL, OPEN, PARTLY, SUPPORTED, UNTESTED, Claim, Condition

CHECKED = {  # claims of part two of which someone has looked up whether a supported one speaks for the thesis; see `Experiment.opposed`
    "setting neurons to zero harms what the model knows, and not what it does not know",
    "neurons serve the answer word, in whatever relation",
    "most of the effect belongs to the fact alone",
    "gradient x activation names neurons that matter more than those of integrated gradients",
    "integrated gradients name neurons that matter more than the most active ones",
    "most of what distinguishes two facts of a relation passes through their knowledge neurons",
    "localisation helps editing: edits through a fact's own neurons are better aimed than through matched neurons",
    "five neurons or fewer suffice to lose a right answer",
    "a second set, without any of these neurons, does the same",
}
INTERVALS = {
    SUPPORTED: [Condition("", 2, 1, 3, above=0)],
    PARTLY: [Condition("", 2, 1, 3, above=0), Condition("", -2, -3, -1, above=0, role=CONTROL)],
    OPEN: [Condition("", 2, -1, 3, above=0)],
    CONTRADICTED: [Condition("", -2, -3, -1, above=0)],
    UNTESTED: [Condition("", math.nan, math.nan, math.nan, above=0)],
}


def verdicts(**by_number):
    """Results by the number of their experiment, as e12=SUPPORTED; a list for several claims."""
    found = []
    for number, names in by_number.items():
        for name in names if isinstance(names, list) else [names]:
            found.append(Judged(Claim(f"{number[1:]}, beyond the paper", f"claim {len(found)}"), INTERVALS[name]))
            assert found[-1].verdict == name
    return found


def test_every_claim_of_part_two_was_checked_and_has_an_experiment():
    numbers = {experiment.notebook[:2] for experiment in EXPERIMENTS}
    part_two = [claim for claim in CLAIMS if claim.section.startswith(what_follows.SECTIONS)]
    assert {claim.section.split(",")[0] for claim in part_two} <= numbers == {"12", "13", "14", "15", "16", "17"}
    assert {claim.text for claim in part_two} <= CHECKED
    assert {text for experiment in EXPERIMENTS for text in experiment.opposed} <= CHECKED


@pytest.mark.parametrize(
    "claims, stance",
    [
        ([SUPPORTED, SUPPORTED], FOR),
        ([SUPPORTED, PARTLY], FAILS),
        ([SUPPORTED, UNTESTED], FOR),
        ([PARTLY, OPEN], UNCLEAR),
        ([SUPPORTED, OPEN, CONTRADICTED], AGAINST),
        ([UNTESTED], NOT_TESTED),
        ([], NOT_TESTED),
    ],
)
def test_an_experiment_says_what_its_least_favourable_claim_says(claims, stance):
    [knowledge] = [experiment for experiment in EXPERIMENTS if experiment.notebook.startswith("12")]
    assert knowledge.stance(verdicts(e12=claims, e15=CONTRADICTED)) == stance


def test_a_claim_that_is_opposed_to_the_thesis_speaks_against_it_if_it_is_supported_with_its_controls():
    [score] = [experiment for experiment in EXPERIMENTS if experiment.notebook.startswith("14")]
    expected = {SUPPORTED: AGAINST, PARTLY: UNCLEAR, CONTRADICTED: FOR, OPEN: UNCLEAR, UNTESTED: NOT_TESTED}
    for verdict, stance in expected.items():
        assert score.stance([Judged(Claim("14, beyond the paper", score.opposed[0]), INTERVALS[verdict])]) == stance


@pytest.mark.parametrize("names", product([SUPPORTED, PARTLY, OPEN, CONTRADICTED, UNTESTED], repeat=2))
def test_the_thesis_stands_if_all_four_speak_for_it_and_falls_if_one_speaks_against(names):
    others = dict.fromkeys(("e13", "e15"), SUPPORTED) | dict.fromkeys(("e14", "e16"), CONTRADICTED)  # these decide nothing
    text = conclusion(verdicts(e12=names[0], e17=names[1], **others))
    if CONTRADICTED in names:
        assert text.startswith("**The thesis does not stand as it is worded**")
    elif names == (SUPPORTED, SUPPORTED):
        assert text.startswith("**The thesis stands**")
    else:
        assert text.startswith("**The thesis is not decided here**")


def test_the_conclusion_names_the_experiments():
    assert conclusion(verdicts(e12=CONTRADICTED, e13=SUPPORTED)).endswith("experiment 12 speaks against it.")
    assert conclusion(verdicts(e12=CONTRADICTED, e17=CONTRADICTED)).endswith("experiments 12, 17 speak against it.")
    assert conclusion(verdicts(e12=PARTLY)).endswith("12 open or with a control that fails; 13, 15, 17 not tested.")


def test_what_was_not_run_is_said_and_has_no_link():
    runs = {"this run": verdicts(e12=SUPPORTED, e16=CONTRADICTED), "published": verdicts(e12=CONTRADICTED)}
    table = stances(runs).set_index("experiment")
    assert len(table) == 6 and table.loc["13", "this run"] == NOT_TESTED == table.loc["16", "published"]
    assert table.loc["16", "this run"] == f"{AGAINST}\n✕ contradicted"
    lines = dict(zip(table.index, consequences(runs).splitlines(), strict=True))
    by_number = {experiment.notebook[:2]: experiment for experiment in EXPERIMENTS}
    assert lines["12"].startswith("* **[12](12_is_it_knowledge.html)**: the runs above do not agree. ")
    assert lines["13"].startswith("* **13**: not tested. ")
    assert lines["16"].startswith(f"* **[16](16_does_it_help_editing.html)**: {by_number['16'].if_against}. ")
    assert all(
        experiment.mind in lines[number] and experiment.others in lines[number] for number, experiment in by_number.items()
    )


@pytest.mark.parametrize(
    "found, follows",
    [
        ((SUPPORTED, CONTRADICTED), "the runs above do not agree."),
        ((PARTLY, CONTRADICTED), "the runs above do not agree."),
        ((OPEN, CONTRADICTED), f"{EXPERIMENTS[0].if_against} (in 1 of 2 runs)."),
        ((CONTRADICTED, UNTESTED), f"{EXPERIMENTS[0].if_against}."),
        ((SUPPORTED, PARTLY), f"{EXPERIMENTS[0].if_for}, but a control fails (in 1 of 2 runs)."),
        ((OPEN, OPEN), "these data do not decide it."),
        ((UNTESTED, UNTESTED), "not tested."),
    ],
)
def test_an_open_run_contradicts_no_other(found, follows):
    [line, *_] = consequences({str(number): verdicts(e12=verdict) for number, verdict in enumerate(found)}).splitlines()
    assert line.partition("**: ")[2].startswith(follows)


def test_each_of_several_claims_says_whether_it_speaks_for_the_thesis():
    [few] = [experiment for experiment in EXPERIMENTS if experiment.notebook.startswith("17")]
    both = [Judged(Claim("17, beyond the paper", text), INTERVALS[CONTRADICTED]) for text in ("few suffice", *few.opposed)]
    shown = stances({"this run": both}).set_index("experiment").loc["17", "this run"]
    assert shown == f"{AGAINST}\n✕ contradicted, so {AGAINST}\n✕ contradicted, so {FOR}"


def test_what_would_change_the_mind_depends_on_the_answer():
    [line, *_] = consequences({"this run": verdicts(e12=SUPPORTED)}).splitlines()
    first = EXPERIMENTS[0]
    assert f"{first.if_for}. *What would change one's mind:* another model in which {first.if_against}." in line
    [line, *_] = consequences({"this run": verdicts(e12=CONTRADICTED)}).splitlines()
    assert f"{first.if_against}. *What would change one's mind:* {first.mind}." in line


def test_without_any_verdict_nothing_is_decided():
    assert conclusion([]) == "**The thesis is not decided here**: 12, 13, 15, 17 not tested."
    assert set(what_follows.stances({"this run": []})["this run"]) == {NOT_TESTED}
