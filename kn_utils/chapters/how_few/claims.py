"""Claims of notebook 17, which are ours and not the paper's.

Each function takes tables by name and a seed, and returns the conditions of a claim.
"""

from collections.abc import Callable

import pandas as pd

from kn_utils.chapters.how_few.numbers import FEW, LONGER, NAMES, medians, ratio, second_less, second_share, smallest_sets
from kn_utils.chapters.how_few.table import FIRST, RANDOM, WRONG
from kn_utils.stats.rule import CONTROL, SHOWN, Claim, Condition, Tables, unit_of, untested


def few_suffice(tables: Tables, seed: int) -> list[Condition]:
    """At most five neurons change the answer, fewer than of random candidates or if chosen for a wrong object."""
    table = tables["how_few"]
    found = medians(table, seed).set_index(["template", "set"])
    facts = smallest_sets(table, "other")
    size = {"n": len(facts), "unit": unit_of("facts", facts.index.get_level_values("relation"))}

    def median(template: str, **more) -> Condition:
        values = found.loc[(template, FIRST), ["value", "low", "high"]]
        return Condition(f"median size of the smallest set, on the {template} template", *values, **size, **more)

    controls = _against_other_sets(table, "median of that size, divided by the size if", ratio, seed, **size, below=1)
    return [median("other", below=FEW + 1), *controls, median("own", role=SHOWN)]


def others_do_the_same(tables: Tables, seed: int) -> list[Condition]:
    """For more than half of the lost answers, a set without any of these neurons is at most 1.5 times as large.

    More often than a set among random candidates, or one chosen for a wrong object: where many neurons do a little each, any set does.
    """
    table = tables["how_few"]
    *interval, count = second_share(table, seed)
    size = {"n": count, "unit": unit_of("facts", table["relation"])}
    contrast = f"share (%) of lost answers whose second set is at most {LONGER:g} times as large as the first"
    controls = _against_other_sets(table, "that share minus the share (%) with sets", second_less, seed, **size, above=0)
    return [Condition(contrast, *interval, **size, above=50), *controls]


def _against_other_sets(table: pd.DataFrame, contrast: str, statistic: Callable, seed: int, **more) -> list[Condition]:
    """Return the controls: a statistic against sets among random candidates, and against sets chosen for a wrong object."""
    there = set(table["set"])
    return [
        Condition(f"{contrast} {NAMES[name]}", *statistic(table, name, seed), **more, role=CONTROL)
        if name in there
        else untested(f"{contrast} {NAMES[name]}", "no relation has two objects")
        for name in (RANDOM, WRONG)
    ]


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
