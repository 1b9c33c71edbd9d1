"""Step 1's tables: what they hold, what was left out, reused, resumed after a kill, and made in memory that does not grow."""

import json
import multiprocessing
import random
import resource
import time
from pathlib import Path
from types import SimpleNamespace

import nbformat
import numpy as np
import pandas as pd
import pytest
import tiny_folders
import torch
from brute_force import integrated_gradients as plain_loop
from brute_force import probability_at
from tiny_models import MODELS, random_batch, tiny_model

from kn_utils.chapters.attribution.table import attribute_relation
from kn_utils.data.facts import load_dataset
from kn_utils.model.attribution import Quadrature
from kn_utils.model.models import LanguageModel, load_model
from kn_utils.model.prompts import NOT_OBJECT_FINAL, NOT_ONE_TOKEN, draw_facts, encode
from kn_utils.model.quadrature import NESTED, left_riemann
from kn_utils.parameters import KEPT_SHARE
from kn_utils.paths import ROOT, result_name
from kn_utils.store.files import read_provenance, read_table
from kn_utils.store.results import FACTS_PER_PART
from kn_utils.store.runs import Run

PLACE = {"relation": "str", "fact": "int32", "prompt": "int32"}
COLUMNS = {
    "attribution": PLACE | {"method": "str", "layer": "int32", "neuron": "int32", "score": "float32"},
    "facts": {"relation": "str", "fact": "int32", "subject": "str", "object": "str", "prompts": "int32"}
    | {"prompts_left_out": "int32", "left_out_because": "str"},
    "prompts": PLACE | {"text": "str", "target": "str", "probability": "float64", "top_answer": "str", "correct": "bool"},
    "completeness": PLACE | {"layer": "int32", "nodes": "int32", "gap": "float64", "error": "float64"},
}
RELEASED, GAUSS = Quadrature(), Quadrature("gauss-legendre")
MB = 1 << 20


def attribute(lm, dataset, results_dir, relation="P36", n_facts=None, seed=42, method=RELEASED):
    return attribute_relation(lm, Run(lm.name, dataset, n_facts, seed, results_dir), relation, method)


def tables(main):
    return {name: read_table(main.parent.parent / name / main.name) for name in COLUMNS}


def assert_same(found, expected):
    for name in COLUMNS:
        pd.testing.assert_frame_equal(found[name], expected[name], check_exact=True)


@pytest.mark.parametrize("method", [RELEASED, GAUSS])
@pytest.mark.parametrize("model_type, asked", [("bert", [0, 1, 2, 5]), ("gpt2", [0, 1, 2, 5]), ("llama", [0, 1, 2, 5])])
def test_columns_and_rows(model_type, asked, method, loaded, tiny_dataset, tmp_path):
    lm = loaded(model_type)
    main = attribute(lm, tiny_dataset, tmp_path, method=method)
    assert main == tmp_path / lm.name / tiny_dataset.name / "attribution" / "P36.parquet"
    found = tables(main)
    for name, columns in COLUMNS.items():
        assert {column: str(kind) for column, kind in found[name].dtypes.items()} == columns
        assert set(found[name]["relation"]) == {"P36"}
    templates = [0, 1, 2] if lm.masked else [0, 1]
    pairs = [(fact, prompt) for fact in asked for prompt in templates]
    prompts, scores, layers = found["prompts"], found["attribution"], found["completeness"]
    assert list(zip(prompts["fact"], prompts["prompt"], strict=True)) == pairs
    assert list(dict.fromkeys(zip(scores["fact"], scores["prompt"], strict=True))) == pairs
    assert layers["layer"].tolist() == [0, 1, 2] * len(pairs)
    assert set(scores["method"]) == {"attribution", "activation"}
    largest = scores.groupby(["fact", "prompt", "method"])["score"].transform("max")
    assert (scores["score"] >= np.float32(KEPT_SHARE) * largest * 0.999999).all()
    assert (prompts["correct"] == (prompts["target"] == prompts["top_answer"])).all()
    assert prompts["target"].iloc[0] == "Oslo" and "Norway" in prompts["text"].iloc[0]
    assert (layers["nodes"] == 20).all() if method.quadrature == "released" else layers["nodes"].isin(NESTED).all()
    assert layers["error"].isna().all() if method.quadrature == "released" else (layers["error"] <= method.tolerance).all()


