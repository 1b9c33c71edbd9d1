"""What is claimed of the erasure of a relation (section 5.2). The function takes a relation, tables by name and a seed."""

import numpy as np
import pandas as pd

from kn_utils.stats.rule import Condition, Tables, half_the_paper, intervals, reported


def erased(relation: str, tables: Tables, seed: int) -> list[Condition]:
    """Erasing a relation's neurons raises its own perplexity, unlike that of all other relations (section 5.2)."""
    sums = tables["erase_facts"].groupby(["evaluated", "fact", "method", "phase"])[["prompts", "log_probability"]].first()
    wide = sums.unstack(["method", "phase"])
    evaluated = wide.index.get_level_values("evaluated")
    scores = {method: _scores(wide, method) for method in ("attribution", "random")}
    own = (evaluated == relation).astype(float)

    def statistic(rows: np.ndarray) -> list[float]:
        drawn = np.bincount(rows, minlength=len(own))
        ours = _rise(scores["attribution"], drawn * own)
        return [ours - _rise(scores["attribution"], drawn * (1 - own)), ours - _rise(scores["random"], drawn * own)]

    others, random = intervals(statistic, evaluated, seed)
    ids = [f"erase_{relation}_{when}" for when in ("before", "after", "others_before", "others_after")]
    paper = reported(lambda before, after, others, others_after: 100 * (after / before - others_after / others), *ids)
    claim = Condition(
        "rise of its own perplexity minus that of all others (points of %)", *others, len(own), above=0, paper=paper
    )
    control = Condition("rise of its own perplexity minus that with random neurons erased", *random, len(own), above=0)
    return [claim, control, half_the_paper(claim)]


def _scores(wide: pd.DataFrame, method: str) -> np.ndarray:
    """[facts, 4]: prompts and summed log-probability before, and after."""
    return np.stack(
        [wide[name, method, phase] for phase in ("before", "after") for name in ("prompts", "log_probability")], axis=1
    )


def _rise(scores: np.ndarray, weight: np.ndarray) -> float:
    """The rise of perplexity in per cent over facts by their weight; NaN if they have none."""
    prompts, before, prompts_after, after = weight @ scores
    return 100 * np.expm1(before / prompts - after / prompts_after) if prompts else np.nan
