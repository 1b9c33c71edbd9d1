"""The step of notebook 14 against plain code; its statistics on tables made by hand; and that its rule can come out either way."""

import itertools

import known_facts
import numpy as np
import pandas as pd
import pytest
import torch
from brute_force import probability_at
from scipy.stats import rankdata

from kn_utils.chapters.attribution.table import attribute_relation
from kn_utils.chapters.which_score import claims, numbers
from kn_utils.chapters.which_score.figures import LOOKS, plot_board, plot_costs, plot_curves
from kn_utils.chapters.which_score.table import ABLATIONS, EXACT, SIZES, agreement, compare_scores, draw_prompts, strongest
from kn_utils.model.prompts import Prompt, encode, stack
from kn_utils.model.scores import SCORES
from kn_utils.stats.rule import CLAIM, CONTRADICTED, CONTROL, SUPPORTED
from kn_utils.store.runs import NothingToShowError, Run

RELATIONS = ["P36", "P101"]
KEY = ["relation", "fact", "prompt"]


@pytest.fixture(scope="module", params=["bert", "llama"])
def done(request, loaded, tiny_dataset, tmp_path_factory):
    """A model, its run, and both tables of two relations."""
    lm = loaded(request.param)
    run = Run(lm.name, tiny_dataset, results_dir=tmp_path_factory.mktemp("results"), workers=1)
    for relation in RELATIONS:
        attribute_relation(lm, run, relation)
        compare_scores(lm, run, relation, n_prompts=2, min_probability=0, max_probability=1)
    return lm, run, run.read("which_score", RELATIONS), run.read("score_sets", RELATIONS)


def plain_log_odds(lm, prompt, neurons, values):
    """The log-odds of the object with some neurons of a prompt set to their values, by a hook for each layer."""
    handles = []
    for layer, down in enumerate(lm.downs):

        def ablate(module, args, layer=layer):
            inner = args[0].clone()
            for index in (index for at, index in neurons if at == layer):
                inner.view(-1, lm.n_neurons)[prompt.position, index] = values[layer][index]
            return (inner,)

        handles.append(down.register_forward_pre_hook(ablate))
    with torch.no_grad():
        logits = lm.model(torch.tensor([prompt.ids])).logits[0, prompt.position].double()
    for handle in handles:
        handle.remove()
    others = torch.cat([logits[: prompt.target], logits[prompt.target + 1 :]])
    return float(logits[prompt.target] - others.logsumexp(0))


def plain_means(lm, run, relation):
    """The mean activations over all prompts of a relation (it has fewer facts than would be drawn), prompt by prompt."""
    prompts = [item for item in encode(lm, run.dataset, run.dataset.facts[relation]) if isinstance(item, Prompt)]
    found = [
        [probability_at(lm, torch.tensor(prompt.ids), prompt.position, prompt.target, layer)[1] for layer in range(lm.n_layers)]
        for prompt in prompts
    ]
    return torch.stack([torch.stack(layers) for layers in found]).double().mean(0)


def prompt_at(lm, run, place):
    relation, fact, index = place
    return next(
        item for item in encode(lm, run.dataset, [run.dataset.facts[relation][fact]]) if getattr(item, "index", None) == index
    )


def test_rows_and_columns(done):
    *_, ranks, sets = done
    places = ranks[KEY].drop_duplicates()
    assert places.groupby("relation").size().to_dict() == {"P36": 2, "P101": 2}
    assert not places.duplicated(["relation", "fact"]).any()
    assert len(ranks) == len(places) * len(SCORES) * len(ABLATIONS)
    shared = [*KEY, "score", "ablation"]
    assert list(ranks) == [*shared, "rank_correlation", "recall_4", "recall_20"]
    assert list(sets) == [*shared, "size", "log_odds_before", "log_odds_after"]
    sizes = [size for size in SIZES if size <= 3 * 48]
    assert len(sets) == len(places) * (len(SCORES) + 1) * len(ABLATIONS) * len(sizes) and set(sets["size"]) == set(sizes)
    assert set(sets["score"]) == {*SCORES, EXACT} == set(numbers.NAMES) == {*LOOKS, EXACT}


