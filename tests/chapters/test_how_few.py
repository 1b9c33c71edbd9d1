"""The step of notebook 17 against plain code, and its rules on models that hold a fact in three neurons, in six, or in none."""

from itertools import pairwise

import known_facts
import pandas as pd
import pytest
import tiny_folders
import torch
from planted_facts import FACTS, TEMPLATES, planted_run

from kn_utils.chapters.how_few import claims, numbers
from kn_utils.chapters.how_few import table as step
from kn_utils.chapters.how_few.figures import plot_right_answers
from kn_utils.chapters.how_few.table import draw_questions, shrink_sets
from kn_utils.data.facts import load_dataset
from kn_utils.model.controls import template_halves
from kn_utils.model.greedy import greedy_order
from kn_utils.model.models import LanguageModel, load_model
from kn_utils.stats.rule import CONTRADICTED, CONTROL, SHOWN, SUPPORTED
from kn_utils.store.runs import NothingToShowError, Run

COLUMNS = ["relation", "fact", "chosen_on", "prompt", "template", "set", "size", "correct"]


@pytest.fixture(scope="module", params=["bert", "gpt2"])
def done(request, tmp_path_factory):
    """A model that has learnt four facts, its run, and the table."""
    folder = tmp_path_factory.mktemp("done")
    lm = load_model(tiny_folders.write_model(folder / request.param, request.param), "cpu")
    facts = FACTS | {"P30": tiny_folders.FACTS["P30"][:1]}
    templates = TEMPLATES | {"P30": tiny_folders.TEMPLATES["P30"][:1]}  # one template has no other half
    data = load_dataset(tiny_folders.write_data(folder / "data", facts, templates))
    known_facts.learn(lm, data, steps=60)
    lm = LanguageModel(lm.name, lm.model, lm.tokenizer)  # no longer the one in its files
    run = Run(lm.name, data, results_dir=folder / "results", workers=1)
    for relation in ("P36", "P30"):
        known_facts.write_first_steps(lm, run, relation, {})
    shrink_sets(lm, run, "P36", n_chosen=3)
    return lm, run, run.read("how_few", ["P36"])


def test_facts_are_known_and_their_two_prompts_right_and_of_different_halves(done):
    lm, run, table = done
    made = run.read("prompts", ["P36"]).set_index(["fact", "prompt"])["correct"]
    halves = template_halves(lm, run.dataset, "P36")
    questions = draw_questions(lm, run, "P36", 3)
    assert len(questions) == len({question.chooser.fact for question in questions}) == 3
    for question in questions:
        one, two, fact = question.chooser, question.judge, question.chooser.fact.index
        assert made[fact, one.index] and made[fact, two.index] and halves[one.index] != halves[two.index]
        assert two.fact == one.fact and question.wrong not in (None, one.target)
    places = {(question.chooser.fact.index, question.chooser.index, question.judge.index) for question in questions}
    other = table[table["template"] == "other"]
    assert set(other[["fact", "chosen_on", "prompt"]].itertuples(index=False, name=None)) == places


def still_right(lm, prompt, off):
    """Whether a prompt is answered right with the neurons `off` [layers, neurons] at zero, by plain hooks."""

    def change(module, args):
        inner = args[0].clone()
        inner[0, prompt.position, off[lm.downs.index(module)]] = 0
        return (inner,)

    handles = [down.register_forward_pre_hook(change) for down in lm.downs]
    with torch.no_grad():
        top = int(lm.model(torch.tensor([prompt.ids])).logits[0, prompt.position].argmax())
    for handle in handles:
        handle.remove()
    return top == prompt.target


