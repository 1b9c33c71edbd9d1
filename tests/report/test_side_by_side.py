"""The same claims on a run and on published results, and the facts of a run grouped by what the model knows."""

import numpy as np
import pandas as pd
import pytest

from kn_utils.data.facts import load_dataset
from kn_utils.data.held_out import is_held_out_fact
from kn_utils.model.neurons import MIN_PROMPTS
from kn_utils.report import side_by_side
from kn_utils.report.by_knowledge import LEFT_OUT_AND_WRONG, by_knowledge, groups_of_facts
from kn_utils.report.judge import CLAIMS, judge
from kn_utils.report.side_by_side import beside_published, judge_runs
from kn_utils.report.tables import by_run, condition_table, described, styled
from kn_utils.stats.rule import SUPPORTED, UNTESTED
from kn_utils.store.published import PublishedResults
from kn_utils.store.runs import Run

[UPPER] = [claim for claim in CLAIMS if claim.text.endswith("in the upper layers")]
OURS = PublishedResults("starter", "starter")
DECODER = PublishedResults("smollm2-135m", "pararel")


@pytest.fixture
def published_as_read(monkeypatch):
    """Our published results of two relations, as if they were those of a run."""
    monkeypatch.setattr(side_by_side, "published_results", lambda: [OURS])
    return {"published": (OURS, ["P36", "P101"])}


def test_a_run_stands_beside_all_published_results_but_its_own(published_as_read, monkeypatch):
    run = Run("starter", load_dataset("starter"))
    monkeypatch.setattr(Run, "read", lambda self, *what: OURS.read(*what))
    beside = {name: relations for name, (_, relations) in beside_published(run, ["P36"]).items()}
    whole = f"published: starter (model) on the starter facts, {len(OURS.relations)} relations, 1,512 facts"
    assert beside == {"this run: starter (model) on the starter facts, P36, 43 facts": ["P36"], whole: OURS.relations}
    monkeypatch.setattr(side_by_side, "is_same_run", lambda *_: True)
    assert len(beside_published(run, ["P36"])) == 2 and len(beside_published(run, OURS.relations)) == 1


def test_published_results_count_on_all_their_relations_with_enough_templates(monkeypatch):
    """Of some relations the decoder was asked with too few templates for knowledge neurons."""
    monkeypatch.setattr(side_by_side, "published_results", lambda: [DECODER])
    monkeypatch.setattr(side_by_side, "is_same_run", lambda *_: False)
    prompts = DECODER.read("facts", DECODER.relations).groupby("relation")["prompts"].max()
    few, enough = prompts.idxmin(), prompts.idxmax()
    [ours, published] = [relations for _, relations in beside_published(DECODER, [enough, few]).values()]
    assert (
        ours == [enough]
        and published == [name for name in DECODER.relations if prompts[name] >= MIN_PROMPTS]
        and few not in published
    )
    assert [relations for _, relations in beside_published(DECODER, [few]).values()] == [[few], published]


def made(**relations):
    """A reader of our published tables, of which those named are only there for the given relations."""

    def read(table, wanted):
        if missing := set(wanted) - set(relations.get(table, wanted)):
            raise FileNotFoundError(f"{table} of {missing}")
        return OURS.read(table, wanted)

    return read


def test_relations_that_were_not_run_are_left_out(published_as_read, monkeypatch):
    monkeypatch.setattr(side_by_side, "is_same_run", lambda *_: False)
    read = made(facts=["P101", "P19"])
    monkeypatch.setattr(Run, "read", lambda self, *what: read(*what))
    ours, published = beside_published(Run("starter", load_dataset("starter")), ["P19", "P36", "P101"]).items()
    assert ours[0] == "this run: starter (model) on the starter facts, P19, P101, 91 facts" and ours[1][1] == ["P19", "P101"]
    assert published[1][1] == OURS.relations
    monkeypatch.setattr(Run, "read", lambda self, *what: made(facts=[])(*what))
    [nothing, *_] = beside_published(Run("starter", load_dataset("starter")), ["P36", "P101"]).values()
    assert nothing[1] == ["P36", "P101"]
    assert described(*nothing) == {"relations": "step 1 has not been run"}
    assert by_knowledge("starter", nothing[0].read, nothing[1], seed=0).empty


def test_a_claim_is_judged_on_the_relations_for_which_all_its_tables_were_made():
    part = judge(UPPER, made(knowledge_neurons=["P36"]), ["P101", "P36"], seed=0)
    assert str(part.conditions) == str(judge(UPPER, OURS.read, ["P36"], seed=0).conditions)  # as text NaN equals itself
    without = judge(UPPER, made(knowledge_neurons=["P36"]), ["P101"], seed=0)
    assert without.explanation == "there is no table knowledge_neurons of these relations: notebook 02_knowledge_neurons makes it"


