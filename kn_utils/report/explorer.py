"""The data of the book's explorer: every published fact and neuron, as scripts that a page loads, also from a local folder.

A browser refuses to fetch data beside a page that was opened as a file, but it loads scripts. So the data are assigned in scripts:
`results.js` lists the published results, and there is one file for each, which the page loads when it is asked for.

`python -m kn_utils.report.explorer FOLDER` writes them, as the workflow does into `book/_extra/explorer/data`.
"""

import json
import shutil
import sys
from pathlib import Path

import pandas as pd

from kn_utils.data.facts import load_dataset
from kn_utils.model.models import load_model
from kn_utils.model.neurons import Neuron, neuron_list
from kn_utils.model.value_words import value_words
from kn_utils.store.published import PublishedResults, published_results
from kn_utils.store.runs import FACT_KEY, PROMPT_KEY

BUNDLED = "starter"  # the model whose weights lie in this repository
N_WORDS = 8
STATES = ("before", "suppress", "amplify")
PROBABILITIES = [f"probability_{state}" for state in STATES]
ANSWERS = [f"answer_{state}" for state in STATES]


def write_explorer(folder: Path) -> None:
    """Write the data of all published results into `folder`, which is emptied first. Raises ValueError as `explorer_data`."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    size = {}
    for results in published_results():
        data, name = explorer_data(results), f"{results.model}/{results.dataset}"
        size[name] = len(data["facts"])
        _write(folder / f"{results.model}.{results.dataset}.js", f"explorerData[{json.dumps(name)}]", data)
    largest_first = sorted(size, key=lambda name: -size[name])
    _write(folder / "results.js", "const explorerData = {}, explorerResults", largest_first)


def _write(path: Path, variable: str, content: object) -> None:
    path.write_text(f"{variable} = {_json(content)};\n", encoding="utf-8")


def _json(content: object) -> str:
    return json.dumps(content, ensure_ascii=False, separators=(",", ":"))


def explorer_data(results: PublishedResults) -> dict:
    """Return the facts and neurons of one published result.

    * `layers`: the number of layers. Layers and neurons are counted from 0, as in tables.
    * `relations`: for each relation its label and its templates, by number.
    * `answers`: the words that facts and prompts refer to by number.
    * `facts`: [relation, fact, subject, object, why it has no prompts or "", neurons, strong, means, prompts]. `neurons` are places in the
      list `neurons` below; `strong` has for each the number of prompts in which it is strong. `prompts` has seven lists: the templates,
      the probability (%) of the object before, suppressed and amplified, and the answers in these three states. `means` are the means
      of the probabilities.
    * `neurons`: [layer, index, words raised, words lowered]; without words if `no_words` gives a reason.

    Raises ValueError if the text of a prompt is not its relation's template with the subject.
    """
    relations = results.relations
    facts = results.read("facts", relations)
    neurons = results.read("knowledge_neurons", relations).query("method == 'attribution'")
    prompts = _with_effects(results.read("prompts", relations), results.read("modify_activation", relations))
    distinct = sorted(set(neuron_list(neurons)))
    answers = sorted(set(prompts[ANSWERS].stack()))
    words, reason = _words(results, distinct)
    labels = load_dataset("starter").labels  # those of the paper's data set would have to be downloaded
    templates = _templates(facts, prompts)
    return {
        "layers": int(results.read("completeness", relations)["layer"].max()) + 1,
        "relations": {name: {"label": labels.get(name, name), "templates": templates.get(name, {})} for name in relations},
        "answers": answers,
        "facts": _facts(facts, _neurons_of_facts(neurons, distinct), _prompts_of_facts(prompts, answers), _means(prompts)),
        "neurons": [[*neuron, *words.get(neuron, ())] for neuron in distinct],
        "no_words": reason,
    }


def _with_effects(prompts: pd.DataFrame, changes: pd.DataFrame) -> pd.DataFrame:
    """Return the prompts with the columns `PROBABILITIES` and `ANSWERS`: before, and after each operation on the fact's neurons."""
    own = changes[(changes["method"] == "attribution") & (changes["target"] == "own")]
    after = own.pivot(index=PROMPT_KEY, columns="operation", values=["probability_after", "answer_after"])
    after.columns = [f"{value.removesuffix('_after')}_{operation}" for value, operation in after.columns]
    before = prompts.rename(columns={"probability": "probability_before", "top_answer": "answer_before"})
    merged = before.merge(after.reset_index(), on=PROMPT_KEY, how="left", validate="one_to_one")
    return merged.astype(dict.fromkeys(PROBABILITIES, float))


