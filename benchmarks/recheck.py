"""Checks our published results: a random sample of their facts is computed anew. `python -m kn_utils.report.recheck MODEL DATASET --facts 20`

The model and the data set must be the published ones, by their digests. Other machines round differently: see `PROBABILITY` and `SHARED`.
"""

import argparse
import random
from collections.abc import Iterator

import pandas as pd
from tqdm.auto import tqdm

from kn_utils.chapters.attribution.table import attributed
from kn_utils.chapters.knowledge_neurons.table import METHODS
from kn_utils.chapters.modify_activation.table import modified_answers
from kn_utils.data.facts import Dataset, load_dataset
from kn_utils.model.attribution import Quadrature
from kn_utils.model.interventions import Neuron
from kn_utils.model.models import LanguageModel, load_model
from kn_utils.model.neurons import shared, strong
from kn_utils.report.side_by_side import with_enough_prompts
from kn_utils.store.published import PublishedResults

TABLES = ("facts", "prompts", "knowledge_neurons", "refinement", "modify_activation")
PROBABILITY = 1e-3  # by how much a probability may differ
CHANGED = ["prompt", "operation", "target", "other_relation", "other_fact"]  # what a row of a method and fact is of, in step 3
SHARED = 0.95  # of a method's neurons of either computation, how many must be of both: one at a threshold may fall on either side


def recheck(lm: LanguageModel, dataset: Dataset, results: PublishedResults, facts: int, seed: int = 42) -> pd.DataFrame:
    """Compute steps 1 to 3 of `facts` random published facts anew, step 2 by the published thresholds, and compare.

    Facts are of relations that can have knowledge neurons, if there are such: see `with_enough_prompts`. A row per fact and method:
    relation, fact, method, `difference` (the largest of a prompt's probability; infinite if other prompts were asked), `modified` (the same
    of step 3, with the published neurons changed), and how many neurons are `published`, found `now`, and in `both`.
    Raises ValueError if the weights, facts or templates are not those of the published results.
    """
    made = {table: results.provenance(table) for table in TABLES}
    published = {table: results.read(table, results.relations) for table in TABLES}
    for provenance in made["prompts"].values():
        _check_same(lm, dataset, provenance["inputs"])
    relations = with_enough_prompts(results.read, results.relations) or results.relations
    asked = published["facts"][published["facts"]["relation"].isin(relations)].query("prompts > 0")
    places = list(zip(asked["relation"], asked["fact"], strict=True))
    rows = []
    for relation, fact in tqdm(sorted(random.Random(seed).sample(places, min(facts, len(places)))), unit="fact"):
        before = {name: _of(table, relation, fact) for name, table in published.items()}
        inputs = {table: provenance[relation]["inputs"] for table, provenance in made.items()}
        one = [dataset.facts[relation][fact]]
        now = attributed(lm, dataset, Quadrature.among(inputs["prompts"]), one)
        neurons = {(name, fact): sorted(_places(own)) for name, own in before["knowledge_neurons"].groupby("method")}
        now["modify_activation"] = modified_answers(lm, dataset, one, neurons, inputs["modify_activation"]["seed"])
        rows += _compared(before, now, inputs["knowledge_neurons"]["thresholds"], relation, fact)
    return pd.DataFrame(rows, columns=["relation", "fact", "method", "difference", "modified", "published", "now", "both"])


def _check_same(lm: LanguageModel, dataset: Dataset, inputs: dict) -> None:
    here = {"weights": lm.digest, "facts_and_templates": dataset.digest(inputs["relation"])}
    for what, digest in here.items():
        if inputs[what] != digest:
            raise ValueError(f"{inputs['relation']} was published with {what} {inputs[what]}; these are {digest}")


def _of(table: pd.DataFrame, relation: str, fact: int) -> pd.DataFrame:
    """The rows of a fact; of its relation where a table is not by fact."""
    rows = table[table["relation"] == relation]
    return rows[rows["fact"] == fact] if "fact" in rows else rows


def _compared(
    before: dict[str, pd.DataFrame], now: dict[str, pd.DataFrame], thresholds: dict, relation: str, fact: int
) -> Iterator[tuple]:
    """A row per method: the published tables of a fact beside those computed now."""
    difference = _largest_difference(before["prompts"], now["prompts"], ["prompt"], ["probability"])
    for name in METHODS:
        old, new = before["modify_activation"].query("method == @name"), now["modify_activation"].query("method == @name")
        modified = _largest_difference(old, new, CHANGED, ["probability_before", "probability_after"])
        scores = strong(now["attribution"].query("method == @name"), thresholds[name])
        share = before["refinement"].query("method == @name")["prompt_share"].iloc[-1]
        published = _places(before["knowledge_neurons"].query("method == @name"))
        found = _places(shared(scores, pd.Series({fact: len(now["prompts"])}), share))
        yield relation, fact, name, difference, modified, len(published), len(found), len(published & found)


def _largest_difference(old: pd.DataFrame, new: pd.DataFrame, place: list[str], values: list[str]) -> float:
    """Return the largest difference of values; infinite if the places are not the same, in the same order."""
    old, new = (rows.set_index(place)[values] for rows in (old, new))
    return float((old - new).abs().max(axis=None)) if old.index.equals(new.index) else float("inf")


def _places(neurons: pd.DataFrame) -> set[Neuron]:
    return set(zip(neurons["layer"], neurons["neuron"], strict=True))


def agrees(checked: pd.DataFrame) -> bool:
    """Return whether all probabilities, and nearly all neurons of each method, are the published ones."""
    total = checked.groupby("method")[["published", "now", "both"]].sum()
    either = total["published"] + total["now"] - total["both"]
    close = checked[["difference", "modified"]].max(axis=None) <= PROBABILITY
    return bool(close and (total["both"] >= SHARED * either).all())


def main() -> int:
    """Check published results from the command line; the exit status is 1 if they do not agree."""
    parser = argparse.ArgumentParser(
        prog="python -m kn_utils.report.recheck", description="Compute a sample of published facts anew."
    )
    parser.add_argument("model")
    parser.add_argument("dataset")
    parser.add_argument("--facts", type=int, default=20)
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--device", default="auto")
    given = parser.parse_args()
    lm, dataset = load_model(given.model, given.device), load_dataset(given.dataset)
    checked = recheck(lm, dataset, PublishedResults(lm.name, dataset.name), given.facts, given.seed)
    print(checked.to_string(index=False))
    for name, own in checked.groupby("method", sort=False):
        largest, total = own[["difference", "modified"]].max(), own[["published", "now", "both"]].sum()
        print(
            f"{name}: {total['both']} of {total['published']} published neurons are found again, and "
            f"{total['now'] - total['both']} others; probabilities differ by {largest['difference']:.1e} at most, "
            f"once the published neurons are changed by {largest['modified']:.1e}"
        )
    return 0 if agrees(checked) else 1


if __name__ == "__main__":
    raise SystemExit(main())
