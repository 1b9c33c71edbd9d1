"""The step of notebook 15 against plain code, and its rule on models that keep a fact in neurons, or carry it by attention."""

import known_facts
import pandas as pd
import pytest
import tiny_folders
import torch
from planted_facts import TEMPLATES, planted_run

from kn_utils.chapters.how_much_passes import claims, numbers
from kn_utils.chapters.how_much_passes import table as step
from kn_utils.chapters.how_much_passes.figures import plot_layers, plot_shares
from kn_utils.chapters.how_much_passes.table import draw_pairs, exchange_states
from kn_utils.data.facts import load_dataset
from kn_utils.model.layouts import submodule
from kn_utils.model.models import LanguageModel, load_model
from kn_utils.model.prompts import usable_prompts
from kn_utils.stats.rule import CLAIM, CONTRADICTED, CONTROL, OPEN, SHOWN, SUPPORTED
from kn_utils.store.runs import NothingToShowError, Run

SUBJECTS = ["Norway", "Peru", "France", "Zealand", "Marino", "Turing", "Curie", "Lovelace"]  # one token each
SEVERAL = {"P36": [[name, ("Oslo", "Lima", "Paris", "Wellington")[n % 4]] for n, name in enumerate(SUBJECTS)]}
SEVERAL["P36"].append(["Oslo", "Oslo"])  # which can be copied
SEVERAL |= {"P30": tiny_folders.FACTS["P30"][:1]}
COLUMNS = ["relation", "fact", "prompt", "source", "pair", "states", "layer", "neurons"]
COLUMNS += ["log_odds_before", "log_odds_after", "log_odds_source", "answer"]


@pytest.fixture(scope="module", params=["bert", "gpt2"])
def done(request, tmp_path_factory):
    """A model that has learnt the facts, its run, and the table of three pairs."""
    folder = tmp_path_factory.mktemp("done")
    lm = load_model(tiny_folders.write_model(folder / request.param, request.param), "cpu")
    data = load_dataset(tiny_folders.write_data(folder / "data", SEVERAL, tiny_folders.TEMPLATES | TEMPLATES))
    known_facts.learn(lm, data, steps=60)
    lm = LanguageModel(lm.name, lm.model, lm.tokenizer)  # no longer the one in its files
    run = Run(lm.name, data, results_dir=folder / "results", workers=1)
    neurons = {fact: [(fact % 3, fact), (2, 40 + fact % 2)] for fact in range(len(SEVERAL["P36"]))}
    known_facts.write_first_steps(lm, run, "P36", neurons)
    known_facts.write_first_steps(lm, run, "P30", {})
    exchange_states(lm, run, "P36", n_pairs=3)
    return lm, run, run.read("how_much_passes", ["P36"])


def prompt_of(lm, run, fact, index):
    return next(prompt for prompt in usable_prompts(lm, run.dataset, run.dataset.facts["P36"][fact]) if prompt.index == index)


# ---- the step


def test_pairs_are_known_facts_with_other_objects_in_prompts_of_equal_length_and_each_fact_is_used_once(done):
    lm, run, table = done
    made = run.read("prompts", ["P36"])
    known = made.groupby("fact")["correct"].mean()
    right = set(made[made["correct"]][["fact", "prompt"]].itertuples(index=False, name=None))
    pairs = draw_pairs(lm, run, "P36", 100, range(8))
    used = [prompt.fact.index for pair in pairs for prompt in (pair.first, pair.second)]
    assert len(pairs) > 3 and len(set(used)) == len(used)
    for pair in pairs:
        first, second = pair.first, pair.second
        assert first.index == second.index and len(first.ids) == len(second.ids) and first.position == second.position
        assert (
            len({first.fact.object, second.fact.object, *(run.dataset.facts["P36"][other].object for other in pair.others)}) > 2
        )
        for prompt in (first, second):
            assert prompt.fact.object not in prompt.fact.subject
            assert known[prompt.fact.index] >= 0.5 and (prompt.fact.index, prompt.index) in right
    assert pairs[:3] == draw_pairs(lm, run, "P36", 3, range(8))
    places = table.drop_duplicates(["fact", "source", "prompt"])[["fact", "source", "prompt"]].itertuples(index=False, name=None)
    both = [(one, two) for pair in pairs[:3] for one, two in ((pair.first, pair.second), (pair.second, pair.first))]
    assert list(places) == [(one.fact.index, two.fact.index, one.index) for one, two in both]
    assert all(pair.others is None for pair in draw_pairs(lm, run, "P36", 3, [used[0]]))


