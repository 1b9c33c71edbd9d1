"""What the workflow tells the terminal while a notebook runs."""

import importlib
import io
import sys

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from kn_utils.paths import ROOT

sys.path.append(str(ROOT / "book"))
run_notebook = importlib.import_module("run_notebook")


@pytest.fixture
def clock(monkeypatch):
    """The time in seconds, which tests set."""
    now = [0.0]
    monkeypatch.setattr(run_notebook.time, "monotonic", lambda: now[0])
    return now


def test_relations_facts_speed_and_time_left(clock):
    terminal = io.StringIO()
    progress = run_notebook.Progress("03_modify_activation", 4, terminal)
    clock[0] = 5
    progress.write("P19: 10 facts in 5.0 s\n")  # too soon for a message
    clock[0] = 20
    progress.write("P20: reusing results/P20.parquet\nP27: 30 facts in 15.0 s\nsomething else")
    clock[0] = 25
    progress.write("P30: 10 facts in 5.0 s\n")
    progress.end()
    assert terminal.getvalue().splitlines() == [
        "03_modify_activation: started, 4 relations",
        "03_modify_activation: 3 of 4 relations, 40 facts, 2.0 facts per second, 7 s left",
        "03_modify_activation: done in 25 s",
    ]


def test_what_a_step_prints_is_counted(loaded, tiny_dataset, tmp_path, capsys):
    from kn_utils.chapters.attribution.table import attribute_relation
    from kn_utils.store.runs import Run

    run = Run(loaded("bert").name, tiny_dataset, results_dir=tmp_path, workers=1)
    for _ in range(2):
        attribute_relation(loaded("bert"), run, "P101")
    progress = run_notebook.Progress("01_attribution", 3, io.StringIO())
    progress.write(capsys.readouterr().out)
    assert (progress.done, progress.facts) == (2, len(tiny_dataset.facts["P101"]))


@pytest.mark.slow
def test_a_notebook_that_runs_tells_the_terminal(tmp_path, monkeypatch):
    declared = new_code_cell('relation = "P1"', metadata={"tags": ["parameters"]})
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    template = new_notebook(cells=[declared, new_code_cell('print("P1: 7 facts in 1.0 s")')], metadata=kernel)
    nbformat.write(template, tmp_path / "template.ipynb")
    terminal = io.StringIO()
    monkeypatch.setattr(run_notebook, "terminal", lambda: terminal)
    run_notebook.run_notebook(tmp_path / "template.ipynb", tmp_path / "out.ipynb", {"relation": "P1,P2"})
    first, *_, last = terminal.getvalue().splitlines()
    assert first == "template: started, 2 relations" and last.startswith("template: done in ")
