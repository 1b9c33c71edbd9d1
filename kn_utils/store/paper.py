"""The paper's values, in `data/published/paper.csv`; ours are in `kn_utils.store.published`."""

import pandas as pd

from kn_utils.paths import DATA


def paper_values() -> pd.DataFrame:
    """Return the paper's values, indexed by `id`; the column `checked` tells whether a second source confirms the value."""
    return pd.read_csv(DATA / "published" / "paper.csv", index_col="id")


def beside_paper(ours: dict[str, tuple[float, float, float, int]]) -> pd.DataFrame:
    """Return a table of the paper's values and ours: columns quantity, unit, paper, checked, here, low, high, facts.

    `ours` maps the id of a value to (estimate, low, high, number of facts).
    """
    rows = pd.DataFrame.from_dict(ours, orient="index", columns=["here", "low", "high", "facts"])
    paper = paper_values().loc[rows.index, ["quantity", "unit", "value", "checked"]].rename(columns={"value": "paper"})
    return paper[["quantity", "unit", "paper", "checked"]].join(rows)
