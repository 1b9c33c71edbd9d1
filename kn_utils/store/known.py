"""What a model knows, by its answers in step 1; and the neurons of step 2 that its edits may change."""

import pandas as pd

from kn_utils.data.facts import Fact
from kn_utils.model.neurons import uncommon_neurons
from kn_utils.store.runs import Run

KNOWN_SHARE = 0.5  # a known fact is answered right in at least this share of its prompts


def right_shares(run: Run, relation: str) -> pd.Series:
    """Return the share of prompts that are answered right, for each fact with prompts. Raises as `Run.read` for step 1."""
    return run.read("prompts", [relation]).groupby("fact")["correct"].mean()


def known_facts(run: Run, relation: str) -> list[Fact]:
    """Return the known facts of a relation, in the order of its list. Raises as `Run.read` for step 1."""
    share = right_shares(run, relation)
    return [run.dataset.facts[relation][index] for index in share.index[share >= KNOWN_SHARE]]


def knowledge_neurons(run: Run, relation: str, common_share: float) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the knowledge neurons of a relation's facts, and those of them that are not common: see `uncommon_neurons`.

    Raises as `Run.read` for steps 1 and 2.
    """
    neurons = run.read("knowledge_neurons", [relation]).query("method == 'attribution'")
    facts = int((run.read("facts", [relation])["prompts"] > 0).sum())
    return neurons, uncommon_neurons(neurons, facts, common_share)
