"""Tables for display: headers in words, one row of them, none empty; and text of the data stays text."""

import re

import numpy as np
import pandas as pd
import pytest

from kn_utils.plots.tables import header, styled_table, with_plain_headers
from kn_utils.report import tables


def headers(styler) -> list[str]:
    return re.findall(r"<th[^>]*>([^<]*)</th>", styler.to_html())


@pytest.mark.parametrize(
    "name, shown",
    [
        ("mean_score", "mean score"),
        ("facts", "facts"),
        ("my_model on Data_1", "my_model on Data_1"),
        (("starter on pararel", "mean_score"), "starter on pararel\nmean score"),
        (6, "6"),
    ],
)
def test_headers_are_words(name, shown):
    assert header(name) == shown


def test_a_table_has_one_row_of_headers_and_its_named_index_is_a_column():
    index = pd.MultiIndex.from_tuples([("attribution", "P36"), ("random", "P19")], names=["method", "relation"])
    table = pd.DataFrame({"mean_score": [1.0, np.nan]}, index=index).rename_axis(columns="ignored")
    assert headers(styled_table(table)) == ["method", "relation", "mean score"]
    assert with_plain_headers(table)["method"].tolist() == ["integrated gradients", "random neurons"]
    cells = re.findall(r"<td[^>]*>([^<]*)</td>", styled_table(table, precision=1).to_html())
    assert cells == ["integrated gradients", "P36", "1.0", "random neurons", "P19", "–"]
    assert table.columns.tolist() == ["mean_score"]  # the table itself is as it was


def test_levels_of_columns_are_lines_of_one_header():
    table = pd.concat({"ours": pd.DataFrame({"a_b": [1]}), "theirs": pd.DataFrame({"a_b": [2]})}, axis="columns")
    assert headers(styled_table(table)) == ["ours\na b", "theirs\na b"]


def test_markup_in_tables_is_text():
    table = pd.DataFrame({"<b>": ["<i>x</i>"]}, index=pd.Index(["<u>"], name="<s>"))
    assert "<caption>&lt;i&gt;</caption>" in styled_table(table, caption="<i>").to_html()
    for html in (styled_table(table).to_html(), tables.styled(table).to_html()):
        assert not re.search(r"<[bius]>", html) and "&lt;i&gt;x&lt;/i&gt;" in html and "&lt;u&gt;" in html and "&lt;s&gt;" in html


def test_columns_of_the_same_name_are_shown():
    groups = pd.DataFrame({"facts": ["1", "2"]}, index=pd.Index(["all", "known"], name="facts"))
    assert headers(tables.styled(groups)) == ["facts", "facts"]


def test_no_number_is_a_negative_zero():
    html = styled_table(pd.DataFrame({"change": [-0.004, -0.0, -0.006, 1.0], "n": [0, 1, 2, 3]})).to_html()
    assert re.findall(r"<td[^>]*>([^<]*)</td>", html) == ["0.00", "0", "0.00", "1", "-0.01", "2", "1.00", "3"]
