"""A default has one value: in the notebooks, on the page on running them, and in the package."""

import ast
import re

import papermill
import pytest

from kn_utils.chapters.knowledge_neurons.thresholds import Thresholds
from kn_utils.paths import ROOT


def defaults(number: str) -> dict:
    """The parameters of the notebook with this number, and their defaults."""
    (notebook,) = (ROOT / "notebooks").glob(f"{number}_*.ipynb")
    found = papermill.inspect_notebook(str(notebook))
    return {name: ast.literal_eval(parameter["default"]) for name, parameter in found.items()}


def rows_with_defaults(page: str) -> list[tuple[list[str], list[str], list[str]]]:
    """For each row of the page's table that says "Default: ": parameters, numbers of notebooks, and the values."""
    rows = []
    for names, notebooks, text in re.findall(r"^\| (`[^|]*) \| ([^|]*) \| ([^|]*Default: [^|]*) \|$", page, re.MULTILINE):
        names = re.findall(r"`(\w+)`", names)
        rows.append(
            (names, re.findall(r"\d\d", notebooks), re.findall(r"[\d.]*\d", text.partition("Default: ")[2])[: len(names)])
        )
    return rows


ROWS = [row for row in rows_with_defaults((ROOT / "book/running.md").read_text(encoding="utf-8")) if row[2]]


def test_the_thresholds_of_notebook_02_are_those_of_the_package():
    found, thresholds = defaults("02"), Thresholds()
    assert found["score_share"] == thresholds.attribution
    assert found["baseline_share"] == thresholds.activation
    assert found["prompt_share"] == thresholds.prompt_share


def test_there_are_rows():
    assert {"score_share", "lambda2", "n_chosen", "max_probability"} <= {name for names, _, _ in ROWS for name in names}


@pytest.mark.parametrize(("names", "notebooks", "values"), ROWS, ids=lambda part: " ".join(part))
def test_defaults_on_the_page_are_those_of_the_notebooks(names, notebooks, values):
    for number in notebooks:
        found = defaults(number)
        assert {name: found[name] for name in names} == dict(zip(names, map(float, values), strict=True))