@pytest.mark.parametrize("model_type", ["bert", "gpt2"])
def test_kept_scores_are_those_of_the_plain_loop(model_type, folder_of, tiny_dataset, tmp_path):
    single = load_model(folder_of(model_type), "cpu")
    lm = LanguageModel("exact", single.model.double(), single.tokenizer)
    found = tables(attribute(lm, tiny_dataset, tmp_path, "P101"))
    prompt = encode(lm, tiny_dataset, tiny_dataset.facts["P101"])[1]
    where = torch.tensor(prompt.ids), prompt.position, prompt.target
    rule = left_riemann(20)
    expected = {
        "attribution": torch.stack([plain_loop(lm, *where, layer, rule.nodes, rule.weights) for layer in range(3)]),
        "activation": torch.stack([probability_at(lm, *where, layer)[1] for layer in range(3)]),
    }
    scores = found["attribution"].set_index(["fact", "prompt"]).loc[(prompt.fact.index, prompt.index)]
    for method, values in expected.items():
        kept = {tuple(place.tolist()): float(values[*place]) for place in (values >= KEPT_SHARE * values.max()).nonzero()}
        rows = scores[scores["method"] == method]
        stored = dict(zip(zip(rows["layer"], rows["neuron"], strict=True), rows["score"], strict=True))
        assert stored == pytest.approx(kept, rel=1e-6)
        assert 0 < len(kept) < values.numel() / 2
    row = found["prompts"].set_index(["fact", "prompt"]).loc[(prompt.fact.index, prompt.index)]
    assert row["probability"] == pytest.approx(float(probability_at(lm, *where, 0)[0]))
    assert row["text"] == prompt.text


@pytest.mark.parametrize("model_type, prompts", [("bert", 3), ("llama", 2)])
def test_facts_left_out_are_counted_with_their_reason(model_type, prompts, loaded, tiny_dataset, tmp_path):
    facts = tables(attribute(loaded(model_type), tiny_dataset, tmp_path))["facts"]
    assert facts["subject"].tolist() == [subject for subject, _ in tiny_folders.FACTS["P36"]]
    assert facts["prompts"].tolist() == [prompts, prompts, prompts, 0, 0, prompts]
    assert facts["prompts_left_out"].tolist() == [0, 0, 0, prompts, prompts, 0]
    assert facts["left_out_because"].tolist() == ["", "", "", NOT_ONE_TOKEN, NOT_ONE_TOKEN, ""]


def test_a_relation_of_which_nothing_can_be_asked_has_empty_tables(loaded, tiny_dataset, tmp_path):
    found = tables(attribute(loaded("gpt2"), tiny_dataset, tmp_path, "P30"))
    assert found["facts"]["left_out_because"].tolist() == [NOT_OBJECT_FINAL] * 2
    for name in ("attribution", "prompts", "completeness"):
        assert len(found[name]) == 0
        assert {column: str(kind) for column, kind in found[name].dtypes.items()} == COLUMNS[name]


def test_n_facts_are_drawn_with_the_seed(loaded, tiny_dataset, tmp_path):
    lm = loaded("bert")
    drawn = {}
    for seed in range(4):
        found = tables(attribute(lm, tiny_dataset, tmp_path / str(seed), n_facts=3, seed=seed))
        drawn[seed] = tuple(found["facts"]["fact"])
        assert drawn[seed] == tuple(fact.index for fact in draw_facts(lm, tiny_dataset, "P36", 3, seed))
        assert (found["facts"]["prompts"] > 0).sum() == 3
        instead = drawn[seed][3:]
        inputs = read_provenance(tmp_path / str(seed) / lm.name / tiny_dataset.name / "attribution" / "P36.parquet")["inputs"]
        assert inputs.get("drawn_instead", []) == list(instead) and (not instead) == ("drawn_instead" not in inputs)
        assert set(found["prompts"]["fact"]) <= set(drawn[seed])
    assert len(set(drawn.values())) > 1


