"""Step 7's tables: which neurons are erased, and what the model says before and after, against one prompt at a time."""

import copy
from itertools import pairwise

import known_facts
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from tiny_models import weight_sums

from kn_utils.chapters.erase_relation import numbers as summary
from kn_utils.chapters.erase_relation import table as step
from kn_utils.chapters.erase_relation.claims import erased as conditions_of
from kn_utils.chapters.erase_relation.figures import plot_doses
from kn_utils.chapters.erase_relation.table import DOSES, erase_relation
from kn_utils.model.interventions import edited_value_vectors, new_vectors
from kn_utils.model.models import LanguageModel
from kn_utils.model.neurons import frequent_neurons, neuron_list
from kn_utils.model.prompts import draw_facts
from kn_utils.store.files import read_provenance
from kn_utils.store.runs import NothingToShowError, Run

PLACE = ["relation", "method", "neurons", "evaluated"]
SCORES = ["prompts", "correct", "log_probability"]
COLUMNS = {
    "erase_relation": [*PLACE, "phase", "facts", *SCORES],
    "erase_facts": [*PLACE, "fact", "phase", *SCORES],
    "erase_dose": [*PLACE, "facts", *SCORES],
}


def tables(run, relation="P36"):
    return {name: run.read(name, [relation]) for name in COLUMNS}


def erased_by_hand(lm, neurons):
    model = copy.deepcopy(lm.model)
    for layer, index in neurons:
        weight = LanguageModel("copy", model, lm.tokenizer).downs[layer].weight
        (weight if lm.model.config.model_type == "gpt2" else weight.T)[index] = 0
    return model


def scores_by_hand(model, lm, facts):
    """Prompts, correct answers and the sum of ln P(object) over the facts' prompts, asked one by one."""
    table = known_facts.plain_answers(model, lm, facts)
    logs = [float(shares[target].log()) for shares, target in zip(table["shares"], table["target"], strict=True)]
    return len(table), int((table["top"] == table["target"]).sum()), pytest.approx(sum(logs), rel=1e-3)


@pytest.fixture(scope="module", params=["bert", "gpt2"])
def erased(request, tmp_path_factory):
    """A model, a run from which P36 has been erased, and the sums of the weights before."""
    lm, run = known_facts.trained_run(request.param, tmp_path_factory.mktemp("erased") / "results")
    before = weight_sums(lm)
    erase_relation(lm, run, "P36", other_facts=2)
    return lm, run, before


def test_columns_rows_and_weights(erased):
    lm, run, before = erased
    assert weight_sums(lm) == before
    found = tables(run)
    for name, columns in COLUMNS.items():
        assert list(found[name].columns) == columns and set(found[name]["relation"]) == {"P36"}
    whole, facts, dose = found.values()
    assert len(whole) == 3 * 2 * 2 and len(facts) == 3 * 2 * (40 + 2)
    assert whole.groupby(["method", "neurons"]).size().to_dict() == {(name, 20): 4 for name in step.WITH_RANDOM}
    assert whole.groupby("evaluated")["facts"].unique().to_dict() == {"P36": [40], "P101": [2]}
    by_relation = facts.groupby([*PLACE, "phase"])[SCORES].sum()
    pd.testing.assert_frame_equal(by_relation, whole.groupby([*PLACE, "phase"])[SCORES].sum(), check_dtype=False)
    for method in ("attribution", "random"):
        # there are 47, and in no layer more than half of its 48
        assert sorted(dose.loc[dose["method"] == method, "neurons"].unique()) == [0, *DOSES[:5], 47]
    inputs = read_provenance(run.path("erase_relation", "P36"))["inputs"]
    assert inputs["other_facts"] == 2 and inputs["weights"] == lm.digest
    assert inputs["other_relations"] == run.dataset.digest_of_others("P36")


