"""What is claimed of the erasure of a relation (section 5.2). The function takes a relation, tables by name and a seed."""

import numpy as np

from kn_utils.claims.rule import Condition, Tables, half_the_paper, intervals, reported


def erased(relation: str, tables: Tables, seed: int) -> list[Condition]:
    """Erasing a relation's neurons raises its own perplexity, unlike that of all other relations (section 5.2)."""
    pairs = tables["erase_facts"].pivot(
        index=["evaluated", "fact"], columns=["method", "phase"], values=["prompts", "log_probability"]
    )
    own = (pairs.index.get_level_values("evaluated") == relation).astype(float)

    def rise(method: str, weight: np.ndarray) -> float:
        """In per cent, over the facts by their weight."""
        before, after = (
            np.dot(weight, pairs["log_probability", method, phase]) / np.dot(weight, pairs["prompts", method, phase])
            for phase in ("before", "after")
        )
        return 100 * np.expm1(before - after)

    def statistic(rows: np.ndarray) -> list[float]:
        weight = np.bincount(rows, minlength=len(own))
        ours = rise("attribution", weight * own)
        return [ours - rise("attribution", weight * (1 - own)), ours - rise("random", weight * own)]

    others, random = intervals(statistic, pairs.index.get_level_values("evaluated"), seed)
    ids = [f"erase_{relation}_{when}" for when in ("before", "after", "others_before", "others_after")]
    paper = reported(lambda before, after, others, others_after: 100 * (after / before - others_after / others), *ids)
    claim = Condition(
        "rise of its own perplexity minus that of all others (points of %)", *others, len(own), above=0, paper=paper
    )
    control = Condition("rise of its own perplexity minus that with random neurons erased", *random, len(own), above=0)
    return [claim, control, half_the_paper(claim)]
