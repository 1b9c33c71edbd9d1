"""How tables look: headers in words, full names of methods, rounded numbers, escaped HTML."""

import re
from html import escape

import pandas as pd
from pandas.io.formats.style import Styler

from kn_utils.plots.style import NAMES

FROM_CODE = re.compile(r"[a-z]+(_[a-z0-9]+)+")


def styled_table(table: pd.DataFrame, precision: int = 2, caption: str = "") -> Styler:
    """Return a table for display, with an index that has a name as its first columns, one row of headers, and a caption of plain text."""
    flat = without_negative_zeros(with_plain_headers(table), precision)
    texts = [name for name, dtype in zip(flat.columns, flat.dtypes, strict=True) if not pd.api.types.is_numeric_dtype(dtype)]
    shown = flat.style.format(precision=precision, thousands=",", na_rep="–", escape="html").hide(axis="index")
    shown = shown.set_properties(subset=texts, **{"text-align": "left", "white-space": "pre-line"})
    shown = shown.format_index(escape="html", axis="columns")
    return shown.set_caption(escape(caption)) if caption else shown


def without_negative_zeros(table: pd.DataFrame, precision: int) -> pd.DataFrame:
    """Return a table whose numbers that round to zero are zero, so that none is shown as -0.00."""
    shown = table.copy()
    for place, dtype in enumerate(table.dtypes):
        if pd.api.types.is_float_dtype(dtype):
            values = table.iloc[:, place]
            shown.isetitem(place, values.mask(values.round(precision) == 0, 0.0))
    return shown


def with_plain_headers(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table whose index, if it is not a range, is among its columns, and whose headers are words; methods get their names."""
    names = [str(name or "") for name in table.index.names]
    numbered = isinstance(table.index, pd.RangeIndex)
    flat = table.copy() if numbered else table.set_axis(table.index.set_names(names)).reset_index(allow_duplicates=True)
    flat.columns = [header(name) for name in flat.columns]
    return flat.replace({name: NAMES for name in ("method", "neurons by") if name in flat})


def header(name: object) -> str:
    """Return the name of a column for readers: levels below each other, and names from code in words."""
    levels = [str(level) for level in (name if isinstance(name, tuple) else (name,))]
    return "\n".join(level.replace("_", " ") if FROM_CODE.fullmatch(level) else level for level in levels if level)