def test_scores_are_those_of_a_model_with_zeroed_value_vectors(erased):
    lm, run, _ = erased
    whole, _, dose = tables(run).values()
    known = run.read("knowledge_neurons", ["P36"]).query("method == 'attribution'")
    ranked = neuron_list(frequent_neurons(known))
    assert ranked[0] == (1, 45) and set(ranked[1:6]) == {(2, 40 + number) for number in range(5)}
    facts = run.dataset.facts["P36"]
    expected = {count: scores_by_hand(erased_by_hand(lm, ranked[:count]), lm, facts) for count in (0, 1, 5, 20, 47)}
    own = whole[(whole["evaluated"] == "P36") & (whole["method"] == "attribution")].set_index("phase")
    assert tuple(own.loc["before", SCORES]) == expected[0] and tuple(own.loc["after", SCORES]) == expected[20]
    doses = dose[(dose["evaluated"] == "P36") & (dose["method"] == "attribution")].set_index("neurons")
    for count, values in expected.items():
        assert tuple(doses.loc[count, SCORES]) == values
    assert expected[0][1] > expected[47][1]  # erasing matters
    drawn = draw_facts(lm, run.dataset, "P101", 2, run.seed)
    there = whole[(whole["evaluated"] == "P101") & (whole["method"] == "attribution") & (whole["phase"] == "after")]
    assert tuple(there[SCORES].iloc[0]) == scores_by_hand(erased_by_hand(lm, ranked[:20]), lm, drawn)


def test_random_neurons_are_as_many_others_in_the_same_layers(erased):
    lm, run, _ = erased
    full = {item.method: item.neurons for item in step._erasures(lm, run, "P36")[:3]}
    layers = {method: sorted(layer for layer, _ in neurons) for method, neurons in full.items()}
    assert list(full) == ["attribution", "activation", "random"]
    assert layers["random"] == layers["attribution"] and not set(full["random"]) & set(full["attribution"])
    whole = tables(run)["erase_relation"]
    after = whole[(whole["method"] == "random") & (whole["evaluated"] == "P36") & (whole["phase"] == "after")]
    assert tuple(after[SCORES].iloc[0]) == scores_by_hand(erased_by_hand(lm, full["random"]), lm, run.dataset.facts["P36"])


def test_frequent_neurons_and_their_ties():
    pairs = [(0, 2, 5), (1, 2, 5), (0, 1, 9), (1, 1, 9), (0, 1, 3), (2, 1, 3), (0, 0, 7), (1, 0, 1), (2, 0, 1), (3, 0, 1)]
    table = pd.DataFrame(pairs, columns=["fact", "layer", "neuron"])
    assert neuron_list(frequent_neurons(table)) == [(0, 1), (1, 3), (1, 9), (2, 5), (0, 7)]


@pytest.mark.parametrize("neurons", [{}, {0: [(0, 1), (2, 3)]}])
def test_relations_with_few_neurons_or_none(neurons, tmp_path):
    lm, _ = known_facts.trained_run("bert", tmp_path / "results")
    run = Run(lm.name, known_facts.dataset(), results_dir=tmp_path)
    known_facts.write_first_steps(lm, run, "P101", neurons)
    erase_relation(lm, run, "P101", other_facts=1)
    whole, _, dose = tables(run, "P101").values()
    count = sum(map(len, neurons.values()))
    assert (whole["neurons"] == count).all() and len(whole) == 12
    assert dose["neurons"].tolist() == [0] * 4 + [count] * (4 if count else 0) + ([1] * 4 if count else [])
    same = (
        whole[whole["phase"] == "before"]["log_probability"].tolist()
        == whole[whole["phase"] == "after"]["log_probability"].tolist()
    )
    assert same == (count == 0)


def test_a_layer_without_enough_other_neurons_limits_the_random_ones(tmp_path):
    lm, run = known_facts.trained_run("bert", tmp_path)
    ranked = {"attribution": [(0, neuron) for neuron in range(30)]}
    chosen = step._erasure(lm, run, "P36", "random", ranked, 30).neurons
    assert sorted(chosen) == [(0, neuron) for neuron in sorted(set(range(48)) - set(range(24)))]


