"""What is claimed of the answers if knowledge neurons are suppressed or amplified (section 4.3, first arXiv version).

Each function takes tables by name and a seed, and returns the claim's conditions, the claim itself first.
"""

from collections.abc import Callable

import numpy as np
import pandas as pd

from kn_utils.stats.rule import NEGLIGIBLE, Condition, NoDataError, Tables, half_the_paper, intervals, reported
from kn_utils.store.runs import FACT_KEY


def changes(table: pd.DataFrame, columns: list[str]) -> tuple[Callable[[np.ndarray], np.ndarray], pd.Series]:
    """Return a function from row numbers of facts to the change (%) by each value of `columns`, and the relation of each fact.

    The change is the mean over relations of the mean change of a relation's prompts over their mean original probability.
    """
    sums = table.groupby([*FACT_KEY, *columns])[["probability_after", "probability_before"]].sum().unstack(columns, fill_value=0)
    relations = sums.index.get_level_values("relation")
    codes = pd.factorize(relations)[0]
    after, before = sums["probability_after"].to_numpy(), sums["probability_before"].to_numpy()

    def statistic(rows: np.ndarray) -> np.ndarray:
        totals = [[np.bincount(codes[rows], column[rows]) for column in part.T] for part in (after, before)]
        return 100 * (np.divide(*totals) - 1).mean(axis=1)

    return statistic, relations


def changed_probability(operation: str, tables: Tables, seed: int) -> list[Condition]:
    """Suppressing lowers the right answer's probability, amplifying raises it, and more than with other neurons (section 4.3)."""
    table = tables["modify_activation"]
    own = table[(table["operation"] == operation) & (table["target"] == "own")]
    mean, relations = changes(own, ["method"])  # columns in the order of their names: activation, attribution, random

    def statistic(rows: np.ndarray) -> list[float]:
        baseline, ours, random = mean(rows)
        return [ours, ours - baseline, ours - random]

    found = intervals(statistic, relations, seed)
    side = {"below": 0} if operation == "suppress" else {"above": 0}
    papers = [
        reported(float, f"{operation}_attribution"),
        reported(np.subtract, f"{operation}_attribution", f"{operation}_activation"),
        None,
    ]
    says = ["change of the object's probability (%)", "that change minus the baseline's", "that change minus random neurons'"]
    claim, *controls = (
        Condition(text, *interval, len(relations), **side, paper=paper)
        for text, interval, paper in zip(says, found, papers, strict=True)
    )
    return [claim, *controls, half_the_paper(claim)]


def other_facts(tables: Tables, seed: int) -> list[Condition]:
    """Changing a fact's neurons hardly changes the answers about facts of other relations (first arXiv version)."""
    table = tables["modify_activation"].query("method == 'attribution'")
    if not (table["target"] == "other").any():
        raise NoDataError("the data set has no facts of other relations to ask")
    mean, relations = changes(table, ["operation", "target"])  # amplify: other, own; suppress: other, own

    def statistic(rows: np.ndarray) -> list[float]:
        amplified, own_amplified, suppressed, own_suppressed = mean(rows)
        return [100 * suppressed / own_suppressed, 100 * amplified / own_amplified]

    found = intervals(statistic, relations, seed)
    return [
        Condition(
            f"{operation}: change for another fact as % of that for the fact itself",
            *interval,
            len(relations),
            above=-NEGLIGIBLE,
            below=NEGLIGIBLE,
            paper=reported(
                lambda other, own: 100 * other / own,
                f"{operation}_other_first_version",
                f"{operation}_attribution_first_version",
            ),
        )
        for operation, interval in zip(("suppress", "amplify"), found, strict=True)
    ]