def test_a_second_call_reuses_and_other_inputs_compute_anew(loaded, tiny_dataset, tmp_path, capfd, monkeypatch):
    lm = loaded("bert")
    main = attribute(lm, tiny_dataset, tmp_path)
    first, written = tables(main), main.stat().st_mtime_ns
    capfd.readouterr()
    with monkeypatch.context() as patch:
        patch.setattr("kn_utils.chapters.attribution.table.integrated_gradients", lambda *_: pytest.fail("computed again"))
        began = time.monotonic()
        attribute(lm, tiny_dataset, tmp_path)
        assert time.monotonic() - began < 2
    assert capfd.readouterr().out == f"P36: reusing {main}\n"
    assert main.stat().st_mtime_ns == written
    attribute(lm, tiny_dataset, tmp_path, method=GAUSS)
    said = capfd.readouterr().out
    assert "was made with other nested_rules, quadrature, tolerance; computing it anew" in said
    assert read_provenance(main)["inputs"]["quadrature"] == "gauss-legendre"
    assert not first["completeness"].equals(tables(main)["completeness"])
    attribute(lm, tiny_dataset, tmp_path)
    assert "computing it anew" in capfd.readouterr().out
    assert_same(tables(main), first)


def test_other_weights_or_facts_compute_anew(folder_of, tmp_path, capfd):
    lm, folder = load_model(folder_of("bert"), "cpu"), tiny_folders.write_data(tmp_path / "facts")
    attribute(lm, load_dataset(folder), tmp_path)
    with torch.no_grad():
        lm.downs[0].weight[0, 0] += 1
    attribute(LanguageModel(lm.name, lm.model, lm.tokenizer), load_dataset(folder), tmp_path)
    assert "was made with other weights; computing it anew" in capfd.readouterr().out
    changed = tiny_folders.FACTS | {"P36": tiny_folders.FACTS["P36"][:-1] + [["France", "Oslo"]]}
    (folder / "query_pairs.json").write_text(json.dumps(changed), encoding="utf-8")
    attribute(LanguageModel(lm.name, lm.model, lm.tokenizer), load_dataset(folder), tmp_path)
    assert "was made with other facts_and_templates; computing it anew" in capfd.readouterr().out


@pytest.mark.parametrize("method", [RELEASED, GAUSS])
def test_the_same_command_gives_the_same_values(method, loaded, tiny_dataset, tmp_path):
    one, two = (tables(attribute(loaded("llama"), tiny_dataset, tmp_path / name, method=method)) for name in ("one", "two"))
    assert_same(one, two)


