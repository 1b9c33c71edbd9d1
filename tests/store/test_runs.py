"""Runs: where tables are, reading those made so far, and one clear error where one is missing or of another run."""

import re
from dataclasses import replace

import pandas as pd
import pytest
import tiny_folders

from kn_utils.data.facts import load_dataset
from kn_utils.model.models import LanguageModel, load_model
from kn_utils.model.prompts import draw_facts
from kn_utils.paths import result_name
from kn_utils.steps import STEP_OF, STEPS, upstream
from kn_utils.store import runs
from kn_utils.store.files import read_provenance, read_table
from kn_utils.store.provenance import package_versions, sources_digest
from kn_utils.store.runs import Run


@pytest.fixture
def run(tiny_dataset, tmp_path):
    return Run("toy", tiny_dataset, results_dir=tmp_path)


def make(run, relation, step="attribution", lm=None, **inputs):
    """Make the tables of a step with a row per fact, and before them those of the steps it reads."""
    for earlier in upstream(STEP_OF[step]):
        if not run.path(earlier, relation).is_file():
            make(run, relation, earlier, lm)

    def rows(facts):
        table = pd.DataFrame({"relation": relation, "fact": [fact.index for fact in facts]})
        return dict.fromkeys(STEP_OF[step].tables, table)

    return run.make(step, relation, run.dataset.facts[relation], rows, inputs, lm)


def test_defaults_are_the_notebooks(tiny_dataset):
    run = Run("toy", tiny_dataset)
    assert (run.n_facts, run.seed, run.results_dir) == (None, 42, "results")


def test_where_tables_are_and_what_facts_they_are_about(run, tmp_path, tiny_dataset, loaded):
    lm = loaded("gpt2")
    assert run.path("attribution", "P36") == tmp_path / "toy" / tiny_dataset.name / "attribution" / "P36.parquet"
    assert run.facts("P36", lm) == tiny_dataset.facts["P36"]
    drawn = Run("toy", tiny_dataset, n_facts=2, seed=7)
    assert drawn.facts("P36", lm) == draw_facts(lm, tiny_dataset, "P36", 2, 7)


def test_what_values_depend_on(run, loaded, tiny_dataset):
    lm = loaded("bert")
    path = make(run, "P30", lm=lm, tolerance=0.1)
    expected = {
        "step": "attribution",
        "model": "toy",
        "dataset": tiny_dataset.name,
        "relation": "P30",
        "n_facts": None,
        "seed": 42,
    }
    expected |= {"facts_and_templates": tiny_dataset.digest("P30"), "versions": package_versions(), "tolerance": 0.1}
    expected |= {"sources": sources_digest("kn_utils.chapters.attribution.table")}
    assert read_provenance(path)["inputs"] == expected | lm.identity()
    assert lm.identity().items() >= {"weights": lm.digest, "dtype": "float32", "device": "cpu"}.items()


def test_a_step_names_the_tables_it_was_made_from_by_their_digests_and_takes_their_model(run, loaded):
    lm = loaded("bert")
    first, second = (run.made_with(step, "P36") for step in ("attribution", "knowledge_neurons") if make(run, "P36", step, lm))
    assert second["made_from"] == {"attribution": runs.digest(first)}
    without = read_provenance(make(run, "P36", "trigger_examples"))["inputs"]
    assert without["weights"] == lm.digest and without["made_from"].keys() == {"distant_prompts", "knowledge_neurons"}


def test_every_table_has_one_step():
    assert sum(len(step.tables) for step in STEPS) == len(STEP_OF)
    assert all(
        table in STEP_OF and STEPS.index(STEP_OF[table]) < number for number, step in enumerate(STEPS) for table in step.needs
    )


def test_one_relation_is_read_as_it_was_written(run):
    make(run, "P36")
    pd.testing.assert_frame_equal(run.read("attribution", ["P36"]), read_table(run.path("attribution", "P36")))
    assert run.made_with("attribution", "P36") == read_provenance(run.path("attribution", "P36"))["inputs"]


def test_several_relations_are_joined_in_the_order_asked_for(run):
    for relation in ("P36", "P101", "P30"):
        make(run, relation)
    table = run.read("attribution", ["P101", "P36"])
    assert table["relation"].tolist() == ["P101"] * 3 + ["P36"] * 6
    assert table["fact"].tolist() == [0, 1, 2, 0, 1, 2, 3, 4, 5]
    assert table.index.tolist() == list(range(9))


@pytest.mark.parametrize("table", STEP_OF)
def test_a_missing_table_names_the_file_and_the_notebook_that_makes_it(run, table):
    notebook = STEP_OF[table].notebook
    make(run, "P36", STEP_OF[table].name)
    path = run.path(table, "P101")
    message = f"there is no {path}: run notebooks/{notebook}.ipynb with the same parameters first"
    for read in (lambda: run.made_with(table, "P101"), lambda: run.read(table, ["P36", "P101"])):
        with pytest.raises(FileNotFoundError, match=f"^{re.escape(message)}$"):
            read()


@pytest.mark.parametrize(
    "changes, says",
    [
        ({"n_facts": 2}, "n_facts None where 2 is asked for: use"),
        ({"seed": 1}, "seed 42 where 1 is asked for: use"),
        ({"n_facts": 3, "seed": 1}, "n_facts None where 3 is asked for, seed 42 where 1 is asked for: use"),
    ],
)
def test_a_table_of_another_draw_is_refused(run, tmp_path, changes, says):
    make(run, "P36")
    other = Run("toy", run.dataset, results_dir=tmp_path, **changes)
    for read in (lambda: other.made_with("attribution", "P36"), lambda: other.read("attribution", ["P36"])):
        with pytest.raises(ValueError, match=re.escape(f"{run.path('attribution', 'P36')} was made with {says}")) as raised:
            read()
        assert "the same here, or run notebooks/01_attribution.ipynb again" in str(raised.value)


