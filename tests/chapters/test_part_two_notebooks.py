"""The text of notebooks 12 to 15: names as in the results, captions that also hold in the dark, and a proper minus."""

import re

import nbformat
import pandas as pd
import pytest

from kn_utils.chapters.fact_or_word import numbers as fact_or_word
from kn_utils.chapters.how_much_passes import numbers as how_much_passes
from kn_utils.chapters.is_it_knowledge import numbers as is_it_knowledge
from kn_utils.chapters.which_score import numbers as which_score
from kn_utils.chapters.which_score.table import EXACT
from kn_utils.paths import ROOT
from kn_utils.report.notebook import show

STRONGEST = {f"{size} strongest neurons of either fact" for size in (4, 20, 100)}  # one row
NAMES = {
    "12_is_it_knowledge": set(is_it_knowledge.NAMES.values()),
    "13_fact_or_word": set(fact_or_word.NAMES.values()),
    "14_which_score": {name for key, name in which_score.NAMES.items() if key != EXACT},
    "15_how_much_passes": set(how_much_passes.NAMES.values()) - STRONGEST - {"nothing"}
    | {"4, 20, 100 strongest neurons of either fact"},
}


@pytest.fixture(params=NAMES)
def notebook(request):
    return request.param


def cells(name, kind):
    return [cell.source for cell in nbformat.read(ROOT / f"notebooks/{name}.ipynb", as_version=4).cells if cell.cell_type == kind]


def test_the_method_names_things_as_the_results_do(notebook):
    [method] = [text for text in cells(notebook, "markdown") if text.startswith("## Method")]
    lines = [line for line in method.splitlines() if line.startswith("| ")]
    first = [re.split(r"(?<!\\)\|", line)[1].strip().replace("\\", "") for line in lines[1:]]
    assert {name for names in first for name in names.split("; ")} == NAMES[notebook]


def test_no_caption_names_lightness(notebook):
    captions = [text for text in cells(notebook, "code") if "caption = " in text]
    assert captions and not [text for text in captions if re.search(r"\b(black|white|grey|gray|dark|light)", text)]


def test_comparisons_have_a_proper_minus(notebook):
    [code] = [text.splitlines()[-1] for text in cells(notebook, "code") if '["ours", "expected"]' in text]
    compared = pd.DataFrame({"log-odds": ["before", "after"], "ours": [-0.4011, -0.0000001], "expected": [1.5, -7.0]})
    html = eval(code, {"show": show, "pairs": compared, "compared": compared}).to_html()
    assert re.search(r">−0\.40110?<", html) and re.search(r">0\.0{4,5}<", html) and not re.search(r">-\d", html)
