"""The benchmarks run, and what they time is right: the loops give the scores of the fast pass, the work is that of the points."""

import json
import os
import subprocess
import sys
from collections import Counter, defaultdict

import decoder_prompts
import estimate
import numpy as np
import pandas as pd
import pytest
import signed_sentences
import tiny_folders
import torch
from products import gflop, minimal_computation
from tiny_models import tiny_model
from torch.utils.flop_counter import FlopCounterMode

from kn_utils.data.facts import load_dataset
from kn_utils.model.attribution import RELEASED_NODES, integrated_gradients
from kn_utils.model.forward import activations, probabilities
from kn_utils.model.prompts import Batch, Prompt, askable, encode
from kn_utils.model.sentences import KINDS, Slot, SlotPrompt, encode_slots, find_slots, read_corpus
from kn_utils.paths import ROOT
from kn_utils.store.measured import load_measured
from kn_utils.store.published import RESULTS


@pytest.mark.slow
def test_quick_run(tmp_path):
    output = tmp_path / "result.json"
    command = [sys.executable, "benchmarks/attribution.py", "--quick", "--memory", "--output", str(output)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=300)
    result = json.loads(output.read_text())
    assert set(result["shapes"]) == {"bert-base", "smollm2-135m"}
    for shape in result["shapes"].values():
        assert {"exact (20 left nodes, float32)", "plain loop"} <= shape["rows"].keys()
        assert all(row["seconds"] > 0 for row in shape["rows"].values())
        assert shape["loops_differ_by"] < 1e-3
    assert "plain loop padded to 128 tokens" in result["shapes"]["bert-base"]["rows"]


@pytest.mark.slow
def test_quick_run_of_the_scaling(tmp_path):
    output = tmp_path / "scaling.json"
    command = [sys.executable, "benchmarks/scaling.py", "--quick", "--turns", "1", "--output", str(output)]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True, timeout=600)
    assert "ms_per_prompt" in done.stdout
    rows, machine = load_measured("scaling", tmp_path)
    assert machine["torch"] and machine["threads"] >= 1
    facts, layers = (rows[rows["axis"] == axis] for axis in ("facts", "layers"))
    assert facts["facts"].tolist() == [4, 12] and layers["layers"].tolist() == [2, 4]
    assert facts["prompts"].tolist() == [12, 36] and facts["gflop"].iloc[1] == pytest.approx(3 * facts["gflop"].iloc[0])
    assert layers["gflop"].iloc[1] > 4 * layers["gflop"].iloc[0]
    assert (rows["seconds"] > 0).all() and (rows["peak_memory_mb"] >= rows["loaded_mb"]).all() and (rows["loaded_mb"] > 50).all()


def run_quickly(name, folder):
    """Run a benchmark in its quick way and read what it has written."""
    command = [sys.executable, f"benchmarks/{name}.py", "--quick", "--output", str(folder / f"{name}.json")]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=300)
    return load_measured(name, folder)


@pytest.mark.slow
def test_quick_run_of_signs_and_spaces(tmp_path):
    rows, made = run_quickly("decoder_prompts", tmp_path)
    assert (made["dataset"], made["facts"], set(rows["model"])) == ("starter", 1, {"starter"}) and made["torch"]
    assert (rows["facts"] == 1).all() and (rows["prompts"] >= 3).all() and "objects" not in rows
    assert (rows["negative"] <= rows["neurons"]).all() and rows["neurons"].sum() > 0


@pytest.mark.slow
def test_quick_run_of_signed_sentences(tmp_path):
    rows, made = run_quickly("signed_sentences", tmp_path)
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
    facts = [fact for fact in tiny_dataset.facts["P36"] if askable(lm, tiny_dataset, fact)][:2]
    prompts = [prompt for fact in facts for prompt in askable(lm, tiny_dataset, fact)]
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
    for prompt in askable(lm, tiny_dataset, fact):
        behind = decoder_prompts.behind_space(lm, prompt)
        if behind:
            assert behind.text == f"{prompt.text} " and lm.tokenizer.decode([behind.target]) == fact.object
            assert lm.tokenizer.decode(list(behind.ids)) == behind.text and behind.position == len(behind.ids) - 1
            assert behind.target != prompt.target


