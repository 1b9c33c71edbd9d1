"""Notebook 09's own tables."""

import pandas as pd
import pytest

from kn_utils.chapters.query_results.numbers import growth, named_growth


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
