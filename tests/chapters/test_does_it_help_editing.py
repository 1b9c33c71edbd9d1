"""The step of notebook 16 against plain code; statistics on tables made by hand; and models in which localisation helps, or does not."""

import copy
from dataclasses import replace

import known_facts
import numpy as np
import pandas as pd
import pytest
import tiny_folders
import torch
from brute_force import probability_at

from kn_utils.chapters.does_it_help_editing import choice, claims, numbers
from kn_utils.chapters.does_it_help_editing.choice import METHODS, N_NEURONS, choose_neurons, most_effective_neurons
from kn_utils.chapters.does_it_help_editing.figures import plot_gains, plot_trade_off
from kn_utils.chapters.does_it_help_editing.plans import OTHER_FACTS, plan_edits
from kn_utils.chapters.does_it_help_editing.table import RULES, STRENGTHS, common_neurons, compare_edits
from kn_utils.data.facts import load_dataset
from kn_utils.model.layouts import value_vectors
from kn_utils.model.models import LanguageModel
from kn_utils.stats.intervals import number, with_interval
from kn_utils.stats.rule import CONTRADICTED, SUPPORTED, UNTESTED
from kn_utils.store.runs import NothingToShowError, Run

EDITS = 2


@pytest.fixture(scope="module", params=["bert", "llama"])
def done(request, tmp_path_factory):
    """A model that knows tiny facts, its run, and the table of one relation; llama has gated neurons, of either sign."""
    lm, run = known_facts.trained_run(request.param, tmp_path_factory.mktemp("results"))
    compare_edits(lm, replace(run, workers=1), "P36", n_edits=EDITS)
    return lm, run, run.read("does_it_help_editing", ["P36"])


def named(row) -> list[tuple[int, int]]:
    """The neurons of a row: L1.5 is (0, 5)."""
    places = (name[1:].split(".") for name in row["neuron_names"].split())
    return [(int(layer) - 1, int(index)) for layer, index in places]


def plain_activations(lm, prompts) -> np.ndarray:
    """Mean activations over prompts, prompt by prompt and layer by layer."""
    found = [
        [probability_at(lm, torch.tensor(prompt.ids), prompt.position, prompt.target, layer)[1] for layer in range(lm.n_layers)]
        for prompt in prompts
    ]
    return np.mean([[layer.numpy() for layer in layers] for layers in found], axis=0)


def plain_answers(model, prompts) -> list[tuple[int, float]]:
    """The most probable token of each prompt, and the log-odds of its target."""
    answers = []
    for prompt in prompts:
        with torch.no_grad():
            share = model(torch.tensor([prompt.ids])).logits[0, prompt.position].double().softmax(-1)
        answers.append((int(share.argmax()), float(torch.logit(share[prompt.target]))))
    return answers


def test_rows_and_columns(done):
    _, _, table = done
    assert table.groupby(["fact", "method", "rule"]).size().eq(len(STRENGTHS)).all()
    assert table["fact"].nunique() == EDITS and set(table["method"]) == set(METHODS) == set(numbers.NAMES)
    always = table[table["method"].isin(["attribution", "random", "exact"])]  # the other two may lack neurons, or a fact
    assert len(always) == EDITS * 3 * len(RULES) * len(STRENGTHS)
    assert all(len(named(row)) == N_NEURONS for _, row in table.iterrows())
    assert table["others"].eq(OTHER_FACTS).all()


