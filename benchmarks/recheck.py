"""Checks our published results: a random sample of their facts is computed anew. `python benchmarks/recheck.py MODEL DATASET --facts 20`

The model and the data set must be the published ones, by their digests, and the settings ones that today's code has. Other machines round
differently: see `PROBABILITY` and `SHARED`.
"""

import argparse
import random
from collections.abc import Iterator
from dataclasses import asdict

import pandas as pd
from tqdm.auto import tqdm

from kn_utils.chapters.attribution.table import attributed
from kn_utils.chapters.knowledge_neurons.table import ROUND_RULE
from kn_utils.chapters.knowledge_neurons.thresholds import Thresholds, shared, strong
from kn_utils.chapters.modify_activation.table import Chosen, modified_answers
from kn_utils.data.facts import Dataset, load_dataset
from kn_utils.model.attribution import LARGER, RELEASED_NODES, Quadrature
from kn_utils.model.models import LanguageModel, load_model
from kn_utils.model.neurons import METHODS, Neuron, neuron_list
from kn_utils.model.quadrature import NESTED
from kn_utils.parameters import KEPT_SHARE
from kn_utils.report.side_by_side import with_enough_prompts
from kn_utils.store.publish import quadrature_by_layer
from kn_utils.store.published import PublishedResults

TABLES = ("facts", "prompts", "completeness", "knowledge_neurons", "refinement", "modify_activation")
PROBABILITY = 1e-3  # by how much a probability may differ
CHANGED = ["prompt", "operation", "target", "other_relation", "other_fact"]  # what a row of a method and fact is of, in step 3
SHARED = (
    0.95  # the share of neurons, and of prompts' layers by nodes, that must agree: a few at a threshold may fall on either side
)
NODES = {"released": {RELEASED_NODES}, "gauss-legendre": {*NESTED[1:], *LARGER}}  # what today's code can take
COLUMNS = ["relation", "fact", "method", "difference", "modified", "published", "now", "both", "layers", "other_nodes"]


def recheck(lm: LanguageModel, dataset: Dataset, results: PublishedResults, facts: int, seed: int = 42) -> pd.DataFrame:
    """Compute steps 1 to 3 of `facts` random published facts anew, step 2 by the published thresholds, and compare.

    Facts are of relations that can have knowledge neurons, if there are such: see `with_enough_prompts`. A row per fact and method:
    relation, fact, method, `difference` (the largest of a prompt's probability; infinite if other prompts were asked), `modified` (the same
    of step 3, with the published neurons changed), how many neurons are `published`, found `now`, and in `both`; and of how many `layers`,
    over the prompts, the numbers of nodes are counted, and how many are `other_nodes`, which were not published as often.
    Raises ValueError if the weights, facts or templates are not those of the published results, or if today's code cannot make these.
    """
    made = {table: results.provenance(table) for table in TABLES}
    published = {table: results.read(table, results.relations) for table in TABLES}
    for provenance in made["prompts"].values():
        _check_same(lm, dataset, provenance["inputs"])
    if faults := impossible(made, published["completeness"]):
        raise ValueError(
            f"today's code cannot make what is published of {results.model} on {results.dataset}: {'; '.join(faults)}"
        )
    relations = with_enough_prompts(results.read, results.relations) or results.relations
    asked = published["facts"][published["facts"]["relation"].isin(relations)].query("prompts > 0")
    places = list(zip(asked["relation"], asked["fact"], strict=True))
    rows = []
    for relation, fact in tqdm(sorted(random.Random(seed).sample(places, min(facts, len(places)))), unit="fact"):
        before = {name: _of(table, relation, fact) for name, table in published.items()}
        inputs = {table: provenance[relation]["inputs"] for table, provenance in made.items()}
        sample = [dataset.facts[relation][fact]]
        now = attributed(lm, dataset, Quadrature.of_table(inputs["prompts"]), sample)
        neurons = {(name, fact): sorted(neuron_list(rows)) for name, rows in before["knowledge_neurons"].groupby("method")}
        now["modify_activation"] = modified_answers(lm, dataset, sample, Chosen(neurons), inputs["modify_activation"]["seed"])
        rows += _compared(before, now, inputs["knowledge_neurons"]["thresholds"], relation, fact)
    return pd.DataFrame(rows, columns=COLUMNS)