def test_the_published_scaling_is_of_a_full_run():
    rows, machine = load_measured("scaling")
    points = rows.groupby("axis")[["facts", "layers"]].agg(lambda sizes: sorted(set(sizes)))
    assert points.loc["facts", "facts"] == [10, 100, 1000] and points.loc["layers", "layers"] == [2, 4, 8, 12, 24]
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
    for nodes, work, more in (
        (RELEASED_NODES, lambda: integrated_gradients(lm, batch), 0.06),  # the prompt's own row goes backward too
        (0, lambda: probabilities(lm, batch.ids, batch.position), 0.2),  # the last of 6 blocks runs at every position
    ):
        with FlopCounterMode(display=False) as torchs:
            work()
        counted = gflop(*minimal_computation(lm, 9, nodes))
        assert counted <= torchs.get_total_flops() / 1e9 <= (1 + more) * counted


def test_layers_that_share_a_block_are_not_counted():
    with pytest.raises(ValueError, match="albert: its 4 layers share 2 blocks"):
        minimal_computation(tiny_model("albert"), 9, RELEASED_NODES)


@pytest.mark.parametrize(
    "name, weights", [("bert-base", 108_340_804), ("smollm2-135m", 134_515_008), ("qwen2.5-0.5b", 494_032_768)]
)
def test_shapes_have_as_many_weights_as_the_published_models(name, weights):
    model = estimate.shape_of(name).model
    assert sum(weight.numel() for weight in model.parameters()) == weights
    assert model.device.type == "meta"


@pytest.mark.parametrize("kind, prompts, words", [("bert", 31, 2 + 7), ("llama", 18, 5)])
def test_every_prompt_is_counted_with_its_tokens(loaded, folder_of, tiny_dataset, kind, prompts, words):
    lengths = estimate.prompt_lengths(estimate.shape_of(str(folder_of(kind))), tiny_dataset)
    asked = [item for facts in tiny_dataset.facts.values() for item in encode(loaded(kind), tiny_dataset, facts)]
    known = Counter(len(item.ids) for item in asked if isinstance(item, Prompt))
    assert lengths.total() == prompts > known.total() > 0
    assert known <= lengths and lengths[words]  # "The capital of Norway is [MASK]." between two special tokens; cut behind "is"


def test_a_stand_in_tokenizer_adds_special_tokens_for_masked_models_only(tiny_dataset):
    bert, llama = (estimate.shape_of(name).tokenizer(["paris is the"])["input_ids"][0] for name in ("bert-base", "smollm2-135m"))
    assert len(bert) == 5 and bert[1:-1] == llama


@pytest.mark.slow
@pytest.mark.skipif("KN_DATA_DIR" not in os.environ, reason="KN_DATA_DIR does not name a copy of ParaRel")
@pytest.mark.parametrize("name, prompts", [("bert-base", 253_448), ("smollm2-135m", 160_934)])
def test_the_paper_s_prompts_are_all_counted(name, prompts):
    assert estimate.prompt_lengths(estimate.shape_of(name), load_dataset("pararel")).total() == prompts


def test_hours_are_operations_by_rate(loaded):
    lm, nodes = loaded("bert"), {"released": [20] * 3, "gauss-legendre": [8.5, 8, 7.5]}
    released, controlled = estimate.estimate(lm, Counter({7: 3, 9: 1}), nodes, rate=2.0, gpu_rate=8.0)
    seven, nine = (gflop(*minimal_computation(lm, tokens, 20)) for tokens in (7, 9))
    forwards = 14 * (3 * gflop(*minimal_computation(lm, 7, 0)) + gflop(*minimal_computation(lm, 9, 0)))
    assert released["gflop_1"] == pytest.approx(3 * seven + nine) and released["gflop_3"] == pytest.approx(forwards)
    assert released["hours_1"] == pytest.approx((3 * seven + nine) / 2 / 3600)
    assert released["hours_3"] == controlled["hours_3"] == pytest.approx(forwards / 2 / 3600)
    assert released["gpu_hours"] == pytest.approx((released["hours_1"] + released["hours_3"]) / 4)
    assert (released["prompts"], released["tokens"]) == (4, 7.5) and controlled["gflop_1"] < 0.5 * released["gflop_1"]