def test_every_number_of_a_prompt_is_what_plain_code_gives(done):
    lm, run, ranks, sets = done
    place = tuple(ranks[KEY].iloc[0])
    prompt = prompt_at(lm, run, place)
    own_ranks, own_sets = (table[(table[KEY] == place).all(axis=1)] for table in (ranks, sets))
    before = plain_log_odds(lm, prompt, [], None)
    assert own_sets["log_odds_before"].to_numpy() == pytest.approx(before, abs=1e-4)
    values = {"zero": torch.zeros(lm.n_layers, lm.n_neurons), "mean": plain_means(lm, run, place[0])}
    neurons = list(itertools.product(range(lm.n_layers), range(lm.n_neurons)))
    for ablation, value in values.items():
        effect = np.array([before - plain_log_odds(lm, prompt, [neuron], value) for neuron in neurons])
        scores = {name: SCORES[name](lm, stack([prompt], lm.device)).flatten().numpy() for name in ("gradient", "activation")}
        for name, score in scores.items():
            row = own_ranks[(own_ranks["score"] == name) & (own_ranks["ablation"] == ablation)].iloc[0]
            expected = np.corrcoef(rankdata(score), rankdata(effect))[0, 1]
            assert row["rank_correlation"] == pytest.approx(expected, abs=2e-3)
            for size in (4, 20):
                common = set(np.argsort(-score)[:size]) & set(np.argsort(-effect)[:size])
                assert row[f"recall_{size}"] == pytest.approx(len(common) / size)
        for name, score in (scores | {EXACT: effect}).items():
            rows = own_sets[(own_sets["score"] == name) & (own_sets["ablation"] == ablation)].set_index("size")
            for size in (1, 4, 32):
                named = [neurons[index] for index in np.argsort(-score)[:size]]
                expected = plain_log_odds(lm, prompt, named, value)
                assert rows.loc[size, "log_odds_after"] == pytest.approx(expected, abs=1e-4)


def test_prompts_are_drawn_with_the_seed_one_of_a_fact_and_within_the_range(done):
    lm, run, *_ = done
    made = run.read("prompts", ["P36"]).set_index(["fact", "prompt"])["probability"]
    low, high = made.quantile([0.25, 0.75])
    drawn = draw_prompts(lm, run, "P36", 9, low, high)
    assert len(drawn) == len({prompt.fact.index for prompt in drawn}) > 1
    assert all(low <= made[prompt.fact.index, prompt.index] <= high for prompt in drawn)
    assert len({prompt.fact.index for prompt in drawn}) == made[made.between(low, high)].index.get_level_values("fact").nunique()
    assert drawn == draw_prompts(lm, run, "P36", 9, low, high)
    assert set(draw_prompts(lm, run, "P36", 1, 0, 1)) <= {prompt_at(lm, run, ("P36", *place)) for place in made.index}
    assert draw_prompts(lm, run, "P36", 9, 0.999, 1) == []


def test_a_relation_without_a_prompt_in_the_range_has_empty_tables(loaded, tiny_dataset, tmp_path):
    run = Run(loaded("bert").name, tiny_dataset, results_dir=tmp_path, workers=1)
    attribute_relation(loaded("bert"), run, "P36")
    compare_scores(loaded("bert"), run, "P36", min_probability=0.999, max_probability=1)
    sets = run.read("score_sets", ["P36"])
    assert sets.empty and run.read("which_score", ["P36"]).empty
    with pytest.raises(NothingToShowError, match="probability in the range"):
        numbers.differences(sets, "zero", seed=0)


# ---- statistics on numbers made by hand


def test_agreement_of_ranks_and_of_the_strongest():
    effect = torch.arange(24.0).view(2, 12)
    assert agreement(2 * effect + 1, effect) == pytest.approx((1, 1, 1))
    assert agreement(-effect, effect) == pytest.approx((-1, 0, 16 / 20))  # of 24, either 20 have 16 in common
    swapped = effect.clone()
    swapped[1, 11], swapped[0, 0] = 0, 23  # the strongest and the weakest change places
    assert agreement(swapped, effect)[1:] == pytest.approx((3 / 4, 19 / 20))
    assert np.isnan(agreement(torch.zeros(2, 12), effect)[0])


def test_ties_go_by_layer_and_index():
    score = torch.tensor([[1.0, 3, 3], [3, 0, 3]])
    assert strongest(score, 3).tolist() == [[False, True, True], [True, False, False]]


def table_of(drops):
    """The table `score_sets` from {relation: {score: [decrease of the log-odds of each prompt]}}, equal for all sizes and ablations."""
    rows = [
        (relation, fact, 0, score, ablation, size, 0.5, 0.5 - drop)
        for relation, scores in drops.items()
        for score, of_prompts in scores.items()
        for fact, drop in enumerate(of_prompts)
        for ablation in ABLATIONS
        for size in (4, 16, 20)
    ]
    return pd.DataFrame(rows, columns=[*KEY, "score", "ablation", "size", "log_odds_before", "log_odds_after"])


