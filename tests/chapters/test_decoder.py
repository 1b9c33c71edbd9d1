"""Notebook 10: what it says of two models' published tables is what stands in them."""

import shutil
import sys
from types import SimpleNamespace

import pandas as pd
import pytest
import quadrature
from notebook_shell import run_here

from kn_utils.chapters.decoder import numbers as summary
from kn_utils.chapters.decoder.numbers import REACHES, ModelResults
from kn_utils.chapters.distant_prompts.numbers import sentence_contrasts
from kn_utils.model.prompts import NOT_OBJECT_FINAL, NOT_ONE_TOKEN
from kn_utils.stats.layers import first_upper_layer
from kn_utils.store.measured import load_measured
from kn_utils.store.published import RESULTS

ASKED = [
    ("P1", 0, "a", "b", 2, ""),
    ("P1", 1, "c", "b", 2, ""),
    ("P1", 2, "d", "e f", 0, NOT_ONE_TOKEN),
    ("P2", 0, "g", "h", 0, NOT_OBJECT_FINAL),
]
PROMPTS = [("P1", 0, 0, "the", False), ("P1", 0, 3, "the", False), ("P1", 1, 0, "a", False), ("P1", 1, 3, "Rome", True)]
NEURONS = [
    ("P1", 0, "attribution", 0, 7),
    ("P1", 1, "attribution", 0, 7),
    ("P1", 1, "attribution", 3, 1),
    ("P1", 0, "activation", 1, 1),
]
REFINED = [("P1", "attribution", 1, 0.7, 9.0), ("P1", "attribution", 2, 0.75, 4.0), ("P1", "activation", 1, 0.7, 1.0)]
NODES = [("P1", 0, 3, 1), ("P1", 0, 63, 3), ("P1", 3, 3, 4)]
TABLES = {
    "facts": pd.DataFrame(ASKED, columns=["relation", "fact", "subject", "object", "prompts", "left_out_because"]),
    "prompts": pd.DataFrame(PROMPTS, columns=["relation", "fact", "prompt", "top_answer", "correct"]),
    "knowledge_neurons": pd.DataFrame(NEURONS, columns=["relation", "fact", "method", "layer", "neuron"]),
    "refinement": pd.DataFrame(REFINED, columns=["relation", "method", "round", "prompt_share", "mean_neurons"]),
    "completeness": pd.DataFrame(NODES, columns=["relation", "layer", "nodes", "prompts"]),
}


@pytest.fixture
def tables():
    return dict(TABLES)


@pytest.fixture
def one(tables):
    """Two facts of P1 are asked, a third and that of P2 are not; neuron 7 of the first layer serves both."""
    return ModelResults(SimpleNamespace(model="tiny", read=lambda table, relations: tables[table]), ["P1", "P2"])


def test_facts_are_counted_with_what_became_of_them(one, tables):
    more = pd.concat([tables["prompts"], tables["prompts"].assign(prompt=9), tables["prompts"].assign(relation="P2")])
    masked = SimpleNamespace(read=lambda table, relations: {"prompts": more}[table])
    counts = summary.asked(masked, one.results, ["P1", "P2"])
    assert counts.loc["P1"].to_dict() == {
        "templates, masked": 3, "templates, decoder": 2, "facts drawn": 3, "asked": 2, NOT_OBJECT_FINAL: 0, NOT_ONE_TOKEN: 1,
    }  # fmt: skip
    assert counts.loc["P2", ["templates, masked", "templates, decoder", "facts drawn", "asked", NOT_OBJECT_FINAL]].tolist() == [
        2,
        0,
        1,
        0,
        1,
    ]


def test_wrong_answers_leave_right_ones_out(one):
    assert summary.wrong_answers(one).to_numpy().tolist() == [["the", pytest.approx(200 / 3)], ["a", pytest.approx(100 / 3)]]
    assert len(summary.wrong_answers(one, 1)) == 1


