"""The signature command on the paper's facts and public weights, where a copy of the data is at hand (`KN_DATA_DIR`)."""

import os
import subprocess
import sys

import pytest

from kn_utils.models import load_model
from kn_utils.paths import ROOT
from kn_utils.results import read_provenance, read_table

needs_data = pytest.mark.skipif("KN_DATA_DIR" not in os.environ, reason="KN_DATA_DIR is not set: no copy of the paper's data")


def assert_answers_are_those_of_the_plain_model(prompts):
    lm = load_model("smollm2-135m", device="cpu")
    for prompt in prompts.itertuples():
        logits = lm.model(**lm.tokenizer(prompt.text, return_tensors="pt")).logits[0, -1]
        target = lm.tokenizer(f" {prompt.target}")["input_ids"][0]
        assert prompt.probability == pytest.approx(float(logits.softmax(-1)[target]), rel=1e-3)
        assert prompt.correct == (int(logits.argmax()) == target)


@pytest.mark.slow
@needs_data
def test_attribution_of_pararel_facts_by_smollm2(tmp_path):
    options = {
        "relation": "P103",
        "model": "smollm2-135m",
        "dataset": "pararel",
        "results_dir": tmp_path,
        "n_facts": 4,
        "seed": 1,
    }
    parameters = [word for name, value in options.items() for word in ("-p", name, str(value))]
    command = [
        sys.executable,
        "-m",
        "papermill",
        "--kernel",
        "python3",
        "notebooks/01_attribution.ipynb",
        str(tmp_path / "out.ipynb"),
    ]
    subprocess.run([*command, *parameters], cwd=ROOT, check=True, capture_output=True)
    results = tmp_path / "smollm2-135m" / "pararel"
    prompts, scores = (read_table(results / step / "P103.parquet") for step in ("prompts", "attribution"))
    assert len(prompts) == 2 * len(
        read_table(results / "facts" / "P103.parquet").query("prompts > 0")
    )  # two object-final templates
    assert_answers_are_those_of_the_plain_model(prompts)
    largest = scores.groupby(["fact", "prompt", "method"])["score"].agg(["min", "max"])
    assert len(largest) == 2 * len(prompts)
    assert (largest["min"] >= 0.1 * largest["max"] * (1 - 1e-6)).all()
    assert read_provenance(results / "attribution" / "P103.parquet")["inputs"]["n_facts"] == 4
