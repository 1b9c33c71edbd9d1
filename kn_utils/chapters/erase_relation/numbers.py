"""What notebook 07 shows of step 7's tables."""

import numpy as np
import pandas as pd

from kn_utils.stats.intervals import bootstrap_interval

OWN, OTHERS = "the relation itself", "all other relations"
BEFORE, AFTER, RISE = "perplexity before", "perplexity after", "rise of perplexity (%)"
ACCURACY_BEFORE, ACCURACY_AFTER, LOSS = "accuracy before (%)", "accuracy after (%)", "change of accuracy (points)"
QUANTITIES = (BEFORE, AFTER, RISE, ACCURACY_BEFORE, ACCURACY_AFTER, LOSS)
_SCORES = ["prompts", "correct", "log_probability"]


def erasures(facts: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Return perplexity and accuracy before and after by erased relation and method, on its own prompts and on all others'.

    `facts` is step 7's table `erase_facts`. Columns relation, method, neurons, where (`OWN` or `OTHERS`), quantity (of `QUANTITIES`),
    value, low, high, facts, prompts. Perplexity is exp(mean(-ln P(object))) over prompts; the intervals resample facts.
    """
    where = np.where(facts["evaluated"] == facts["relation"], OWN, OTHERS)
    rows = []
    for place, own in facts.groupby(["relation", "method", "neurons", where], sort=False):
        pairs = own.pivot(index=["evaluated", "fact"], columns="phase", values=_SCORES)
        before, after = (pairs.xs(phase, axis="columns", level="phase")[_SCORES].to_numpy() for phase in ("before", "after"))

        def statistic(drawn: np.ndarray, before=before, after=after) -> np.ndarray:
            return _quantities(before[drawn].sum(axis=0), after[drawn].sum(axis=0))

        found = bootstrap_interval(statistic, pairs.index.get_level_values("evaluated"), seed)
        counts = (len(pairs), int(before[:, 0].sum()))
        rows += [(*place, *row, *counts) for row in zip(QUANTITIES, *found, strict=True)]
    names = ["relation", "method", "neurons", "where", "quantity", "value", "low", "high", "facts", "prompts"]
    return pd.DataFrame(rows, columns=names)


def _quantities(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """`QUANTITIES` from the sums of `_SCORES` before and after."""
    perplexities = [np.exp(-log_probability / prompts) for prompts, _, log_probability in (before, after)]
    accuracies = [100 * correct / prompts for prompts, correct, _ in (before, after)]
    rise = 100 * (perplexities[1] / perplexities[0] - 1)
    return np.array([*perplexities, rise, *accuracies, accuracies[1] - accuracies[0]])


def rises_by_relation(table: pd.DataFrame, method: str) -> pd.DataFrame:
    """Return the rise of perplexity (%) of every evaluated relation (columns) after each erasure (rows) by one method.

    `table` is step 7's `erase_relation`. Erased relations come first among the columns, as far as they can be asked.
    """
    own = table[table["method"] == method]
    logs = own.assign(log=-own["log_probability"] / own["prompts"]).pivot(
        index="relation", columns=["phase", "evaluated"], values="log"
    )
    rises = 100 * np.expm1(logs["after"] - logs["before"])
    erased, evaluated = (list(dict.fromkeys(table[column])) for column in ("relation", "evaluated"))
    return rises.loc[erased, sorted(evaluated, key=lambda name: erased.index(name) if name in erased else len(erased))]


def doses(table: pd.DataFrame) -> pd.DataFrame:
    """Return perplexity and accuracy (%) by number of erased neurons, on the relation's own prompts and on all others'.

    `table` is step 7's `erase_dose`. Columns relation, method, neurons, where, perplexity, ratio (to that with none erased), accuracy.
    """
    where = np.where(table["evaluated"] == table["relation"], OWN, OTHERS)
    keys = ["relation", "method", "where", "neurons"]
    ordered = table.assign(where=where).sort_values("neurons", kind="stable")
    sums = ordered.groupby(keys, sort=False)[_SCORES].sum().reset_index()
    sums["perplexity"] = np.exp(-sums["log_probability"] / sums["prompts"])
    sums["ratio"] = sums["perplexity"] / sums.groupby(keys[:-1])["perplexity"].transform("first")
    sums["accuracy"] = 100 * sums["correct"] / sums["prompts"]
    return sums[[*keys, "perplexity", "ratio", "accuracy"]]
