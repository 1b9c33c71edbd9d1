"""Claims of notebook 17, which are ours and not the paper's.

Each function takes tables by name and a seed, and returns the conditions of a claim.
"""

from collections.abc import Callable

import pandas as pd

from kn_utils.chapters.how_few.numbers import (
    FEW,
    LONGER,
    NAMES,
    medians,
    ratio,
    second_less,
    second_share,
    smallest_sets,
)
from kn_utils.chapters.how_few.table import FIRST, RANDOM, WRONG
from kn_utils.stats.means import Counted
from kn_utils.stats.rule import CONTROL, SHOWN, Claim, Condition, Tables, counted, untested


def few_suffice(tables: Tables, seed: int) -> list[Condition]:
    """At most five neurons change the answer, fewer than of random candidates or if chosen for a wrong object."""
    table = tables["how_few"]
    found = medians(table, seed).set_index(["template", "set"])
    relations = smallest_sets(table, "other").index.get_level_values("relation")

    def median(template: str, **more) -> Condition:
        values = found.loc[(template, FIRST), ["value", "low", "high"]]
        return Condition(
            f"median size of the smallest set, on the {template} template", *values, **counted("facts", relations), **more
        )

    controls = _against_other_sets(table, "median size, divided by the size if", ratio, seed, below=1)
    return [median("other", below=FEW + 1), *controls, median("own", role=SHOWN)]


def others_do_the_same(tables: Tables, seed: int) -> list[Condition]:
    """For more than half of the lost answers, a set without any of these neurons is at most 1.5 times as large.

    More often than a set among random candidates, or one chosen for a wrong object: where many neurons do a little each, any set does.
    """
    table = tables["how_few"]
    contrast = "share (%) of lost answers whose second set is at most {:g} times as large as the first"
    first, longer = (second_share(table, seed, times) for times in (LONGER, 2 * LONGER))
    return [
        Condition(contrast.format(LONGER), *first.interval, **counted("facts", first.relations), above=50),
        *_against_other_sets(
            table, "share (%) of lost answers with such a second set, minus that with sets", second_less, seed, above=0
        ),
        Condition(contrast.format(2 * LONGER), *longer.interval, **counted("facts", longer.relations), role=SHOWN),
    ]


def _against_other_sets(
    table: pd.DataFrame, contrast: str, statistic: Callable[..., Counted], seed: int, **limits
) -> list[Condition]:
    """Return the controls: a statistic against sets among random candidates, and against sets chosen for a wrong object."""
    conditions = []
    for name in (RANDOM, WRONG):
        text = f"{contrast} {NAMES[name]}"
        if name in set(table["set"]):
            found = statistic(table, name, seed)
            conditions.append(Condition(text, *found.interval, **counted("facts", found.relations), **limits, role=CONTROL))
        else:
            conditions.append(untested(text, "no relation has two objects"))
    return conditions


_TABLES = ("how_few",)
CLAIMS = (
    Claim("17, beyond the paper", "five neurons or fewer suffice to lose a right answer", _TABLES, few_suffice),
    Claim(
        "17, beyond the paper",
        "a second set, without any of these neurons, does the same",
        _TABLES,
        others_do_the_same,
    ),
)
