"""Knowledge neurons: thresholds, the share of prompts, and the rounds, against values worked out by hand and a plain-Python reading."""

import numpy as np
import pandas as pd
import pytest
from brute_force import plainly_refined
from hypothesis import given, settings
from hypothesis import strategies as st

from kn_utils.chapters.knowledge_neurons.thresholds import Thresholds, refine, shared, strong


def score_table(scores):
    """A table of {(fact, prompt): {(layer, neuron): score}}."""
    rows = [(*asked, *place, score) for asked, found in scores.items() for place, score in found.items()]
    table = pd.DataFrame(rows, columns=["fact", "prompt", "layer", "neuron", "score"])
    return table.astype({"score": "float32"} | dict.fromkeys(("fact", "prompt", "layer", "neuron"), "int32"))


def found(table, *columns):
    return list(zip(*(table[column].tolist() for column in columns or ("fact", "layer", "neuron", "prompts")), strict=True))


def in_prompts(counts, fact=0):
    """The scores of a fact whose neuron n of layer 0 is strong in its first `counts[n]` prompts."""
    return {(fact, k): {(0, n): 1.0 for n, count in enumerate(counts) if k < count} for k in range(max(counts))}


def neurons_of(counts, asked, prompt_share):
    return found(shared(score_table(in_prompts(counts)), pd.Series({0: asked}), prompt_share), "neuron")


def test_a_tie_with_the_threshold_is_strong():
    table = score_table({(0, 0): {(0, 0): 4.0, (1, 5): 2.0, (2, 5): np.nextafter(np.float32(2), np.float32(0))}})
    assert found(strong(table, 0.5), "layer", "neuron") == [(0, 0), (1, 5)]


@pytest.mark.parametrize("score, expected", [(0.2, True), (0.3, True), (0.7, False), (0.9, False)])
def test_float32_scores_are_compared_in_float64(score, expected):
    """As float32, 0.2 and 0.3 lie above their float64 neighbours and 0.7 and 0.9 below; compared in float32 all would be ties."""
    assert np.float32(score) >= np.float32(1) * np.float32(score)
    table = score_table({(0, 0): {(0, 0): 1.0, (0, 1): score}})
    kept = found(strong(table, score), "neuron")
    assert ((1,) in kept) is expected


def test_every_prompt_has_its_own_largest_score():
    table = score_table(
        {
            (0, 0): {(0, 0): 10.0, (0, 1): 1.9},
            (0, 1): {(0, 0): 0.1, (0, 1): 0.03},
            (7, 0): {(0, 0): 1.0, (0, 1): 0.3, (0, 2): 0.1},
        }
    )
    kept = strong(table.sample(frac=1, random_state=0), 0.2).sort_index()
    assert found(kept, "fact", "prompt", "neuron") == [(0, 0, 0), (0, 1, 0), (0, 1, 1), (7, 0, 0), (7, 0, 1)]
    assert kept["score"].dtype == "float32"


@pytest.mark.parametrize(
    "asked, prompt_share, needed",
    [
        (10, 0.7, 7),
        (9, 0.7, 7),  # 6.3
        (4, 0.7, 3),  # 2.8, and 3 is the least
        (8, 0.3, 3),  # 2.4
        (3, 0.0, 3),
        (20, 0.7 - 0.05, 13),  # 0.6499999999999999
        (10, 0.7 + 0.05 + 0.05 + 0.05 + 0.05, 10),  # 0.9000000000000001, so 9 are too few
    ],
)
def test_the_share_of_prompts_and_its_least(asked, prompt_share, needed):
    counts = range(1, asked + 1)
    expected = [(n,) for n, count in enumerate(counts) if count >= needed]
    assert neurons_of(counts, asked, prompt_share) == expected


def test_a_fact_of_two_prompts_never_has_a_neuron():
    assert neurons_of([2, 2, 1], asked=2, prompt_share=0.0) == []


def test_each_fact_has_its_own_number_of_prompts():
    table = score_table(in_prompts([3, 5], fact=1) | in_prompts([3, 4, 5], fact=4))
    kept = shared(table, pd.Series({1: 5, 2: 9, 4: 10}), 0.4)
    assert found(kept) == [(1, 0, 0, 3), (1, 0, 1, 5), (4, 0, 1, 4), (4, 0, 2, 5)]


def test_prompts_without_strong_neurons_count_as_asked():
    assert neurons_of([6, 7], asked=10, prompt_share=0.7) == [(1,)]


def refine_counts(counts, asked=20, facts=1, prompt_share=0.7):
    """The rounds for `facts` facts of which the first has neurons that stand out in `counts` of its prompts."""
    return refine(score_table(in_prompts(counts)), pd.Series(dict.fromkeys(range(facts), asked)), 0.2, prompt_share)


@pytest.mark.parametrize("several", [2, 5])
def test_a_mean_of_two_or_five_stops_in_the_first_round(several):
    refined = refine_counts([20] * several)
    assert found(refined.rounds, "round", "prompt_share", "mean_neurons") == [(1, 0.7, several)]
    assert len(refined.neurons) == several


