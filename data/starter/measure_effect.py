"""Measure what suppressing and amplifying knowledge neurons does to `starter`'s answers, and write the table into its model card.

Steps 1 to 3 of the notebooks on some starter facts of every relation, against two controls with equally many neurons per fact: those with
the largest activation over the fact's prompts (the paper's baseline, cut to the same number), and random ones of the same layers. From
the repository's root:

    PYTHONPATH=. nice python data/starter/measure_effect.py --results build/effect
"""

import argparse
from pathlib import Path

import pandas as pd
from evaluate_model import FOLDER, table, write_tables

from kn_utils.chapters.attribution.table import attribute_relation
from kn_utils.chapters.knowledge_neurons.table import find_neurons
from kn_utils.chapters.modify_activation.numbers import MEAN, probability_changes
from kn_utils.chapters.modify_activation.table import METHODS, modified_answers, random_neurons
from kn_utils.data.facts import load_dataset
from kn_utils.model.attribution import Quadrature
from kn_utils.model.models import LanguageModel, load_model
from kn_utils.store.runs import Run

NAMES = {"attribution": "knowledge neurons", "activation": "most active", "random": "random, same layers"}


def main() -> None:
    """Measure and write the table into the card, or only print it for a model that has none."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, default=FOLDER, help="folder with the model")
    parser.add_argument("--results", type=Path, required=True, help="folder for the results of steps 1 and 2, to be reused")
    parser.add_argument("--facts", type=int, default=12, help="facts per relation")
    parser.add_argument("--seed", type=int, default=42)
    arguments = parser.parse_args()
    lm, dataset = load_model(arguments.model), load_dataset("starter")
    run = Run(lm.name, dataset, arguments.facts, arguments.seed, arguments.results.resolve())
    rows = pd.concat([relation_answers(lm, run, relation) for relation in dataset.relations])
    shown = effect_table(rows, arguments.seed)
    print(shown)
    if (arguments.model / "README.md").is_file():
        write_tables(arguments.model / "README.md", {"effect": shown})


def relation_answers(lm: LanguageModel, run: Run, relation: str) -> pd.DataFrame:
    """Return step 3's rows for a relation's facts with equally many neurons by each method."""
    attribute_relation(lm, run, relation, Quadrature("gauss-legendre"))
    find_neurons(run, relation)
    scores = run.read("attribution", [relation])
    activation = scores[scores["method"] == "activation"].groupby(["fact", "layer", "neuron"])["score"].sum()
    neurons = {}
    found = run.read("knowledge_neurons", [relation]).query("method == 'attribution'")
    for fact, own in found.groupby("fact"):
        ours = list(zip(own["layer"], own["neuron"], strict=True))
        neurons["attribution", fact] = ours
        neurons["activation", fact] = list(activation.loc[fact].nlargest(len(ours)).index)
        neurons["random", fact] = random_neurons(ours, lm.n_neurons, f"{run.seed}-random-{relation}-{fact}")
    return modified_answers(lm, run.dataset, run.facts(relation), neurons, run.seed)


def effect_table(rows: pd.DataFrame, seed: int) -> str:
    """Return the mean change over relations with its interval, for the facts' own prompts and for those of other facts."""
    changes = probability_changes(rows, seed)
    changes = changes[changes["relation"] == MEAN].set_index(["method", "operation", "target"])
    lines = []
    for method in METHODS:
        cells = [
            f"{row.change:+.1f} % [{row.low:+.1f}, {row.high:+.1f}]"
            for place in (("suppress", "own"), ("amplify", "own"), ("suppress", "other"), ("amplify", "other"))
            for row in [changes.loc[method, *place]]
        ]
        lines.append([NAMES[method], *cells, int(changes.loc[method, "suppress", "own"]["facts"])])
    return table(["neurons", "suppressed", "amplified", "suppressed, other facts", "amplified, other facts", "facts"], lines)


if __name__ == "__main__":
    main()