def test_every_number_of_an_edit_is_what_plain_code_gives(done):
    lm, run, table = done
    edits = {edit.fact.index: edit for edit in plan_edits(lm, run, "P36", EDITS)}
    edit = edits[table["fact"].iloc[-1]]
    prompts = [*edit.judged_by, *edit.others]
    activation, judging = plain_activations(lm, edit.chosen_on), plain_activations(lm, edit.judged_by)
    before = plain_answers(lm.model, prompts)
    for _, row in table[(table["fact"] == edit.fact.index) & table["strength"].isin([0.5, 2])].iterrows():
        own = table.query("fact == @row.fact and method == 'attribution' and rule == @row.rule").iloc[0]
        old, new = (lm.embeddings[of[0].target] for of in (edit.chosen_on, edit.judged_by))

        def change(neuron, rule=row["rule"], old=old, new=new):
            vector = value_vectors(lm.downs[neuron[0]])[neuron[1]]
            if rule == "fixed":
                return 2 * new - 2 * old
            return vector.norm() * (8 * new / new.norm() - old / old.norm())

        norms = [sum(abs(activation[neuron]) * float(change(neuron).norm()) for neuron in named(of)) for of in (own, row)]
        factor = row["strength"] * norms[0] / norms[1]
        assert row["factor"] == pytest.approx(factor, rel=1e-4)
        injected = sum(judging[neuron] * np.sign(activation[neuron]) * float(change(neuron).norm()) for neuron in named(row))
        assert row["injected"] == pytest.approx(factor * injected, rel=1e-3)

        changed = LanguageModel("changed", copy.deepcopy(lm.model), lm.tokenizer)
        with torch.no_grad():
            for neuron in named(row):
                value_vectors(changed.downs[neuron[0]])[neuron[1]] += factor * np.sign(activation[neuron]) * change(neuron)
        after = plain_answers(changed.model, prompts)
        count = len(edit.judged_by)
        newly = [a[0] == p.target and b[0] != p.target for p, b, a in zip(prompts, before, after, strict=True)]
        assert (row["templates"], row["others"]) == (count, len(edit.others))
        assert (row["templates_success"], row["others_success"]) == (sum(newly[:count]), sum(newly[count:]))
        assert row["others_changed"] == sum(a[0] != b[0] for b, a in zip(before[count:], after[count:], strict=True))
        change_of = [a[1] - b[1] for b, a in zip(before, after, strict=True)]
        assert row["log_odds_change"] == pytest.approx(np.mean(change_of[:count]), abs=1e-3)
        assert row["others_log_odds_change"] == pytest.approx(np.mean(change_of[count:]), abs=1e-3)


def test_the_model_is_as_before(done):
    lm, run, _ = done
    before = lm.digest
    compare_edits(lm, replace(run, workers=1, seed=run.seed), "P36", n_edits=EDITS)
    assert lm.digest == before


# ---- which facts, prompts and neurons


def test_one_half_of_the_templates_chooses_and_the_other_judges(done):
    lm, run, _ = done
    edits = plan_edits(lm, run, "P36", 9)
    assert [edit.half for edit in edits] == [0, 1, 0, 1, 0, 1, 0, 1, 0][: len(edits)]
    for edit in edits:
        choose, judge = ({prompt.index for prompt in prompts} for prompts in (edit.chosen_on, edit.judged_by))
        assert choose and judge and not choose & judge
        assert {prompt.index for prompt in edit.partner} <= choose and {prompt.index for prompt in edit.others} <= judge
        assert {prompt.fact for prompt in edit.chosen_on} == {edit.fact}
        assert edit.new_object != edit.fact.object and {prompt.fact.object for prompt in edit.judged_by} == {edit.new_object}


def test_other_facts_have_other_objects_and_the_partner_a_third_one(done):
    lm, run, _ = done
    partners = set()
    for edit in plan_edits(lm, run, "P36", 9):
        others = [run.dataset.facts["P36"][prompt.fact.index] for prompt in edit.others]
        assert len({other.index for other in others}) == len(others) == OTHER_FACTS
        assert all(other.subject != edit.fact.subject and other.object != edit.new_object for other in others)
        assert {prompt.fact.object for prompt in edit.others} == {edit.new_object}  # as target
        found = {prompt.fact for prompt in edit.partner}
        assert len(found) <= 1 and not {partner.object for partner in found} & {edit.fact.object, edit.new_object}
        partners |= found
    assert partners


def test_only_known_facts_are_edited_and_all_of_them_if_they_are_few(done):
    lm, run, _ = done
    right = run.read("prompts", ["P36"]).groupby("fact")["correct"].mean()
    edited = [edit.fact.index for edit in plan_edits(lm, run, "P36", 1000)]
    assert sorted(edited) == sorted(right[right >= 0.5].index)
    assert edited[:2] == [edit.fact.index for edit in plan_edits(lm, run, "P36", 2)]


