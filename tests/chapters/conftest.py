"""Intervals of chapters' numbers are made from few resamples: tests/stats tests how intervals are made."""

import pytest


@pytest.fixture(autouse=True)
def quick_intervals(few_resamples):
    pass