def test_neurons_are_counted_by_how_far_they_reach(one, tables):
    table = summary.reach(one)
    assert table.columns.tolist() == list(REACHES) and one.n_layers == 4
    assert table.loc["P1"].tolist() == [1.5, 0, 0]  # both of its neurons serve half of its two facts or more
    many = pd.DataFrame([("P1", fact, "a", "b", 4, "") for fact in range(40)], columns=TABLES["facts"].columns)
    of_many = [("P1", 0, "attribution", 1, 1)] + [("P1", fact, "attribution", 0, 7) for fact in range(20)]
    of_many += [("P1", fact, "attribution", 2, 2) for fact in range(4)]
    tables |= {"facts": many, "knowledge_neurons": pd.DataFrame(of_many, columns=TABLES["knowledge_neurons"].columns)}
    assert summary.reach(ModelResults(one.results, ["P1"])).loc["P1"].tolist() == [0.5, 0.1, 0.025]


def test_a_model_without_neurons_has_none_that_reach(one, tables):
    tables["knowledge_neurons"] = TABLES["knowledge_neurons"].query("method == 'activation'")
    without = ModelResults(one.results, ["P1"])
    assert summary.reach(without).loc["P1"].tolist() == [0, 0, 0]


def test_facts_of_which_none_was_asked_are_an_error(one, tables):
    tables["facts"] = TABLES["facts"].query("prompts == 0")
    with pytest.raises(ValueError, match="none of the 2 facts has a usable prompt"):
        _ = ModelResults(one.results, ["P1"]).facts


@pytest.mark.parametrize("layers, first", [(3, 2), (4, 3), (6, 4), (8, 6)])
def test_the_upper_third_begins_behind_two_thirds_rounded_up(layers, first):
    assert first_upper_layer(layers) == first


def test_the_finding_says_how_many_prompts_are_answered_right_and_neurons_negative(one):
    right = "tiny, 2 facts: 25.0 % of 4 prompts are answered right."
    assert summary.finding(one, one, summary.signs(pd.DataFrame([MEASURED[0], MEASURED[3]]))) == [
        right,
        right,
        "Of the knowledge neurons in a sample of facts, 75.0 % of those of tiny (2 facts) and 12.5 % of those of masked (2 facts) "
        "have a negative activation.",
    ]
    none = summary.signs(pd.DataFrame(MEASURED[:0], columns=MEASURED[0]))
    assert summary.finding(one, one, none) == [right, right]


def test_the_answer_has_a_bullet_for_each_sentence_and_kind_of_verdict():
    verdicts = ["**In every run:** one claim; another 2 * 2.", "**In none:** a third."]
    assert summary.answer(["a_b [c]."], verdicts).split("\n") == [
        r"* a\_b \[c\].",
        "* **In every run:** one claim; another 2 * 2.",
        "* **In none:** a third.",
    ]
    assert summary.answer(["One."], []) == "* One."


@pytest.mark.parametrize("relations, text", [(["P36"], "P36"), (["P36", "P101"], "2 relations")])
def test_titles_name_one_relation_and_count_several(relations, text):
    assert summary.named_relations(relations) == text


def test_a_sample_is_described_by_its_size():
    made = {"dataset": "pararel", "facts": 12, "seed": 42}
    assert summary.sample_of(made) == "pararel, a sample of 12 facts or fewer of each relation, seed 42"


def test_tuning_is_that_of_integrated_gradients(one):
    found = summary.tuning(ModelResults(one.results, ["P1"]))
    assert list(found.values()) == [1, 0, 1, 0.75, 9, 4]


def test_without_relations_that_can_have_neurons_there_is_nothing_to_compare(one):
    with pytest.raises(ValueError, match="none can have knowledge neurons"):
        ModelResults(one.results, [])


def test_nodes_are_shares_of_the_prompts_of_a_layer(one):
    table = summary.nodes_by_layer(one)
    assert table.loc[1].to_dict() == {3: 25, 63: 75} and table.loc[4].to_dict() == {3: 100, 63: 0}