def test_every_kind_of_states_has_a_row_for_both_orders_of_each_pair(done):
    lm, _, table = done
    assert list(table) == COLUMNS
    once = [step.NOTHING, step.OWN, step.OTHERS, step.MATCHED, *step.STRONGEST.values()]
    by_layer = [step.ALL_NEURONS, step.AT_SUBJECT, step.ALL_ATTENTION, step.ONE_ATTENTION]
    wanted = {(name, 0) for name in once} | {(name, layer) for name in by_layer for layer in range(lm.n_layers)}
    for _, rows in table.groupby(["pair", "fact"]):
        assert set(rows[["states", "layer"]].itertuples(index=False, name=None)) == wanted and len(rows) == len(wanted)
    assert table.groupby("pair")["fact"].nunique().tolist() == [2] * 3
    counts = table[table["layer"] == 0].groupby("states")["neurons"].max()
    assert counts[step.ALL_NEURONS] == 3 * lm.n_neurons and counts[step.ALL_ATTENTION] == counts[step.NOTHING] == 0


def test_nothing_passes_nothing_and_all_attention_passes_everything(done):
    *_, table = done
    nothing, attention = (table[(table["states"] == name) & (table["layer"] == 0)] for name in (step.NOTHING, step.ALL_ATTENTION))
    assert (nothing["log_odds_after"] == nothing["log_odds_before"]).all() and (nothing["answer"] == "fact").all()
    assert attention["log_odds_after"].to_numpy() == pytest.approx(attention["log_odds_source"], abs=1e-4)
    assert (attention["answer"] == "source").all()
    assert (table["log_odds_source"] > 0).all() and (table["log_odds_before"] < 0).all()


def plain_answer(lm, prompt, source, part, positions, wanted):
    """The log-odds and the answer if states are put in by hand; `wanted(layer, index)` says which."""
    names = {"neurons": lm.layout.down, "attention": lm.layout.attention_output}
    modules = [submodule(block, names[part]) for block in lm.blocks]
    kept = []
    handles = [module.register_forward_pre_hook(lambda module, args: kept.append(args[0][0].clone())) for module in modules]
    with torch.no_grad():
        lm.model(torch.tensor([source.ids]))
    for handle in handles:
        handle.remove()

    def put(module, args):
        layer, state = modules.index(module), args[0].clone()
        for position in positions:
            for index in range(state.shape[-1]):
                if wanted(layer, index):
                    state[0, position, index] = kept[layer][position, index]
        return (state,)

    handles = [module.register_forward_pre_hook(put) for module in modules]
    with torch.no_grad():
        logits = lm.model(torch.tensor([prompt.ids])).logits[0, prompt.position]
    for handle in handles:
        handle.remove()
    answers = {source.target: "source", prompt.target: "fact"}
    return float(logits[source.target] - logits[prompt.target]), answers.get(int(logits.argmax()), "other")


def test_rows_are_what_plain_code_gives(done):
    lm, run, table = done
    own = run.read("knowledge_neurons", ["P36"]).query("method == 'attribution'").groupby("fact")
    own = {fact: set(zip(rows["layer"], rows["neuron"], strict=True)) for fact, rows in own}
    for (fact, source, index), rows in list(table.groupby(["fact", "source", "prompt"], sort=False))[:3]:
        prompt, other = prompt_of(lm, run, fact, index), prompt_of(lm, run, source, index)
        here = [prompt.position]
        subject = [at for at, (one, two) in enumerate(zip(prompt.ids, other.ids, strict=True)) if one != two]
        subject = range(subject[0], subject[-1] + 1)
        cases = {
            (step.NOTHING, 0): ("neurons", here, lambda layer, index: False),
            (step.OWN, 0): ("neurons", here, lambda layer, index, f=fact, s=source: (layer, index) in own[f] | own[s]),
            (step.ALL_NEURONS, 1): ("neurons", here, lambda layer, index: layer >= 1),
            (step.AT_SUBJECT, 0): ("neurons", subject, lambda layer, index: True),
            (step.ALL_ATTENTION, 2): ("attention", here, lambda layer, index: layer >= 2),
            (step.ONE_ATTENTION, 1): ("attention", here, lambda layer, index: layer == 1),
        }
        rows = rows.set_index(["states", "layer"])
        for site, how in cases.items():
            odds, answer = plain_answer(lm, prompt, other, *how)
            assert rows.loc[site, "log_odds_after"] == pytest.approx(odds, abs=1e-4) and rows.loc[site, "answer"] == answer
            assert rows.loc[site, "log_odds_before"] == pytest.approx(
                plain_answer(lm, prompt, other, *cases[step.NOTHING, 0])[0], abs=1e-4
            )
        assert rows.loc[(step.OWN, 0), "neurons"] == len(own[fact] | own[source])


