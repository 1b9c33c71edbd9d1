"""The values the paper reports, kept apart from ours in one file, `data/published/paper.csv`."""

import pandas as pd

from kn_utils.paths import DATA


def published() -> pd.DataFrame:
    """Return the published values, indexed by `id`, with the paper's section and whether a second source confirms each ("checked")."""
    return pd.read_csv(DATA / "published" / "paper.csv", index_col="id")


def beside_paper(ours: dict[str, tuple[float, float, float, int]]) -> pd.DataFrame:
    """Return published values with ours beside them.

    `ours` maps a value's id to (estimate, low, high, number of facts). Columns quantity, unit, paper, checked, here, low, high, facts.
    """
    rows = pd.DataFrame.from_dict(ours, orient="index", columns=["here", "low", "high", "facts"])
    paper = published().loc[rows.index, ["quantity", "unit", "value", "checked"]].rename(columns={"value": "paper"})
    return paper[["quantity", "unit", "paper", "checked"]].join(rows)
