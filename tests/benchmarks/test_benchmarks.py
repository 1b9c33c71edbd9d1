"""The benchmarks run, and what they time is right: the loops give the scores of the fast pass, the work is that of the points."""

import json
import os
import runpy
import subprocess
import sys
import types
from collections import defaultdict

import decoder_prompts
import half_precision
import numpy as np
import pandas as pd
import pytest
import signed_sentences
import time_prompts
import tiny_folders
import torch
from products import gflop, minimal_computation
from tiny_models import tiny_model
from torch.utils.flop_counter import FlopCounterMode

from kn_utils.data.facts import load_dataset
from kn_utils.model.attribution import RELEASED_NODES, Quadrature, integrated_gradients
from kn_utils.model.forward import activations
from kn_utils.model.prompts import Batch, Prompt, encode, usable_prompts
from kn_utils.model.sentences import KINDS, Slot, SlotPrompt, encode_slots, find_slots, read_corpus
from kn_utils.paths import ROOT
from kn_utils.store.measured import load_measured


@pytest.mark.endurance
def test_quick_run(tmp_path):
    output = tmp_path / "result.json"
    command = [sys.executable, "benchmarks/attribution.py", "--quick", "--neighbours", "1", "--whole-machine"]
    two_cores = os.environ | {"LOKY_MAX_CPU_COUNT": "2"}
    subprocess.run([*command, "--output", str(output)], cwd=ROOT, check=True, capture_output=True, timeout=300, env=two_cores)
    result = json.loads(output.read_text())
    assert result["machine"]["neighbours"] == 1 and set(result["shapes"]) == {"bert-base", "smollm2-135m"}
    for shape in result["shapes"].values():
        assert {"released (20 left nodes)", "gradient x activation", "plain loop"} <= shape["rows"].keys()
        assert all(row["seconds"] > 0 for row in shape["rows"].values())
        assert shape["loops_differ_by"] < 1e-3
        assert shape["prompts_per_second"].keys() == {"1", "2"} and all(
            speed > 0 for speed in shape["prompts_per_second"].values()
        )
    assert "plain loop padded to 128 tokens" in result["shapes"]["bert-base"]["rows"]


@pytest.mark.long
def test_quick_run_of_the_scaling(tmp_path):
    output = tmp_path / "scaling.json"
    command = [sys.executable, "benchmarks/scaling.py", "--quick", "--turns", "1", "--output", str(output)]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True, timeout=600)
    assert "ms_per_prompt" in done.stdout
    rows, machine = load_measured("scaling", tmp_path)
    assert machine["torch"] and machine["threads"] >= 1
    facts, layers, workers = (rows[rows["axis"] == axis] for axis in ("facts", "layers", "workers"))
    assert facts["facts"].tolist() == [4, 12] and layers["layers"].tolist() == [2, 4]
    assert facts["prompts"].tolist() == [12, 36] and facts["gflop"].iloc[1] == pytest.approx(3 * facts["gflop"].iloc[0])
    assert layers["gflop"].iloc[1] > 4 * layers["gflop"].iloc[0]
    assert workers["workers"].tolist() == [1, 2] and workers["gflop"].nunique() == 1
    assert workers["peak_memory_mb"].iloc[1] > 1.5 * workers["peak_memory_mb"].iloc[0]
    assert (rows["seconds"] > 0).all() and (rows["peak_memory_mb"] >= rows["loaded_mb"]).all() and (rows["loaded_mb"] > 50).all()


def run_quickly(name, folder, monkeypatch):
    """Run a benchmark in its quick way, in this process, and read what it has written."""
    monkeypatch.setattr(sys, "argv", [f"{name}.py", "--quick", "--output", str(folder / f"{name}.json")])
    runpy.run_path(str(ROOT / f"benchmarks/{name}.py"), run_name="__main__")
    return load_measured(name, folder)


@pytest.mark.slow
def test_quick_run_of_signs_and_spaces(tmp_path, monkeypatch):
    rows, made = run_quickly("decoder_prompts", tmp_path, monkeypatch)
    assert (made["dataset"], made["facts"], set(rows["model"])) == ("starter", 1, {"starter"}) and made["torch"]
    assert (rows["facts"] == 1).all() and (rows["prompts"] >= 3).all() and "objects" not in rows
    assert (rows["negative"] <= rows["neurons"]).all() and rows["neurons"].sum() > 0


