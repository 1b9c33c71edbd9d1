"""The explorer's data against the published tables, read by plain pandas."""

import gzip
import json
import re

import numpy as np
import pandas as pd
import pytest

from kn_utils.data.facts import load_dataset
from kn_utils.model.models import load_model
from kn_utils.model.value_words import value_words
from kn_utils.report import explorer
from kn_utils.report.explorer import explorer_data, percent, write_explorer
from kn_utils.store.published import PublishedResults, published_results

RESULTS = published_results()
KEY = ["relation", "fact"]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", params=RESULTS, ids=lambda results: f"{results.model}_{results.dataset}")
def both(request):
    """The explorer's data of one published result, and a function that reads its tables."""
    results = request.param
    folder = results.folder / results.model / results.dataset

    def read(table):
        rows = pd.read_parquet(folder / f"{table}.parquet")
        if "log_odds_after" in rows:  # then probabilities are not published
            rows["probability_after"] = 1 / (1 + np.exp(-rows["log_odds_after"].astype(float)))
        return rows

    return explorer_data(results), read


def facts_of(data) -> pd.DataFrame:
    names = [*KEY, "subject", "object", "left_out_because", "neurons", "strong", "means", "prompts"]
    return pd.DataFrame(data["facts"], columns=names)


def in_order(table: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    return table[columns].sort_values(columns[:3], ignore_index=True)


def near(shown, probability, digits):
    """Whether per cents are the probabilities to so many significant digits, and at least to four decimals."""
    half_a_digit = 0.5 * 10.0 ** (1 - digits)
    return ((shown - 100 * probability).abs() <= (100 * probability * half_a_digit).clip(lower=0.5e-4) * 1.0001).all()


def test_every_published_fact_is_there(both):
    data, read = both
    columns = [*KEY, "subject", "object", "left_out_because"]
    pd.testing.assert_frame_equal(in_order(facts_of(data), columns), in_order(read("facts"), columns), check_dtype=False)
    assert data["relations"].keys() == set(read("facts")["relation"])


def test_a_fact_has_its_published_neurons(both):
    data, read = both
    rows = [
        (relation, fact, *data["neurons"][place][:2], prompts)
        for relation, fact, *_, neurons, strong, _, _ in data["facts"]
        for place, prompts in zip(neurons, strong, strict=True)
    ]
    columns = [*KEY, "layer", "neuron", "prompts"]
    published = read("knowledge_neurons")
    published = published[published["method"] == "attribution"].sort_values(columns, ignore_index=True)
    found = pd.DataFrame(rows, columns=columns).sort_values(columns, ignore_index=True)
    pd.testing.assert_frame_equal(found, published[columns], check_dtype=False)
    assert data["layers"] > found["layer"].max()
    assert len({tuple(neuron[:2]) for neuron in data["neurons"]}) == len(data["neurons"]) == len(published.groupby(columns[2:4]))


def test_a_fact_has_its_prompts_with_probabilities_and_answers(both):
    data, read = both
    names = ["prompt", "before", "suppress", "amplify", "answer", "answer_suppress", "answer_amplify"]
    rows = [
        (relation, fact, subject, *values)
        for relation, fact, subject, *_, prompts in data["facts"]
        for values in zip(*prompts, strict=True)
    ]
    found = pd.DataFrame(rows, columns=[*KEY, "subject", *names])
    published = read("prompts")
    merged = found.merge(published, on=[*KEY, "prompt"])
    assert len(merged) == len(found) == len(published)
    texts = [data["relations"][row.relation]["templates"][row.prompt].replace("[X]", row.subject) for row in merged.itertuples()]
    assert texts == merged["text"].tolist()
    assert [data["answers"][number] for number in merged["answer"]] == merged["top_answer"].tolist()
    assert near(merged["before"], merged["probability"], 2)
    changes = read("modify_activation")
    changes = changes[(changes["method"] == "attribution") & (changes["target"] == "own")]
    for operation in ("suppress", "amplify"):
        after = found.merge(changes[changes["operation"] == operation], on=[*KEY, "prompt"])
        assert len(after) == len(found)
        assert near(after[operation], after["probability_after"], 2)
        assert [data["answers"][number] for number in after[f"answer_{operation}"]] == after["answer_after"].tolist()


def test_means_are_of_the_unrounded_probabilities(both):
    data, read = both
    asked = facts_of(data).query("left_out_because == ''").set_index(KEY)["means"]
    expected = read("prompts").groupby(KEY)["probability"].mean().reindex(asked.index)
    assert near(asked.str[0], expected, 3)
    changes = read("modify_activation")
    changes = changes[(changes["method"] == "attribution") & (changes["target"] == "own")]
    means = changes.groupby([*KEY, "operation"])["probability_after"].mean().unstack().reindex(asked.index)
    assert near(asked.str[1], means["suppress"], 3) and near(asked.str[2], means["amplify"], 3)


def test_a_bundled_model_has_words_and_others_say_why_not(both):
    data, _ = both
    lengths = {len(neuron) for neuron in data["neurons"]}
    assert (lengths, bool(data["no_words"])) in (({4}, False), ({2}, True))


def test_words_are_those_of_the_value_vectors():
    data = explorer_data(PublishedResults("starter", "starter"))
    layer, index, raised, lowered = data["neurons"][17]
    assert (raised, lowered) == value_words(load_model("starter", "cpu"), [(layer, index)], 8)[layer, index]


def test_tables_of_other_weights_have_no_words(monkeypatch):
    monkeypatch.setattr("kn_utils.model.models.LanguageModel.digest", "0" * 64)
    data = explorer_data(PublishedResults("starter", "starter"))
    assert "other weights" in data["no_words"] and {len(neuron) for neuron in data["neurons"]} == {2}


def test_labels_are_those_of_the_relations(both):
    data, _ = both
    labels = load_dataset("starter").labels
    assert {name: relation["label"] for name, relation in data["relations"].items()} == {
        name: labels[name] for name in data["relations"]
    }


def test_a_prompt_that_is_not_its_template_is_refused():
    facts = pd.DataFrame({"relation": "P36", "fact": [0, 1, 2], "subject": ["Norway", "Peru", "Mali"]})
    texts = ["Norway is [MASK].", "Peru is [MASK].", "Malia is [MASK]"]
    prompts = facts[KEY].assign(prompt=0, text=texts)
    with pytest.raises(ValueError, match=re.escape("'Malia is [MASK]' of P36 is not '[X] is [MASK].' with 'Mali'")):
        explorer._templates(facts, prompts)
    assert explorer._templates(facts[:2], prompts[:2]) == {"P36": {0: "[X] is [MASK]."}}


@pytest.mark.parametrize(
    ("probability", "digits", "shown"),
    [(0.20912, 2, "21"), (0.0401, 2, "4"), (0.0209, 3, "2.09"), (1.0, 3, "100"), (0.0000123, 2, "0.0012"), (1e-8, 2, "0")],
)
def test_per_cents_are_short(probability, digits, shown):
    assert json.dumps(percent(probability, digits)) == shown


def test_the_data_of_a_result_are_small(both):
    data, _ = both
    assert len(gzip.compress(json.dumps(data, separators=(",", ":")).encode())) < 1_000_000


def test_the_scripts_assign_what_the_page_reads(tmp_path, monkeypatch):
    (tmp_path / "left over.js").touch()
    chosen = [PublishedResults("smollm2-135m", "pararel"), PublishedResults("starter", "starter")]
    assert len(chosen[0].read("facts", chosen[0].relations)) < len(chosen[1].read("facts", chosen[1].relations))
    monkeypatch.setattr(explorer, "published_results", lambda: chosen)
    write_explorer(tmp_path)
    names = ["smollm2-135m/pararel", "starter/starter"]
    listed = (tmp_path / "results.js").read_text(encoding="utf-8")
    begin = "const explorerData = {}, explorerResults = "
    assert listed.startswith(begin) and json.loads(listed[len(begin) : -2]) == names[::-1]  # the largest first
    scripts = {path.name: path.read_text(encoding="utf-8") for path in tmp_path.iterdir()}
    assert scripts.keys() == {"results.js", *(f"{name.replace('/', '.')}.js" for name in names)}
    for name in names:
        variable, _, content = scripts[f"{name.replace('/', '.')}.js"].partition(" = ")
        assert variable == f'explorerData["{name}"]' and json.loads(content[:-2]).keys() >= {"facts", "neurons"}
