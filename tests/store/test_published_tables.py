"""What lies in data/published/results: only what today's code can make, as the run lists say, with provenance that nobody wrote by hand."""

import pandas as pd
import pytest
import tiny_folders
import yaml
from run_steps import make_tables
from snakemake.utils import update_config

from kn_utils.chapters.does_it_help_editing.choice import METHODS as EDITING
from kn_utils.chapters.edit_facts.table import EDITED, RULES
from kn_utils.chapters.modify_activation.table import CONTROLS, WITH_RANDOM
from kn_utils.data.facts import load_dataset
from kn_utils.model.attribution import LARGER, RELEASED_NODES
from kn_utils.model.interventions import OPERATIONS
from kn_utils.model.quadrature import NESTED
from kn_utils.model.sentences import KINDS
from kn_utils.parameters import QUADRATURES
from kn_utils.paths import ROOT
from kn_utils.steps import PUBLISHED, STEPS
from kn_utils.store.publish import quadrature_by_layer
from kn_utils.store.published import RESULTS, published_results

RUN_LISTS = RESULTS.parent / "runs"
NEWER: dict[str, set[str]] = {}  # columns that a table got after it was published, by table, until it is published anew
ALLOWED = {
    "method": {"", *WITH_RANDOM, *CONTROLS, *EDITED, *EDITING},
    "operation": set(OPERATIONS),
    "kind": set(KINDS),
    "rule": set(RULES),
    "phase": {"before", "after"},
}
NODES = {"released": {RELEASED_NODES}, "gauss-legendre": {*NESTED[1:], *LARGER}}
INPUTS = {
    "step",
    "versions",
    "model",
    "dataset",
    "facts_and_templates",
    "relation",
    "n_facts",
    "seed",
    "weights",
    "settings",
    "sources",
}

every_result = pytest.mark.parametrize("results", published_results(), ids=lambda results: f"{results.model}_{results.dataset}")


@pytest.fixture(scope="module")
def made_now(folder_of, tmp_path_factory):
    """Every published table as today's code makes it, of a tiny model: by its name."""
    folder = tmp_path_factory.mktemp("made_now")
    data = tiny_folders.write_sentences(tiny_folders.write_data(folder / "tiny"))
    run = make_tables(folder_of("bert"), data, "P36", 9, folder)
    tables = {table: run.read(table, ["P36"]) for table in PUBLISHED}
    return tables | {"completeness": quadrature_by_layer(tables["completeness"])}


def tables_of(results) -> list[str]:
    return [table for table in PUBLISHED if (results.folder / results.model / results.dataset / f"{table}.parquet").is_file()]


@every_result
def test_columns_and_types_are_todays(results, made_now):
    for table in tables_of(results):
        found = results.read(table, results.provenance(table)).dtypes
        wanted = made_now[table].dtypes.drop(list(NEWER.get(table, ())))
        pd.testing.assert_series_equal(found, wanted, obj=table)


@every_result
def test_values_are_among_those_that_the_code_can_make(results):
    for table in tables_of(results):
        rows = results.read(table, results.provenance(table))
        assert set(rows["relation"]) <= set(results.provenance(table))
        for column, allowed in ALLOWED.items():
            if column in rows:
                assert set(rows[column]) <= allowed, f"{table}, {column}"


@every_result
def test_node_counts_are_those_of_the_quadrature(results):
    rows, made = results.read("completeness", results.relations), results.provenance("completeness")
    for relation, own in rows.groupby("relation"):
        quadrature = made[relation]["inputs"]["quadrature"]
        assert quadrature in QUADRATURES and set(own["nodes"]) <= NODES[quadrature], relation


def test_the_check_of_node_counts_can_fail():
    assert 128 not in NODES["gauss-legendre"] and 127 in NODES["gauss-legendre"]  # what once was published side by side


@every_result
def test_every_table_is_published_and_all_of_them_name_one_clean_commit(results):
    assert set(tables_of(results)) == set(PUBLISHED)
    commits = set()
    for table in PUBLISHED:
        for relation, made in results.provenance(table).items():
            inputs = made["inputs"]
            assert inputs.keys() >= INPUTS and inputs["relation"] == relation
            assert (inputs["model"], inputs["dataset"]) == (results.model, results.dataset)
            commits.add(made["commit"])
    [commit] = commits
    assert len(commit) == 40 and set(commit) <= set("0123456789abcdef")


@every_result
def test_what_is_published_was_run_as_its_run_list_says(results):
    name = f"{results.model}_{results.dataset}"
    config = yaml.safe_load((ROOT / "book/runs.yml").read_text(encoding="utf-8"))
    update_config(config, yaml.safe_load((RUN_LISTS / f"{name}.yml").read_text(encoding="utf-8")))
    assert (config["model"], config["dataset"], config["relations"]) == (results.model, results.dataset, "all")
    drawn = config["n_facts"] != "all"
    for step in STEPS:
        settings = config["notebooks"][step.notebook]
        settings = settings | (settings.get("if_drawn", {}) if drawn else {})
        listed = (
            load_dataset("starter").relations if settings.get("relations", "all") == "all" else settings["relations"].split(",")
        )
        for table in set(tables_of(results)) & set(step.tables):
            made = results.provenance(table)
            assert list(made) == listed
            asked = {"n_facts": config["n_facts"] if drawn else None, "seed": config["seed"]} | settings.get("parameters", {})
            assert all(one["inputs"].items() >= asked.items() for one in made.values())
