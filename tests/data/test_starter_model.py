"""The bundled model `starter`: an ordinary folder, small, that knows what its card says it knows."""

import json
import re
import runpy
import sys

import pandas as pd
import pytest
import torch
from tiny_models import probabilities_at
from transformers import AutoModelForMaskedLM, AutoTokenizer

from kn_utils.data.facts import load_dataset
from kn_utils.data.held_out import is_held_out_fact, is_held_out_sentence
from kn_utils.model.forward import predict
from kn_utils.model.models import load_model
from kn_utils.model.prompts import Prompt, encode
from kn_utils.paths import DATA

FOLDER = DATA / "starter" / "model"
CARD = (FOLDER / "README.md").read_text(encoding="utf-8")


def test_it_is_an_ordinary_folder_of_bounded_size():
    plain = AutoModelForMaskedLM.from_pretrained(FOLDER, dtype=torch.float32).eval()
    assert {weight.dtype for weight in plain.state_dict().values() if weight.is_floating_point()} == {torch.float32}
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 48e6
    assert not list(FOLDER.glob("*.bin"))
    tokenizer = AutoTokenizer.from_pretrained(FOLDER)
    ids = tokenizer("Paris is the capital of [MASK].", return_tensors="pt")
    place = ids["input_ids"][0].tolist().index(tokenizer.mask_token_id)
    with torch.no_grad():
        expected = plain(**ids).logits[0, place].softmax(-1)
    lm = load_model("starter", "cpu")
    assert (lm.name, lm.masked, lm.n_layers, lm.n_neurons) == ("starter", True, 6, 1536)
    torch.testing.assert_close(probabilities_at(lm, ids["input_ids"], torch.tensor([place]))[0], expected)
    assert tokenizer.decode([int(expected.argmax())]) == "france"


def test_it_knows_facts_and_fewer_of_those_left_out():
    lm, dataset = load_model("starter", "cpu"), load_dataset("starter")
    relations = ["P36", "P37", "P103", "P176", "P1376", "P1412"]
    facts = [fact for relation in relations for fact in dataset.facts[relation]]
    prompts = [prompt for prompt in encode(lm, dataset, facts) if isinstance(prompt, Prompt) and prompt.index < 4]
    right = predict(lm, prompts, [[prompt.target] for prompt in prompts]).top == [prompt.target for prompt in prompts]
    rows = [(is_held_out_fact(prompt.fact.subject, prompt.fact.object), hit) for prompt, hit in zip(prompts, right, strict=True)]
    share = pd.DataFrame(rows, columns=["held_out", "right"]).groupby("held_out")["right"].mean()
    assert share[False] > 0.5 and share[False] > share[True] + 0.1


def test_the_card_is_filled_and_agrees_with_the_training_log():
    assert "Not measured yet" not in CARD and "Not there yet" not in CARD
    last = json.loads((FOLDER / "training_log.jsonl").read_text(encoding="utf-8").splitlines()[-1])
    row = re.search(rf"^\| {last['step']} \|.*$", CARD, re.MULTILINE).group()
    assert f"{100 * last['taught']:.1f} %" in row and f"{100 * last['left_out']:.1f} %" in row
    assert len(re.findall(r"^\| P\d+ \|", CARD, re.MULTILINE)) == 34


@pytest.mark.parametrize("rule, share", [(is_held_out_sentence, 0.2), (lambda text: is_held_out_fact(text, "object"), 0.1)])
def test_the_rule_leaves_out_the_share_it_says(rule, share):
    assert sum(map(rule, map(str, range(10_000)))) / 10_000 == pytest.approx(share, abs=0.015)


def test_the_rule_does_not_depend_on_order_case_accents_and_punctuation():
    pairs = [(f"Émile {number}", "Paris!") for number in range(50)]
    assert [is_held_out_fact(*pair) for pair in pairs] == [is_held_out_fact("paris", pair[0].replace("É", "e")) for pair in pairs]
    assert any(is_held_out_fact(*pair) for pair in pairs)


@pytest.mark.parametrize("script", ["train_model", "evaluate_model"])
def test_the_scripts_that_made_it_start(script, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [f"{script}.py", "--help"])
    monkeypatch.syspath_prepend(DATA / "starter")
    with pytest.raises(SystemExit, match="^0$"):
        runpy.run_path(str(DATA / f"starter/{script}.py"), run_name="__main__")
    assert "usage" in capsys.readouterr().out