@pytest.mark.slow
def test_quick_run_of_signed_sentences(tmp_path, monkeypatch):
    rows, made = run_quickly("signed_sentences", tmp_path, monkeypatch)
    assert (made["dataset"], made["facts"], set(rows["model"])) == ("starter", 1, {"starter"})
    assert set(rows["kind"]) == set(KINDS) and rows["sentences"].min() > 0
    assert rows.groupby("relation")["fact"].nunique().max() == 1 and not rows[["activation", "aligned"]].isna().any(axis=None)


def test_sentences_are_compared_as_they_are_and_with_signs(loaded, tmp_path):
    lm = loaded("llama")
    dataset = load_dataset(tiny_folders.write_sentences(tiny_folders.write_data(tmp_path / "tiny")))
    corpus, fact, signs = read_corpus(dataset), dataset.facts["P36"][0], torch.tensor([1.0, -1.0])
    slots = [slot for slot in find_slots(corpus, fact, 42, lm.masked) if isinstance(slot, Slot)]
    expected = defaultdict(list)
    for prompt in encode_slots(lm, slots):
        if isinstance(prompt, SlotPrompt):
            values = activations(lm, torch.tensor([prompt.ids]), torch.tensor([prompt.position]))[0, [0, 1], [3, 7]]
            expected[prompt.slot.kind].append([values.mean(), (values * signs).mean()])
    table = signed_sentences.by_kind(lm, corpus, fact, torch.tensor([[0, 1], [3, 7]]), signs, seed=42).set_index("kind")
    assert table["sentences"].to_dict() == {kind: len(rows) for kind, rows in expected.items()} != {}
    for kind, rows in expected.items():
        assert table.loc[kind, ["activation", "aligned"]].tolist() == pytest.approx(np.mean(rows, axis=0).tolist(), abs=2e-5)


def test_signs_are_those_of_the_mean_activation_over_a_fact_s_prompts(loaded, tiny_dataset):
    lm = loaded("llama")
    facts = [fact for fact in tiny_dataset.facts["P36"] if usable_prompts(lm, tiny_dataset, fact)][:2]
    prompts = [prompt for fact in facts for prompt in usable_prompts(lm, tiny_dataset, fact)]
    means = {
        fact.index: np.mean(
            [
                activations(lm, torch.tensor([prompt.ids]), torch.tensor([prompt.position]))[0].numpy()
                for prompt in prompts
                if prompt.fact == fact
            ],
            axis=0,
        )
        for fact in facts
    }
    one, other = (fact.index for fact in facts)
    places = [(fact, layer, neuron) for fact in means for layer in range(2) for neuron in range(20)]
    neurons = pd.DataFrame([*places, (99, 0, 0)], columns=["fact", "layer", "neuron"])  # fact 99 was not asked
    negative = sum(means[fact][layer, neuron] < 0 for fact, layer, neuron in places)
    assert 0 < negative < len(places) and one != other
    assert decoder_prompts.signs(lm, prompts, neurons) == {"neurons": len(places), "negative": negative}


def test_a_prompt_that_ends_with_a_space_asks_for_the_object_without_one(loaded, tiny_dataset):
    lm = loaded("llama")
    fact = tiny_dataset.facts["P36"][0]
    for prompt in usable_prompts(lm, tiny_dataset, fact):
        behind = decoder_prompts.behind_space(lm, prompt)
        if behind:
            assert behind.text == f"{prompt.text} " and lm.tokenizer.decode([behind.target]) == fact.object
            assert lm.tokenizer.decode(list(behind.ids)) == behind.text and behind.position == len(behind.ids) - 1
            assert behind.target != prompt.target


def test_the_published_scaling_is_of_a_full_run():
    rows, machine = load_measured("scaling")
    points = rows.groupby("axis")[["facts", "layers", "workers"]].agg(lambda sizes: sorted(set(sizes)))
    assert points.loc["facts", "facts"] == [10, 100, 1000, 10000] and points.loc["layers", "layers"] == [2, 4, 8, 12, 24]
    assert points.loc["workers", "workers"][:2] == [1, 2]
    assert machine["processor"] and machine["torch"]


def test_a_scaling_that_was_not_measured_says_how_to_measure_it(tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"there is no .*: `python benchmarks/scaling.py --output .*scaling.json` makes it"
    ):
        load_measured("scaling", tmp_path)


DEEPER = {"gpt2": {"n_layer": 6}} | {kind: {"num_hidden_layers": 6} for kind in ("bert", "llama", "qwen2")}


