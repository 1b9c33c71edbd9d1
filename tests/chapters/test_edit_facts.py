"""Step 6's tables: which facts are edited and why others are not, and what each edit does, against one prompt and one edit at a time."""

import copy
import math

import known_facts
import numpy as np
import pandas as pd
import pytest
import torch
from brute_force import probability_at
from tiny_models import weight_sums

from kn_utils.chapters.edit_facts import numbers as summary
from kn_utils.chapters.edit_facts.claims import side_effects
from kn_utils.chapters.edit_facts.figures import plot_strengths
from kn_utils.chapters.edit_facts.plans import COMMON, EDITS, NO_NEURON, NO_PROMPT, WRONG, Edit, chosen_edit, plan_edits
from kn_utils.chapters.edit_facts.table import OTHER_FACTS, STRENGTHS, _bystanders, edit_facts, show_edit
from kn_utils.data.facts import load_dataset
from kn_utils.model.models import LanguageModel
from kn_utils.model.prompts import Prompt, encode
from kn_utils.store.files import read_provenance
from kn_utils.store.runs import Run

TABLES = ("edit_facts", "edit_strength", "edit_candidates")
OUTCOME = ["changed", "success", "perplexity_same_before", "perplexity_same_after"]
OUTCOME += ["perplexity_other_before", "perplexity_other_after"]
COLUMNS = ["relation", "fact", "subject", "old_object", "new_object", "prompt", "rule", "control", "method"]
COLUMNS += ["neurons", "neuron_names"]
COLUMNS += ["answer_before", "answer_after", "changed", "success", "success_top5", "rank_before", "rank_after"]
COLUMNS += ["probability_before", "probability_after", "old_probability_before", "old_probability_after"]
COLUMNS += ["log_odds_before", "log_odds_after"]
COLUMNS += ["templates", "templates_changed", "templates_success", *OUTCOME[2:]]


def tables(run, relation="P36"):
    return {name: run.read(name, [relation]) for name in TABLES}


def neurons_of(row):
    return [(int(layer) - 1, int(index)) for layer, index in (name[1:].split(".") for name in row.neuron_names.split())]


def edited_by_hand(lm, row, old_token, new_token, lambda1=1, lambda2=8):
    """A copy of the model with the edit of a table's row, computed in NumPy."""
    model = copy.deepcopy(lm.model)
    layers = LanguageModel("copy", model, lm.tokenizer).downs
    old, new = (lm.embeddings[token].numpy() for token in (old_token, new_token))
    for layer, index in neurons_of(row):
        weight = layers[layer].weight
        place = weight[index] if lm.model.config.model_type == "gpt2" else weight[:, index]
        vector = place.numpy().copy()
        length = np.linalg.norm(vector)
        change = -lambda1 * length * old / np.linalg.norm(old) + lambda2 * length * new / np.linalg.norm(new)
        place.copy_(torch.tensor(vector + (change if row.rule == "scaled" else 2 * new - 2 * old)))
    return model


@pytest.fixture(scope="module", params=["bert", "gpt2"])
def edited(request, tmp_path_factory):
    """A model, a run whose P36 has been edited, and the sums of the weights before."""
    lm, run = known_facts.trained_run(request.param, tmp_path_factory.mktemp("edited") / "results")
    before = weight_sums(lm)
    edit_facts(lm, run, "P36", lambda1=1.5, lambda2=12)
    return lm, run, before


