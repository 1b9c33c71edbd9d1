"""What is claimed of web sentences (section 4.4). The function takes tables by name and a seed, and returns the claim's conditions."""

import numpy as np

from kn_utils.chapters.distant_prompts.numbers import fact_means
from kn_utils.stats.rule import Condition, NoDataError, Tables, half_the_paper, intervals, reported


def web_sentences(tables: Tables, seed: int) -> list[Condition]:
    """Web sentences with head and tail activate a fact's neurons more than those with the head only, and than random ones (section 4.4)."""
    try:
        means = fact_means(tables["distant_prompts"]).query("method == 'attribution'")
    except ValueError as reason:
        raise NoDataError(str(reason)) from None
    if means.empty:
        raise NoDataError("no fact has knowledge neurons and both kinds of sentences")
    values = means[["head_and_tail", "head_only", "random", "head_only_comparable"]].to_numpy(float)

    def statistic(rows: np.ndarray) -> list[float]:
        both, head, random, comparable = values[rows].T
        return [*(np.nanmean(both - other) for other in (head, random, comparable)), 100 * (1 - head.mean() / both.mean())]

    head, random, comparable, lost = intervals(statistic, means["relation"], seed)
    kinds = ("head_and_tail", "head_only", "random")
    papers = [reported(np.subtract, f"distant_{kinds[0]}", f"distant_{kind}") for kind in kinds[1:]]
    share = reported(lambda both, head: 100 * (1 - head / both), f"distant_{kinds[0]}", f"distant_{kinds[1]}")
    n = len(means)
    return [
        Condition("activation, head and tail minus head only", *head, n, above=0, paper=papers[0]),
        Condition("activation, head and tail minus random sentences", *random, n, above=0, paper=papers[1]),
        Condition("activation, tail minus a comparable word of a head-only sentence", *comparable, n, above=0),
        half_the_paper(Condition("% of the activation that is gone without the tail", *lost, n, paper=share)),
    ]
