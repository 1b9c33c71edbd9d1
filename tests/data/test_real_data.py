"""The signature command on the paper's facts and public weights, where a copy of the data is at hand (`KN_DATA_DIR`)."""

import subprocess
import sys

import pytest

from kn_utils.model.models import load_model
from kn_utils.paths import ROOT
from kn_utils.store.files import read_provenance, read_table


def assert_answers_are_those_of_the_plain_model(prompts, model):
    lm = load_model(model, device="cpu")
    for prompt in prompts.itertuples():
        ids = lm.tokenizer(prompt.text, return_tensors="pt")
        place = ids["input_ids"][0].tolist().index(lm.tokenizer.mask_token_id) if lm.masked else -1
        logits = lm.model(**ids).logits[0, place]
        target = lm.tokenizer(prompt.target if lm.masked else f" {prompt.target}", add_special_tokens=False)["input_ids"][0]
        assert prompt.probability == pytest.approx(float(logits.softmax(-1)[target]), rel=1e-3)
        assert prompt.correct == (int(logits.argmax()) == target)


@pytest.mark.slow
@pytest.mark.real_data
@pytest.mark.parametrize("model, templates", [("smollm2-135m", 2), ("starter", 4)])
def test_attribution_of_pararel_facts(tmp_path, model, templates):
    options = {
        "relation": "P103",
        "model": model,
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
    results = tmp_path / model / "pararel"
    prompts, scores = (read_table(results / step / "P103.parquet") for step in ("prompts", "attribution"))
    asked = read_table(results / "facts" / "P103.parquet").query("prompts > 0")
    assert len(prompts) == templates * len(asked)  # a decoder can use the object-final ones
    assert_answers_are_those_of_the_plain_model(prompts, model)
    largest = scores.groupby(["fact", "prompt", "method"])["score"].agg(["min", "max"])
    assert len(largest) == 2 * len(prompts)
    assert (largest["min"] >= 0.1 * largest["max"] * (1 - 1e-6)).all()
    assert read_provenance(results / "attribution" / "P103.parquet")["inputs"]["n_facts"] == 4
