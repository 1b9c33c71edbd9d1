"""Steps that a notebook needs are run if their tables are missing, and only then."""

from functools import partial

import pandas as pd
import pytest
import tiny_folders

from kn_utils.data.facts import load_dataset
from kn_utils.report.earlier_steps import MAKERS, make_earlier_steps
from kn_utils.steps import STEPS, upstream
from kn_utils.store import provenance, publish, runs
from kn_utils.store.published import PublishedResults
from kn_utils.store.runs import Run


@pytest.fixture
def run(loaded, tmp_path):
    data = tiny_folders.write_sentences(tiny_folders.write_data(tmp_path / "tiny"))
    return Run(loaded("bert").name, load_dataset(data), results_dir=tmp_path / "results", workers=1)


def test_every_step_that_another_needs_can_be_made():
    assert {name for step in STEPS for name in upstream(step)} == MAKERS.keys()


def test_all_earlier_steps_are_made_once(run, loaded, capsys):
    make_earlier_steps(lambda: loaded("bert"), run, ["P36"], "trigger_examples")
    said = [line for line in capsys.readouterr().out.splitlines() if "has not been run" in line]
    assert [line[:2] for line in said] == ["01", "02", "04"]
    assert run.has("distant_prompts", ["P36"]) and run.has("knowledge_neurons", ["P36"]) and not run.has("facts", ["P101"])
    before = run.read("distant_prompts", ["P36"])
    make_earlier_steps(lambda: pytest.fail("nothing is missing"), run, ["P36"], "trigger_examples")
    assert "has not been run" not in capsys.readouterr().out
    pd.testing.assert_frame_equal(run.read("distant_prompts", ["P36"]), before)


def test_a_step_that_is_made_now_replaces_published_tables_made_from_it(run, loaded, tmp_path, monkeypatch, capsys):
    """The scores of step 1 are not published, those neurons of step 2 are."""
    for module in (provenance, publish):  # as if nothing had changed since a commit
        monkeypatch.setattr(module, "commit", lambda: "0" * 40)
    make_earlier_steps(lambda: loaded("bert"), run, ["P36"], "modify_activation")
    publish.publish(run, tmp_path / "published")
    monkeypatch.setattr(runs, "PublishedResults", partial(PublishedResults, folder=tmp_path / "published"))
    other = Run(run.model, run.dataset, results_dir=tmp_path / "other", workers=1)
    assert other.has("knowledge_neurons", ["P36"]) and not other.has("attribution", ["P36"])
    capsys.readouterr()
    make_earlier_steps(lambda: loaded("bert"), other, ["P36"], "edit_facts")
    said = [line[:2] for line in capsys.readouterr().out.splitlines() if "has not been run" in line]
    assert said == ["01", "02"] and other.path("knowledge_neurons", "P36").is_file()


def test_a_table_that_does_not_fit_is_an_error(run, loaded, monkeypatch):
    make_earlier_steps(lambda: loaded("bert"), run, ["P36"], "modify_activation")
    monkeypatch.setattr("kn_utils.store.runs.sources_digest", lambda module: "changed")
    with pytest.raises(ValueError, match="was made by other code than this"):
        make_earlier_steps(lambda: loaded("bert"), run, ["P36"], "modify_activation")