def test_agreement_counts_a_prompt_once_and_takes_its_worst_layer():
    where = {"model": "tiny", "relation": "P1", "fact": 0, "prompt": 0, "strong": 4, "both": 3, "strong_reference": 5}
    rows = [
        where | {"rule": rule, "layer": layer, "error": error}
        for rule in ("released", "controlled")
        for layer, error in ((0, 0.1), (1, 0.3))
    ]
    table = summary.agreement(pd.DataFrame(rows))
    assert table.loc[("tiny", "released sum")].tolist() == [1, pytest.approx(30), pytest.approx(30), 50]
    assert list(table) == ["prompts", "median error (%)", "largest error (%)", "kept by both (%)"]
    assert summary.agreement(pd.DataFrame(rows[:0], columns=rows[0])).empty


def test_the_published_errors_are_of_both_models():
    errors, made = load_measured("quadrature")
    assert made["dataset"] == "pararel" and set(errors["model"]) == {"starter", "smollm2-135m"}
    assert errors.groupby("model")["relation"].nunique().min() >= 33
    assert summary.agreement(errors).xs("error-controlled", level="rule")["median error (%)"].max() < 2


MEASURED = [
    {"model": "tiny", "relation": "P1", "facts": 2, "prompts": 8, "neurons": 4, "negative": 3}
    | {"objects": 3, "with_space": 3, "without_space": 1, "both_ways": 1}
    | {"prompts_both_ways": 1, "in_token": 0.4, "in_prompt": 0.01},
    {"model": "tiny", "relation": "P2", "facts": 1, "prompts": 4, "neurons": 0, "negative": 0}
    | {"objects": 1, "with_space": 0, "without_space": 0, "both_ways": 0}
    | {"prompts_both_ways": 0, "in_token": None, "in_prompt": None},
    {"model": "tiny", "relation": "P3", "facts": 1, "prompts": 4, "neurons": 6, "negative": 0}
    | {"objects": 1, "with_space": 1, "without_space": 1, "both_ways": 1}
    | {"prompts_both_ways": 3, "in_token": 0.2, "in_prompt": 0.0},
    {"model": "masked", "relation": "P1", "facts": 2, "prompts": 8, "neurons": 8, "negative": 1},
]


def test_signs_are_shares_of_all_neurons_and_of_a_relation():
    table = summary.signs(pd.DataFrame(MEASURED))
    assert table.loc["tiny"].tolist() == [4, 16, 10, 30, 0, 75]  # a relation without neurons has no share
    assert table.loc["masked"].tolist() == [2, 8, 8, 12.5, 12.5, 12.5]


def test_spaces_are_of_decoders_and_weigh_prompts():
    table = summary.spaces(pd.DataFrame(MEASURED))
    assert table.index.tolist() == ["tiny"]
    assert table.loc["tiny"].tolist() == pytest.approx([5, 80, 40, 40, 4, 25, 0.25])
    shown = summary.named_spaces(table.assign(in_token=3.864, in_prompt=0.00118))
    assert shown.iloc[0, -2:].tolist() == ["3.9", "0.0012"] and list(shown) == list(summary.SPACES.values())
    none = summary.spaces(pd.DataFrame(MEASURED[-1:]))
    assert none.empty and summary.named_spaces(none).empty


def test_only_these_models_and_relations_count():
    measured = pd.DataFrame(MEASURED)
    of_one = ModelResults(SimpleNamespace(model="tiny", dataset="facts"), ["P2", "P3"])
    assert summary.of_models(measured, "facts", [of_one])["relation"].tolist() == ["P2", "P3"]
    assert summary.of_models(measured, "other facts", [of_one]).empty
    none = summary.of_models(measured, "facts", [ModelResults(SimpleNamespace(model="another", dataset="facts"), ["P1"])])
    assert none.empty and summary.signs(none).empty and summary.spaces(none).empty