def test_the_joint_share_is_a_ratio_of_sums_in_a_relation_and_a_mean_over_relations():
    sets = table_of(
        {"P1": {EXACT: [1.0, 3.0], "gradient": [1.0, 2.0], "activation": [0.0, 1.0]}}
        | {"P2": {EXACT: [2.0], "gradient": [2.0], "activation": [-1.0]}}
    )
    shares = numbers.curves(sets, "zero", seed=0).set_index(["score", "size"])["value"]
    assert shares["gradient", 4] == pytest.approx((75 + 100) / 2) and shares["activation", 20] == pytest.approx((25 - 50) / 2)
    found = numbers.differences(sets, "mean", seed=0).set_index(["a", "b", "size"])["value"]
    assert found["gradient", "activation", 4] == pytest.approx(100) == -found["activation", "gradient", 4]
    by_probability = numbers.differences(sets, "zero", seed=0, probability=True).set_index(["a", "b", "size"])["value"]

    def drop(decreases):
        return sum(1 / (1 + np.exp(-0.5)) - 1 / (1 + np.exp(decrease - 0.5)) for decrease in decreases)

    expected = drop([1, 2]) / drop([1, 3]) - drop([0, 1]) / drop([1, 3]) + 1 - drop([-1]) / drop([2])
    assert by_probability["gradient", "activation", 20] == pytest.approx(100 * expected / 2)


def test_a_relation_in_which_the_best_neurons_have_no_effect_is_left_out():
    sets = table_of(
        {"P1": {EXACT: [2.0], "gradient": [1.0], "activation": [0.5]}, "P2": {EXACT: [0.0], "gradient": [1.0], "activation": [0]}}
    )
    assert numbers.curves(sets, "zero", seed=0).set_index("score").loc["gradient", "value"].tolist() == pytest.approx([50] * 3)


def ranks_of(sets):
    ranks = sets[(sets["size"] == 4) & (sets["score"] != EXACT)][[*KEY, "score", "ablation"]]
    return ranks.assign(rank_correlation=0.25 + 0.5 * (ranks["fact"] % 2), recall_4=0.75, recall_20=0.6)


def test_the_leaderboard_has_means_over_relations_and_the_area_over_the_logarithm_of_sizes():
    sets = table_of({"P1": {EXACT: [4.0, 4.0], "gradient": [1.0, 1.0]}, "P2": {EXACT: [4.0], "gradient": [2.0]}})
    sets.loc[(sets["size"] == 16) & (sets["score"] == "gradient"), "log_odds_after"] = 0.5 - 4
    board = numbers.leaderboard(ranks_of(sets), sets, "zero", seed=0).set_index(["score", "quantity"])["value"]["gradient"]
    assert board["rank correlation"] == pytest.approx((0.5 + 0.25) / 2)
    assert board["recall, 4 neurons"] == 0.75 and board["recall, 20 neurons"] == pytest.approx(0.6)
    assert board["joint share, 4 neurons (%)"] == pytest.approx((25 + 50) / 2)
    mean = (37.5 + 100) / 2  # between 4 and 16, and between 16 and 20: a straight line from 37.5 to 100 and back
    assert board["area (%)"] == pytest.approx(mean)


# ---- the rule


def study(differences, n=6):
    """Relations in which a score's share is above the others' by the given points at each size, give or take one point."""
    rows = []
    for relation in range(n):
        for size, (released, gradient, activation) in differences.items():
            noise = 0.01 * (-1) ** relation
            named = {"released": released, "controlled": released, "gradient": gradient, "activation": activation}
            shares = {EXACT: 1.0} | {name: share + noise * (name != "released") for name, share in named.items()}
            rows += [
                (f"P{relation}", 0, 0, name, ablation, size, 0, -share)
                for name, share in shares.items()
                for ablation in ABLATIONS
            ]
    return pd.DataFrame(rows, columns=[*KEY, "score", "ablation", "size", "log_odds_before", "log_odds_after"])


def conditions(claim, sets):
    return claim.conditions({"score_sets": sets}, 0)