def test_methods_choose_as_they_say_and_spare_common_neurons(done):
    lm, run, _ = done
    assert common_neurons(run, "P36", 0.1) == {(1, 45), *((2, 40 + group) for group in range(6))}
    edit = plan_edits(lm, run, "P36", 1)[0]
    free = choose_neurons(lm, edit, frozenset(), seed=0)
    sets = choose_neurons(lm, edit, frozenset(free["attribution"][:2]), seed=0)
    for method in sets.keys() - {"random"}:
        assert not set(sets[method]) & set(free["attribution"][:2]), method
    assert sets["attribution"][:2] == free["attribution"][2:]
    own = sets["attribution"]
    assert all(not set(sets[method]) & set(own) for method in sets.keys() & {"matched", "another fact", "random"})
    for method in sets.keys() & {"matched", "random"}:
        assert sorted(layer for layer, _ in sets[method]) == sorted(layer for layer, _ in own)


def test_the_best_neurons_by_exact_effect_are_those_of_a_plain_loop(done, monkeypatch):
    lm, run, _ = done
    monkeypatch.setattr(choice, "CANDIDATES", lm.n_layers * lm.n_neurons)
    prompts = plan_edits(lm, run, "P36", 1)[0].chosen_on
    effects = np.zeros((lm.n_layers, lm.n_neurons))
    for prompt in prompts:
        for layer in range(lm.n_layers):
            place = (torch.tensor(prompt.ids), prompt.position, prompt.target, layer)
            before, activation = probability_at(lm, *place)
            for index in range(lm.n_neurons):
                without = activation.clone()
                without[index] = 0
                after, _ = probability_at(lm, *place, without)
                effects[layer, index] += float(torch.logit(before.double()) - torch.logit(after.double()))
    best = [(flat // lm.n_neurons, flat % lm.n_neurons) for flat in np.argsort(-effects, axis=None)[:N_NEURONS].tolist()]
    assert most_effective_neurons(lm, prompts, []) == best


def test_a_relation_without_known_facts_has_an_empty_table(tmp_path, loaded, monkeypatch):
    lm = loaded("bert")
    monkeypatch.setattr("kn_utils.store.known.KNOWN_SHARE", 2)
    run = Run(lm.name, known_facts.dataset(), results_dir=tmp_path, workers=1)
    known_facts.write_first_steps(lm, run, "P101", {})
    compare_edits(lm, run, "P101")
    table = run.read("does_it_help_editing", ["P101"])
    assert table.empty
    with pytest.raises(NothingToShowError, match="no fact of these relations can be edited"):
        numbers.outcomes(table)


# ---- the rule, on tables made by hand


def study(own, matched, **others):
    """The table of edits: {method: {strength: [(success, bleed) of each fact of a relation, in %]}} for the relations P0, P1, ..."""
    rows = [
        {"relation": f"P{relation}", "fact": fact, "method": method, "rule": rule, "strength": strength}
        | {"templates": 100, "templates_success": success, "others": 100, "others_success": bleed, "others_changed": bleed}
        | {"log_odds_change": success / 10, "others_log_odds_change": bleed / 10, "factor": 2.0, "injected": 3.0}
        for method, strengths in ({"attribution": own, "matched": matched} | others).items()
        for strength, relations in strengths.items()
        for relation, facts in enumerate(relations)
        for fact, (success, bleed) in enumerate(facts)
        for rule in RULES
    ]
    return pd.DataFrame(rows)


def test_outcomes_of_an_edit():
    row = numbers.outcomes(study({1.0: [[(80, 30)]]}, {1.0: [[(60, 20)]]})).iloc[0]
    assert (row[numbers.SUCCESS], row[numbers.BLEED], row[numbers.NET], row[numbers.CHANGED]) == (80, 30, 50, 30)
    assert row[numbers.AIMED] == pytest.approx(5)


def test_every_method_is_taken_at_its_own_best_strength_and_relations_count_equally():
    own = {0.5: [[(40, 0), (20, 0)], [(90, 10)]], 1.0: [[(100, 90), (100, 90)], [(100, 90)]]}
    matched = {0.5: [[(0, 0), (0, 0)], [(0, 0)]], 1.0: [[(60, 40), (60, 30)], [(90, 40)]]}
    table = study(own, matched)
    at_best = numbers.gain(table, "matched", seed=0)
    assert at_best.interval[0] == pytest.approx((30 + 80) / 2 - (25 + 50) / 2)
    at_mean = numbers.gain(table, "matched", seed=0, at=numbers.MEAN)
    assert at_mean.interval[0] == pytest.approx(((30 + 10) / 2 - 25 / 2) / 2 + ((80 + 10) / 2 - 50 / 2) / 2)
    assert list(at_best.relations) == ["P0", "P0", "P1"]
    at_one = numbers.gain(table, "matched", seed=0, at=numbers.EQUAL)
    assert at_one.interval[0] == pytest.approx(10 - (25 + 50) / 2)
    curves = numbers.curves(table, seed=0).query("method == 'attribution' and rule == 'fixed'").set_index(["outcome", "strength"])
    assert curves.loc[(numbers.SUCCESS, 0.5), "value"] == pytest.approx((30 + 90) / 2)


def test_no_relation_is_judged_by_a_strength_that_it_chose():
    own = {
        0.5: [[(40, 0)], [(10, 0)], [(12, 0)]],
        1.0: [[(0, 0)], [(30, 0)], [(20, 0)]],
    }  # the first is the only one to prefer 0.5
    table = study(own, {strength: [[(0, 0)]] * 3 for strength in own})
    assert numbers.gain(table, "matched", seed=0).interval[0] == pytest.approx((0 + 10 + 12) / 3)
    one = study({0.5: [[(40, 0), (10, 0)]], 1.0: [[(0, 0), (30, 0)]]}, {strength: [[(0, 0)] * 2] for strength in own})
    assert numbers.gain(one, "matched", seed=0).interval[0] == pytest.approx((0 + 10) / 2)  # each fact at the other's strength


def test_the_interval_includes_the_choice_of_the_strength():
    """Half of the relations prefer each strength, so which one is chosen is by chance."""
    own = {0.5: [[(60, 0)], [(0, 0)]] * 4, 1.0: [[(0, 0)], [(58, 0)]] * 4}
    table = study(own, {strength: [[(0, 0)]] * 8 for strength in own})
    fixed = numbers.gain(study({1.0: own[0.5]}, {1.0: [[(0, 0)]] * 8}), "matched", seed=0).interval
    chosen = numbers.gain(table, "matched", seed=0).interval
    assert chosen[0] < fixed[0] and chosen[2] >= fixed[2]


def test_few_edits_give_no_verdict():
    table = study({1.0: [[(90, 0)] * 3] * 3}, {1.0: [[(10, 0)] * 3] * 3})
    assert {condition.state for condition in claims.CLAIMS[0].conditions({"does_it_help_editing": table}, 0)} == {UNTESTED}


def test_a_gain_is_over_the_edits_that_both_methods_have():
    table = study({1.0: [[(50, 0), (90, 0)], [(50, 0)]]}, {1.0: [[(10, 0), (0, 0)], [(30, 0)]]})
    table = table[~((table["method"] == "matched") & (table["relation"] == "P0") & (table["fact"] == 1))]
    assert numbers.gain(table, "matched", seed=0).interval[0] == pytest.approx((40 + 20) / 2)
    assert numbers.gain(table, "random", seed=0) is None


def test_a_gain_of_two_opposite_relations_stays_within_what_is_possible():
    table = study({1.0: [[(100, 0)], [(0, 100)]]}, {1.0: [[(0, 100)], [(100, 0)]]})
    assert numbers.gain(table, "matched", seed=0).interval == pytest.approx((0, -200, 200, -200, 200))


@pytest.mark.parametrize("difference, state", [(20, SUPPORTED), (0, CONTRADICTED), (-20, CONTRADICTED)])
def test_localisation_helps_if_it_gains_more_than_five_points(difference, state):
    own = {1.0: [[(50 + difference + noise, 10)] * 3 for noise in (-1, 0, 1, 0)]}
    first, *controls = claims.CLAIMS[0].conditions({"does_it_help_editing": study(own, {1.0: [[(50, 10)] * 3] * 4})}, 0)
    assert first.state == state and first.value == pytest.approx(difference)
    assert (first.n, first.unit, first.above) == (12, "edits of 4 relations", 5)
    assert len({condition.contrast for condition in (first, *controls)}) == 8


# ---- models in which the truth is known

SUBJECTS, OBJECTS = ("Norway", "Peru", "France", "Zealand"), ("Oslo", "Lima", "Paris", "Wellington")
SENTENCES = ["The capital of [X] is [Y]", "Of [X] the capital is [Y]", "In country [X] lies [Y]", "The country [X] has the [Y]"]
IDLE = 20  # neurons that fire always and cancel each other


def planted_run(folder, facts, vectors: dict[str, list[str]]):
    """The table of a GPT-2 of one layer, in which groups of four neurons hold an object, and idle ones do nothing.

    `vectors` has the groups: the object, and the subjects at which it fires; without subjects it fires always. Attention gives each token
    the mean of all tokens before it, so that the last one knows the subject.
    """
    width = 256
    lm = known_facts.blank_model(tiny_folders.write_model(folder / "model", "gpt2", n_layer=1, n_embd=width))

    def embedding(word):
        [token] = lm.tokenizer(f" {word}")["input_ids"]
        return lm.embeddings[token]

    torch.manual_seed(0)
    idle = torch.nn.functional.normalize(torch.randn(IDLE // 2, width), dim=1).repeat_interleave(2, 0)
    with torch.no_grad():
        block = lm.model.transformer.h[0]
        block.attn.c_attn.weight[:, 2 * width :] = block.attn.c_proj.weight[:] = torch.eye(width)  # all tokens get equal weight
        up, bias, down = block.mlp.c_fc.weight, block.mlp.c_fc.bias, block.mlp.c_proj.weight
        bias[:IDLE], down[:IDLE] = 3, 0.5 * idle * torch.tensor([1.0, -1] * (IDLE // 2))[:, None]
        for number, (answer, subjects) in enumerate(vectors.items()):
            group = slice(IDLE + 4 * number, IDLE + 4 * number + 4)
            bias[group], down[group] = -3 if subjects else 3, 10 * embedding(answer)
            for subject in subjects:
                up[:, group] += embedding(subject)[:, None]
    data = load_dataset(tiny_folders.write_data(folder / "data", {"P36": facts}, {"P36": SENTENCES}))
    run = Run(lm.name, data, results_dir=folder / "results", workers=1)
    known_facts.write_first_steps(lm, run, "P36", {})
    compare_edits(lm, run, "P36", n_edits=4)
    return run.read("does_it_help_editing", ["P36"])


def test_where_neurons_hold_the_facts_localisation_helps(tmp_path, monkeypatch):
    monkeypatch.setattr(claims, "MIN_EDITS", 4)
    facts = [list(pair) for pair in zip(SUBJECTS, OBJECTS, strict=True)]
    table = planted_run(tmp_path, facts, {answer: [subject] for subject, answer in facts})
    assert table["fact"].nunique() == 4
    for _, row in table.query("method in ('attribution', 'exact')").iterrows():
        assert {(index - IDLE) // 4 for _, index in named(row)} == {row["fact"]}
    assert all(index < IDLE for _, row in table.query("method == 'matched'").iterrows() for _, index in named(row))
    curves = numbers.curves(table, seed=0).query("rule == 'scaled' and strength == 1").set_index(["method", "outcome"])["value"]
    assert curves["attribution", numbers.SUCCESS] == 100 and curves["attribution", numbers.BLEED] == 0
    assert curves["matched", numbers.SUCCESS] == 100 == curves["matched", numbers.BLEED]
    first, *_ = claims.CLAIMS[0].conditions({"does_it_help_editing": table}, 0)
    assert first.state == SUPPORTED and first.value == pytest.approx(100)


def test_where_neurons_fire_for_every_fact_localisation_does_not_help(tmp_path, monkeypatch):
    """The model answers everything with Oslo, so it knows four facts."""
    monkeypatch.setattr(claims, "MIN_EDITS", 4)
    facts = [[subject, "Oslo"] for subject in SUBJECTS] + [["Turing", "Lima"]]
    table = planted_run(tmp_path, facts, {"Oslo": []})
    assert set(table["fact"]) == {0, 1, 2, 3} and set(table["new_object"]) == {"Lima"}
    own = table.query("method == 'attribution'")
    assert all(index // 4 == IDLE // 4 for _, row in own.iterrows() for _, index in named(row))
    strong = own.query("rule == 'scaled' and strength == 2")
    assert (strong["templates_success"] == strong["templates"]).all() and (strong["others_success"] == strong["others"]).all()
    first, *_ = claims.CLAIMS[0].conditions({"does_it_help_editing": table}, 0)
    assert first.state == CONTRADICTED and first.value == pytest.approx(0)


# ---- what the notebook shows


def test_the_finding_and_the_tables(done):
    table = done[2]
    curves, gains = numbers.curves(table, seed=0), numbers.gains(table, seed=0)
    assert len(gains) == len(RULES) * 3 * (len(METHODS) - 1)
    text = numbers.finding(gains, curves)
    assert all(f"points over {name}" in text for name in list(numbers.NAMES.values())[1:])
    own = curves.query("rule == 'scaled' and method == 'attribution'").pivot(index="strength", columns="outcome", values="value")
    best = own.loc[own[numbers.NET].idxmax()]
    assert f"at its best strength ({best.name:g}), a fact gets the new object in {number(best[numbers.SUCCESS])} % of" in text
    assert f"So do {number(best[numbers.BLEED])} % of the prompts of other facts" in text
    shown = numbers.named_curves(curves, "fixed")
    assert len(shown) == len(METHODS) * len(STRENGTHS) and list(shown)[2:] == list(numbers.OUTCOMES)
    named = numbers.named_gains(gains)
    assert named[["rule", "at"]].values.tolist() == [
        [rule, at] for rule in ("the paper's rule", "the toolkits' rule") for at in (numbers.BEST, numbers.MEAN, numbers.EQUAL)
    ]
    assert list(named)[2:] == [f"minus {numbers.NAMES[method]} (points)" for method in METHODS[1:]]
    for row in gains.itertuples():
        [cell] = named.loc[
            (named["rule"] == numbers.RULE_NAMES[row.rule]) & (named["at"] == row.at),
            f"minus {numbers.NAMES[row.method]} (points)",
        ]
        assert cell == with_interval(row.value, row.low, row.high, row.new_low, row.new_high)
    equal = numbers.injections(table).set_index(["rule", "method"])
    assert list(equal) == ["factor", "injected (%)"] and numbers.NET.endswith("(points)")
    assert equal.loc[(numbers.RULE_NAMES["scaled"], numbers.NAMES["attribution"])].tolist() == pytest.approx([1, 100])


def test_figures_show_every_method_and_both_rules(done):
    table = done[2]
    gains, curves = numbers.gains(table, seed=0), numbers.curves(table, seed=0)
    left, right = plot_trade_off(curves, "title").axes
    assert [axis.get_title("left") or axis.get_title() for axis in (left, right)] == list(numbers.RULE_NAMES.values())
    dots = {dots.get_label(): dots.get_offsets() for dots in right.collections}
    expected = curves.query("rule == 'fixed' and method == 'matched'").pivot(index="strength", columns="outcome", values="value")
    np.testing.assert_allclose(dots[numbers.NAMES["matched"]], expected[[numbers.BLEED, numbers.SUCCESS]])
    assert right.get_xlim() == right.get_ylim() == (-6, 106)
    assert all(len(dots.get_facecolors()) == 0 for dots in right.collections)  # hollow
    assert [len(line.get_xdata()) for line in right.lines[: len(METHODS)]] == [len(STRENGTHS)] * len(METHODS)
    left, _ = plot_gains(gains, 5, "title").axes
    assert [label.get_text() for label in left.get_yticklabels()] == [f"over {numbers.NAMES[name]}" for name in METHODS[1:]]
