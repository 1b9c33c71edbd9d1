"""The values the paper reports, kept apart from ours in one file, `data/published/paper.csv`."""

import pandas as pd

from kn_utils.paths import DATA


def published() -> pd.DataFrame:
    """Return the published values, indexed by `id`, with the paper's section and whether a second source confirms each ("checked")."""
    return pd.read_csv(DATA / "published" / "paper.csv", index_col="id")
