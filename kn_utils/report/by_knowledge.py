"""Results for groups of facts: by whether the model answers them right, and by whether its training held them out."""

from collections.abc import Sequence

import pandas as pd

from kn_utils.chapters.knowledge_neurons.claims import NUMBER
from kn_utils.chapters.modify_activation.claims import AMPLIFIED, SUPPRESSED
from kn_utils.data.held_out import is_held_out_fact
from kn_utils.report.judge import Read, judge, made_for, read_once
from kn_utils.report.side_by_side import only
from kn_utils.store.runs import FACT_KEY

MEASURES = {"neurons per fact": NUMBER, "suppress, %": SUPPRESSED, "amplify, %": AMPLIFIED}


def by_knowledge(model: str, read: Read, relations: Sequence[str], seed: int) -> pd.DataFrame:
    """Return a row per group of facts: numbers of facts and prompts, share of right answers, and `MEASURES` with intervals.

    The groups are all facts with prompts; facts with at least one right answer, and the others; and for the model `starter`, facts held out
    of its training, and the others. A measure without data is "–". The table is empty if step 1 has not been run.
    For `read` and `relations` see `kn_utils.report.judge.judge`.
    """
    read = read_once(read)
    if not made_for(read, ["facts"], relations):
        return pd.DataFrame()
    facts, prompts = read("facts", relations), read("prompts", relations)
    groups = _groups(model, facts[facts["prompts"] > 0], prompts)
    rows = {name: _measured(only(read, facts), relations, seed) for name, facts in groups.items() if facts}
    return pd.DataFrame.from_dict(rows, orient="index")


def _groups(model: str, facts: pd.DataFrame, prompts: pd.DataFrame) -> dict[str, set]:
    every = set(facts[FACT_KEY].itertuples(index=False, name=None))
    known = set(prompts.loc[prompts["correct"], FACT_KEY].itertuples(index=False, name=None))
    groups = {"all": every, "answered right at least once": known, "never answered right": every - known}
    if model != "starter":
        return groups
    left_out = {(row.relation, row.fact) for row in facts.itertuples() if is_held_out_fact(row.subject, row.object)}
    return groups | {"not left out of training": every - left_out, "left out of training": left_out}


def _measured(read: Read, relations: Sequence[str], seed: int) -> dict[str, str]:
    prompts = read("prompts", relations)
    row = {
        "facts": f"{len(read('facts', relations)):,}",
        "prompts": f"{len(prompts):,}",
        "answered right": f"{prompts['correct'].mean():.1%}",
    }
    for name, claim in MEASURES.items():
        conditions = judge(claim, read, relations, seed).conditions
        row[name] = conditions[0].measured if conditions else "–"
    return row