def test_matched_neurons_change_as_much_and_are_not_named(done):
    lm, run, _ = done
    neurons = {fact: [(0, fact), (2, 40)] for fact in range(8)}
    [pair] = draw_pairs(lm, run, "P36", 1, range(8))
    kept = {prompt.fact: step.states(lm, prompt) for prompt in (pair.first, pair.second)}
    halves = step.template_halves(lm, run.dataset, "P36")
    sets = step.sets_of_pair(lm, run, pair, neurons, halves, kept)
    one, two = (kept[prompt.fact]["feed-forward"][:, prompt.position] for prompt in (pair.first, pair.second))
    scores = step.scores_by_half(
        lm,
        [
            p
            for prompt in (pair.first, pair.second)
            for p in usable_prompts(lm, run.dataset, prompt.fact)
            if halves[p.index] != halves[pair.first.index]
        ],
        halves,
    )
    named = {(layer, index) for score in scores.values() for layer, index in (score >= step.NAMED_SHARE).nonzero().tolist()}
    own = sets[step.OWN]
    assert own == sorted({(0, pair.first.fact.index), (0, pair.second.fact.index), (2, 40)})
    taken = []
    for (layer, index), found in zip(own, sets[step.MATCHED], strict=True):
        free = [i for i in range(lm.n_neurons) if (layer, i) not in {*own, *named, *taken}]
        change = (one - two)[layer]
        assert found == (layer, min(free, key=lambda i: (abs(float(change[i] - change[index])), i)))
        taken.append(found)
    for size, name in step.STRONGEST.items():
        best = {
            tuple(place)
            for score in scores.values()
            for place in (score >= score.flatten().sort(descending=True).values[size - 1]).nonzero().tolist()
        }
        assert set(sets[name]) == best


def test_a_relation_without_a_pair_has_an_empty_table(done):
    lm, run, _ = done
    exchange_states(lm, run, "P30", n_pairs=2)
    table = run.read("how_much_passes", ["P30"])
    assert table.empty
    with pytest.raises(NothingToShowError, match="no two known facts"):
        numbers.shares(table, seed=0)


# ---- statistics on numbers made by hand


