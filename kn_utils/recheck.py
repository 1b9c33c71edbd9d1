"""Checks our published results: a random sample of their facts is computed anew. `python -m kn_utils.recheck MODEL DATASET --facts 20`

The model and the data set must be the published ones, by their digests. Other machines round differently: see `PROBABILITY` and `SHARED`.
"""

import argparse
import random
from collections.abc import Iterator

import pandas as pd
from tqdm.auto import tqdm

from kn_utils.attribution import Method
from kn_utils.facts import Dataset, load_dataset
from kn_utils.interventions import Neuron
from kn_utils.models import LanguageModel, load_model
from kn_utils.neurons import shared, strong
from kn_utils.published import PublishedResults
from kn_utils.steps.attribution import attributed
from kn_utils.steps.knowledge_neurons import METHODS

TABLES = ("facts", "prompts", "knowledge_neurons", "refinement")
PROBABILITY = 1e-3  # by how much a prompt's probability may differ
SHARED = 0.95  # of the neurons of either computation, how many must be of both: one at a threshold may fall on either side


def recheck(lm: LanguageModel, dataset: Dataset, results: PublishedResults, facts: int, seed: int = 42) -> pd.DataFrame:
    """Attribute `facts` random published facts anew and find their neurons by the published thresholds, beside the published ones.

    A row per fact and method: relation, fact, method, `difference` (the largest of a prompt's probability; infinite if other prompts
    were asked), and how many neurons are `published`, found `now`, and in `both`.
    Raises ValueError if the weights, facts or templates are not those of the published results.
    """
    made = {table: results.provenance(table) for table in TABLES}
    published = {table: results.read(table, results.relations) for table in TABLES}
    for provenance in made["prompts"].values():
        _check_same(lm, dataset, provenance["inputs"])
    asked = published["facts"].query("prompts > 0")
    places = list(zip(asked["relation"], asked["fact"], strict=True))
    rows = []
    for relation, fact in tqdm(sorted(random.Random(seed).sample(places, min(facts, len(places)))), unit="fact"):
        before = {name: table[table["relation"] == relation] for name, table in published.items()}
        inputs = {table: provenance[relation]["inputs"] for table, provenance in made.items()}
        now = attributed(lm, dataset, Method.among(inputs["prompts"]), [dataset.facts[relation][fact]])
        rows += _compared(before, now, inputs["knowledge_neurons"]["thresholds"], relation, fact)
    return pd.DataFrame(rows, columns=["relation", "fact", "method", "difference", "published", "now", "both"])


def _check_same(lm: LanguageModel, dataset: Dataset, inputs: dict) -> None:
    here = {"weights": lm.digest, "facts_and_templates": dataset.digest(inputs["relation"])}
    for what, digest in here.items():
        if inputs[what] != digest:
            raise ValueError(f"{inputs['relation']} was published with {what} {inputs[what]}; these are {digest}")


def _compared(
    before: dict[str, pd.DataFrame], now: dict[str, pd.DataFrame], thresholds: dict, relation: str, fact: int
) -> Iterator[tuple]:
    """A row per method: the published tables of a relation beside those of one fact computed now."""
    old = before["prompts"].query("fact == @fact").set_index("prompt")["probability"]
    new = now["prompts"].set_index("prompt")["probability"]
    difference = float((old - new).abs().max()) if old.index.equals(new.index) else float("inf")
    for name in METHODS:
        scores = strong(now["attribution"].query("method == @name"), thresholds[name])
        share = before["refinement"].query("method == @name")["prompt_share"].iloc[-1]
        published = _places(before["knowledge_neurons"].query("fact == @fact and method == @name"))
        found = _places(shared(scores, pd.Series({fact: len(now["prompts"])}), share))
        yield relation, fact, name, difference, len(published), len(found), len(published & found)


def _places(neurons: pd.DataFrame) -> set[Neuron]:
    return set(zip(neurons["layer"], neurons["neuron"], strict=True))


def agrees(checked: pd.DataFrame) -> bool:
    """Return whether all probabilities, and nearly all neurons of the sample, are the published ones."""
    total = checked[["published", "now", "both"]].sum()
    either = total["published"] + total["now"] - total["both"]
    return bool(checked["difference"].max() <= PROBABILITY and total["both"] >= SHARED * either)


def main() -> int:
    """Check published results from the command line; the exit status is 1 if they do not agree."""
    parser = argparse.ArgumentParser(prog="python -m kn_utils.recheck", description="Compute a sample of published facts anew.")
    parser.add_argument("model")
    parser.add_argument("dataset")
    parser.add_argument("--facts", type=int, default=20)
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--device", default="auto")
    given = parser.parse_args()
    lm, dataset = load_model(given.model, given.device), load_dataset(given.dataset)
    checked = recheck(lm, dataset, PublishedResults(lm.name, dataset.name), given.facts, given.seed)
    print(checked.to_string(index=False))
    total = checked[["published", "now", "both"]].sum()
    print(f"probabilities differ by {checked['difference'].max():.1e} at most;")
    print(f"{total['both']} of {total['published']} published neurons are found again, and {total['now'] - total['both']} others")
    return 0 if agrees(checked) else 1


if __name__ == "__main__":
    raise SystemExit(main())