def test_a_decoder_reads_all_but_the_last_token_once(loaded):
    lm = loaded("llama")
    whole, last = (gflop(*minimal_computation(lm, tokens, 0)) for tokens in (7, 1))
    assert estimate.gflop_of_step_3(lm, Counter({7: 3})) == pytest.approx(3 * 2 * (whole + 6 * last))


def test_nodes_may_differ_between_layers(loaded):
    lm = loaded("bert")
    few, first, last = (gflop(*minimal_computation(lm, 9, nodes)) for nodes in ([4, 4, 4], [8, 4, 4], [4, 4, 8]))
    assert (
        few == gflop(*minimal_computation(lm, 9, 4)) and few < last < first
    )  # a copy of the first layer goes through all others


def test_the_error_controlled_mode_takes_the_published_nodes(loaded):
    first, *others = estimate.controlled_nodes(loaded("bert"))
    assert 4 <= first <= 16 and len(set(others)) == 1 and 4 <= others[0] <= 16
    counts = pd.read_parquet(RESULTS / "starter/pararel/completeness.parquet").query("layer == 0")
    assert first == pytest.approx(np.average(counts["nodes"] + 1, weights=counts["prompts"]))


def test_disk_grows_with_prompts_layers_and_neurons(loaded):
    small, per_prompt = loaded("bert"), {"attribution": 100.0, "completeness": 10.0, "prompts": 1.0}
    assert estimate.tables_bytes(small, 5, small, per_prompt) == 5 * 111
    wide = tiny_model("bert", num_hidden_layers=6, intermediate_size=96)  # twice the layers, each with twice the neurons
    assert estimate.tables_bytes(wide, 5, small, per_prompt) == 5 * (4 * 100 + 2 * 10 + 1)


def test_bytes_per_prompt_are_those_of_the_tables_of_steps_1_to_3(loaded, tiny_dataset):
    sizes = estimate.bytes_per_prompt(loaded("bert"), tiny_dataset, "P36")
    tables = {"attribution", "facts", "prompts", "completeness", "knowledge_neurons", "refinement", "modify_activation"}
    assert sizes.keys() == tables
    assert all(0 < size < 2000 for size in sizes.values())


def test_estimates_of_a_folder_are_shown_and_written(folder_of, tiny_data, tmp_path, monkeypatch, capsys):
    output = tmp_path / "estimate.json"
    given = ["--models", folder_of("bert"), "--dataset", tiny_data, "--gflops", "4", "--share", "0.25"]
    monkeypatch.setattr(sys, "argv", ["estimate.py", *map(str, given), "--gpu-gflops", "10", "--output", str(output)])
    monkeypatch.setattr(estimate, "bytes_per_prompt", lambda *run: {"prompts": 1e9})  # tested above
    estimate.main()
    assert "nothing of this was run" in (shown := capsys.readouterr().out) and "PFLOP_1" in shown
    rows = json.loads(output.read_text())["rows"]
    assert [(row["quadrature"], row["prompts"]) for row in rows] == [("released", 31), ("gauss-legendre", 31)]
    assert rows[0]["nodes"] == 20 > rows[1]["nodes"] > 3
    for row in rows:
        assert row["hours_1"] == pytest.approx(row["gflop_1"] / (4 * 0.25) / 3600)
        assert row["gpu_hours"] == pytest.approx((row["gflop_1"] + row["gflop_3"]) / 5 / 3600)
        assert row["disk_gb"] == pytest.approx(31, abs=1e-3)


def test_the_rate_of_products_is_their_work_by_their_best_time(loaded, monkeypatch):
    lm = loaded("bert")
    products, attention = minimal_computation(lm, 9, RELEASED_NODES)
    monkeypatch.setattr(estimate, "in_turns", lambda tasks, **_: {task: [2.0, 1.0] for task in tasks})
    calls = sum(getattr(one, way) / (one.rows * one.inputs * one.outputs) for one in products for way in ("forward", "backward"))
    with_attention = 1 + attention / sum(one.forward + one.backward for one in products)
    assert estimate.products_rate(lm, 9) == pytest.approx(gflop(products, attention) / (calls * with_attention))