def table_of(shares, relations=4, total=10.0):
    """The table in which so much (%) passes through each kind of states, in two pairs of each relation; the second has twice the total."""
    rows = [
        (
            f"P{relation}",
            fact,
            0,
            1 - fact,
            pair,
            name,
            layer,
            3,
            0.0,
            share / 100 * total * (1 + pair),
            total * (1 + pair),
            "fact",
        )
        for relation in range(relations)
        for pair in range(2)
        for fact in range(2)
        for (name, layer), share in shares.items()
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


SITES = {(name, 0): 0.0 for name in (step.OWN, step.MATCHED, step.OTHERS, step.ALL_NEURONS, step.AT_SUBJECT, step.ONE_ATTENTION)}


def test_a_share_is_a_ratio_of_sums_in_a_relation_and_a_mean_over_relations():
    table = table_of({(step.OWN, 0): 30.0}, relations=2)
    table.loc[0, "log_odds_after"] = 10.0  # P0: 10 + 3 + 6 + 6 of 10 + 10 + 20 + 20
    found = numbers.shares(table, seed=0).iloc[0]
    assert found["value"] == pytest.approx((100 * 25 / 60 + 30) / 2)
    assert found["low"] < found["value"] < found["high"]
    assert (found["pairs"], found["neurons"], found["fact"], found["source"]) == (4, 3, 100, 0)


def test_pairs_without_some_states_do_not_count_for_them():
    table = table_of({(step.OWN, 0): 30.0, (step.MATCHED, 0): 10.0}, relations=2)
    table.loc[(table["relation"] == "P0") & (table["pair"] == 0) & (table["states"] == step.OWN), "log_odds_after"] = 10.0
    some = table[~((table["states"] == step.MATCHED) & (table["pair"] == 0))]
    found = numbers.shares(some, seed=0).set_index("states")
    assert found.loc[step.MATCHED, ["value", "pairs"]].tolist() == pytest.approx([10, 2])
    value, *_ = numbers.difference(some, step.OWN, step.MATCHED, seed=0)
    assert value == pytest.approx(20)  # of the second pairs; with all pairs of the first it would be more


@pytest.mark.parametrize("own, state", [(60, SUPPORTED), (40, OPEN), (25, OPEN), (10, CONTRADICTED)])
def test_the_rule(own, state):
    conditions = claims.pass_through({"how_much_passes": table_of(SITES | {(step.OWN, 0): own})}, 0)
    assert [one.role for one in conditions] == [CLAIM, CONTROL, CONTROL, SHOWN, SHOWN, SHOWN]
    assert conditions[0].state == state and conditions[0].required == "above 50 (contradicted below 20)"
    assert (conditions[0].n, conditions[0].unit) == (8, "pairs of 4 relations")
    assert [one.value for one in conditions[1:3]] == pytest.approx([own, own])


def test_the_share_of_knowledge_neurons_in_that_of_all_neurons():
    table = table_of({(step.OWN, 0): 5.0, (step.ALL_NEURONS, 0): 20.0, (step.ALL_NEURONS, 1): 10.0, (step.MATCHED, 0): 90.0})
    assert numbers.of_all_neurons(table, seed=0) == pytest.approx((25, 25, 25))


def test_names_units_and_numbers_of_the_states_that_are_taken_over():
    table = table_of(SITES)
    table.loc[table["states"] == step.ALL_NEURONS, "neurons"] = 9216
    table.loc[(table["states"] == step.OWN) & (table["pair"] == 0), "neurons"] = 4
    shown = numbers.named_table(numbers.shares(table, 0))
    assert shown.columns[1:5].tolist() == ["neurons", "answer: the source's (%)", "answer: its own (%)", "answer: another (%)"]
    places = [numbers.NAMES[name] for name in (step.OWN, step.MATCHED, step.ALL_NEURONS)]
    assert shown.loc[places, "neurons"].tolist() == ["3.50", "3", "9,216"]


def test_relations_without_a_pair_are_counted():
    table = table_of(SITES, relations=2)
    assert numbers.without_pairs(table, ["P0", "P1"]) == ""
    assert numbers.without_pairs(table, ["P0", "P1", "P2"]).startswith(" Without a pair: 1 of 3 relations, since no two of their")


def test_the_unit_follows_a_share_without_an_interval():
    found = numbers.shares(table_of(SITES), 0).assign(low=float("nan"), high=float("nan"))
    assert "0.00 % (no interval) through all neurons there" in numbers.finding(found)


def test_the_figure_shows_every_estimate_and_no_line_through_its_number():
    table = table_of(SITES | {(step.OWN, 0): -20.0, (step.AT_SUBJECT, 0): 130.0, (step.NOTHING, 0): 0.0})
    [axis] = plot_shares(numbers.shares(table, 0), "title").axes
    assert axis.get_xlim() == pytest.approx((-28, 138))
    highest = max(line.get_zorder() for line in axis.lines)
    for text in axis.texts:
        assert text.get_zorder() > highest and text.get_bbox_patch().get_facecolor() == (1, 1, 1, 1)


# ---- models in which the truth is known


@pytest.mark.parametrize("carrier, state", [("neurons", SUPPORTED), ("attention", CONTRADICTED)])
def test_a_fact_in_three_neurons_is_there_and_one_carried_by_attention_is_elsewhere(carrier, state, tmp_path):
    lm, run = planted_run(tmp_path, carrier)
    assert run.read("prompts", ["P36"])["correct"].all()
    exchange_states(lm, run, "P36", n_pairs=2)
    table = run.read("how_much_passes", ["P36"])
    claim, *controls = claims.pass_through({"how_much_passes": table}, 0)[:3]
    assert claim.state == state, claim
    share = numbers.whole(numbers.shares(table, 0))["value"]
    expected = 100 if carrier == "neurons" else 0
    assert share[[step.OWN, step.ALL_NEURONS]].to_numpy() == pytest.approx(expected, abs=5)
    assert share[[step.OTHERS, step.MATCHED]].to_numpy() == pytest.approx(0, abs=5)
    assert share[step.ALL_ATTENTION] == pytest.approx(100, abs=0.1)
    if carrier == "neurons":
        assert [control.state for control in controls] == [SUPPORTED, SUPPORTED]


# ---- what the notebook shows


def test_the_finding_and_the_figures_show_the_shares(done):
    lm, run, table = done
    found = numbers.shares(table, 0)
    rows = numbers.whole(found)
    assert list(rows.index) == list(numbers.NAMES)
    last = found[(found["states"] == step.ONE_ATTENTION) & (found["layer"] == lm.n_layers - 1)].iloc[0]
    assert rows.loc[step.ONE_ATTENTION, "value"] == last["value"]
    assert f"{last['source']:.0f} % of {2 * last['pairs']:.0f} cases" in numbers.finding(found)
    [axis] = plot_shares(found, "title").axes
    drawn = [line.get_xdata()[0] for line in axis.lines if line.get_marker() not in ("None", None, "")]
    assert drawn == pytest.approx(rows["value"].drop(step.NOTHING).tolist())
    [axis] = plot_layers(found, "title").axes
    subject = next(line for line in axis.lines if "subject" in str(line.get_label()))
    assert list(subject.get_xdata()) == [1, 2, 3]
    assert list(subject.get_ydata()) == found[found["states"] == step.AT_SUBJECT].sort_values("layer")["value"].tolist()
    assert numbers.named_table(found).shape == (len(rows), 6)
    one, two = numbers.first_pair(lm, run, table)
    assert (one.fact.index, two.fact.index, one.index) == tuple(table.loc[0, ["fact", "source", "prompt"]])
