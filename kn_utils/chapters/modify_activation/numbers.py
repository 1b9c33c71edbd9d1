"""What notebook 03 shows of step 3's table."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from kn_utils.plots.changes import MEAN
from kn_utils.stats.intervals import bootstrap_interval
from kn_utils.store.runs import NothingToShowError, Run

GROUP = ["operation", "target", "method"]


def load_answers(run: Run, relations: Sequence[str]) -> pd.DataFrame:
    """Return step 3's table of several relations. Raises ValueError if none of their facts could be asked, and says why."""
    table = run.read("modify_activation", relations)
    if table.empty:
        reasons = run.read("facts", relations)["left_out_because"]
        raise NothingToShowError(f"none of the {len(reasons)} facts could be asked: {reasons.iloc[0]}")
    return table


def probability_changes(table: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Return the change of the object's probability in per cent, by relation, and the unweighted mean over relations.

    A relation's change is the ratio of its mean change to its mean original probability over all prompts (section 4.3). Columns
    operation, target, method, relation (`MEAN` for the mean), change, low, high, facts; the intervals resample facts.
    """
    rows = []
    for place, own in table.groupby(GROUP, sort=False):
        facts = own.groupby(["relation", "fact"])[["probability_before", "probability_after"]].sum().reset_index()
        codes, relations = pd.factorize(facts["relation"])
        before, after = facts["probability_before"].to_numpy(), facts["probability_after"].to_numpy()

        def changes(drawn: np.ndarray, codes=codes, before=before, after=after) -> np.ndarray:
            ratio = np.bincount(codes[drawn], after[drawn]) / np.bincount(codes[drawn], before[drawn])
            return 100 * np.append(ratio - 1, np.mean(ratio - 1))

        found = np.stack(bootstrap_interval(changes, codes, seed), axis=1)
        counts = [*np.bincount(codes), len(facts)]
        rows += [(*place, name, *values, count) for name, values, count in zip([*relations, MEAN], found, counts, strict=True)]
    return pd.DataFrame(rows, columns=[*GROUP, "relation", "change", "low", "high", "facts"])


def flips(table: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Return how often the top answer changes, in per cent of prompts, pooled over relations.

    Columns operation, target, method, flip, share, low, high, prompts. `flip` is "right to wrong" among the prompts answered right
    before, "wrong to right" among the others, and "any change" among all. Intervals resample facts.
    """
    kinds = {
        "right to wrong": (table["correct_before"], ~table["correct_after"]),
        "wrong to right": (~table["correct_before"], table["correct_after"]),
        "any change": (table["correct_before"] | True, table["answer_changed"]),
    }
    rows = []
    for flip, (among, flipped) in kinds.items():
        counted = table.assign(among=among, flipped=among & flipped)
        for place, own in counted.groupby(GROUP, sort=False):
            facts = own.groupby(["relation", "fact"])[["among", "flipped"]].sum()
            pairs = facts.to_numpy()

            def share(drawn: np.ndarray, pairs=pairs) -> float:
                among, flipped = pairs[drawn].sum(axis=0)
                return 100 * flipped / among if among else np.nan

            interval = bootstrap_interval(share, facts.index.get_level_values("relation"), seed)
            rows.append((*place, flip, *map(float, interval), int(own["among"].sum())))
    return pd.DataFrame(rows, columns=[*GROUP, "flip", "share", "low", "high", "prompts"])


def without_neurons(table: pd.DataFrame) -> pd.DataFrame:
    """Count by method the facts asked and those without neurons, which count as no change; columns facts, without."""
    facts = table[table["target"] == "own"].groupby(["method", "relation", "fact"], sort=False)["neurons"].first()
    return facts.groupby("method", sort=False).agg(facts="size", without=lambda own: int((own == 0).sum()))
