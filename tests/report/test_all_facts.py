"""What is kept of all facts: it tests claims as the whole tables do, relation after relation."""

import runpy
import sys

import known_facts
import numpy as np
import pytest
import tiny_folders
from run_steps import make_tables

from kn_utils.paths import ROOT
from kn_utils.report.all_facts import (
    FOLDER,
    MADE_FROM,
    SECTIONS,
    AllFacts,
    as_prompts,
    beside_sample,
    changes_of_facts,
    keep,
    sentence,
)
from kn_utils.report.judge import judge_all
from kn_utils.stats.log_odds import fact_changes
from kn_utils.stats.rule import UNTESTED
from kn_utils.store import provenance
from kn_utils.store.files import read_provenance, read_table
from kn_utils.store.publish import quadrature_by_layer

COMMIT = "0" * 40
KEPT = sorted(FOLDER.glob("*/*"))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of steps 1 to 3 for all facts of two relations, as if nothing had changed since a commit."""
    folder = tmp_path_factory.mktemp("all")
    data = tiny_folders.write_data(folder / "known", known_facts.FACTS, known_facts.TEMPLATES)
    model = known_facts.write_trained(folder / "model", "bert", data)
    steps = ("attribution", "knowledge_neurons", "modify_activation")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(provenance, "commit", lambda: COMMIT)
        runs = [make_tables(model, data, relation, None, folder / "results", steps) for relation in ("P36", "P101")]
    return runs[0]


@pytest.fixture
def every(run, tmp_path):
    for relation in ("P36", "P101"):
        keep(run, relation, tmp_path)
    return AllFacts(run.model, run.dataset.name, tmp_path)


def test_a_fact_has_its_means_and_sums(run):
    table = run.read("modify_activation", ["P36"])
    kept = changes_of_facts(table)
    assert kept["fact"].tolist() == sorted(table["fact"].unique()) and len(kept) == 40
    fact = int(kept["fact"].iloc[3])
    own = table.query("fact == @fact and target == 'own' and method == 'attribution' and operation == 'amplify'")
    row = kept.set_index("fact").loc[fact]
    assert row["before"] == pytest.approx(own["probability_before"].sum(), rel=1e-6)
    assert row["amplify"] == pytest.approx(own["probability_after"].sum(), rel=1e-6)
    assert row["right"] == own["correct_before"].any()
    change = (own["log_odds_after"] - own["log_odds_before"]).mean()
    assert row["amplify own attribution"] == pytest.approx(change, rel=1e-5)


def test_rows_made_of_it_have_the_changes_of_every_method(run):
    table = run.read("modify_activation", ["P36", "P101"])
    found = as_prompts(changes_of_facts(table))
    assert not found.duplicated(["relation", "fact", "operation", "target", "method"]).any()
    ways = ["operation", "target", "method"]
    expected, ours = (fact_changes(rows, ways).sort_index().sort_index(axis=1) for rows in (table, found))
    assert list(ours.columns) == list(expected.columns) and {"held-out templates", "same object"} <= set(table["method"])
    np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-6)


def test_claims_are_tested_as_on_the_whole_table(run, every):
    assert sorted(every.relations) == ["P101", "P36"]
    whole, kept = (
        [result for section in SECTIONS for result in judge_all(results.read, ["P36", "P101"], 42, section)]
        for results in (run, every)
    )
    tested = 0
    for one, other in zip(whole, kept, strict=True):
        assert one.verdict == other.verdict
        for expected, found in zip(one.conditions, other.conditions, strict=True):
            assert (found.contrast, found.state, found.n) == (expected.contrast, expected.state, expected.n)
            tested += found.state != UNTESTED
            ends = [[condition.value, condition.low, condition.high] for condition in (found, expected)]
            np.testing.assert_allclose(*ends, rtol=1e-4, atol=1e-5)
    assert tested > 10


def test_all_facts_stand_beside_a_sample(run, every):
    table = beside_sample(every, run, 42)
    assert (table["a sample"] == table["all facts"]).mean() > 0.9  # of the same facts; float32 may round otherwise
    assert table["same"].dropna().all() and table["same"].isna().any()
    assert set(table["claim"].str[:3]) == set(SECTIONS)
    text = sentence(every, every.kept, table)
    prompts = run.read("facts", ["P36", "P101"])["prompts"].sum()
    assert f"all 43 facts ({prompts} prompts) of 2 of the 2 relations" in text and "a sample of 43 facts" in text
    assert text.endswith(f"{table['same'].notna().sum()} of {table['same'].notna().sum()} conditions have the same state.")


def test_a_relation_is_added_or_replaced_and_others_stay(run, tmp_path):
    for relation in ("P36", "P101", "P36"):
        keep(run, relation, tmp_path)
    for name, source in MADE_FROM.items():
        path = tmp_path / run.model / run.dataset.name / f"{name}.parquet"
        made = read_provenance(path)
        assert set(made) == {"P36", "P101"}
        assert made["P36"] == read_provenance(run.path(source, "P36")) and made["P36"]["commit"] == COMMIT
        rows = {"changes": changes_of_facts, "completeness": quadrature_by_layer}.get(name, lambda same: same)(
            run.read(source, ["P36"])
        )
        assert (read_table(path)["relation"] == "P36").sum() == len(rows)
    assert [path.name for path in path.parent.iterdir() if path.name.startswith(".")] == []


def test_tables_of_uncommitted_code_are_refused(run, tmp_path, monkeypatch):
    monkeypatch.setattr("kn_utils.report.all_facts.read_provenance", lambda path: {"commit": COMMIT + provenance.CHANGED})
    with pytest.raises(ValueError, match="has changes that are not committed"):
        keep(run, "P36", tmp_path)


@pytest.mark.slow
def test_the_script_runs_what_is_not_kept_yet(tmp_path, folder_of, monkeypatch, capsys):
    monkeypatch.setattr(provenance, "commit", lambda: COMMIT)
    data = tiny_folders.write_data(tmp_path / "data")
    given = {"model": folder_of("bert"), "dataset": data, "results-dir": tmp_path / "results", "output": tmp_path / "kept"}
    command = ["all_facts.py", *(word for name, value in given.items() for word in (f"--{name}", str(value))), "--workers", "1"]
    told = []
    for relations in ("P36", "all", "all"):
        monkeypatch.setattr(sys, "argv", [*command, "--relations", relations])
        runpy.run_path(str(ROOT / "benchmarks/all_facts.py"), run_name="__main__")
        told.append([line.split(":")[0] for line in capsys.readouterr().out.splitlines() if "are kept" in line])
    assert told == [["P36"], ["P30", "P101"], []]


@pytest.mark.parametrize("place", KEPT, ids=lambda place: place.name)
def test_what_is_kept_is_of_all_facts_and_of_one_code(place):
    every = AllFacts(place.parent.name, place.name)
    for name in MADE_FROM:
        made = read_provenance(place / f"{name}.parquet")
        assert set(made) == set(every.relations) == set(read_table(place / f"{name}.parquet")["relation"])
        assert {of_one["inputs"]["n_facts"] for of_one in made.values()} == {None}
        assert len({of_one["inputs"]["sources"] for of_one in made.values()}) == 1
        assert len({of_one["inputs"]["weights"] for of_one in made.values()}) == 1
        assert all(len(of_one["commit"]) == 40 for of_one in made.values())
    facts, changes = every.read("facts", every.relations), every.kept.read("changes", every.relations)
    assert (facts["prompts"] > 0).sum() == len(changes) and not facts.duplicated(["relation", "fact"]).any()