def _words(results: PublishedResults, neurons: list[Neuron]) -> tuple[dict, str]:
    """Return the words of each neuron, or the reason why there are none."""
    if results.model != BUNDLED:
        return {}, f"the weights of {results.model} are not in this repository, and the book is built without a download"
    lm = load_model(BUNDLED, "cpu")
    if any(made["inputs"]["weights"] != lm.digest for made in results.provenance("knowledge_neurons").values()):
        return {}, f"these tables were made with other weights than those of {results.model} in this repository"
    return value_words(lm, neurons, N_WORDS), ""


def _templates(facts: pd.DataFrame, prompts: pd.DataFrame) -> dict[str, dict[int, str]]:
    """Return the templates of each relation by their number: prompts with [X] in place of the subject."""
    named = prompts.merge(facts[[*FACT_KEY, "subject"]])
    named["template"] = [text.replace(subject, "[X]") for text, subject in zip(named["text"], named["subject"], strict=True)]
    of_most = named.groupby(["relation", "prompt"])["template"].agg(lambda texts: texts.mode()[0]).rename("of_most").reset_index()
    for row in named.merge(of_most).itertuples():
        if row.of_most.replace("[X]", row.subject) != row.text:
            raise ValueError(f"the prompt {row.text!r} of {row.relation} is not {row.of_most!r} with {row.subject!r} as [X]")
    return {name: dict(zip(rows["prompt"].tolist(), rows["of_most"], strict=True)) for name, rows in of_most.groupby("relation")}


def _facts(facts: pd.DataFrame, neurons: dict, prompts: dict, means: dict) -> list[list]:
    nothing = [[], []], [[]] * 7, []
    return [
        [row.relation, row.fact, row.subject, row.object, row.left_out_because]
        + [*neurons.get(key, nothing[0]), means.get(key, nothing[2]), prompts.get(key, nothing[1])]
        for row in facts.itertuples()
        for key in [(row.relation, row.fact)]
    ]


def _neurons_of_facts(neurons: pd.DataFrame, distinct: list[Neuron]) -> dict[tuple, list[list]]:
    """Return the places of each fact's neurons in `distinct`, and the number of prompts in which each is strong."""
    places = {neuron: place for place, neuron in enumerate(distinct)}
    placed = neurons.assign(place=[places[neuron] for neuron in neuron_list(neurons)])
    return {key: [rows["place"].tolist(), rows["prompts"].tolist()] for key, rows in placed.groupby(FACT_KEY)}


def _prompts_of_facts(prompts: pd.DataFrame, answers: list[str]) -> dict[tuple, list[list]]:
    """Return the seven lists of each fact's prompts."""
    numbers = {answer: number for number, answer in enumerate(answers)}
    shown = prompts[[*PROMPT_KEY, *PROBABILITIES, *ANSWERS]].copy()
    for name in PROBABILITIES:
        shown[name] = pd.Series([percent(value, 2) for value in shown[name]], shown.index, dtype=object)
    shown[ANSWERS] = shown[ANSWERS].apply(lambda column: column.map(numbers))
    lists = shown.groupby(FACT_KEY).agg(list)
    return dict(zip(lists.index, lists.values.tolist(), strict=True))


def _means(prompts: pd.DataFrame) -> dict[tuple, list]:
    means = prompts.groupby(FACT_KEY)[PROBABILITIES].mean()
    return {key: [percent(value, 3) for value in values] for key, values in zip(means.index, means.values, strict=True)}


def percent(probability: float, digits: int) -> float | int:
    """Return a probability in per cent with so many significant digits and at most four decimals."""
    value = 100 * probability
    rounded = round(value, 4) if value < 10 ** (digits - 5) else float(f"{value:.{digits}g}")
    return int(rounded) if rounded.is_integer() else rounded


if __name__ == "__main__":
    write_explorer(Path(sys.argv[1]))
