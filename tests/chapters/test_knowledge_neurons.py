"""Step 2's tables: what they hold, what they were made from, reused and made anew, and clear errors where step 1 is missing."""

from collections import Counter

import pandas as pd
import pytest
import tiny_folders
from brute_force import plainly_refined

from kn_utils.chapters.attribution.table import attribute_relation
from kn_utils.chapters.knowledge_neurons.table import find_neurons
from kn_utils.chapters.knowledge_neurons.thresholds import Thresholds
from kn_utils.data.facts import load_dataset
from kn_utils.model.attribution import Quadrature
from kn_utils.model.models import LanguageModel
from kn_utils.model.neurons import METHODS
from kn_utils.store.files import read_provenance, read_table
from kn_utils.store.results import FACTS_PER_PART, digest
from kn_utils.store.runs import Run

COLUMNS = {
    "knowledge_neurons": {"relation": "str", "fact": "int32", "method": "str"}
    | {"layer": "int32", "neuron": "int32", "prompts": "int32"},
    "refinement": {"relation": "str", "method": "str", "round": "int32", "prompt_share": "float64", "mean_neurons": "float64"},
}
LOW = Thresholds(attribution=0.1, activation=0.3, prompt_share=0.7)  # random weights spread their scores thin


@pytest.fixture
def run(loaded, tiny_dataset, tmp_path):
    """A run whose step 1 is finished for P36 and P101."""
    run = Run("tiny-bert", tiny_dataset, results_dir=tmp_path)
    for relation in ("P36", "P101"):
        attribute_relation(loaded("bert"), run, relation, Quadrature())
    return run


def tables(main):
    return {name: read_table(main.parent.parent / name / main.name) for name in COLUMNS}


def assert_same(found, expected):
    for name in COLUMNS:
        pd.testing.assert_frame_equal(found[name], expected[name], check_exact=True)


@pytest.mark.parametrize("relation", ["P36", "P101"])
def test_columns_and_rows(run, relation, tmp_path):
    main = find_neurons(run, relation, LOW)
    assert main == tmp_path / "tiny-bert" / run.dataset.name / "knowledge_neurons" / f"{relation}.parquet"
    found = tables(main)
    for name, columns in COLUMNS.items():
        assert {column: str(kind) for column, kind in found[name].dtypes.items()} == columns
        assert set(found[name]["relation"]) == {relation}
        assert list(dict.fromkeys(found[name]["method"])) == list(METHODS)


@pytest.mark.parametrize("relation", ["P36", "P101"])
def test_neurons_and_rounds_are_those_of_a_plain_reading_of_step_1s_tables(run, relation):
    main = find_neurons(run, relation, LOW)
    found = tables(main)
    scores, facts = run.read("attribution", [relation]), run.read("facts", [relation])
    asked = {row.fact: row.prompts for row in facts.itertuples() if row.prompts}
    assert sorted(asked) == ([0, 1, 2, 5] if relation == "P36" else [0, 1, 2])
    for method in METHODS:
        by_prompt = {(fact, prompt): {} for fact, count in asked.items() for prompt in range(count)}
        for row in scores[scores["method"] == method].itertuples():
            by_prompt[row.fact, row.prompt][row.layer, row.neuron] = row.score
        kept, rounds = plainly_refined(by_prompt, asked, getattr(LOW, method), LOW.prompt_share)
        neurons, refinement = (found[name][found[name]["method"] == method] for name in COLUMNS)
        rows = list(zip(neurons["fact"], neurons["layer"], neurons["neuron"], strict=True))
        assert rows == sorted((fact, *place) for fact, places in kept.items() for place in places)
        assert (neurons["prompts"] == 3).all()  # all facts have three prompts, of which three are needed
        assert list(zip(refinement["round"], refinement["prompt_share"], refinement["mean_neurons"], strict=True)) == rounds
        assert rows


def test_the_result_is_that_of_the_last_round(run):
    found = tables(find_neurons(run, "P36", LOW))
    for method, rounds in found["refinement"].groupby("method"):
        several = Counter(found["knowledge_neurons"]["method"])[method]
        assert rounds["mean_neurons"].iloc[-1] == several / 4  # four of the six facts could be asked