def test_a_tiny_memory_budget_splits_prompts_too(loaded, tiny_dataset, tmp_path):
    lm = loaded("bert")
    whole, split = (
        tables(attribute(lm, tiny_dataset, tmp_path / name, method=Quadrature(max_memory_gb=budget)))
        for name, budget in (("whole", 2.0), ("split", 1e-6))
    )
    for name in COLUMNS:
        pd.testing.assert_frame_equal(split[name], whole[name], rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("model_type, changes", MODELS, ids=str)
def test_the_plain_code_of_notebook_01_is_right_for_every_architecture(model_type, changes):
    """Its cells run here on tiny models, among them ALBERT, whose layers share blocks; the last of them asserts that both agree."""
    cells = [cell.source for cell in nbformat.read(ROOT / "notebooks" / "01_attribution.ipynb", as_version=4).cells]
    of_interest = [
        next(cell for cell in cells if cell.startswith(beginning))
        for beginning in ("from ", "def probability(w)", "w = activations(", "ours = integrated_gradients(")
    ]
    lm = tiny_model(model_type, **changes)
    batch = random_batch(lm, prompts=1)
    prompt = SimpleNamespace(position=int(batch.position), target=int(batch.target))
    for layer in range(lm.n_layers):
        names = {"lm": lm, "batch": batch, "prompt": prompt, "layer": layer, "max_memory_gb": 2.0, "dtype": "float32"}
        for cell in of_interest:
            exec(cell, names)
        assert (names["pairs"]["match"] == "yes").all() and names["expected"].abs().max() > 0


def in_a_process(work, *arguments):
    """Start `work` in a process of its own, forked from one that has only imported what it needs."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["kn_utils.chapters.attribution.table", "kn_utils.model.models"])
    here, there = context.Pipe()
    process = context.Process(target=work, args=(there, *map(str, arguments)))
    process.start()
    return process, here


def run(pipe, model, data, results_dir):
    """In a process of its own: attribute all facts of P36; say when loading ends and, at the end, the peak of memory in bytes."""
    torch.set_num_threads(1)
    lm, dataset = load_model(model, "cpu"), load_dataset(data)
    pipe.send("loaded")
    attribute(lm, dataset, results_dir, method=Quadrature(max_memory_gb=0.1))
    pipe.send(1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def make_data(folder, count, templates=tiny_folders.TEMPLATES):
    return tiny_folders.write_data(folder, {"P36": tiny_folders.many_facts(count)}, templates)


@pytest.mark.endurance
def test_a_run_that_is_killed_goes_on_and_ends_with_the_same_values(folder_of, tmp_path):
    data = make_data(tmp_path / "many", 8 * FACTS_PER_PART)
    model, whole, broken = folder_of("gpt2"), tmp_path / "whole", tmp_path / "broken"
    process, pipe = in_a_process(run, model, data, whole)
    assert pipe.recv() == "loaded"
    began = time.monotonic()
    pipe.recv()
    took = time.monotonic() - began
    process.join()
    draw = random.Random()
    kept = []
    for _ in range(3):
        process, pipe = in_a_process(run, model, data, broken)
        assert pipe.recv() == "loaded"
        delay = draw.uniform(0.02, 0.25) * took  # three of them must not be enough to finish
        print(f"killed after {delay:.3f} s of {took:.3f} s")
        time.sleep(delay)
        process.kill()
        process.join()
        assert process.exitcode == -9
        kept.append(sum(path.suffix != ".part" for path in broken.glob("*/*/attribution/.P36.*/*")))
    print(f"parts kept: {kept}")
    process, pipe = in_a_process(run, model, data, broken)
    pipe.recv(), pipe.recv()
    process.join()
    main = Path(result_name(model), result_name(data), "attribution", "P36.parquet")
    assert_same(tables(broken / main), tables(whole / main))
    assert len(tables(whole / main)["facts"]) == 8 * FACTS_PER_PART
    assert kept == sorted(kept)


@pytest.mark.endurance
def test_memory_does_not_grow_with_the_number_of_facts(tmp_path):
    model = tiny_folders.write_model(tmp_path / "wide", "bert", hidden_size=16, num_hidden_layers=2, intermediate_size=8192)
    peaks = {}
    for count in (10, 400):
        data = make_data(tmp_path / f"facts-{count}", count, {"P36": ["The capital of [X] is [Y]."]})
        process, pipe = in_a_process(run, model, data, tmp_path / "results")
        pipe.recv()
        peaks[count] = pipe.recv()
        process.join()
    main = tmp_path / "results" / result_name(model) / result_name(data) / "attribution" / "P36.parquet"
    rows = read_table(main).memory_usage(deep=True).sum()
    print({count: f"{peak // MB} MB" for count, peak in peaks.items()}, f"rows: {rows // MB} MB")
    assert rows > 90 * MB  # so keeping all rows would show
    assert peaks[400] - peaks[10] < 60 * MB
