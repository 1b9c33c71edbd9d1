"""Log-odds of the target token, ln(P / (1 - P)), the main measure of effects; and means over prompts, facts and relations."""

import numpy as np
import pandas as pd

from kn_utils.store.runs import FACT_KEY

SMALLEST, LARGEST = float(np.finfo(np.float32).tiny), 1 - 2**-24  # of a probability from a float32 softmax


def log_odds(probability: np.ndarray) -> np.ndarray:
    """Return ln(P / (1 - P)), with P limited to what a float32 softmax can tell from 0 and 1."""
    limited = np.clip(np.asarray(probability, float), SMALLEST, LARGEST)
    return np.log(limited) - np.log1p(-limited)


def log_odds_change(table: pd.DataFrame) -> pd.Series:
    """Return the change of log-odds of each row."""
    return table["log_odds_after"].astype(float) - table["log_odds_before"].astype(float)


def fact_changes(table: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    """Return the mean change of log-odds over the prompts of each fact (rows relation, fact), for each value of `columns`."""
    keys = [*FACT_KEY, *columns]
    return log_odds_change(table).groupby([table[name] for name in keys], sort=False).mean().unstack(columns)