@pytest.mark.parametrize("changed", ["facts", "templates"])
def test_a_table_of_other_facts_or_templates_is_refused(run, tmp_path, changed):
    make(run, "P36")
    make(run, "P101")
    facts, templates = tiny_folders.FACTS, tiny_folders.TEMPLATES
    if changed == "facts":
        facts = facts | {"P36": [*facts["P36"][:-1], ["France", "Oslo"]]}
    else:
        templates = templates | {"P36": [*templates["P36"], "[X] is ruled from [Y]."]}
    changed_data = load_dataset(tiny_folders.write_data(tmp_path / "tiny", facts, templates))
    other = Run("toy", replace(changed_data, name=run.dataset.name), results_dir=tmp_path)
    wanted, found = other.dataset.digest("P36"), run.dataset.digest("P36")
    with pytest.raises(ValueError, match=f"was made with facts_and_templates '{found}' where '{wanted}' is asked for: use"):
        other.read("attribution", ["P36"])
    assert len(other.read("attribution", ["P101"])) == 3  # the other relation is the same


def test_a_table_of_other_weights_is_refused_where_the_model_is_at_hand(run, loaded, folder_of, tmp_path):
    lm = loaded("bert")
    make(run, "P36", lm=lm)
    assert run.made_with("attribution", "P36", lm)["weights"] == lm.digest
    folder = tiny_folders.write_model(tmp_path / "other", "bert", seed=1)
    other = LanguageModel("toy", type(lm.model).from_pretrained(folder), lm.tokenizer)
    with pytest.raises(ValueError, match=f"was made with weights '{lm.digest}' where '{other.digest}' is asked for: use"):
        run.made_with("attribution", "P36", other)
    assert run.made_with("attribution", "P36")["weights"] == lm.digest


def test_a_table_made_without_the_model_is_refused_where_the_model_is_at_hand(run, loaded):
    make(run, "P36")
    with pytest.raises(ValueError, match="was made with weights None where"):
        run.made_with("attribution", "P36", loaded("bert"))


def test_a_damaged_table_is_one_clear_error(run):
    make(run, "P36")
    path = run.path("attribution", "P36")
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ValueError, match=f"^{re.escape(str(path))} is damaged or not a result table"):
        run.read("attribution", ["P36"])


def test_a_table_made_from_an_older_one_is_refused(run):
    make(run, "P36", "knowledge_neurons")
    make(run, "P36", quadrature="gauss-legendre")
    message = r"made from attribution that has been made anew since: run notebooks/02_knowledge_neurons"
    with pytest.raises(ValueError, match=message):
        run.made_with("knowledge_neurons", "P36")
    with pytest.raises(ValueError, match=message):
        make(run, "P36", "modify_activation")
    make(run, "P36")
    assert run.made_with("knowledge_neurons", "P36")["step"] == "knowledge_neurons"


def test_a_table_made_by_other_code_is_refused_and_made_anew(run, monkeypatch, capsys):
    make(run, "P36", "knowledge_neurons")
    monkeypatch.setattr(runs, "sources_digest", lambda module: f"changed {module}")
    for table, notebook in (("attribution", "01_attribution"), ("refinement", "02_knowledge_neurons")):
        with pytest.raises(ValueError, match=f"was made by other code than this: run notebooks/{notebook}.ipynb again"):
            run.read(table, ["P36"])
    make(run, "P36")
    assert "was made with other sources; computing it anew" in capsys.readouterr().out


def test_folders_of_one_name_do_not_share_results_and_none_passes_for_ours(tmp_path, monkeypatch):
    names = []
    for place in ("a", "b"):
        (tmp_path / place / "starter").mkdir(parents=True)
        names.append(result_name(tmp_path / place / "starter"))
    monkeypatch.chdir(tmp_path / "a")
    assert len({*names, result_name("starter")}) == 3 and result_name("starter") == "starter"
    assert result_name("./starter") == names[0] and all(re.fullmatch(r"starter-[0-9a-f]{8}", name) for name in names)
    assert result_name("google-bert/bert-base-cased") == "google-bert--bert-base-cased"


def test_the_home_folder_is_understood(run, tiny_dataset, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Run("toy", tiny_dataset, results_dir="~/scratch").path("facts", "P36").is_relative_to(tmp_path / "scratch")


def test_facts_are_drawn_once(run, loaded, monkeypatch):
    lm, drawn = loaded("gpt2"), []
    monkeypatch.setattr(runs, "draw_facts", lambda *args: drawn.append(args) or ["a fact"])
    assert run.facts("P36", lm) == run.facts("P36", lm) == ["a fact"] and len(drawn) == 1
    assert run.facts("P101", lm) and len(drawn) == 2


def test_another_tokenizer_or_configuration_is_another_model(folder_of):
    lm = load_model(folder_of("bert"), "cpu")
    before = lm.identity()
    other = load_model(folder_of("bert"), "cpu")
    other.model.config.layer_norm_eps = 0.5
    retokenized = load_model(folder_of("bert"), "cpu")
    retokenized.tokenizer.backend_tokenizer.normalizer.lowercase = True
    assert len({lm.identity()["settings"] for lm in (lm, other, retokenized)}) == 3
    assert load_model(folder_of("bert"), "cpu").identity() == before
