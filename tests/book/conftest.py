"""A browser for the tests of pages, and quick intervals for tests that run notebooks."""

import shutil

import pytest

from kn_utils.report.side_by_side import _judged_published
from kn_utils.stats import intervals

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "google-chrome"))), None)  # Playwright's own are not downloaded


@pytest.fixture(scope="module")
def browser():
    if not CHROMIUM:
        pytest.skip("there is no chromium or google-chrome")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def few_resamples(monkeypatch):
    """Intervals are made from few resamples, and verdicts with such intervals are not kept for other tests."""
    monkeypatch.setattr(intervals, "RESAMPLES", 99)
    _judged_published.cache_clear()
    yield
    _judged_published.cache_clear()