def test_provenance_holds_that_of_step_1_and_what_it_says_of_the_model(run, loaded):
    main = find_neurons(run, "P36")
    first = read_provenance(run.path("attribution", "P36"))["inputs"]
    for table in COLUMNS:
        inputs = read_provenance(run.path(table, "P36"))["inputs"]
        assert inputs["made_from"] == {"attribution": digest(first)}
        assert inputs["step"] == "knowledge_neurons" and first["step"] == "attribution"
        assert inputs["weights"] == loaded("bert").digest and (inputs["dtype"], inputs["device"]) == ("float32", "cpu")
        assert {name: inputs[name] for name in ("relation", "n_facts", "seed")} == {
            "relation": "P36",
            "n_facts": None,
            "seed": 42,
        }
    assert run.made_with("knowledge_neurons", "P36", loaded("bert")) == read_provenance(main)["inputs"]


def test_a_second_call_reuses(run, capfd, monkeypatch):
    main = find_neurons(run, "P36", LOW)
    first, written = tables(main), main.stat().st_mtime_ns
    capfd.readouterr()
    monkeypatch.setattr("kn_utils.chapters.knowledge_neurons.table.refine", lambda *_: pytest.fail("computed again"))
    find_neurons(run, "P36", LOW)
    assert capfd.readouterr().out == f"P36: reusing {main}\n"
    assert main.stat().st_mtime_ns == written
    assert_same(tables(main), first)


@pytest.mark.parametrize("changes", [{"attribution": 0.15}, {"activation": 0.6}, {"prompt_share": 0.8}], ids=str)
def test_other_thresholds_compute_anew(run, capfd, changes):
    main = find_neurons(run, "P36")
    first = tables(main)
    capfd.readouterr()
    find_neurons(run, "P36", Thresholds(**changes))
    assert "computing it anew" in capfd.readouterr().out
    assert not all(tables(main)[name].equals(first[name]) for name in COLUMNS)
    find_neurons(run, "P36")
    assert_same(tables(main), first)


def of_method(found, method):
    return [found[name][found[name]["method"] == method].reset_index(drop=True) for name in COLUMNS]


@pytest.mark.parametrize("changed, other", [METHODS, METHODS[::-1]])
def test_each_methods_scores_have_their_own_threshold(run, changed, other):
    found = []
    for threshold in (0.1, 1.0):
        main = find_neurons(run, "P36", Thresholds(**{changed: threshold, other: 0.1}))
        found.append(tables(main))
        main.unlink()
    assert all(map(pd.DataFrame.equals, *(of_method(each, other) for each in found)))
    assert not any(map(pd.DataFrame.equals, *(of_method(each, changed) for each in found)))


def test_other_scores_of_step_1_count(run, loaded, capfd):
    find_neurons(run, "P36", LOW)
    attribute_relation(loaded("bert"), run, "P36", Quadrature("gauss-legendre"))
    capfd.readouterr()
    main = find_neurons(run, "P36", LOW)
    assert f"P36: {main} was made with other made_from; computing it anew" in capfd.readouterr().out
    first = read_provenance(run.path("attribution", "P36"))["inputs"]
    assert first["quadrature"] == "gauss-legendre"
    assert read_provenance(main)["inputs"]["made_from"] == {"attribution": digest(first)}


def test_other_weights_count(run, loaded, folder_of, tmp_path, capfd):
    find_neurons(run, "P36", LOW)
    lm = loaded("bert")
    folder = tiny_folders.write_model(tmp_path / "other", "bert", seed=1)
    other = LanguageModel("tiny-bert", type(lm.model).from_pretrained(folder), lm.tokenizer)
    attribute_relation(other, run, "P36", Quadrature())
    capfd.readouterr()
    main = find_neurons(run, "P36", LOW)
    assert "was made with other made_from, weights; computing it anew" in capfd.readouterr().out
    assert run.made_with("knowledge_neurons", "P36", other)["weights"] == other.digest
    assert set(tables(main)["knowledge_neurons"]["method"]) <= set(METHODS)


