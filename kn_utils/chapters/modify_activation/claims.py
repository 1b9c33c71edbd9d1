"""Claims on suppressing and amplifying knowledge neurons (section 4.3, and the first arXiv version).

Each function takes tables by name and a seed, and returns the conditions of a claim; the first is the claim itself.
"""

from functools import partial

import numpy as np

from kn_utils.chapters.modify_activation.numbers import changes, compared
from kn_utils.stats.rule import NEGLIGIBLE, Claim, Condition, Tables, half_the_paper, intervals, reported
from kn_utils.store.runs import NothingToShowError


def changed_probability(operation: str, tables: Tables, seed: int) -> list[Condition]:
    """Suppressing lowers the probability of the right answer, amplifying raises it; both more than with control neurons."""
    table = compared(tables["modify_activation"])
    own_prompts = table[(table["operation"] == operation) & (table["target"] == "own")]
    change, relations = changes(own_prompts, ["method"])  # sorted: activation, attribution, random

    def statistic(rows: np.ndarray) -> list[float]:
        baseline, ours, random = change(rows)[:, -1]
        return [ours, ours - baseline, ours - random]

    ours, against_baseline, against_random = intervals(statistic, relations, seed)
    paper = reported(float, f"{operation}_attribution")
    paper_against_baseline = reported(np.subtract, f"{operation}_attribution", f"{operation}_activation")
    n, side = len(relations), {"below": 0} if operation == "suppress" else {"above": 0}
    claim = Condition("change of the object's probability (%)", *ours, n, **side, paper=paper)
    return [
        claim,
        Condition("that change minus the baseline's", *against_baseline, n, **side, paper=paper_against_baseline),
        Condition("that change minus random neurons'", *against_random, n, **side),
        half_the_paper(claim),
    ]


def other_facts(tables: Tables, seed: int) -> list[Condition]:
    """Changing the neurons of a fact has little effect on prompts of other relations (first arXiv version)."""
    table = tables["modify_activation"].query("method == 'attribution'")
    if not (table["target"] == "other").any():
        raise NothingToShowError("the data set has no facts of other relations to ask")
    change, relations = changes(
        table, ["operation", "target"]
    )  # sorted: amplify other, amplify own, suppress other, suppress own

    def statistic(rows: np.ndarray) -> list[float]:
        amplified, own_amplified, suppressed, own_suppressed = change(rows)[:, -1]
        return [100 * suppressed / own_suppressed, 100 * amplified / own_amplified]

    found = intervals(statistic, relations, seed)
    return [
        Condition(
            f"{operation}: change for another fact, in % of the change for the fact itself",
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


_TABLES = ("modify_activation",)
SUPPRESSED = Claim(
    "4.3", "suppressing them makes the right answer less probable", _TABLES, partial(changed_probability, "suppress")
)
AMPLIFIED = Claim("4.3", "amplifying them makes the right answer more probable", _TABLES, partial(changed_probability, "amplify"))
CLAIMS = (
    SUPPRESSED,
    AMPLIFIED,
    Claim("4.3, arXiv v1", "facts of other relations hardly change", _TABLES, other_facts),
)
