"""Step 2: the knowledge neurons of a relation's facts, by integrated gradients and by the baseline."""

from dataclasses import asdict
from pathlib import Path

import pandas as pd

from kn_utils.chapters.knowledge_neurons.thresholds import PROMPT_SHARE_STEP, ROUNDS, Thresholds, refine
from kn_utils.model.neurons import MAX_NEURONS, METHODS, MIN_NEURONS, MIN_PROMPTS
from kn_utils.store.runs import Run

ROUND_RULE = {"rounds": ROUNDS, "neurons": [MIN_NEURONS, MAX_NEURONS], "step": PROMPT_SHARE_STEP, "prompts": MIN_PROMPTS}
_COLUMNS = {
    "knowledge_neurons": {"fact": "int32", "layer": "int32", "neuron": "int32", "prompts": "int32"},
    "refinement": {"round": "int32", "prompt_share": "float64", "mean_neurons": "float64"},
}


def find_neurons(run: Run, relation: str, thresholds: Thresholds = Thresholds()) -> Path:
    """Make the tables `knowledge_neurons` and `refinement` of a relation, and return the path of the first.

    `knowledge_neurons` has the neurons of each fact and method, and the number of prompts in which each is strong; `refinement` has the
    rounds. Raises as `Run.made_with` for step 1.
    """
    inputs = {"thresholds": asdict(thresholds), "rounds": ROUND_RULE}
    facts = run.read("facts", [relation])["fact"].tolist()

    def work(_) -> dict[str, pd.DataFrame]:  # not in parts: the rounds need all facts
        return _tables(run, relation, thresholds)

    return run.make("knowledge_neurons", relation, facts, work, inputs, per_part=len(facts))


def _tables(run: Run, relation: str, thresholds: Thresholds) -> dict[str, pd.DataFrame]:
    scores, facts = run.read("attribution", [relation]), run.read("facts", [relation])
    prompts = facts[facts["prompts"] > 0].set_index("fact")["prompts"]
    found: dict[str, list[pd.DataFrame]] = {name: [] for name in _COLUMNS}
    for method in METHODS:
        refined = refine(scores[scores["method"] == method], prompts, getattr(thresholds, method), thresholds.prompt_share)
        for name, table in (("knowledge_neurons", refined.neurons), ("refinement", refined.rounds)):
            typed = table.astype(_COLUMNS[name]).assign(relation=relation, method=method)
            order = ["relation", "fact", "method"] if name == "knowledge_neurons" else ["relation", "method"]
            found[name].append(typed[order + [column for column in _COLUMNS[name] if column not in order]])
    return {name: pd.concat(parts, ignore_index=True) for name, parts in found.items()}
