"""Steps that a notebook needs are run if their tables are missing, and only then."""

import pandas as pd
import pytest
import tiny_folders

from kn_utils.data.facts import load_dataset
from kn_utils.report.earlier_steps import MAKERS, make_earlier_steps
from kn_utils.steps import STEPS, upstream
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


def test_a_table_that_does_not_fit_is_an_error(run, loaded, monkeypatch):
    make_earlier_steps(lambda: loaded("bert"), run, ["P36"], "modify_activation")
    monkeypatch.setattr("kn_utils.store.runs.sources_digest", lambda module: "changed")
    with pytest.raises(ValueError, match="was made by other code than this"):
        make_earlier_steps(lambda: loaded("bert"), run, ["P36"], "modify_activation")
