"""Step 2 as tables: the knowledge neurons of a relation's facts, by integrated gradients and by the baseline."""

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
    """Make the tables `knowledge_neurons` and `refinement` of a relation from step 1's and return the first one's path.

    `knowledge_neurons` holds each fact's neurons by either method and in how many prompts each stands out; `refinement` the rounds.
    Raises FileNotFoundError if step 1 has not been run, and ValueError if it was with other facts or another draw.
    """
    inputs = {"thresholds": asdict(thresholds), "rounds": ROUND_RULE}
    facts = run.read("facts", [relation])["fact"].tolist()

    def work(_) -> dict[str, pd.DataFrame]:  # the rounds look at all facts together
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
