"""Bootstrap intervals: they cover what they should, resample within strata alone, and are the same for the same seed."""

import warnings

import numpy as np
import pandas as pd
import pytest
from scipy.stats import bootstrap, norm

from kn_utils.stats.intervals import RESAMPLES, bootstrap_interval, side_by_side, with_interval

VALUES = np.random.default_rng(0).normal(3, 1, 400)


def mean_of(values):
    return lambda rows: values[rows].mean()


def recorded(strata, statistic=lambda rows: rows.sum(), seed=0):
    """The interval, and the rows of every resample that the statistic was asked for."""
    asked = []

    def remember(rows):
        asked.append(np.array(rows))
        return statistic(rows)

    return bootstrap_interval(remember, strata, seed), asked[1:]  # the first are all rows, for the estimate


def test_the_interval_lies_around_the_estimate_and_shrinks_with_the_square_root_of_the_rows():
    widths = []
    for n in (25, 100, 400):
        estimate, low, high = bootstrap_interval(mean_of(VALUES[:n]), [0] * n, seed=1)
        assert estimate == VALUES[:n].mean()
        assert low < estimate < high
        assert high - low == pytest.approx(2 * 1.96 * VALUES[:n].std() / np.sqrt(n), rel=0.15)
        widths.append(high - low)
    assert widths[0] > widths[1] > widths[2]


def test_most_intervals_hold_the_true_mean():
    draw, inside = np.random.default_rng(5), 0
    for seed in range(60):
        values = draw.normal(3, 1, 40)
        _, low, high = bootstrap_interval(mean_of(values), [0] * 40, seed)
        inside += low <= 3 <= high
    assert 52 <= inside < 60  # 57 is 95 % of 60


def test_one_stratum_is_scipys_bootstrap():
    values = VALUES[:50] ** 2
    _, low, high = bootstrap_interval(mean_of(values), ["all"] * 50, seed=3)
    expected = bootstrap((values,), np.mean, n_resamples=20000, method="percentile", rng=np.random.default_rng(4))
    width = values.std() / np.sqrt(50)
    assert low == pytest.approx(expected.confidence_interval.low, abs=0.25 * width)
    assert high == pytest.approx(expected.confidence_interval.high, abs=0.25 * width)


def test_every_resample_has_as_many_rows_of_each_stratum():
    strata = np.array(["P36", "P101", "P36", "P3", "P36", "P101", "P7", "P36"])
    (estimate, _, _), resamples = recorded(strata)
    assert estimate == 0 + 1 + 2 + 3 + 4 + 5 + 6 + 7
    assert len(resamples) == RESAMPLES
    for rows in resamples:
        assert sorted(strata[rows]) == sorted(strata)
        assert {3, 6} <= set(rows.tolist())  # the only rows of P3 and P7
    assert any(len(set(rows.tolist())) < len(rows) for rows in resamples)
    for row in (0, 1, 2, 4, 5, 7):
        assert np.mean([np.count_nonzero(rows == row) for rows in resamples]) == pytest.approx(1, abs=0.15)


def test_what_differs_between_strata_alone_has_no_width():
    values = np.array([1.0, 1, 1, 50, 50, 900])
    estimate, low, high = bootstrap_interval(mean_of(values), list("aaabbc"), seed=0)
    assert low == estimate == high == values.mean()


def test_strata_of_one_row_add_to_the_statistic_but_not_to_its_spread():
    values = np.append(VALUES[:30], [100, 200])
    _, low, high = bootstrap_interval(lambda rows: values[rows].sum(), ["a"] * 30 + ["b", "c"], seed=2)
    _, low_alone, high_alone = bootstrap_interval(lambda rows: values[rows].sum(), ["a"] * 30, seed=2)
    assert (low - 300, high - 300) == pytest.approx((low_alone, high_alone))


@pytest.mark.parametrize("strata", [["a"], ["a", "b", "c"], []])
def test_without_two_rows_of_one_stratum_there_is_no_interval(strata):
    estimate, low, high = bootstrap_interval(lambda rows: np.array([len(rows), 7.0]), strata, seed=0)
    assert estimate.tolist() == [len(strata), 7]
    assert np.isnan(low).tolist() == np.isnan(high).tolist() == [True, True]