def test_columns_rows_and_weights(edited):
    lm, run, before = edited
    assert weight_sums(lm) == before
    path = run.path("edit_facts", "P36")
    found = tables(run)
    edits, strength, tried = (found[name] for name in TABLES)
    count = int(tried["edited"].sum())
    assert list(edits.columns) == COLUMNS and 3 <= count <= EDITS
    assert list(strength.columns) == ["relation", "fact", "lambda2", *OUTCOME]
    assert list(tried.columns) == ["relation", "fact", "edited", "reason"]
    ways = [(rule, method) for rule in ("scaled", "fixed") for method in ("attribution", "random", "matched")]
    assert list(zip(edits["rule"], edits["method"], strict=True)) == ways * count
    assert (edits["control"] == (edits["method"] != "attribution")).all()
    assert strength["lambda2"].tolist() == list(STRENGTHS) * count
    assert edits["fact"][::6].tolist() == strength["fact"][::5].tolist() == tried.loc[tried["edited"], "fact"].tolist()
    assert tried["fact"].is_unique and (tried["edited"] == (tried["reason"] == "")).all()
    assert len(tried) == 40 or (count == EDITS and tried["edited"].iloc[-1])
    assert (edits["answer_before"] == edits["old_object"]).all() and (edits["old_object"] != edits["new_object"]).all()
    inputs = read_provenance(path)["inputs"]
    assert (inputs["lambda1"], inputs["lambda2"]) == (1.5, 12.0)
    assert inputs["other_relations"] == run.dataset.digest_of_others("P36")
    assert inputs["weights"] == lm.digest


def test_every_edit_equals_one_made_by_hand(edited):
    lm, run, _ = edited
    facts = run.dataset.facts["P36"]
    planned = {item.fact.index: item for item in plan_edits(lm, run, "P36") if isinstance(item, Edit)}
    assert set(tables(run)["edit_facts"]["changed"]) == {True, False}
    for row in tables(run)["edit_facts"][:12].itertuples():
        fact = facts[row.fact]
        plain = known_facts.plain_answers(lm.model, lm, [fact])
        [old] = plain.loc[plain["prompt"] == row.prompt, "target"]
        new = planned[row.fact].new_targets[planned[row.fact].drawn]
        assert lm.tokenizer.decode([new]).strip() == row.new_object
        model = edited_by_hand(lm, row, old, new, 1.5, 12)
        after = known_facts.plain_answers(model, lm, [fact])
        for name, table in (("before", plain), ("after", after)):
            [shares] = table.loc[table["prompt"] == row.prompt, "shares"]
            assert getattr(row, f"probability_{name}") == pytest.approx(float(shares[new]), rel=1e-4)
            assert getattr(row, f"old_probability_{name}") == pytest.approx(float(shares[old]), rel=1e-4)
            others = float(shares.double().sum() - shares[new].double())
            assert getattr(row, f"log_odds_{name}") == pytest.approx(math.log(float(shares[new]) / others), abs=1e-3)
            assert getattr(row, f"rank_{name}") == 1 + int((shares > shares[new]).sum())
            assert getattr(row, f"answer_{name}") == lm.tokenizer.decode([shares.argmax()]).strip()
        assert row.changed == (row.answer_after != row.old_object) and row.success == (row.answer_after == row.new_object)
        assert row.success_top5 == (row.rank_after <= 5)
        assert row.templates == len(plain) == 4
        assert row.templates_changed == (plain["top"] != after["top"]).sum()
        words = [lm.tokenizer.decode([token]).strip() for token in after["top"]]
        assert row.templates_success == words.count(row.new_object)
        elsewhere = after["prompt"] != row.prompt
        held_out = sum(word == row.new_object for word, other in zip(words, elsewhere, strict=True) if other)
        assert row.templates_success - row.success == held_out
        assert row.templates_changed - row.changed == (plain["top"] != after["top"])[elsewhere].sum()
        for kind, prompts in zip(("same", "other"), _bystanders(lm, run, fact), strict=True):
            others = list(dict.fromkeys(prompt.fact for prompt in prompts))
            for name, asked in (("before", lm.model), ("after", model)):
                table = known_facts.plain_answers(asked, lm, others)
                logs = [math.log(shares[target]) for shares, target in zip(table["shares"], table["target"], strict=True)]
                expected = math.exp(-sum(logs) / len(logs))
                assert getattr(row, f"perplexity_{kind}_{name}") == pytest.approx(expected, rel=1e-4)
        assert row.probability_after != row.probability_before


