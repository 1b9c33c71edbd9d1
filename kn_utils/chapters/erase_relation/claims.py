"""The claim on erased relations (section 5.2)."""

from functools import partial

import numpy as np

from kn_utils.chapters.erase_relation.numbers import ERASED_IN_THE_PAPER, perplexity_rise
from kn_utils.stats.rule import Claim, Condition, Tables, half_the_paper, intervals, reported


def erased(relation: str, tables: Tables, seed: int) -> list[Condition]:
    """Erasing the neurons of a relation raises its perplexity more than that of all other relations, and more than random neurons do."""
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
        "rise of its perplexity minus that of all others (percentage points)", *others, len(inside), above=0, paper=paper
    )
    control = Condition("rise of its perplexity minus that with random neurons erased", *random, len(inside), above=0)
    return [claim, control, half_the_paper(claim)]


def _rise(weight: np.ndarray, prompts: np.ndarray, log_probability: np.ndarray) -> float:
    """Return the rise of perplexity (%) over facts with weights; the sums are [facts, 2], before and after. NaN if all weights are 0."""
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