def test_rows_are_what_plain_code_gives(done):
    lm, run, table = done
    assert list(table) == COLUMNS
    every = torch.ones(lm.n_layers, lm.n_neurons, dtype=torch.bool)
    sizes = [size for size in step.RESCORED if size <= every.numel()]
    for question in draw_questions(lm, run, "P36", 3):
        own = table[table["fact"] == question.chooser.fact.index]
        order = greedy_order(lm, question.chooser, every, sizes)
        first = own[own["set"] == step.FIRST]
        assert first[first["template"] == "own"]["size"].tolist() == [size for size in step.SIZES if size <= len(order)]
        for row in first.itertuples():
            off = ~every
            off.view(-1)[order[: row.size]] = True
            assert row.correct == still_right(lm, question.judge if row.template == "other" else question.chooser, off)
            if row.template == "other":
                [kept] = own[(own["set"] == step.KEPT) & (own["size"] == row.size)].itertuples()
                assert kept.correct == still_right(lm, question.judge, ~off)
        lost = first[(first["template"] == "other") & ~first["correct"]]["size"]
        second = own[own["set"] == step.SECOND]
        assert second.empty == lost.empty
        if not lost.empty:
            allowed = every.clone()
            allowed.view(-1)[order[: lost.min()]] = False
            order = greedy_order(lm, question.chooser, allowed, [size for size in step.RESCORED if size <= allowed.sum()])
            for row in second.itertuples():
                off = ~every
                off.view(-1)[order[: row.size]] = True
                assert not (off & ~allowed).any() and row.correct == still_right(lm, question.judge, off)


def test_a_relation_without_a_fact_has_an_empty_table(done):
    lm, run, _ = done
    shrink_sets(lm, run, "P30", n_chosen=2)
    table = run.read("how_few", ["P30"])
    assert table.empty
    with pytest.raises(NothingToShowError, match="both halves"):
        numbers.medians(table, seed=0)


# ---- statistics on numbers made by hand


def table_of(lost):
    """The table of sets that lose the answers of facts at some sizes: {set: [size of each fact]}, three sizes in all."""
    rows = [
        ("P1", fact, 0, 1, "other", name, size, size < at)
        for name, sizes in lost.items()
        for fact, at in enumerate(sizes)
        for size in (1, 4, 16)
    ]
    own = [("P1", fact, 0, 0, "own", step.FIRST, size, False) for fact in range(3) for size in (1, 4, 16)]
    return pd.DataFrame(rows + own, columns=COLUMNS)


def test_the_median_is_of_the_smallest_sets_and_answers_that_are_never_lost_count_as_more():
    kept = {step.KEPT: [1, 99, 99]}  # with only the first neuron of the set, one answer of three is lost
    table = table_of({step.FIRST: [4, 1, 99], step.SECOND: [4, 4], step.RANDOM: [16, 99, 99]} | kept)
    found = numbers.medians(table, seed=0).set_index(["template", "set"])
    assert found.loc[("other", step.FIRST), "value"] == 4 and found.loc[("other", step.FIRST), "never"] == pytest.approx(100 / 3)
    assert found.loc[("other", step.RANDOM), "value"] == numbers.NEVER and found.loc[("own", step.FIRST), "value"] == 1
    assert found.loc[("other", step.SECOND), "facts"] == 2
    assert numbers.ratio(table, step.RANDOM, seed=0).interval[0] == 4 / 16  # of 4 / 16, 1 / 1024 and 1: the middle one
    share = numbers.second_share(table, seed=0)
    assert share.interval[0] == 50 and len(share.relations) == 2  # 4 is within 1.5 times 4, and not within 1.5 times 1
    assert numbers.right_answers(table).loc[4, step.FIRST] == pytest.approx(100 / 3)
    assert numbers.second_share(table, seed=0, longer=4).interval[0] == 100
    assert numbers.second_less(table, step.RANDOM, seed=0).interval[0] == 50
    easy = table_of({step.FIRST: [4, 1, 99], step.SECOND: [4, 4], step.RANDOM: [4, 1, 99]})
    assert numbers.second_less(easy, step.RANDOM, seed=0).interval[0] == 50 - 100
    text = numbers.finding(table, seed=0)
    assert text.startswith(
        "A median of 4 [1, 1,024] neurons (1,024 stands for never) must be set to zero before a right answer is lost"
    )
    assert "33.3 % of the answers are never lost" in text and "Of the answers that are lost (2), 50 [" in text
    assert numbers.named_table(numbers.medians(table, seed=0))["median size"].iloc[0] == "4 [1, 1,024]"
    [axis] = plot_right_answers(numbers.right_answers(table), "title").axes
    first = next(line for line in axis.lines if line.get_label() == numbers.NAMES[step.FIRST])
    assert list(first.get_ydata()) == pytest.approx([200 / 3, 100 / 3, 100 / 3])
    few = numbers.finding(table_of({step.FIRST: [1, 1, 1], step.SECOND: [4, 4, 4]} | kept), seed=0)
    assert few.startswith("A median of 1 [1, 1] neurons must be set to zero")
    never = numbers.finding(table_of({step.FIRST: [99, 99, 99]} | kept), seed=0)
    assert (
        "100 % of the answers are never lost. With a single neuron on at the prediction position, and all others zero, 66.7 ["
        in never
    )
    assert never.endswith("% of the answers are still right.")


