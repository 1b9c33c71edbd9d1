"""Names of neurons become links to the explorer, on pages of a model and data set whose results are published."""

import re
import sys

import pandas as pd
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from kn_utils.paths import DATA, ROOT

sys.path.append(str(ROOT / "book"))
import neuron_links
from neuron_links import link_neurons, linked

PAGE = "../explorer.html#"
TO = f'<a href="{PAGE}starter/pararel/L5.377">L5.377</a>'


def link(text, kind="text/html"):
    return linked(text, kind, {"starter"}, "pararel")


@pytest.mark.parametrize(
    ("html", "expected"),
    [
        ("<td>L5.377</td>", f"<td>{TO}</td>"),
        ("L5.377, L5.377.", f"{TO}, {TO}."),
        ("<b title='L5.377'>x</b>", None),
        ("<a href='x'><b>L5.377</b></a>", None),
        ("<style>#T_L5.377 {}</style><pre>L5.377</pre><svg><text>L5.377</text></svg>", None),
        ("XL5.377 L5.3779 L9.1 L0.1 L05.377 5.377", None),
    ],
)
def test_a_name_in_the_text_of_html_is_linked_if_the_neuron_is_published(html, expected):
    assert link(html) == (expected or html)


@pytest.mark.parametrize(
    ("markdown", "expected"),
    [
        ("**L5.377** serves 9 facts", f"**{TO}** serves 9 facts"),
        ("`L5.377` ``a ` L5.377`` [L5.377](x) <i title='L5.377'>", None),
    ],
)
def test_a_name_in_markdown_is_linked_but_for_code_and_links(markdown, expected):
    assert link(markdown, "text/markdown") == (expected or markdown)


def test_every_published_neuron_is_linked_and_no_other():
    table = pd.read_parquet(DATA / "published/results/smollm2-135m/pararel/knowledge_neurons.parquet")
    kept = {(layer, neuron) for method, layer, neuron in table[["method", "layer", "neuron"]].values if method == "attribution"}
    left_out = set(table[["layer", "neuron"]].itertuples(index=False, name=None)) - kept
    assert neuron_links.published_neurons()["smollm2-135m/pararel"] == kept and left_out


def test_a_model_without_published_results_has_no_links():
    assert linked("L5.377", "text/html", {"mine"}, "pararel") == "L5.377"


def test_the_facts_of_the_page_come_first_and_those_of_others_next(monkeypatch):
    neurons = {"m/a": {(0, 1)}, "m/b": {(0, 1), (0, 2)}, "m/c": {(0, 2)}, "other/a": {(0, 3)}}
    monkeypatch.setattr(neuron_links, "published_neurons", lambda: neurons)
    for dataset, expected in (("a", "a b"), ("b", "b b"), ("c", "a c"), ("mine", "a b")):
        found = re.findall("#m/(.)/", linked("L1.1 L1.2 L1.3", "text/html", {"m"}, dataset))
        assert found == expected.split()


def test_where_models_are_compared_a_name_leads_to_the_only_model_that_has_the_neuron(monkeypatch):
    neurons = {"starter/pararel": {(0, 1), (0, 2)}, "smollm2-135m/pararel": {(0, 2), (0, 3)}}
    monkeypatch.setattr(neuron_links, "published_neurons", lambda: neurons)
    of_both = "<th>starter, 9 facts</th><th>smollm2-135m, 3 facts</th><td>L1.1 L1.2 L1.3</td>"
    cell = new_code_cell(outputs=[new_output("display_data", {"text/html": html}) for html in (of_both, "<td>L1.1 L1.2</td>")])
    link_neurons(new_notebook(cells=[cell]), "smollm2-135m", "pararel")
    compared, alone = (re.findall('#(.*?)"', output.data["text/html"]) for output in cell.outputs)
    assert compared == ["starter/pararel/L1.1", "smollm2-135m/pararel/L1.3"] and alone == ["smollm2-135m/pararel/L1.2"]


def test_only_results_in_a_notebook_change():
    cells = [
        new_markdown_cell("L5.377"),
        new_code_cell(
            "# L5.377",
            outputs=[
                new_output("stream", text="L5.377"),
                new_output("display_data", {"text/plain": "L5.377", "text/html": "<p>L5.377</p>", "text/markdown": "L5.377"}),
            ],
        ),
    ]
    notebook = new_notebook(cells=cells)
    link_neurons(notebook, "starter", "pararel")
    markdown, code = notebook.cells
    assert (markdown.source, code.source, code.outputs[0].text) == ("L5.377", "# L5.377", "L5.377")
    assert code.outputs[1].data == {"text/plain": "L5.377", "text/html": f"<p>{TO}</p>", "text/markdown": TO}