def test_facts_without_neurons_count_in_the_mean():
    assert refine_counts([20] * 9, facts=3).rounds["mean_neurons"].tolist() == [3]
    assert refine_counts([20] * 3, facts=2).rounds["mean_neurons"].tolist() == [1.5] * 6


def test_too_few_neurons_lower_the_share_until_there_are_two():
    refined = refine_counts([20, 12, 12, 11, 1])
    assert found(refined.rounds, "round", "prompt_share", "mean_neurons") == [
        (1, 0.7, 1),
        (2, 0.7 - 0.05, 1),
        (3, 0.7 - 0.05 - 0.05, 3),
    ]
    assert found(refined.neurons) == [(0, 0, 0, 20), (0, 0, 1, 12), (0, 0, 2, 12)]


def test_too_many_neurons_raise_the_share_until_there_are_five():
    refined = refine_counts([14] * 3 + [15] * 3 + [20] * 4)
    assert found(refined.rounds, "round", "prompt_share", "mean_neurons") == [
        (1, 0.7, 10),
        (2, 0.7 + 0.05, 7),
        (3, 0.7 + 0.05 + 0.05, 4),
    ]
    assert found(refined.neurons, "neuron", "prompts") == [(n, 20) for n in range(6, 10)]


@pytest.mark.parametrize("count, neurons, step", [(1, 1, -0.05), (20, 9, 0.05)])
def test_there_are_six_rounds_at_most_and_the_last_one_evaluated_counts(count, neurons, step):
    shares = [0.7]
    for _ in range(5):
        shares.append(shares[-1] + step)
    refined = refine_counts([20] * (neurons - 1) + [count])
    assert found(refined.rounds, "round", "prompt_share") == list(zip(range(1, 7), shares, strict=True))
    assert shares[-1] != 0.7 + 5 * step  # so it matters that the share is accumulated
    assert len(refined.neurons) == refined.rounds["mean_neurons"].iloc[-1] == (9 if step > 0 else 0)


def test_the_sixth_round_is_the_result_though_a_seventh_would_have_fewer():
    refined = refine_counts([18] * 6 + [20], prompt_share=0.62)  # 18 of 20 are enough for 0.87, not for 0.92
    assert refined.rounds["mean_neurons"].tolist() == [7] * 6
    assert len(refined.neurons) == 7


def test_the_share_can_go_back_and_forth():
    refined = refine_counts([14] * 6 + [15])
    assert refined.rounds["mean_neurons"].tolist() == [7, 1, 7, 1, 7, 1]
    assert found(refined.neurons, "neuron", "prompts") == [(6, 15)]


@pytest.mark.parametrize("facts", [0, 4])
def test_no_scores_give_no_neurons(facts):
    refined = refine(score_table({}), pd.Series(dict.fromkeys(range(facts), 9), dtype="int32"), 0.2, 0.7)
    assert list(refined.neurons.columns) == ["fact", "layer", "neuron", "prompts"]
    assert refined.rounds["mean_neurons"].tolist() == [0] * 6


@st.composite
def relations(draw):
    """Scores of a relation of one to three facts with up to fourteen prompts and nine neurons, and how many prompts each fact has.

    Scores take few values, so that ties with a threshold are common, and neurons tend to be strong in all prompts or in none. One fact and
    one prompt in ten have no scores.
    """
    prompts = draw(st.dictionaries(st.integers(0, 20), st.integers(2, 14), min_size=1, max_size=3))
    values = st.sampled_from([0.1, 0.2, 0.3, 0.5, 0.7, 1.0])
    scores = {}
    for fact, count in prompts.items():
        usual = draw(st.dictionaries(st.tuples(st.integers(0, 2), st.integers(0, 2)), values, min_size=4))
        for prompt in range(count if draw(st.integers(0, 9)) else 0):
            changed = draw(st.dictionaries(st.sampled_from(sorted(usual)), values, max_size=3))
            scores[fact, prompt] = usual | changed if draw(st.integers(0, 9)) else {}
    return scores, prompts


@given(relations(), st.sampled_from([0.1, 0.2, 0.3, 0.5, 0.7]), st.sampled_from([0.3, 0.5, 0.6, 0.7, 0.9, 1.0]))
@settings(max_examples=120, deadline=None)
def test_refine_does_what_a_plain_reading_of_the_method_does_whatever_the_order_of_scores(relation, score_share, prompt_share):
    scores, prompts = relation
    kept, rounds = plainly_refined(scores, prompts, score_share, prompt_share)
    shuffled = score_table(scores).sample(frac=1, random_state=0)
    refined = refine(shuffled, pd.Series(prompts), score_share, prompt_share)
    assert found(refined.rounds, "round", "prompt_share", "mean_neurons") == rounds
    expected = sorted((fact, *place) for fact, places in kept.items() for place in places)
    assert found(refined.neurons, "fact", "layer", "neuron") == expected


def test_thresholds_are_the_papers_unless_others_are_given():
    assert Thresholds() == Thresholds(attribution=0.2, activation=0.5, prompt_share=0.7)
    Thresholds(0.1, 1, 0), Thresholds(1.0, 0.1, 1)  # the ends of the ranges, whole numbers too
