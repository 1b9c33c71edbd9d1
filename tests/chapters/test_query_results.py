"""Notebook 09's own tables."""

import pandas as pd
import pytest

from kn_utils.chapters.query_results.numbers import growth, named_growth, published_minutes
from kn_utils.store.published import PublishedResults


def test_growth_is_shown_in_words_and_units():
    rows = pd.DataFrame([("layers", 8, layers, 64, 1, 24, 20.0 * layers**2, layers**2 / 4) for layers in (2, 4)])
    rows.columns = ["axis", "facts", "layers", "hidden", "workers", "prompts", "gflop", "seconds"]
    shown = named_growth(growth(rows.assign(loaded_mb=480.4, peak_memory_mb=1522.6)))
    first, second = shown.to_dict("records")
    assert second == {
        "what grows": "layers",
        "facts": 8,
        "layers": 4,
        "workers": 1,
        "seconds": 4,
        "ms per prompt": 167,
        "exponent of time": pytest.approx(2),
        "exponent of work": pytest.approx(2),
        "GFLOP/s": 80,
        "memory before (MB)": 480,
        "peak memory (MB)": 1523,
    }
    assert pd.isna(first["exponent of time"]) and all(shown[name].dtype == int for name in ("GFLOP/s", "peak memory (MB)"))


def test_the_minutes_of_published_results_are_those_in_their_provenance():
    starter = PublishedResults("starter", "starter")
    table = published_minutes([starter])
    assert list(table.columns) == ["starter / starter, 1,512 facts, 14,943 prompts"]
    made = starter.provenance("erase_dose")
    assert table.loc["07"].item() == pytest.approx(sum(made[relation]["seconds"] for relation in starter.relations) / 60)
    assert list(table.index) == ["01", "02", "03", "04", "06", "07", *map(str, range(12, 18))] and (table > 0).all(axis=None)
