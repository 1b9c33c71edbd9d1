"""The claim on localisation and editing, which is ours and not the paper's.

The function takes tables by name and a seed, and returns the conditions of the claim.
"""

from functools import partial

import pandas as pd

from kn_utils.chapters.does_it_help_editing.numbers import AIMED, BEST, EQUAL, MEAN, NAMES, NET, RULE_NAMES, gain
from kn_utils.stats.rule import CLAIM, CONTROL, SHOWN, Claim, Condition, Tables, counted, untested

MARGIN = 5  # points; localisation helps if it gains more
MIN_EDITS = 10  # outcomes are shares of few prompts, so fewer edits may agree by chance


def own_neurons_help(tables: Tables, seed: int) -> list[Condition]:
    """Edits through a fact's own neurons are better than edits through matched neurons, by more than five points."""
    condition = partial(_gain_above, tables["does_it_help_editing"], seed)
    return [
        condition("matched", MARGIN, CLAIM),
        condition("matched", MARGIN, CONTROL, at=MEAN),
        condition("matched", MARGIN, CONTROL, rule="fixed"),
        condition("matched", 0, CONTROL, outcome=AIMED),
        condition("another fact", MARGIN, CONTROL),
        condition("matched", MARGIN, SHOWN, at=EQUAL),
        condition("random", MARGIN, SHOWN),
        condition("exact", MARGIN, SHOWN),
    ]


def _gain_above(
    table: pd.DataFrame,
    seed: int,
    other: str,
    limit: float,
    role: str,
    rule: str = "scaled",
    outcome: str = NET,
    at: str = BEST,
) -> Condition:
    """Return the condition that the gain over the neurons of another method is above a limit."""
    contrast = f"{outcome}, {NAMES['attribution']} minus {NAMES[other]}, {at}, {RULE_NAMES[rule]}"
    found = gain(table, other, seed, rule, outcome, at)
    if found is None or len(found.relations) < MIN_EDITS:
        return untested(contrast, f"fewer than {MIN_EDITS} edits have {NAMES[other]}", role)
    return Condition(contrast, *found.interval, **counted("edits", found.relations), above=limit, role=role)


CLAIMS = (
    Claim(
        "16, beyond the paper",
        "localisation helps editing: edits through a fact's own neurons are better aimed than through matched neurons",
        ("does_it_help_editing",),
        own_neurons_help,
    ),
)
