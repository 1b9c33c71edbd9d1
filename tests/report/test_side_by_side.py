"""The same claims on a run and on published results, and the facts of a run grouped by what the model knows."""

import pandas as pd
import pytest

from kn_utils.chapters.knowledge_neurons.claims import NUMBER
from kn_utils.data.facts import load_dataset
from kn_utils.data.held_out import is_held_out_fact
from kn_utils.report import side_by_side
from kn_utils.report.by_knowledge import by_knowledge
from kn_utils.report.judge import CLAIMS, judge
from kn_utils.report.side_by_side import beside_published, judge_runs, only
from kn_utils.report.tables import by_run, condition_table, described, styled
from kn_utils.stats.rule import REPLICATED
from kn_utils.store.published import PublishedResults
from kn_utils.store.runs import Run

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
    assert beside == {
        "this run: starter (model) on the starter facts, P36": ["P36"],
        "published: starter (model) on the starter facts, P36": ["P36"],
    }
    monkeypatch.setattr(side_by_side, "is_same_run", lambda *_: True)
    assert list(beside_published(run, ["P36"])) == ["this run: starter (model) on the starter facts, P36"]


def test_a_run_and_its_publication_count_the_same_relations(monkeypatch):
    """Of some relations the decoder was asked with too few templates for knowledge neurons."""
    monkeypatch.setattr(side_by_side, "published_results", lambda: [DECODER])
    monkeypatch.setattr(side_by_side, "is_same_run", lambda *_: False)
    prompts = DECODER.read("facts", DECODER.relations).groupby("relation")["prompts"].max()
    few, enough = prompts.idxmin(), prompts.idxmax()
    beside = beside_published(DECODER, [enough, few])
    assert [relations for _, relations in beside.values()] == [[enough], [enough]]
    assert [relations for _, relations in beside_published(DECODER, [few]).values()] == [[few]]


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
    assert ours[0] == "this run: starter (model) on the starter facts, P19, P101" and ours[1][1] == ["P19", "P101"]
    assert published[1][1] == ["P19", "P36", "P101"]
    monkeypatch.setattr(Run, "read", lambda self, *what: made(facts=[])(*what))
    [nothing, _] = beside_published(Run("starter", load_dataset("starter")), ["P36", "P101"]).values()
    assert nothing[1] == ["P36", "P101"]
    assert described(*nothing) == {"relations": "step 1 has not been run"}
    assert by_knowledge("starter", nothing[0].read, nothing[1], seed=0).empty


def test_a_claim_is_judged_on_the_relations_for_which_all_its_tables_were_made():
    part = judge(NUMBER, made(knowledge_neurons=["P36"]), ["P101", "P36"], seed=0)
    assert str(part.conditions) == str(judge(NUMBER, OURS.read, ["P36"], seed=0).conditions)  # as text NaN equals itself
    without = judge(NUMBER, made(knowledge_neurons=["P36"]), ["P101"], seed=0)
    assert without.explanation == "there is no table knowledge_neurons of these relations: notebook 02_knowledge_neurons makes it"


def test_of_one_relation_a_control_between_relations_is_untested_and_does_not_fail_the_claim():
    judged = judge(NUMBER, OURS.read, ["P27"], seed=0)
    tuned, untuned = judged.conditions
    assert tuned.holds and not untuned.tested and judged.verdict == REPLICATED and judged.explanation == ""
    assert condition_table([judged])["holds"].tolist() == ["yes", "untested"]
    assert by_run({"one": [judged]}).loc[0, "one"].startswith("● replicated (1 of 1 controls untested)\n")


def test_claims_of_a_section_are_judged_on_every_run(published_as_read):
    judged = judge_runs(published_as_read | {"again": (OURS, ["P36"])}, seed=0, section="4.3")
    assert list(judged) == ["published", "again"]
    for found in judged.values():
        assert [one.claim for one in found] == [claim for claim in CLAIMS if claim.section.startswith("4.3")]
    assert judged["published"][0].conditions[0].n > judged["again"][0].conditions[0].n > 0


def test_only_the_facts_asked_for_are_read():
    facts = {("P36", 3), ("P101", 0)}
    read = only(OURS.read, facts)
    for table in ("facts", "knowledge_neurons", "modify_activation"):
        rows = read(table, ["P36", "P101"])
        assert set(zip(rows["relation"], rows["fact"], strict=True)) == facts
    pd.testing.assert_frame_equal(read("refinement", ["P36"]), OURS.read("refinement", ["P36"]))


def test_groups_of_facts_are_counted_apart():
    facts, prompts = OURS.read("facts", ["P36"]), OURS.read("prompts", ["P36"])
    table = by_knowledge("starter", OURS.read, ["P36"], seed=0)
    number = table["facts"].astype(int)
    assert number["all"] == len(facts) == number["answered right at least once"] + number["never answered right"]
    left_out = sum(map(is_held_out_fact, facts["subject"], facts["object"]))
    assert 0 < left_out == number["left out of training"] == len(facts) - number["not left out of training"]
    right = prompts.groupby("fact")["correct"].any().sum()
    assert number["answered right at least once"] == right and table.loc["never answered right", "answered right"] == "0.0%"
    assert table["suppress, %"].str.fullmatch(r"−?[\d.]+ \[−?[\d.]+, −?[\d.]+\]").all()
    assert set(by_knowledge("another", OURS.read, ["P36"], seed=0).index) == set(table.index[:3])


def test_what_was_not_run_is_not_measured():
    def read(table, relations):
        if table == "modify_activation":
            raise FileNotFoundError(table)
        return OURS.read(table, relations)

    table = by_knowledge("another", read, ["P36"], seed=0)
    assert (table["suppress, %"] == "–").all() and (table["neurons per fact"] != "–").all()


def test_shown_texts_are_not_html():
    html = styled(pd.DataFrame({"<b>": ["<i>\n"]})).to_html()
    assert "&lt;b&gt;" in html and "&lt;i&gt;" in html and "<i>" not in html
    named = styled(pd.DataFrame({"a": ["b"]}, index=pd.Index(["<u>"], name="who"))).to_html()
    assert "&lt;u&gt;" in named