def test_other_facts_are_five_of_the_relation_and_five_of_others(edited):
    lm, run, _ = edited
    drawn = []
    for fact in run.dataset.facts["P36"][:8]:
        same, other = ({prompt.fact for prompt in prompts} for prompts in _bystanders(lm, run, fact))
        assert len(same) == OTHER_FACTS and {found.relation for found in same} == {"P36"} and fact not in same
        assert other == set(run.dataset.facts["P101"])  # there are only three
        drawn.append(frozenset(found.index for found in same))
    assert len(set(drawn)) == 8


def test_controls_take_as_many_other_neurons_of_the_same_layers(edited):
    lm, run, _ = edited
    edits = tables(run)["edit_facts"]
    for (fact, _), rows in edits.groupby(["fact", "rule"]):
        own, random, matched = (neurons_of(row) for row in rows.itertuples())
        assert own == [(fact % 3, fact)]  # its others are of at least five facts
        named = {(fact % 3, fact), (2, 40 + fact // 7), (1, 45)}
        assert not named & set(matched) and not set(own) & set(random)
        for control in (random, matched):
            assert sorted(layer for layer, _ in own) == sorted(layer for layer, _ in control)
            assert len(set(control)) == len(own) == rows["neurons"].iloc[0]
        assert matched == plainly_matched(lm, run.dataset, run.dataset.facts["P36"][fact], own, named)


def plainly_matched(lm, data, fact, neurons, named):
    """The neurons of nearest mean activation, over one prompt at a time, by a loop over all neurons of a layer."""
    prompts = [item for item in encode(lm, data, [fact]) if isinstance(item, Prompt)]
    found = []
    for layer, index in neurons:
        every = [probability_at(lm, torch.tensor(prompt.ids), prompt.position, 0, layer)[1] for prompt in prompts]
        means = [sum(float(activation[other]) for activation in every) / len(every) for other in range(lm.n_neurons)]
        free = [other for other in range(lm.n_neurons) if (layer, other) not in {*named, *neurons, *found}]
        found.append((layer, min(free, key=lambda other: abs(means[other] - means[index]))))
    return found


def test_edits_in_a_layer_without_other_neurons_have_no_matched_rows(tmp_path):
    lm, run = known_facts.trained("bert"), Run(known_facts.trained("bert").name, known_facts.dataset(), results_dir=tmp_path)
    every = [(0, index) for index in range(lm.n_neurons)]
    known_facts.write_first_steps(lm, run, "P36", {fact: [(0, fact)] for fact in range(40)}, named=every)
    edit_facts(lm, run, "P36")
    edits = tables(run)["edit_facts"]
    assert edits["fact"].nunique() > 1 and set(edits["method"]) == {"attribution", "random"}


def test_an_edit_that_must_succeed_and_ones_that_must_not(tmp_path):
    """The model says "Oslo" because of neuron 5: facts 0 and 5 are about Oslo, 1 is not; 10, 15, 20 and 25 share a common neuron."""
    shared = {fact: [(0, 7)] for fact in (10, 15, 20, 25)}
    lm, run = known_facts.obstinate_run(tmp_path, {0: [(0, 5), (0, 6)], 5: [(0, 5)], 1: [(0, 5)]} | shared)
    edit_facts(lm, run, "P36")
    edits, strength, tried = tables(run).values()
    reasons = tried.set_index("fact")["reason"]
    assert sorted(reasons.index) == list(range(40))
    assert reasons[[0, 5, 1, *shared]].tolist() == ["", "", WRONG, *[COMMON] * 4]
    assert set(reasons.drop([0, 5, 1, *shared])) == {NO_NEURON}
    own, control = (edits[edits["control"] == value] for value in (False, True))
    assert own["neurons"].value_counts().to_dict() == {1: 2, 2: 2}
    scaled, fixed = (own[own["rule"] == rule] for rule in ("scaled", "fixed"))
    assert scaled["success"].all() and scaled["changed"].all() and (scaled["rank_after"] == 1).all()
    assert (scaled["templates_success"] == 4).all() and (scaled["templates_changed"] == 4).all()
    assert not fixed["changed"].any()  # 100 times Oslo's embedding less 2 is still its
    assert not control["changed"].any() and (control["probability_after"] == control["probability_before"]).all()
    assert (control["templates_changed"] == 0).all()
    assert strength.groupby("lambda2")["success"].all().to_dict() == {value: value > 0 for value in STRENGTHS}
    assert strength["changed"].all()  # without "Oslo" in neuron 5 the model repeats the last word
    again = Run(lm.name, run.dataset, results_dir=tmp_path)
    edit_facts(lm, again, "P36", lambda1=0, lambda2=0)
    scaled = tables(again)["edit_facts"].query("rule == 'scaled'")
    assert not scaled["changed"].any() and (scaled["perplexity_same_after"] == scaled["perplexity_same_before"]).all()
    assert list(tables(again)["edit_strength"].groupby("lambda2")["success"].all()) == [False, True, True, True, True]


def test_facts_that_cannot_be_asked_and_relations_of_one_object(loaded, tiny_dataset, tmp_path):
    lm = loaded("bert")
    run = Run(lm.name, tiny_dataset, results_dir=tmp_path)
    known_facts.write_first_steps(lm, run, "P36", {})
    edit_facts(lm, run, "P36")
    edits, _, tried = tables(run).values()
    assert edits.empty and tried.set_index("fact")["reason"].sort_index().tolist() == [NO_NEURON] * 3 + [NO_PROMPT] * 2 + [
        NO_NEURON
    ]
    with pytest.raises(ValueError, match=rf"^no fact could be edited: 4 x {NO_NEURON}; 2 x {NO_PROMPT}$"):
        summary.load_edits(run, ["P36"])


def test_the_same_seed_gives_the_same_tables_which_are_reused(edited, tmp_path, capsys):
    lm, run, _ = edited
    _, other = known_facts.trained_run(lm.model.config.model_type, tmp_path / "results")
    edit_facts(lm, other, "P36", lambda1=1.5, lambda2=12)
    for name, table in tables(run).items():
        pd.testing.assert_frame_equal(table, tables(other)[name], check_exact=True)
    edit_facts(lm, run, "P36", lambda1=1.5, lambda2=12)
    assert "reusing" in capsys.readouterr().out


def test_another_lambda_makes_the_tables_anew(tmp_path, capsys):
    lm, run = known_facts.trained_run("bert", tmp_path)
    edit_facts(lm, run, "P36", lambda2=3)
    edit_facts(lm, run, "P36", lambda2=4)
    assert "made with other lambda2; computing it anew" in capsys.readouterr().out
    scaled = tables(run)["edit_facts"].query("rule == 'scaled' and not control").reset_index(drop=True)
    strength = tables(run)["edit_strength"].query("lambda2 == 4").reset_index(drop=True)
    pd.testing.assert_frame_equal(scaled[OUTCOME], strength[OUTCOME])


def test_steps_1_and_2_have_to_be_there_and_of_the_same_weights(loaded, tmp_path):
    lm, run = known_facts.trained_run("bert", tmp_path / "results")
    with pytest.raises(FileNotFoundError, match="02_knowledge_neurons"):
        edit_facts(lm, Run(lm.name, run.dataset, results_dir=tmp_path), "P36")
    with pytest.raises(ValueError, match="made with weights"):
        edit_facts(LanguageModel(lm.name, loaded("bert").model, lm.tokenizer), run, "P36")


def test_the_readers_own_edit(tmp_path):
    lm, run = known_facts.trained_run("gpt2", tmp_path / "results")
    first = next(item for item in plan_edits(lm, run, "P36") if isinstance(item, Edit))
    assert chosen_edit(lm, run, ["P101", "P36"]) == first
    chosen = chosen_edit(lm, run, ["P36"], first.fact.subject, "logic" if first.fact.object != "logic" else "Lima")
    assert chosen.fact == first.fact and chosen.neurons == first.neurons and chosen.new_object in ("logic", "Lima")
    drawn = chosen_edit(lm, run, ["P36"], first.fact.subject)
    assert drawn == first
    with pytest.raises(ValueError, match=rf"^'Ada Lovelace' of P101 cannot be edited: {NO_NEURON}\. Subjects .*: none$"):
        chosen_edit(lm, run, ["P101"], "Ada Lovelace")
    with pytest.raises(ValueError, match="^no fact of P101 can be edited"):
        chosen_edit(lm, run, ["P101"])


def test_the_worked_example_shows_all_templates_and_what_else_changed(edited):
    lm, run, before = edited
    row = next(tables(run)["edit_facts"].itertuples())
    edit = chosen_edit(lm, run, ["P36"])
    assert (edit.fact.index, edit.prompts[edit.drawn].index) == (row.fact, row.prompt)
    own, elsewhere = show_edit(lm, run, edit, 1, 40)
    assert weight_sums(lm) == before
    model = edited_by_hand(lm, row, *edit.tokens[edit.drawn], 1, 40)
    plain, after = (known_facts.plain_answers(asked, lm, run.facts("P36", lm)) for asked in (lm.model, model))
    words = [lm.tokenizer.decode([token]).strip() for token in after["top"]]
    assert own["answer_after"].tolist() == [word for word, fact in zip(words, after["fact"], strict=True) if fact == row.fact]
    shares = after.loc[after["fact"] == row.fact, "shares"]
    new = [float(values[token]) for values, token in zip(shares, edit.new_targets, strict=True)]
    assert own["new_object_after"].tolist() == pytest.approx(new, rel=1e-4)
    changed = (plain["top"] != after["top"]) & (plain["prompt"] == row.prompt) & (plain["fact"] != row.fact)
    others = (plain["prompt"] == row.prompt) & (plain["fact"] != row.fact)
    assert 0 < changed.sum() == elsewhere["changed"].sum() and len(elsewhere) == others.sum()
    assert elsewhere["answer_after"].tolist() == [word for word, listed in zip(words, others, strict=True) if listed]


def test_a_data_set_of_one_relation_has_no_other_facts(tmp_path):
    alone = load_dataset(
        known_facts.tiny_folders.write_data(tmp_path / "alone", {"P36": known_facts.FACTS["P36"]}, known_facts.TEMPLATES)
    )
    lm, _ = known_facts.trained_run("bert", tmp_path / "results")
    run = Run(lm.name, alone, results_dir=tmp_path)
    known_facts.write_first_steps(lm, run, "P36", {fact: [(0, fact)] for fact in range(40)})
    edit_facts(lm, run, "P36")
    edits = summary.load_edits(run, ["P36"])
    assert edits["perplexity_other_after"].isna().all() and edits["perplexity_same_after"].notna().all()
    assert set(summary.perplexity_rises(edits, 1)["quantity"]) == {summary.SAME}


def test_gains_are_in_log_odds_and_probabilities():
    edits = pd.DataFrame({"relation": ["P1", "P1"], "rule": "scaled", "method": "attribution", "rank_before": 3, "rank_after": 1})
    edits = edits.assign(probability_before=[0.1, 0.2], probability_after=[0.5, 0.5])
    edits = edits.assign(
        old_probability_before=0.5, old_probability_after=[0.2, 0.1], log_odds_before=1.0, log_odds_after=[2.0, 5.0]
    )
    found = summary.gains(edits, 1).set_index("quantity")["value"]
    assert found["gain of the new object's log-odds"] == 2.5
    assert found["gain of the old object's log-odds"] == pytest.approx(-(math.log(4) + math.log(9)) / 2)
    assert found["gain of the new object's probability"] == pytest.approx(0.35)


def test_intervals_stay_within_what_is_possible():
    edits = pd.DataFrame(
        {"relation": ["P1", "P2"], "rule": "scaled", "method": "attribution", "rank_before": [2, 9], "rank_after": 1}
    )
    edits = edits.assign(probability_before=[0.0, 0.9], probability_after=[0.9, 0.95])
    edits = edits.assign(
        old_probability_before=[0.9, 0.1], old_probability_after=[0.05, 0.09], log_odds_before=0.0, log_odds_after=1.0
    )
    found = summary.gains(edits, 1).set_index("quantity")[["low", "high"]]
    assert found.loc["gain of the new object's probability"].between(-1, 1).all()
    assert found.loc["rank of the new object before", "low"] == 1 and found.loc["reciprocal rank before", "high"] <= 1
    perplexities = {"perplexity_same_before": [5.0, 9.0], "perplexity_other_before": 2.0}
    edits = edits.assign(**perplexities, perplexity_same_after=[4e6, 8.0], perplexity_other_after=[2.0, 3.0])
    rises = summary.perplexity_rises(edits, 1)
    assert rises["low"].min() == 1 - (5 + 9) / 2 and rises.loc[0, "value"] == pytest.approx(2e6, rel=1e-5)
    logs = math.log(5.0) + math.log(9.0)
    assert summary.perplexity_ratios(edits, 1).loc[0, "low"] == pytest.approx(math.exp(-logs / 2))
    same, *_ = side_effects({"edit_facts": pd.concat([edits, edits.assign(method="random")]).assign(fact=0)}, 1)
    assert same.low == pytest.approx(math.exp(-logs / 2)) and same.value == pytest.approx(math.sqrt(8e5 * 8 / 9), rel=1e-6)
    assert summary.named_rises(rises).loc[0, "median rise"] == "2.0·10⁶"


def test_no_mark_of_the_strengths_hides_another_and_no_harm_is_a_line():
    names = (summary.CHANGED, summary.SUCCESS, summary.SAME, summary.OTHER)
    table = pd.DataFrame([(weight, name, 50.0, 10.0, 1e9) for weight in (0, 8) for name in names])
    rates, harm = plot_strengths(table.set_axis(["lambda2", "quantity", "value", "low", "high"], axis=1), "title").axes
    for axis in (rates, harm):
        below, above = axis.lines[:2]
        assert below.get_markersize() > above.get_markersize() and below.get_fillstyle() == "none"
    assert [1, 1] in [list(line.get_ydata()) for line in harm.lines]


def test_a_few_relations_are_said():
    def edits(count):
        return pd.DataFrame({"relation": [f"P{number}" for number in range(count)]})

    assert summary.few_relations(edits(2)).startswith("Only 2 relations have edits")
    assert summary.few_relations(edits(1)) == summary.few_relations(edits(5)) == ""


def test_edits_are_clean_if_both_perplexities_stay_within_a_tenth():
    before = {"perplexity_same_before": 10.0, "perplexity_other_before": 20.0}
    after = [(11.0, 22.0), (11.1, 20.0), (10.0, 23.0), (9.0, math.nan)]
    edits = pd.DataFrame(after, columns=["perplexity_same_after", "perplexity_other_after"]).assign(**before, success=True)
    assert summary.is_clean(edits).tolist() == [True, False, False, True]
    assert summary.clean_rate(edits.assign(success=[True, True, True, False])).tolist() == [100, 0, 0, 0]


def test_edits_are_compared_for_the_same_facts_in_the_same_order():
    rows = [("P1", 2, "attribution"), ("P1", 1, "attribution"), ("P1", 1, "random"), ("P1", 2, "random"), ("P1", 1, "matched")]
    table = pd.DataFrame(rows, columns=["relation", "fact", "method"]).assign(rule="scaled")
    found = summary.by_method(table)
    assert {method: [fact for _, fact in rows.index] for method, rows in found.items()} == {
        "attribution": [2, 1],
        "random": [2, 1],
        "matched": [1],
    }


def test_means_over_edits_by_hand():
    edits = pd.DataFrame(
        {"relation": ["P1", "P1", "P2", "P2"], "rule": "scaled", "method": ["attribution", "attribution", "random", "random"]}
    )
    edits = edits.assign(changed=[True, True, True, False], success=[True, False, False, False], success_top5=True)
    edits = edits.assign(templates=[4, 2, 4, 4], templates_changed=[4, 1, 1, 0], templates_success=[1, 0, 0, 0])
    edits = edits.assign(perplexity_same_before=1.0, perplexity_same_after=[2.0, 4.0, 1.0, 1.0])
    edits = edits.assign(perplexity_other_before=2.0, perplexity_other_after=[3.0, 3.0, 1.0, 2.0])
    ours = [
        ("scaled", "attribution", name, value)
        for name, value in ((summary.CHANGED, 100), (summary.SUCCESS, 50), (summary.TOP5, 100))
    ]
    control = [
        ("scaled", "random", name, value) for name, value in ((summary.CHANGED, 50), (summary.SUCCESS, 0), (summary.TOP5, 100))
    ]
    rates = summary.rates(edits, 1)
    assert list(rates[["rule", "method", "quantity", "value"]].itertuples(index=False, name=None)) == ours + control
    assert (rates["edits"] == 2).all() and rates.loc[1, ["low", "high"]].tolist() == [0, 100]
    templates = summary.template_rates(edits, 1)
    # ours: 3 of 3 and 0 of 1 other templates changed, 0 of 3 and 0 of 1 have the new object; perplexity doubles or worse
    assert templates.query("method == 'attribution'")["value"].tolist() == [50, 0, 0]
    assert templates.query("method == 'random'")["value"].tolist() == [0, 0, 0]
    rises = summary.perplexity_rises(edits, 1)
    assert rises["value"].tolist() == [2, 1, 0, -0.5] and rises["median"].tolist() == [2, 1, 0, -0.5]
    ratios = summary.perplexity_ratios(edits, 1)
    assert ratios["value"].tolist() == pytest.approx([math.sqrt(8), 1.5, 1, math.sqrt(0.5)])
    assert ratios.loc[0, "low"] < 2 and ratios.loc[0, "high"] > 4  # two edits of one relation
    strength = summary.strengths(edits.assign(lambda2=[0.0, 0.0, 4.0, 4.0]), 1).set_index(["lambda2", "quantity"])["value"]
    assert strength[0.0].to_dict() == pytest.approx(
        {summary.CHANGED: 100, summary.SUCCESS: 50, summary.SAME: math.sqrt(8), summary.OTHER: 1.5}
    )
    assert strength[4.0][summary.CHANGED] == 50
    text = summary.finding(rates, templates, ratios)
    assert text.startswith("Of 2 edits, 50.0 [0.00, 100.0] % make the new object the answer with the fact's neurons, and 0.00 ")
    assert "random neurons. Templates that did not choose the edit give the new object in 0.00 " in text
    assert "by 2.83 [" in text and "] (same relation) and by 1.50 [1.50, 1.50] (other relations); 0.00 " in text
    assert "other relations" not in summary.finding(rates, templates, ratios[ratios["quantity"] == summary.SAME])
    tried = pd.DataFrame({"relation": ["P1", "P1", "P2"], "edited": [True, False, False], "reason": ["", WRONG, COMMON]})
    assert summary.candidates(tried).to_dict("index") == {
        "P1": {"tried": 2, "edited": 1, COMMON: 0, WRONG: 1},
        "P2": {"tried": 1, "edited": 0, COMMON: 1, WRONG: 0},
    }