def test_a_mean_over_relations_needs_two_relations():
    [number] = [claim for claim in CLAIMS if "two to five" in claim.text]
    judged = judge(number, OURS.read, ["P27"], seed=0)
    assert judged.verdict == UNTESTED and "too few relations for an interval" in judged.explanation
    assert set(condition_table([judged])["state"]) == {UNTESTED}
    assert judge(UPPER, OURS.read, ["P27"], seed=0).verdict == SUPPORTED  # of one relation, its facts are resampled
    assert by_run({"one": [judged]}).loc[0, "one"] == UNTESTED


def test_claims_of_a_section_are_judged_on_every_run(published_as_read):
    judged = judge_runs(published_as_read | {"again": (OURS, ["P36"])}, seed=0, section="4.3")
    assert list(judged) == ["published", "again"]
    for found in judged.values():
        assert [one.claim for one in found] == [claim for claim in CLAIMS if claim.section.startswith("4.3")]
    assert judged["published"][0].conditions[0].n > judged["again"][0].conditions[0].n > 0


def test_groups_of_facts_are_counted_apart():
    facts, prompts = OURS.read("facts", ["P36"]), OURS.read("prompts", ["P36"])
    table = by_knowledge("starter", OURS.read, ["P36"], seed=0)
    number = table["facts"].astype(int)
    assert number["all"] == len(facts) == number["answered right at least once"] + number["never answered right"]
    left_out = [place for place, held_out in enumerate(map(is_held_out_fact, facts["subject"], facts["object"])) if held_out]
    assert 0 < len(left_out) == number["left out of training"] == len(facts) - number["not left out of training"]
    right = prompts.groupby("fact")["correct"].any()
    assert (
        number["answered right at least once"] == right.sum() and table.loc["never answered right", "answered right"] == "0.0 %"
    )
    assert number[LEFT_OUT_AND_WRONG] == (~right[facts.loc[left_out, "fact"]]).sum()
    assert table["suppress, change of log-odds"].str.match(r"−?[\d.]+ [\[(]").all()
    assert set(by_knowledge("another", OURS.read, ["P36"], seed=0).index) == set(table.index[:3])


def test_the_changes_of_a_group_are_those_of_its_facts():
    facts, prompts = OURS.read("facts", ["P36", "P101"]), OURS.read("prompts", ["P36", "P101"])
    wrong = groups_of_facts("starter", facts, prompts)["never answered right"]
    answers = OURS.read("modify_activation", ["P36", "P101"])
    answers = answers.query("method == 'attribution' and target == 'own' and operation == 'suppress'")
    own = answers[[place in wrong for place in zip(answers["relation"], answers["fact"], strict=True)]]
    logs = np.log(own[["probability_before", "probability_after"]] / (1 - own[["probability_before", "probability_after"]]))
    change = (logs["probability_after"] - logs["probability_before"]).groupby([own["relation"], own["fact"]]).mean()
    expected = change.groupby("relation").mean().mean()
    table = by_knowledge("another", OURS.read, ["P36", "P101"], seed=0)
    assert table.loc["never answered right", "suppress, change of log-odds"].startswith(f"{expected:.2f} [".replace("-", "−"))


def test_what_was_not_run_is_not_measured():
    def read(table, relations):
        if table == "modify_activation":
            raise FileNotFoundError(table)
        return OURS.read(table, relations)

    table = by_knowledge("another", read, ["P36"], seed=0)
    assert (table["suppress, change of log-odds"] == "–").all() and (table["neurons per fact"] != "–").all()


def test_shown_texts_are_not_html():
    html = styled(pd.DataFrame({"<b>": ["<i>\n"]})).to_html()
    assert "&lt;b&gt;" in html and "&lt;i&gt;" in html and "<i>" not in html
    named = styled(pd.DataFrame({"a": ["b"]}, index=pd.Index(["<u>"], name="who"))).to_html()
    assert "&lt;u&gt;" in named


def test_a_table_of_claims_has_the_class_for_phones_and_still_no_formulas():
    with pd.option_context("styler.html.mathjax", False):
        assert 'mathjax_ignore claims"' in styled(pd.DataFrame({"claim": ["a"], "paper": [1]})).to_html()
        assert "claims" not in styled(pd.DataFrame({"relation": ["a"]})).to_html()
