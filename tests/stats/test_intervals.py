"""Intervals: they cover the truth as often as they say, also with few relations of unequal sizes; and their text."""

import warnings
from functools import partial

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm, t

from kn_utils.stats import intervals
from kn_utils.stats.intervals import (
    RESAMPLES,
    bootstrap_interval,
    interval_of_sums,
    interval_over_relations,
    mean_of_relations,
    nan_mean,
    number,
    prediction_interval,
    side_by_side,
    with_interval,
)
from kn_utils.stats.means import group_means, mean_over_relations

VALUES = np.random.default_rng(0).normal(3, 1, 400)


def mean_of(values):
    return lambda rows, groups: values[rows].mean()


def relation_means(values):
    return lambda rows, groups: np.bincount(groups, values[rows]) / np.bincount(groups)


def recorded(relations, statistic=lambda rows, groups: rows.mean(), **options):
    """The interval, and the rows and groups of every resample."""
    asked = []

    def remember(rows, groups):
        asked.append((np.array(rows), np.array(groups)))
        return statistic(rows, groups)

    return bootstrap_interval(remember, relations, 0, **options), asked[1:]  # the first are all rows, for the estimate


# Simulated studies: relations with effects of their own, unequal sizes, two in five with one or two facts; the truth is known.
# The studies of a design are resampled together: a statistic has a value for each of them, and values are [studies, facts].