@pytest.mark.parametrize("kind", DEEPER)
def test_operations_counted_are_those_that_torch_computes(kind):
    lm = tiny_model(kind, torch.float32, **DEEPER[kind])
    lm.model.set_attn_implementation("eager")  # torch does not count those of the other on a CPU
    batch = Batch(torch.arange(5, 14)[None], torch.tensor([3 if lm.masked else 8]), torch.tensor([7]))
    with FlopCounterMode(display=False) as torchs:
        integrated_gradients(lm, batch)
    counted = gflop(*minimal_computation(lm, 9, RELEASED_NODES))
    assert counted <= torchs.get_total_flops() / 1e9 <= 1.06 * counted  # torch's has the prompt's own row go backward too


def test_layers_that_share_a_block_are_not_counted():
    with pytest.raises(ValueError, match="albert: its 4 layers share 2 blocks"):
        minimal_computation(tiny_model("albert"), 9, RELEASED_NODES)


def test_hours_are_seconds_per_prompt_times_the_prompts_of_the_data_set(
    folder_of, tiny_data, tiny_dataset, loaded, monkeypatch, capsys
):
    prompts = [item for facts in tiny_dataset.facts.values() for item in encode(loaded("bert"), tiny_dataset, facts)]
    count = sum(isinstance(item, Prompt) for item in prompts)
    timed = []
    monkeypatch.setattr(
        time_prompts, "seconds_per_prompt", lambda lm, given, quadrature: timed.append((given, quadrature)) or 36.0
    )
    monkeypatch.setattr(sys, "argv", ["time_prompts.py", str(folder_of("bert")), str(tiny_data), "--prompts", "5"])
    time_prompts.main()
    shown = capsys.readouterr().out
    assert "36 s per prompt (5 timed)" in shown and f"{count} prompts of the whole data set: {count / 100:.3g} h" in shown
    ((given, quadrature),) = timed
    assert len({(prompt.fact, prompt.index) for prompt in given}) == 5 and quadrature == Quadrature("released")


@pytest.mark.parametrize("kind", ["bert", "llama"])
def test_every_drawn_prompt_is_timed_once_after_a_warm_up(kind, loaded, tiny_dataset, monkeypatch):
    clock, asked = iter([10.0, 22.0]), []
    monkeypatch.setattr(time_prompts.time, "perf_counter", lambda: next(clock))
    monkeypatch.setattr(time_prompts, "integrated_gradients", lambda lm, batch, quadrature: asked.extend(batch.ids.tolist()))
    prompts = time_prompts.all_prompts(loaded(kind), tiny_dataset)[:6]
    assert time_prompts.seconds_per_prompt(loaded(kind), prompts, Quadrature()) == 2.0
    ids = [list(prompt.ids) for prompt in prompts]
    assert asked[0] == ids[0] and sorted(asked[1:]) == sorted(ids)


def test_a_model_that_can_be_given_no_prompt_is_an_error(folder_of, tmp_path, monkeypatch, capsys):
    data = tiny_folders.write_data(
        tmp_path / "tiny", facts={"P30": tiny_folders.FACTS["P30"]}
    )  # no template ends with the object
    monkeypatch.setattr(sys, "argv", ["time_prompts.py", str(folder_of("llama")), str(data)])
    with pytest.raises(SystemExit):
        time_prompts.main()
    assert "can be given no prompt" in capsys.readouterr().err


def scored(*scores, probability):
    """An attribution of one prompt, of which the scores and the probability are read."""
    return types.SimpleNamespace(score=torch.tensor([scores]), probability=torch.tensor([probability]))


def test_differences_of_half_precision_by_hand():
    rows = half_precision.differences(
        [scored(1.0, 0.3, 0.1, probability=0.5), scored(2.0, 0.0, 1.0, probability=0.1)],
        [scored(0.9, 0.1, 0.4, probability=0.4), scored(2.0, 0.0, 2.5, probability=0.1)],
    )
    assert rows["probability"].tolist() == pytest.approx([0.1, 0])
    assert rows["score"].tolist() == pytest.approx([0.3, 0.75])
    assert rows["same"].tolist() == pytest.approx([1 / 3, 1])
    assert rows["strongest"].tolist() == [True, False]


def test_half_precision_is_compared_for_every_type_of_weights(folder_of, tiny_data, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["half_precision.py", str(folder_of("llama")), str(tiny_data), "--prompts", "3"])
    half_precision.main()
    about, _, header, _, *lines = capsys.readouterr().out.splitlines()
    assert "3 prompts, seed 42" in about and header.startswith("| weights | probability")
    assert [line.split(" | ")[0] for line in lines] == ["| bfloat16", "| float16"]
    assert all(float(line.split(" | ")[3].removesuffix(" %")) > 0 for line in lines)  # rounding shows