def test_reused_and_resumed_after_every_part(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(step, "RELATIONS_PER_PART", 1)
    lm, run = known_facts.trained_run("bert", tmp_path / "a")
    before, asked = weight_sums(lm), []
    edited_answers = step.edited_answers

    def interrupted(lm, prompts, *arguments):
        asked.append({prompt.fact.relation for prompt in prompts})
        if len(asked) == 4:  # twice for each relation: 20 neurons, and other numbers
            raise KeyboardInterrupt
        return edited_answers(lm, prompts, *arguments)

    monkeypatch.setattr(step, "edited_answers", interrupted)
    with pytest.raises(KeyboardInterrupt):
        erase_relation(lm, run, "P101", other_facts=1)
    assert weight_sums(lm) == before
    erase_relation(lm, run, "P101", other_facts=1)
    assert asked == [{"P101"}] * 2 + [{"P36"}] * 4
    erase_relation(lm, run, "P101", other_facts=1)
    assert len(asked) == 6 and "reusing" in capsys.readouterr().out
    _, other = known_facts.trained_run("bert", tmp_path / "b")
    erase_relation(lm, other, "P101", other_facts=1)
    for name, table in tables(run, "P101").items():
        pd.testing.assert_frame_equal(table, tables(other, "P101")[name], check_exact=True)


def test_step_2_has_to_be_there(loaded, tiny_dataset, tmp_path):
    with pytest.raises(FileNotFoundError, match="02_knowledge_neurons"):
        erase_relation(loaded("bert"), Run("tiny-bert", tiny_dataset, results_dir=tmp_path), "P36")


def test_an_edited_model_is_refused_as_another(tmp_path):
    lm, run = known_facts.trained_run("bert", tmp_path)
    vectors = new_vectors(lm, [(0, 0)], lambda vector: vector + 1)
    with edited_value_vectors(lm, vectors), pytest.raises(ValueError, match="made with weights"):
        erase_relation(lm, run, "P36")


def some_scores():
    """Two facts of P1, one of P2; P1 erased: P1's mean ln P goes from -1 to -2, P2's stays."""
    rows = [("P1", 0, "before", 2, 2, -1.0), ("P1", 1, "before", 2, 1, -3.0), ("P2", 0, "before", 4, 2, -4.0)]
    rows += [("P1", 0, "after", 2, 0, -3.0), ("P1", 1, "after", 2, 1, -5.0), ("P2", 0, "after", 4, 3, -4.0)]
    table = pd.DataFrame(rows, columns=["evaluated", "fact", "phase", *SCORES])
    return table.assign(relation="P1", method="attribution", neurons=20)


def test_perplexity_and_accuracy_by_hand():
    found = summary.erasures(some_scores(), seed=1)
    values = found.set_index(["where", "quantity"])["value"]
    own = [np.e, np.e**2, 100 * (np.e - 1), 75, 25, -50]
    assert values[summary.OWN].tolist() == pytest.approx(own)
    assert values[summary.OTHERS].tolist() == pytest.approx([np.e, np.e, 0, 50, 75, 25])
    assert found.groupby("where")[["facts", "prompts"]].first().to_dict("index") == {
        summary.OWN: {"facts": 2, "prompts": 4},
        summary.OTHERS: {"facts": 1, "prompts": 4},
    }
    accuracy = found.set_index(["where", "quantity"]).loc[(summary.OWN, summary.ACCURACY_BEFORE)]
    assert accuracy["low"] < 50 and accuracy["high"] == 100  # two facts; a share ends at 100 %


def test_the_finding_names_both_rises_and_the_control():
    control = some_scores().assign(method="random", log_probability=-1.0)
    found = summary.erasures(pd.concat([some_scores(), control]), seed=1)
    text = summary.finding(found)
    assert text.startswith(
        "An erasure changes the perplexity of the relation by 171.8 % and that of all other relations by 0.00 %; "
    )
    assert text.endswith("if random neurons are erased, that of the relation changes by 0.00 %.")
    assert "other" not in summary.finding(found[found["where"] == summary.OWN])
    assert summary.finding(found[found["where"] == summary.OTHERS]) == "None of the erased relations could be evaluated."


def test_rises_in_logarithms_and_their_differences():
    others = some_scores().assign(method="activation")
    others.loc[others["phase"] == "after", "log_probability"] -= 0.5
    table = pd.concat([some_scores(), others]).query("evaluated == 'P1'")
    assert summary.log_rises(table, "attribution", 0)[0] == pytest.approx(1)  # mean ln P from -1 to -2
    assert summary.log_rises(table, "activation", 0)[0] == pytest.approx(1.25)  # two facts of two prompts lose 0.5 more
    assert summary.log_rises(table, "attribution", 0, minus="activation")[0] == pytest.approx(-0.25)


def test_a_relation_that_was_not_known_has_nothing_to_erase():
    table = some_scores().assign(relation="P19", evaluated=lambda rows: rows["evaluated"].replace("P1", "P19"))
    with pytest.raises(NothingToShowError, match=r"answered 0.0 % of the prompts right, fewer than 10 %"):
        conditions_of("P19", {"erase_facts": table.assign(correct=0)}, 0)
    ratio, others, *_ = conditions_of("P19", {"erase_facts": table}, 0)
    assert (ratio.value, others.value) == pytest.approx((np.e, 1))


def test_the_sentence_on_all_erasures_agrees_with_the_claims_conditions():
    known = some_scores().assign(relation="P19", evaluated=lambda rows: rows["evaluated"].replace("P1", "P19"))
    unknown = some_scores().assign(relation="P2", correct=0)
    labels = {"P19": "place *of* birth", "P2": "two"}
    text = summary.comparison(pd.concat([known, unknown]), labels, 0)
    ratio = conditions_of("P19", {"erase_facts": known}, 0)[0]
    assert f"in {int(ratio.low > 1)} of 1 tested erasures: place \\*of\\* birth (P19) {ratio.measured}." in text
    assert text.endswith("Not tested, since fewer than 10 % of the prompts were answered right before: two (P2), 0.00 %.")
    assert summary.comparison(unknown, labels, 0).startswith("Not tested")
    many = pd.concat(
        [
            some_scores().assign(
                relation=f"P{number}", evaluated=lambda rows: rows["evaluated"].replace("P1", rows["relation"][0])
            )
            for number in range(5, 10)
        ]
    )
    short = summary.comparison(many, {f"P{number}": "x" for number in range(5, 10)}, 0)
    assert short.endswith("of 5 tested erasures.")


def test_no_interval_of_a_perplexity_goes_below_1():
    found = summary.erasures(some_scores(), seed=1)
    assert found.loc[found["quantity"].isin([summary.BEFORE, summary.AFTER]), "low"].min() == 1


def test_titles_of_panels_side_by_side_do_not_touch():
    names = ("P19", "P27", "P106", "P937")
    table = pd.concat([pd.DataFrame({"neurons": [0, 20], "ratio": [1, 2]}).assign(relation=name) for name in names])
    labels = dict.fromkeys(names, "original language of film or TV show")
    with plt.rc_context({"axes.titlelocation": "center"}):
        figure = plot_doses(table.assign(method="attribution", where=summary.OWN), labels, "title")
    figure.canvas.draw()
    ends = [axis.title.get_window_extent() for axis in figure.axes]
    assert all(left.x1 < right.x0 for left, right in pairwise(ends))
    assert figure.axes[1].get_title().replace("\n", " ") == "original language of film or TV show (P27)"


def test_what_was_evaluated_is_counted():
    found = summary.erasures(some_scores(), seed=1)
    assert summary.counted(found) == "up to 2 of its facts, 1 of others"
    sizes = summary.sizes(found).loc[("P1", summary.OWN)]
    assert (sizes["facts"], sizes["prompts"], sizes["neurons, integrated gradients"]) == (2, 4, 20)


def test_our_values_stand_beside_the_papers_for_the_relations_it_erased():
    found = summary.erasures(some_scores(), seed=1)
    ids = summary.by_paper_id(found.assign(relation="P19"))
    assert sorted(ids) == sorted(f"erase_P19_{end}" for end in ("before", "after", "others_before", "others_after"))
    assert ids["erase_P19_after"][0] == pytest.approx(np.e**2) and ids["erase_P19_after"][3] == 2
    assert summary.by_paper_id(found) == {}


def test_rises_by_relation_and_doses_by_hand():
    whole = some_scores().groupby(["relation", "method", "neurons", "evaluated", "phase"])[SCORES].sum().reset_index()
    rises = summary.rises_by_relation(whole, "attribution")
    assert rises.loc["P1"].to_dict() == pytest.approx({"P1": 100 * (np.e - 1), "P2": 0})
    assert list(summary.rises_by_relation(whole.assign(relation="P2"), "attribution").columns) == ["P2", "P1"]
    assert list(summary.rises_by_relation(whole.assign(relation="P3"), "attribution").columns) == [
        "P1",
        "P2",
    ]  # P3 cannot be asked
    worst = summary.most_harmed(rises)
    assert worst[["erased", "evaluated"]].to_numpy().tolist() == [["P1", "P2"]] and worst[summary.RISE].tolist() == [0]
    dose = pd.concat(
        [
            whole[whole["phase"] == "after"].assign(neurons=5, facts=2),
            whole[whole["phase"] == "before"].assign(neurons=0, facts=2),
        ]
    )
    assert summary.counted(summary.doses(dose)) == "up to 2 of its facts, 2 of others"
    found = summary.doses(dose).set_index(["where", "neurons"])
    assert found["ratio"].to_dict() == pytest.approx(
        {(summary.OWN, 0): 1, (summary.OWN, 5): np.e, (summary.OTHERS, 0): 1, (summary.OTHERS, 5): 1}
    )