@pytest.mark.parametrize(
    "at_4, at_20, gradient_wins, released_wins",
    [
        ((0.8, 0.9, 0.2), (0.8, 0.9, 0.2), [True, True], [True, True]),
        ((0.9, 0.8, 0.95), (0.9, 0.8, 0.95), [False, False], [False, False]),  # the other way round
        ((0.9, 0.9, 0.9), (0.9, 0.9, 0.9), [False, False], [False, False]),  # no difference
        ((0.8, 0.9, 0.2), (0.9, 0.8, 0.95), [True, False], [True, False]),  # at one size only
    ],
)
def test_a_score_beats_another_if_it_is_better_at_both_sizes(at_4, at_20, gradient_wins, released_wins):
    sets = study({4: at_4, 20: at_20})
    gradient, released = (conditions(claim, sets) for claim in claims.CLAIMS)
    assert [one.state == SUPPORTED for one in gradient[:2]] == gradient_wins
    assert [one.state == SUPPORTED for one in released[:2]] == released_wins
    beaten = numbers.beats(numbers.differences(sets, "zero", seed=0))
    assert beaten.loc["gradient", "released"] == all(gradient_wins) and beaten.loc["released", "activation"] == all(released_wins)
    assert beaten.loc["activation", "released"] == (at_4[2] > at_4[0] and at_20[2] > at_20[0])
    assert not np.diag(beaten).any()


def test_the_claims_name_both_sizes_both_ablations_and_every_score_they_compare():
    sets = study({4: (0.8, 0.9, 0.2), 20: (0.8, 0.9, 0.2)})
    gradient, released = (conditions(claim, sets) for claim in claims.CLAIMS)
    assert len(gradient) == 2 * 2 * 2 and len(released) == 2 * 2
    assert [one.role for one in gradient] == [CLAIM] * 2 + [CONTROL] * 6 and [one.role for one in released] == [CLAIM] * 2 + [
        CONTROL
    ] * 2
    assert gradient[0].value == pytest.approx(10) and (gradient[0].n, gradient[0].unit) == (6, "prompts of 6 relations")
    assert len({one.contrast for one in (*gradient, *released)}) == len(gradient) + len(released)


def planted_run(folder, biases, vectors):
    """A model in which only the planted neurons are active: a GPT-2 of one layer whose weights are 0 but for unit word embeddings.

    `biases` are the planted neurons' inputs; `vectors` takes the embeddings and the token of Oslo, and returns their value vectors.
    """
    lm = known_facts.blank_model(folder / "planted")
    with torch.no_grad():
        mlp = lm.model.transformer.h[0].mlp
        mlp.c_fc.bias[: len(biases)] = torch.tensor(biases)
        mlp.c_proj.weight[: len(biases)] = vectors(lm.embeddings, lm.tokenizer(" Oslo")["input_ids"][0])
    run = Run(lm.name, known_facts.dataset(), n_facts=10, results_dir=folder / "results", workers=1)
    attribute_relation(lm, run, "P36")
    return lm, run


def shares_of_four(run):
    return numbers.curves(run.read("score_sets", ["P36"]), "zero", seed=0).query("size == 4").set_index("score")["value"]


def test_where_the_norm_saturates_the_gradient_is_the_worst_score_and_activation_the_best(tmp_path):
    """One very active neuron makes the answer alone: a little more or less of it changes nothing, but without it the answer is lost.

    Twenty weak neurons lower all other answers a little, and have larger gradients.
    """

    def vectors(embeddings, oslo):
        others = (embeddings.sum(0) - embeddings[oslo]) @ (torch.eye(32) - torch.outer(embeddings[oslo], embeddings[oslo]))
        return torch.cat([100 * embeddings[oslo][None], -3 * (others / others.norm()).repeat(20, 1)])

    lm, run = planted_run(tmp_path, [10.0, *[1.0] * 20], vectors)
    compare_scores(lm, run, "P36", n_prompts=3, min_probability=0.05, max_probability=1)
    share = shares_of_four(run)
    assert share["activation"] == pytest.approx(100, abs=1) and share["released"] == pytest.approx(100, abs=1)
    assert share["gradient"] < 50
    gradient, released = (conditions(claim, run.read("score_sets", ["P36"])) for claim in claims.CLAIMS)
    assert gradient[0].state == CONTRADICTED and released[0].state != SUPPORTED


def test_where_the_most_active_neurons_do_nothing_activation_is_the_worst_score(tmp_path):
    """Twenty very active neurons have no value vector; four weak ones raise the object."""

    def vectors(embeddings, oslo):
        return torch.cat([torch.zeros(20, embeddings.shape[1]), embeddings[oslo].repeat(4, 1)])

    lm, run = planted_run(tmp_path, [*[10.0] * 20, *[0.5] * 4], vectors)
    compare_scores(lm, run, "P36", n_prompts=3, min_probability=0, max_probability=1)
    share = shares_of_four(run)
    assert share[["gradient", "released", "static_logit"]].to_numpy() == pytest.approx(100, abs=1)
    assert share["activation"] == pytest.approx(0, abs=1)
    gradient, released = (conditions(claim, run.read("score_sets", ["P36"])) for claim in claims.CLAIMS)
    assert released[0].state == SUPPORTED and gradient[0].state != SUPPORTED


