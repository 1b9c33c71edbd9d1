"""What is claimed of the erasure of a relation (section 5.2). The function takes a relation, tables by name and a seed."""

from functools import partial

import numpy as np

from kn_utils.chapters.erase_relation.numbers import ERASED_IN_THE_PAPER, perplexity_rise
from kn_utils.stats.rule import Claim, Condition, Tables, half_the_paper, intervals, reported


def erased(relation: str, tables: Tables, seed: int) -> list[Condition]:
    """Erasing a relation's neurons raises its own perplexity, unlike that of all other relations (section 5.2)."""
    sums = tables["erase_facts"].groupby(["evaluated", "fact", "method", "phase"])[["prompts", "log_probability"]].first()
    wide = sums.unstack(["method", "phase"])
    evaluated = wide.index.get_level_values("evaluated")
    scores = {
        method: [wide[name, method][["before", "after"]].to_numpy() for name in sums] for method in ("attribution", "random")
    }
    inside = (evaluated == relation).astype(float)

    def statistic(rows: np.ndarray) -> list[float]:
        drawn = np.bincount(rows, minlength=len(inside))
        ours, others = (_rise(drawn * weight, *scores["attribution"]) for weight in (inside, 1 - inside))
        return [ours - others, ours - _rise(drawn * inside, *scores["random"])]

    others, random = intervals(statistic, evaluated, seed)
    ids = [f"erase_{relation}_{when}" for when in ("before", "after", "others_before", "others_after")]
    paper = reported(lambda before, after, others, others_after: 100 * (after / before - others_after / others), *ids)
    claim = Condition(
        "rise of its own perplexity minus that of all others (points of %)", *others, len(inside), above=0, paper=paper
    )
    control = Condition("rise of its own perplexity minus that with random neurons erased", *random, len(inside), above=0)
    return [claim, control, half_the_paper(claim)]


def _rise(weight: np.ndarray, prompts: np.ndarray, log_probability: np.ndarray) -> float:
    """The rise of perplexity (%) over facts by their weight, from [facts, 2] before and after; NaN if no fact has a weight."""
    with np.errstate(invalid="ignore"):
        return perplexity_rise(*(weight @ log_probability / (weight @ prompts)))


CLAIMS = tuple(
    Claim(
        "5.2",
        f"erasing {relation} raises its perplexity more than that of all others",
        ("erase_facts",),
        partial(erased, relation),
        relation,
    )
    for relation in ERASED_IN_THE_PAPER
)