def impossible(made: dict[str, dict[str, dict]], completeness: pd.DataFrame) -> list[str]:
    """Return what of the published tables today's code cannot make: numbers of nodes and settings, by relation, in words.

    `made` holds the provenance of each table by relation.
    """
    faults = []
    for relation, rows in completeness.groupby("relation", sort=False):
        inputs = {table: made[table][relation]["inputs"] for table in ("completeness", "knowledge_neurons")}
        quadrature = inputs["completeness"]["quadrature"]
        if unknown := set(rows["nodes"]) - NODES.get(quadrature, set()):
            faults.append(f"{relation} has {', '.join(map(str, sorted(unknown)))} nodes by {quadrature}")
        settings = {"kept_share": KEPT_SHARE} | Quadrature.of_table(inputs["completeness"]).inputs()
        differing = [name for name, value in settings.items() if inputs["completeness"].get(name, value) != value]
        differing += ["rounds"] if inputs["knowledge_neurons"]["rounds"] != ROUND_RULE else []
        differing += ["thresholds"] if inputs["knowledge_neurons"]["thresholds"].keys() - asdict(Thresholds()).keys() else []
        faults += [f"{relation} was made with other {', '.join(differing)}"] if differing else []
    return faults


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
    nodes = (len(now["completeness"]), _other_nodes(before["completeness"], now["completeness"]))
    for name in METHODS:
        old, new = before["modify_activation"].query("method == @name"), now["modify_activation"].query("method == @name")
        modified = _largest_difference(old, new, CHANGED, ["probability_before", "probability_after"])
        scores = strong(now["attribution"].query("method == @name"), thresholds[name])
        share = before["refinement"].query("method == @name")["prompt_share"].iloc[-1]
        published: set[Neuron] = set(neuron_list(before["knowledge_neurons"].query("method == @name")))
        found = set(neuron_list(shared(scores, pd.Series({fact: len(now["prompts"])}), share)))
        yield relation, fact, name, difference, modified, len(published), len(found), len(published & found), *nodes


def _largest_difference(old: pd.DataFrame, new: pd.DataFrame, place: list[str], values: list[str]) -> float:
    """Return the largest difference of values; infinite if the places are not the same, in the same order."""
    old, new = (rows.set_index(place)[values] for rows in (old, new))
    return float((old - new).abs().max(axis=None)) if old.index.equals(new.index) else float("inf")


def _other_nodes(published: pd.DataFrame, now: pd.DataFrame) -> int:
    """Return for how many of a fact's prompts and layers the number of nodes was not published as often for its relation and layer."""
    here, there = (rows.set_index(["layer", "nodes"])["prompts"] for rows in (quadrature_by_layer(now), published))
    return int((here - there.reindex(here.index, fill_value=0)).clip(lower=0).sum())


def agrees(checked: pd.DataFrame) -> bool:
    """Return whether all probabilities are the published ones, and nearly all neurons of each method and numbers of nodes."""
    total = checked.groupby("method")[["published", "now", "both", "layers", "other_nodes"]].sum()
    either = total["published"] + total["now"] - total["both"]
    close = checked[["difference", "modified"]].max(axis=None) <= PROBABILITY
    same_nodes = total["other_nodes"] <= (1 - SHARED) * total["layers"]
    return bool(close and same_nodes.all() and (total["both"] >= SHARED * either).all())


def main() -> int:
    """Check published results from the command line; the exit status is 1 if they do not agree."""
    parser = argparse.ArgumentParser(description="Compute a sample of published facts anew.")
    parser.add_argument("model")
    parser.add_argument("dataset")
    parser.add_argument("--facts", type=int, default=20)
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--device", default="auto")
    given = parser.parse_args()
    lm, dataset = load_model(given.model, given.device), load_dataset(given.dataset)
    checked = recheck(lm, dataset, PublishedResults(lm.name, dataset.name), given.facts, given.seed)
    print(checked.to_string(index=False))
    for name, rows in checked.groupby("method", sort=False):
        largest, total = rows[["difference", "modified"]].max(), rows[["published", "now", "both", "layers", "other_nodes"]].sum()
        print(
            f"{name}: {total['both']} of {total['published']} published neurons are found again, and "
            f"{total['now'] - total['both']} others; probabilities differ by {largest['difference']:.1e} at most, "
            f"once the published neurons are changed by {largest['modified']:.1e}; "
            f"{total['other_nodes']} of {total['layers']} layers of prompts took other numbers of nodes"
        )
    return 0 if agrees(checked) else 1


if __name__ == "__main__":
    raise SystemExit(main())
