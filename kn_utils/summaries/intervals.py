"""Tables of estimates with their intervals, as notebooks show them."""

from collections.abc import Sequence

import pandas as pd


def side_by_side(table: pd.DataFrame, rows: Sequence[str], columns: Sequence[str], digits: int = 1) -> pd.DataFrame:
    """Return "value [low, high]" in the cell of each row and column; `table` has the columns value, low, high and those named."""
    text = [f"{row.value:,.{digits}f} [{row.low:,.{digits}f}, {row.high:,.{digits}f}]" for row in table.itertuples()]
    index = pd.MultiIndex.from_frame(table[[*rows, *columns]])
    return pd.Series(text, index=index).unstack(list(columns), sort=False)