def test_a_statistic_of_several_values_has_an_interval_for_each():
    values, strata = VALUES[:40], [0] * 15 + [1] * 24 + [2]
    several = bootstrap_interval(lambda rows: np.array([values[rows].mean(), len(rows), values[rows].max()]), strata, seed=6)
    for place, statistic in enumerate((mean_of(values), len, lambda rows: values[rows].max())):
        alone = bootstrap_interval(statistic, strata, seed=6)
        assert [part[place] for part in several] == pytest.approx([float(part) for part in alone])
    assert [part.shape for part in several] == [(3,)] * 3
    assert several[1][1] == several[2][1] == 40


def test_a_statistic_may_be_a_table():
    parts = bootstrap_interval(lambda rows: np.array([[rows.mean(), 1], [2, 3], [4, rows.max()]]), [0] * 9, seed=6)
    estimate, low, high = parts
    assert [part.shape for part in parts] == [(3, 2)] * 3
    assert estimate.tolist() == [[4, 1], [2, 3], [4, 8]]
    assert (low <= estimate).all() and (estimate <= high).all() and low[0, 0] < 4 < high[0, 0]


def test_the_same_seed_gives_the_same_interval_and_another_another():
    one, again, other = (bootstrap_interval(mean_of(VALUES[:30]), [0] * 30, seed) for seed in (1, 1, 2))
    assert one == again
    assert one[0] == other[0] and one[1:] != other[1:]


def bias_corrected(estimate, resampled):
    """Efron's interval, by the book: the levels of a normal distribution moved twice by the bias."""
    resampled = np.array(resampled)
    bias = norm.ppf((resampled < estimate).mean() + (resampled == estimate).mean() / 2)
    return np.quantile(resampled, norm.cdf([2 * bias + norm.ppf(0.025), 2 * bias + norm.ppf(0.975)]))


def test_the_interval_is_corrected_for_the_bias_of_ratios():
    """The mean of twenty relations' ratios, in each of which one fact has most of the weight: most resamples lie below it."""
    before, after = np.tile([0.3, 0.1, 0.1, 0.1, 0.1], 20), np.tile([0.26, 0.04, 0.05, 0.06, 0.05], 20)
    relations = np.repeat(range(20), 5)

    def change(rows):
        return np.mean(np.bincount(relations[rows], after[rows]) / np.bincount(relations[rows], before[rows]) - 1)

    (estimate, low, high), resamples = recorded(relations, change, seed=3)
    found = np.array([change(rows) for rows in resamples])
    assert 0.7 < (found < estimate).mean() < 0.95
    assert [low, high] == pytest.approx(bias_corrected(estimate, found))
    assert low < estimate < high and low > np.quantile(found, 0.025)


def test_resamples_in_which_the_statistic_is_not_a_number_are_left_out():
    """A ratio whose denominator can vanish: kept where row 0 was drawn, whose resamples the interval is then of."""

    def statistic(rows):
        return np.array([rows.mean() if 0 in rows else np.nan, rows.mean()])

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (estimate, low, high), resamples = recorded([0] * 6, statistic, seed=8)
    defined = [rows.mean() for rows in resamples if 0 in rows]
    assert 0.5 * RESAMPLES < len(defined) < 0.8 * RESAMPLES  # 1 - (5/6)^6 = 0.67
    assert [low[0], high[0]] == pytest.approx(bias_corrected(estimate[0], defined))
    assert [low[1], high[1]] == pytest.approx(np.quantile([rows.mean() for rows in resamples], [0.025, 0.975]))
    assert estimate.tolist() == [2.5, 2.5]


def test_estimates_are_written_with_their_intervals_or_say_that_there_is_none():
    assert with_interval(-1.5, -2, 12.34) == "−1.50 [−2.00, 12.3]"
    assert with_interval(3, np.nan, np.nan) == "3.00 (no interval)" and with_interval(np.nan, np.nan, np.nan) == "–"
    rows = [("a", "x", 1.0, 0.5, 1.5), ("b", "x", 2.0, 1.5, np.nan), ("a", "y", 3.0, 2.0, 4e6)]
    table = side_by_side(pd.DataFrame(rows, columns=["row", "column", "value", "low", "high"]), ["row"], ["column"])
    assert table.loc["a"].tolist() == ["1.00 [0.50, 1.50]", "3.00 [2.00, 4.0e+06]"] and list(table.columns) == ["x", "y"]