# ---- what the notebook shows


def test_times_are_of_every_score_and_positive(done):
    lm, run, ranks, _ = done
    prompt = numbers.prompt_of(lm, run, ranks)
    assert (prompt.fact.relation, prompt.fact.index, prompt.index) == tuple(ranks[KEY].iloc[0])
    seconds = numbers.core_seconds(lm, prompt)
    assert list(seconds.index) == list(SCORES) and (seconds > 0).all()


def test_the_finding_names_the_best_score_and_those_that_beat_others():
    sets = study({4: (0.8, 0.9, 0.2), 20: (0.8, 0.9, 0.2)})
    board = numbers.leaderboard(ranks_of(sets), sets, "zero", seed=0)
    text = numbers.finding(board, numbers.beats(numbers.differences(sets, "zero", seed=0)))
    assert "gradient x activation 90.0 [" in text and "] %; activation (the paper's baseline) 20.0 [" in text
    assert (
        "gradient x activation (3 of 3)" in text and "activation (the paper's baseline) (" not in text.partition("rule above")[2]
    )


def test_the_table_of_who_beats_whom_has_dots_or_dashes_and_their_number():
    beaten = numbers.beats(numbers.differences(study({4: (0.8, 0.9, 0.2), 20: (0.8, 0.9, 0.2)}), "zero", seed=0))
    assert numbers.named_beats(beaten).loc["3 gradient x activation"].tolist() == ["●", "●", "–", "●"]
    assert numbers.counted_dots(beaten) == f"Dots: {beaten.to_numpy().sum()} of 12 possible."
    assert (numbers.named_beats(beaten & False) == "–").all(axis=None)
    assert numbers.counted_dots(beaten & False) == "There is no dot: no score beats another here."


def test_figures_show_every_score(done):
    *_, ranks, sets = done
    boards = {ablation: numbers.leaderboard(ranks, sets, ablation, seed=0) for ablation in ABLATIONS}
    first, second = plot_board(boards, "title").axes
    order = boards["zero"].query("quantity == 'joint share, 4 neurons (%)'").sort_values("value", ascending=False)["score"]
    assert [label.get_text() for label in first.get_yticklabels()] == [numbers.NAMES[name] for name in order]
    twenty = boards["mean"].query("quantity == 'joint share, 20 neurons (%)'").set_index("score").loc[order, "value"]
    drawn = [list(line.get_xdata()) for line in second.lines if line.get_label() == "neurons set to their mean"]
    assert drawn == [twenty.tolist()]
    curves = {ablation: numbers.curves(sets, ablation, seed=0) for ablation in ABLATIONS}
    lines = {line.get_label(): list(line.get_ydata()) for line in plot_curves(curves, "title").axes[1].lines}
    expected = curves["mean"].query("score == 'magnitude'")["value"].tolist()
    assert lines[numbers.NAMES["magnitude"]] == expected
    seconds = pd.Series({name: 0.1 * number for number, name in enumerate(SCORES, start=1)})
    points = {line.get_label(): line for line in plot_costs(boards["zero"], seconds, "title").axes[0].lines[:-1]}
    assert points[numbers.NAMES["gradient"]].get_xdata()[0] == seconds["gradient"]
    looks = {name: (LOOKS[name][0], points[numbers.NAMES[name]].get_fillstyle()) for name in SCORES}
    assert len(set(looks.values())) == len(SCORES)  # colour and fill tell all scores apart
    hollow, full = points[numbers.NAMES["log_odds"]], points[numbers.NAMES["released"]]  # which take equally long
    assert hollow.get_fillstyle() == "none" and hollow.get_markersize() > full.get_markersize()


def test_intervals_of_correlations_and_recalls_stay_within_their_limits(done):
    *_, ranks, sets = done
    board = numbers.leaderboard(ranks, sets, "zero", seed=0)
    ends = board[board["quantity"].isin(numbers.RANKS.values())].set_index("quantity")[["low", "high", "new_low", "new_high"]]
    assert ends.loc["rank correlation"].to_numpy().min() >= -1 and ends.to_numpy().max() <= 1
    assert ends.drop("rank correlation").to_numpy().min() >= 0
