"""The claim of notebook 15, which is ours and not the paper's.

The function takes tables by name and a seed, and returns the conditions of the claim.
"""

from kn_utils.chapters.how_much_passes.numbers import (
    ELSEWHERE,
    INTERVAL,
    NAMES,
    PAIR,
    THERE,
    difference,
    of_all_neurons,
    shares,
    whole,
)
from kn_utils.chapters.how_much_passes.table import ALL_NEURONS, AT_SUBJECT, MATCHED, OTHERS, OWN
from kn_utils.stats.rule import CONTROL, SHOWN, Claim, Condition, Tables, counted, untested


def pass_through(tables: Tables, seed: int) -> list[Condition]:
    """More than half passes through the knowledge neurons, and more than through neurons that change as much or are of other facts.

    The claim is contradicted if less than a fifth passes through them. What passes through all neurons is shown.
    """
    table = tables["how_much_passes"]
    found = whole(shares(table, seed))
    size = counted("pairs", table[PAIR].drop_duplicates()["relation"])

    def share(states: str, **more) -> Condition:
        return Condition(f"share (%) that passes through {NAMES[states]}", *found.loc[states, INTERVAL], **size, **more)

    conditions = [share(OWN, above=THERE, undecided=THERE - ELSEWHERE)]
    for other in (MATCHED, OTHERS):
        contrast = f"share (%) through the knowledge neurons, minus that through {NAMES[other]}"
        if other in found.index:
            conditions.append(Condition(contrast, *difference(table, OWN, other, seed), **size, above=0, role=CONTROL))
        else:
            conditions.append(untested(contrast, "no pair has such neurons"))
    conditions += [share(states, role=SHOWN) for states in (ALL_NEURONS, AT_SUBJECT)]
    contrast = f"share through {NAMES[OWN]}, in % of that through {NAMES[ALL_NEURONS]}"
    return [*conditions, Condition(contrast, *of_all_neurons(table, seed), **size, role=SHOWN)]


CLAIMS = (
    Claim(
        "15, beyond the paper",
        "most of what distinguishes two facts of a relation passes through their knowledge neurons",
        ("how_much_passes",),
        pass_through,
    ),
)