def test_without_step_1_there_is_one_clear_error(run, tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"P30\.parquet: run notebooks/01_attribution\.ipynb with the same parameters first"
    ):
        find_neurons(run, "P30")
    run.path("facts", "P36").unlink()
    with pytest.raises(FileNotFoundError, match=r"facts/P36\.parquet: run notebooks/01_attribution\.ipynb"):
        find_neurons(run, "P36")
    assert not run.path("knowledge_neurons", "P30").exists() and not run.path("knowledge_neurons", "P36").exists()


def test_step_1_of_another_draw_is_refused(run, tmp_path):
    drawn = Run("tiny-bert", run.dataset, n_facts=2, results_dir=tmp_path)
    with pytest.raises(ValueError, match="was made with n_facts None where 2 is asked for"):
        find_neurons(drawn, "P36")


def test_a_draw_is_about_its_facts_alone(loaded, tiny_dataset, tmp_path):
    drawn = Run("tiny-bert", tiny_dataset, n_facts=3, seed=1, results_dir=tmp_path)
    attribute_relation(loaded("bert"), drawn, "P36", Quadrature())
    neurons = tables(find_neurons(drawn, "P36", LOW))["knowledge_neurons"]
    assert set(neurons["fact"]) <= {fact.index for fact in drawn.facts("P36", loaded("bert"))}


def test_a_relation_of_which_nothing_could_be_asked_has_no_neurons(loaded, tiny_dataset, tmp_path):
    run = Run("tiny-gpt2", tiny_dataset, results_dir=tmp_path)
    attribute_relation(loaded("gpt2"), run, "P30", Quadrature())
    found = tables(find_neurons(run, "P30"))
    assert len(found["knowledge_neurons"]) == 0
    assert found["refinement"]["mean_neurons"].tolist() == [0] * 12
    for name, columns in COLUMNS.items():
        assert {column: str(kind) for column, kind in found[name].dtypes.items()} == columns


def test_two_templates_give_no_neurons(loaded, tiny_dataset, tmp_path):
    run = Run("tiny-gpt2", tiny_dataset, results_dir=tmp_path)
    attribute_relation(loaded("gpt2"), run, "P36", Quadrature())
    assert run.read("facts", ["P36"])["prompts"].max() == 2 and len(run.read("attribution", ["P36"]))
    assert len(tables(find_neurons(run, "P36", LOW))["knowledge_neurons"]) == 0


def test_the_rounds_are_about_all_facts_of_a_relation_at_once(loaded, tmp_path):
    count = 2 * FACTS_PER_PART + 1
    data = tiny_folders.write_data(tmp_path / "many", {"P36": tiny_folders.many_facts(count)})
    run = Run("tiny-bert", load_dataset(data), results_dir=tmp_path)
    attribute_relation(loaded("bert"), run, "P36", Quadrature())
    assert (run.read("facts", ["P36"])["prompts"] == 3).sum() > FACTS_PER_PART
    found = tables(find_neurons(run, "P36", LOW))
    assert found["refinement"].groupby("method")["round"].apply(lambda rounds: rounds.is_unique).all()
    assert not found["knowledge_neurons"].duplicated().any()


def test_relations_with_and_without_neurons_are_read_together(loaded, tmp_path):
    facts = {"P36": tiny_folders.FACTS["P36"], "P9": tiny_folders.FACTS["P36"][:2]}
    templates = {"P36": tiny_folders.TEMPLATES["P36"], "P9": tiny_folders.TEMPLATES["P36"][:1]}
    run = Run("tiny-bert", load_dataset(tiny_folders.write_data(tmp_path / "two", facts, templates)), results_dir=tmp_path)
    for relation in facts:
        attribute_relation(loaded("bert"), run, relation, Quadrature())
        find_neurons(run, relation, LOW)
    joined = run.read("knowledge_neurons", list(facts))
    assert {column: str(kind) for column, kind in joined.dtypes.items()} == COLUMNS["knowledge_neurons"]
    assert set(joined["relation"]) == {"P36"} and set(run.read("refinement", list(facts))["relation"]) == {"P36", "P9"}