def test_a_control_counts_the_facts_that_have_it():
    table = table_of({step.FIRST: [4, 1, 99], step.SECOND: [4, 4], step.RANDOM: [16, 16, 16], step.WRONG: [4]})
    counts = {condition.contrast: condition.n for condition in claims.few_suffice({"how_few": table}, 0)}
    by_set = {name: next(n for text, n in counts.items() if numbers.NAMES[name] in text) for name in (step.RANDOM, step.WRONG)}
    assert by_set == {step.RANDOM: 3, step.WRONG: 1}


def test_sets_that_coincide_are_all_seen():
    """The wider lines and larger markers are below, and all are hollow; the line at five is above the grid."""
    sets = {name: [99, 99, 99] for name in (step.FIRST, step.SECOND, step.RANDOM, step.WRONG, step.KEPT)}
    [axis] = plot_right_answers(numbers.right_answers(table_of(sets)), "title").axes
    lines = {line.get_label(): line for line in axis.lines}
    drawn = [lines[numbers.NAMES[name]] for name in sets]
    for over, under in pairwise(drawn):
        assert over.get_zorder() > under.get_zorder() and over.get_fillstyle() == under.get_fillstyle() == "none"
        assert over.get_linewidth() < under.get_linewidth() and over.get_markersize() < under.get_markersize()
    [five] = [line for line in axis.lines if list(line.get_xdata()) == [numbers.FEW] * 2]
    assert five.get_zorder() > 1.5  # of the grid, at most


# ---- models in which the truth is known


@pytest.mark.parametrize(
    "carrier, per_fact, rival, largest, few, second",
    [
        ("neurons", 3, 0.2, 3, SUPPORTED, CONTRADICTED),  # a third of them is more than the rival
        ("neurons", 6, 0.7, 3, SUPPORTED, SUPPORTED),  # without two or three, the others are less than the rival
        ("attention", 3, 0.0, numbers.NEVER, CONTRADICTED, None),
    ],
)
def test_the_rules_on_planted_facts(carrier, per_fact, rival, largest, few, second, tmp_path):
    lm, run = planted_run(tmp_path, carrier, per_fact, rival)
    assert run.read("prompts", ["P36"])["correct"].all()
    shrink_sets(lm, run, "P36", n_chosen=4)
    tables = {"how_few": run.read("how_few", ["P36"])}
    assert numbers.smallest_sets(tables["how_few"], "other")[step.FIRST].max() == largest
    claim, *_ = claims.few_suffice(tables, 0)
    assert claim.state == few
    if second:
        other, *controls = claims.others_do_the_same(tables, 0)
        assert [control.role for control in controls] == [CONTROL, CONTROL, SHOWN]
        assert other.state == second
    else:
        with pytest.raises(NothingToShowError, match="no right answer"):
            claims.others_do_the_same(tables, 0)
