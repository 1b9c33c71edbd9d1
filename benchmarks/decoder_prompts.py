"""The sign of knowledge neurons' activations in a masked model and in a decoder, and what a decoder's leading spaces change.

A sample of the facts of every relation that can have knowledge neurons, of those in a model's published results. *Signs*: the mean
activation of each knowledge neuron of integrated gradients over its fact's prompts, at the prediction position. *Spaces*, for decoders
only: whether objects are one token with and without their leading space, and how probable an object is in either case.

`python benchmarks/decoder_prompts.py --output data/published/decoder_prompts.json`
"""

import argparse
import json
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd
import torch
from attribution import machine
from torch import Tensor
from tqdm import tqdm

from kn_utils.data.facts import Dataset, Fact, load_dataset
from kn_utils.model.forward import activations_of, predict
from kn_utils.model.models import LanguageModel, load_model
from kn_utils.model.prompts import Prompt, usable_prompts
from kn_utils.report.side_by_side import with_enough_prompts
from kn_utils.store.published import PublishedResults

MODELS = ("starter", "smollm2-135m")
QUICK = {"models": ("starter",), "dataset": "starter", "facts": 1}


def sampled(dataset: Dataset, asked: pd.DataFrame, relation: str, facts: int, seed: int) -> list[Fact]:
    """Return at most `facts` random ones of a relation's facts that were asked; `asked` has the column fact."""
    indexes = sorted(asked["fact"])
    chosen = random.Random(f"{seed}-{relation}").sample(indexes, min(facts, len(indexes)))
    return [dataset.facts[relation][index] for index in sorted(chosen)]


def mean_activations(lm: LanguageModel, prompts: Sequence[Prompt]) -> dict[int, Tensor]:
    """Return the mean activations [layers, neurons] over each fact's prompts, by the fact's index; the prompts are of one relation."""
    found: dict[int, list[Tensor]] = {}
    for index, activation in activations_of(lm, prompts):
        found.setdefault(prompts[index].fact.index, []).append(activation)
    return {fact: torch.stack(each).mean(0) for fact, each in found.items()}


def signs(lm: LanguageModel, prompts: Sequence[Prompt], neurons: pd.DataFrame) -> dict[str, int]:
    """Return how many knowledge neurons the prompts' facts have, and how many of these are negative in the mean.

    `neurons` are one relation's, with the columns fact, layer and neuron; a neuron of two facts counts twice.
    """
    means = mean_activations(lm, prompts)
    rows = neurons[neurons["fact"].isin(means)].itertuples()
    values = [float(means[row.fact][row.layer, row.neuron]) for row in rows]
    return {"neurons": len(values), "negative": sum(value < 0 for value in values)}


def one_token(lm: LanguageModel, text: str) -> bool:
    """Return whether a text is one token."""
    return len(_tokens(lm, text)) == 1


def objects(lm: LanguageModel, facts: pd.DataFrame) -> dict[str, int]:
    """Return how many objects there are, and how many are one token with their leading space, without it, and both ways.

    `facts` has the column object; an object of several facts counts once.
    """
    different = sorted(set(facts["object"]))
    ways = [(one_token(lm, f" {each}"), one_token(lm, each)) for each in different]
    with_space, without = (sum(way) for way in zip(*ways, strict=True))
    return {"objects": len(ways), "with_space": with_space, "without_space": without, "both_ways": sum(map(all, ways))}


def behind_space(lm: LanguageModel, prompt: Prompt) -> Prompt | None:
    """Return a prompt that ends with the space before its object, whose token then has none; None if that is not one token."""
    target = _tokens(lm, prompt.fact.object)
    text = f"{prompt.text} "
    ids = tuple(lm.tokenizer(text)["input_ids"])
    return replace(prompt, text=text, ids=ids, position=len(ids) - 1, target=target[0]) if len(target) == 1 else None


def mean_probability(lm: LanguageModel, prompts: Sequence[Prompt]) -> float | None:
    """Return the mean probability of the prompts' targets; None without prompts."""
    return float(predict(lm, prompts, [[prompt.target] for prompt in prompts]).probability.mean()) if prompts else None


def spaces(lm: LanguageModel, prompts: Sequence[Prompt]) -> dict[str, float | None]:
    """Return how many prompts can be asked both ways, and the object's mean probability in each."""
    pairs = [(prompt, behind) for prompt in prompts if (behind := behind_space(lm, prompt))]
    ours, others = ([pair[way] for pair in pairs] for way in (0, 1))
    found = {"in_token": mean_probability(lm, ours), "in_prompt": mean_probability(lm, others)}
    return {"prompts_both_ways": len(pairs)} | found


def measured(lm: LanguageModel, dataset: Dataset, results: PublishedResults, facts: int, seed: int) -> list[dict]:
    """Return a row per relation that can have knowledge neurons; what is of spaces only for decoders."""
    rows = []
    for relation in tqdm(with_enough_prompts(results.read, results.relations), desc=lm.name, unit="relation"):
        drawn = results.read("facts", [relation])
        chosen = sampled(dataset, drawn[drawn["prompts"] > 0], relation, facts, seed)
        prompts = [prompt for fact in chosen for prompt in usable_prompts(lm, dataset, fact)]
        neurons = results.read("knowledge_neurons", [relation]).query("method == 'attribution'")
        row = {"model": lm.name, "relation": relation, "facts": len(chosen), "prompts": len(prompts)}
        row |= signs(lm, prompts, neurons)
        rows.append(row if lm.masked else row | objects(lm, drawn) | spaces(lm, prompts))
    return rows


def _tokens(lm: LanguageModel, text: str) -> list[int]:
    return lm.tokenizer(text, add_special_tokens=False)["input_ids"]


def run(
    doc: str,
    measure: Callable[[LanguageModel, Dataset, PublishedResults, int, int], list[dict]],
    shown: Callable[[pd.DataFrame], pd.DataFrame],
) -> None:
    """Measure the models that the command line asks for, print what is `shown` of the rows and write them; `doc` describes the script."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--dataset", default="pararel")
    parser.add_argument("--facts", type=int, default=12, help="of each relation")
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--output", type=Path, help="write everything to this JSON file")
    parser.add_argument(
        "--quick", action="store_true", help="one fact of each relation of the bundled model, to see that it runs"
    )
    chosen = parser.parse_args()
    if chosen.quick:
        vars(chosen).update(QUICK)
    made = machine() | {"dataset": chosen.dataset, "seed": chosen.seed, "facts": chosen.facts}
    dataset, rows = load_dataset(chosen.dataset), []
    for name in chosen.models:
        lm = load_model(name)
        rows += measure(lm, dataset, PublishedResults(lm.name, dataset.name), chosen.facts, chosen.seed)
    print(shown(pd.DataFrame(rows)).to_string())
    if chosen.output:
        chosen.output.write_text(json.dumps({"machine": made, "rows": rows}) + "\n")


if __name__ == "__main__":
    run(__doc__, measured, lambda rows: rows.set_index("model"))