def design(draw, relations):
    """The relation of each fact."""
    sizes = draw.integers(3, 31, relations)
    sizes[: 2 * relations // 5] = draw.integers(1, 3, 2 * relations // 5)
    return np.repeat(np.arange(relations), sizes)


def sums(values, rows, groups):
    """The sum of each group, [studies, groups]."""
    order = np.argsort(groups, kind="stable")
    return np.add.reduceat(values[:, rows[order]], np.flatnonzero(np.diff(groups[order], prepend=-1)), axis=1)


def a_mean(draw, groups, studies):
    """The mean of relation means."""
    values = draw.normal(draw.normal(0, 1, (studies, groups.max() + 1))[:, groups], 2)
    return partial(interval_over_relations, lambda rows, drawn: sums(values, rows, drawn) / np.bincount(drawn), join=nan_mean)


def a_ratio(draw, groups, studies):
    """A ratio of means for each relation, averaged over relations."""
    before = draw.beta(0.5, 1, (studies, len(groups)))
    effect = draw.normal(-0.3, 0.2, (studies, groups.max() + 1))[:, groups]
    after = before * (1 + effect + draw.normal(0, 0.3, before.shape))
    changes = lambda rows, drawn: sums(after, rows, drawn) / sums(before, rows, drawn) - 1  # noqa: E731
    return partial(interval_over_relations, changes, join=nan_mean)


def a_share(draw, groups, studies):
    """A share of all facts, whose relations have shares with a beta distribution."""
    shares = draw.beta(2.75, 2.25, (studies, groups.max() + 1))[:, groups]
    counted = np.vstack([draw.random(shares.shape) < shares, np.ones(len(groups))]).T
    return partial(interval_of_sums, lambda sums: sums[..., :-1] / sums[..., -1:], counted)


TRUTH = {a_mean: 0, a_ratio: -0.3, a_share: 0.55}


def coverage(study, relations, studies):
    """The share of studies whose interval holds the truth."""
    draw, inside, designs = np.random.default_rng(relations), 0, 10
    for seed in range(designs):
        groups = design(draw, relations)
        interval = study(draw, groups, studies // designs)
        _, low, high = interval(relations=groups, seed=seed)
        inside += ((low <= TRUTH[study]) & (TRUTH[study] <= high)).sum()
    return inside / studies


@pytest.mark.parametrize("relations", [9, 25, 34])
@pytest.mark.parametrize("study", TRUTH)
def test_intervals_cover_the_truth(study, relations, monkeypatch):
    monkeypatch.setattr(intervals, "RESAMPLES", 249)
    assert 0.92 <= coverage(study, relations, 500) <= 0.975  # a standard error is 0.01


@pytest.mark.endurance
@pytest.mark.parametrize("relations", [9, 25, 34])
@pytest.mark.parametrize("study", TRUTH)
def test_intervals_cover_the_truth_in_93_to_97_of_100_studies(study, relations):
    assert 0.93 <= coverage(study, relations, 1000) <= 0.97


def test_both_levels_resampled_count_the_facts_twice():
    """Relations without effects of their own, and two facts each: the spread is that of the facts, and is counted once."""
    values, relations = np.random.default_rng(3).normal(0, 1, 80), np.repeat(np.arange(40), 2)
    _, low, high = bootstrap_interval(mean_of(values), relations, 0)
    draw = np.random.default_rng(0)
    both = [values[2 * draw.integers(40, size=(40, 1)) + draw.integers(2, size=(40, 2))].mean() for _ in range(2000)]
    true_width = 2 * 1.96 / np.sqrt(80)
    assert high - low == pytest.approx(true_width, rel=0.2)
    assert np.diff(np.quantile(both, [0.025, 0.975])) > 1.15 * (high - low)


@pytest.mark.parametrize("relations", [2, 3, 9, 34])
def test_the_interval_of_a_mean_over_relations_is_about_students(relations):
    values = VALUES[:relations]
    estimate, low, high = bootstrap_interval(mean_of(values), range(relations), 1)
    half = t.ppf(0.975, relations - 1) * values.std(ddof=1) / np.sqrt(relations)
    assert estimate == values.mean()
    assert (high - low) / 2 == pytest.approx(half, rel=0.3 if relations < 9 else 0.12)


def test_a_relation_that_is_drawn_twice_is_two_groups():
    relations = np.array(["P36", "P101", "P36", "P3", "P36", "P101"])
    (estimate, *_), resamples = recorded(relations)
    assert estimate == 2.5 and len(resamples) == RESAMPLES
    twice = 0
    for rows, groups in resamples:
        members = [tuple(sorted(rows[groups == group])) for group in range(3)]
        assert groups.max() == 2 and set(members) <= {(0, 2, 4), (1, 5), (3,)}
        twice += len(set(members)) < 3
    assert twice / RESAMPLES == pytest.approx(1 - 6 / 27, abs=0.05)


def test_of_one_relation_its_facts_are_resampled():
    values = VALUES[:50]
    (estimate, low, high), resamples = recorded(["P36"] * 50, mean_of(values))
    assert all(len(rows) == 49 and not groups.any() for rows, groups in resamples)
    half = t.ppf(0.975, 49) * values.std(ddof=1) / np.sqrt(50)
    assert estimate == values.mean() and (high - low) / 2 == pytest.approx(half, rel=0.1)


def test_relations_count_by_their_size():
    relations = np.repeat(np.arange(10), [91, 1, 1, 1, 1, 1, 1, 1, 1, 1])
    values = np.random.default_rng(1).normal(0, 1, 100)
    (estimate, *ends), resamples = recorded(relations, mean_of(values))
    quantiles = np.quantile([values[rows].mean() for rows, _ in resamples], [0.025, 0.975])
    stretch = t.ppf(0.975, 1) / norm.ppf(0.975) * np.sqrt(2)  # fewer than two effective relations count as two
    assert ends == pytest.approx(estimate + stretch * (quantiles - estimate))


@pytest.mark.parametrize("relations", [1, 2, 7])
def test_of_sums_the_interval_is_that_of_any_statistic(relations):
    values, of = np.random.default_rng(1).normal(2, 1, (30, 3)), np.arange(30) % relations

    def ratios(sums):
        return np.stack([sums[..., 0] / sums[..., 1], sums[..., 2]], axis=-1)

    fast = interval_of_sums(ratios, values, of, 5, (0.8, 90))
    slow = bootstrap_interval(lambda rows, _: ratios(values[rows].sum(axis=0)), of, 5, (0.8, 90))
    for ours, others in zip(fast, slow, strict=True):
        np.testing.assert_allclose(ours, others, rtol=1e-12)


@pytest.mark.parametrize("relations", [1, 2, 7])
def test_relations_of_equal_weights_are_drawn_with_all_their_rows(relations, monkeypatch):
    """Against plain code: one resample after another, and Student's t for its spread."""
    monkeypatch.setattr(intervals, "ROWS_AT_ONCE", 1000)
    values, of, draw = np.random.default_rng(1).normal(2, 1, 30), np.arange(30) % relations, np.random.default_rng(5)
    found = []
    for _ in range(RESAMPLES):
        if relations == 1:
            found.append(values[draw.integers(30, size=29)].mean())
        else:
            found.append(np.mean([values[of == drawn].mean() for drawn in draw.integers(relations, size=relations)]))
    estimate, low, high, *_ = mean_of_relations(relation_means(values), of, 5)
    assert estimate == pytest.approx(np.mean([values[of == relation].mean() for relation in range(relations)]))
    freedom, more = (29, 1) if relations == 1 else (relations - 1, np.sqrt(relations / (relations - 1)))
    stretch = t.ppf(0.975, freedom) / norm.ppf(0.975) * more
    assert [low, high] == pytest.approx(estimate + stretch * (np.quantile(found, [0.025, 0.975]) - estimate))


def test_values_may_depend_on_the_relations_that_are_drawn_together():
    """The distance of each relation from the mean of all that are drawn: without spread if one relation is drawn only."""
    values, draw = np.array([1.0, 2, 4]), np.random.default_rng(3)
    estimate, low, high, *_ = mean_of_relations(
        relation_means(values), range(3), 3, among=lambda drawn: abs(drawn - drawn.mean(axis=-1, keepdims=True))
    )
    found = [np.abs(drawn - drawn.mean()).mean() for drawn in (values[draw.integers(3, size=3)] for _ in range(RESAMPLES))]
    assert estimate == pytest.approx((4 / 3 + 1 / 3 + 5 / 3) / 3)
    stretch = t.ppf(0.975, 2) / norm.ppf(0.975) * np.sqrt(3 / 2)
    assert [low, high] == pytest.approx(estimate + stretch * (np.quantile(found, [0.025, 0.975]) - estimate))


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("relations", [["a"], []])
def test_without_two_rows_there_is_no_interval(relations, fast):
    if fast:
        estimate, low, high = interval_of_sums(lambda sums: sums, np.tile([1, 7], (len(relations), 1)), relations, 0)
    else:
        estimate, low, high = bootstrap_interval(lambda rows, _: np.array([len(rows), 7.0 * len(rows)]), relations, 0)
    assert estimate.tolist() == [len(relations), 7 * len(relations)]
    assert np.isnan(low).all() and np.isnan(high).all()


def test_a_statistic_may_be_a_table():
    values = VALUES[:40]
    found = bootstrap_interval(lambda rows, _: np.array([[values[rows].mean(), 1], [2, values[rows].max()]]), range(40), 6)
    alone = bootstrap_interval(mean_of(values), range(40), 6)
    assert [part.shape for part in found] == [(2, 2)] * 3
    assert [part[0, 0] for part in found] == pytest.approx([float(part) for part in alone])
    assert found[1][0, 1] == found[2][0, 1] == 1


def test_the_same_seed_gives_the_same_interval_and_another_another():
    one, again, other = (bootstrap_interval(mean_of(VALUES[:30]), range(30), seed) for seed in (1, 1, 2))
    assert one == again and one[0] == other[0] and one[1:] != other[1:]


def test_resamples_in_which_the_statistic_is_not_a_number_are_left_out():
    def statistic(rows, groups):
        return np.array([rows.mean() if 0 in rows else np.nan, np.nan])

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (estimate, low, high), resamples = recorded(range(6), statistic)
    defined = [rows.mean() for rows, _ in resamples if 0 in rows]
    assert 0.5 * RESAMPLES < len(defined) < 0.8 * RESAMPLES  # 1 - (5/6)^6 = 0.67
    stretch = t.ppf(0.975, 5) / norm.ppf(0.975) * np.sqrt(6 / 5)
    assert [low[0], high[0]] == pytest.approx(2.5 + stretch * (np.quantile(defined, [0.025, 0.975]) - 2.5))
    assert estimate[0] == 2.5 and np.isnan([low[1], high[1]]).all()


def test_too_many_resamples_without_a_value_give_no_interval():
    """A statistic of pairs of relations: of two relations, half of the resamples have no such pair, and the others are all the same."""

    def pairs(rows, groups):
        return rows.mean() if len(set(rows)) > 1 else np.nan

    estimate, low, high = bootstrap_interval(pairs, ["a", "b"], 0)
    assert estimate == 0.5 and np.isnan(low) and np.isnan(high)


def test_ends_are_kept_within_the_possible_values():
    values = np.array([0.0, 0, 100, 100])
    assert bootstrap_interval(mean_of(values), list("abcd"), 0, limits=(0, 100))[1:] == (0, 100)
    assert mean_of_relations(relation_means(values), list("abcd"), 0, (0, 100))[1:] == (0, 100, 0, 100)


def test_a_new_relation_has_students_prediction_interval():
    low, high = prediction_interval(np.array([[1.0, 2, 6, np.nan], [4, np.nan, np.nan, np.nan]]))
    half = 4.302653 * np.sqrt(7) * np.sqrt(1 + 1 / 3)  # mean 3, variance (4 + 1 + 9) / 2
    assert [low[0], high[0]] == pytest.approx([3 - half, 3 + half]) and np.isnan([low[1], high[1]]).all()


def test_new_relations_lie_in_the_prediction_interval():
    draw = np.random.default_rng(4)
    values, new = draw.normal(2, 3, (1000, 9)), draw.normal(2, 3, 1000)
    low, high = prediction_interval(values)
    assert np.mean((low <= new) & (new <= high)) == pytest.approx(0.95, abs=0.02)


def test_a_mean_over_relations_comes_with_both_intervals():
    values, relations = np.array([1.0, 3, 2, 6]), ["a", "a", "b", "c"]
    estimate, low, high, *new = mean_of_relations(relation_means(values), relations, 0)
    assert estimate == pytest.approx(10 / 3) and low < estimate < high
    assert new == pytest.approx(prediction_interval(np.array([2.0, 2, 6])))
    estimate, low, high, *new = mean_of_relations(relation_means(values), ["a"] * 4, 0)
    assert estimate == 3 and low < 3 < high and np.isnan(new).all()


def test_means_of_several_columns_are_those_of_each_alone():
    index = pd.Index(["a", "a", "b", "c"], name="relation")
    table = pd.DataFrame({"one": [1.0, 3, 2, 6], "two": [0.0, 1, 5, 2]}, index)
    both = np.transpose(mean_over_relations(table, 0))
    assert both.tolist() == [list(mean_over_relations(table[name], 0)) for name in table]


def test_means_of_groups_are_over_facts_and_their_intervals_over_relations():
    table = pd.DataFrame({"relation": ["a", "a", "b", "c"], "kind": "x", "value": [1.0, 3, 2, 6]})
    [row] = group_means(table, ["kind"], "value", 0).itertuples(index=False)
    assert (row.kind, row.mean, row.facts) == ("x", 3, 4) and row.low < 3 < row.high


@pytest.mark.parametrize(
    "value, text",
    [
        (0.094, "0.09"),
        (-1.25, "−1.25"),
        (-0.004, "0.00"),
        (-0.0, "0.00"),
        (9.996, "10.0"),
        (-12.34, "−12.3"),
        (12345.67, "12,346"),
        (999_999.7, "1.0·10⁶"),
        (4.3e7, "4.3·10⁷"),
        (-9.96e21, "−1.0·10²²"),
        (6800, "6,800"),
        (np.int64(7), "7"),
        (0, "0"),
        (float("inf"), "inf"),
    ],
)
def test_numbers_are_written_for_people(value, text):
    assert number(value) == text


def test_estimates_are_written_with_their_intervals_or_say_that_there_is_none():
    assert with_interval(-1.5, -2.0, 12.34) == "−1.50 [−2.00, 12.3]"
    assert with_interval(-18.2, -21.3, -15.2, -36.6, 0.2) == "−18.2 [−21.3, −15.2], a new relation: [−36.6, 0.20]"
    assert with_interval(3.0, np.nan, np.nan) == "3.00 (no interval)" and with_interval(np.nan, np.nan, np.nan) == "–"
    rows = [("a", "x", 1.0, 0.5, 1.5), ("b", "x", 2.0, 1.5, np.nan), ("a", "y", 3.0, 2.0, 4e6)]
    table = side_by_side(pd.DataFrame(rows, columns=["row", "column", "value", "low", "high"]), ["row"], ["column"])
    assert table.loc["a"].tolist() == ["1.00 [0.50, 1.50]", "3.00 [2.00, 4.0·10⁶]"] and list(table.columns) == ["x", "y"]