def test_sentences_are_compared_with_and_without_signs():
    rows = [
        {"model": "tiny", "relation": "P1", "fact": fact, "kind": kind, "activation": value + fact, "aligned": -value}
        for fact in range(3)
        for kind, value in {"head_and_tail": -1.0, "head_only": 1.0, "random": 0.5}.items()
    ]
    table = sentence_contrasts(pd.DataFrame(rows), seed=0)
    assert table["kind"].tolist() == ["head_only", "random"] and table["facts"].tolist() == [3, 3]
    assert table["activation"].tolist() == ["−2.00 [−2.00, −2.00]", "−1.50 [−1.50, −1.50]"]
    assert table["aligned"].tolist() == ["2.00 [2.00, 2.00]", "1.50 [1.50, 1.50]"]
    assert sentence_contrasts(pd.DataFrame(rows[:0], columns=rows[0]), seed=0).empty


def test_costs_are_those_of_what_is_published():
    made = {"facts": {"P1": {"seconds": 1800.0, "threads": 2}, "P2": {"seconds": 3600.0, "threads": 1}}}
    made |= {"edit_strength": {"P1": {"seconds": 360.0, "threads": 1}}}

    def provenance(table):
        if table not in made:
            raise FileNotFoundError(table)
        return made[table]

    results = SimpleNamespace(provenance=provenance, read=lambda table, relations: {"prompts": range(100)}[table])
    first, second = summary.costs({"a tiny model": results}).to_dict("records")
    about = {"model": "a tiny model", "notebook": "01_attribution", "relations": 2}
    assert first == about | {"core_hours": 2, "core_seconds_per_prompt": 72}
    assert (second["notebook"], second["relations"], second["core_hours"]) == ("06_edit_facts", 1, 0.1)
    assert pd.isna(second["core_seconds_per_prompt"])


def test_the_published_prompts_are_of_both_models():
    measured, made = load_measured("decoder_prompts")
    assert made["dataset"] == "pararel" and made["facts"] >= 10
    assert set(measured["model"]) == {"starter", "smollm2-135m"} and measured.groupby("model")["neurons"].sum().min() > 500
    assert summary.spaces(measured).index.tolist() == ["smollm2-135m"]


def test_the_published_sentences_are_of_both_models():
    measured, made = load_measured("signed_sentences")
    assert made["dataset"] == "pararel" and made["facts"] >= 10
    assert sentence_contrasts(measured, seed=0).groupby("model", sort=False)["facts"].max().gt(150).all()


@pytest.mark.slow
def test_errors_are_measured_on_the_bundled_model(tmp_path, monkeypatch):
    output = tmp_path / "quadrature.json"
    chosen = ["--models", "starter", "--dataset", "starter", "--relation", "P36,P101", "--facts", "1", "--output", str(output)]
    monkeypatch.setattr(sys, "argv", ["quadrature.py", *chosen])
    quadrature.main()
    errors, made = load_measured("quadrature", tmp_path)
    assert made["dataset"] == "starter" and len(errors) == 2 * 2 * 6
    worst = errors.groupby(["relation", "rule"])["error"].max().unstack()
    assert (worst["controlled"] < 0.02).all() and (worst["released"] > worst["controlled"]).all()
    assert (errors.query("rule == 'released'")["nodes"] == 20).all() and made["torch"]


@pytest.mark.slow
def test_the_chapter_compares_what_is_published(tmp_path, few_resamples):
    for name in ("starter", "another"):
        shutil.copytree(RESULTS / "starter" / "starter", tmp_path / name / "starter")
    relations = {"relation": "P36,P101"}
    shown, figures = run_here("10_decoder", **relations, model="another", dataset="starter", results_dir=str(tmp_path))
    assert figures == 5  # errors were measured on facts of another data set
    facts = len(pd.read_parquet(RESULTS / "starter/starter/facts.parquet").query("relation in ['P36', 'P101']"))
    answer = shown[0]["text/markdown"]
    assert f"another, {facts} facts" in answer and f"starter, {facts} facts" in answer and "\n* **Contradicted " in answer
