"""The claim on erased relations (section 5.2)."""

from functools import partial

import numpy as np
import pandas as pd

from kn_utils.chapters.erase_relation.numbers import ERASED_IN_THE_PAPER, KNOWN, log_rises, relative_rise, right_before
from kn_utils.stats.rule import CONTROL, SHOWN, TIMES, Claim, Condition, Tables, hardly, reported, untested
from kn_utils.store.runs import NothingToShowError

ROW = "erasing a relation harms it more than all others"
CONTROLS = {"activation": "the baseline's neurons", "random": "random neurons"}


def erased(relation: str, tables: Tables, seed: int) -> list[Condition]:
    """Erasing the neurons of a relation multiplies its perplexity by more than that of all others, and by more than other neurons do.

    The relation must have been known before: at least `KNOWN` per cent of its prompts answered right.
    """
    table = tables["erase_facts"]
    own, others = table[table["evaluated"] == relation], table[table["evaluated"] != relation]
    if own.empty or others.empty:
        raise NothingToShowError(
            "only the erased relation was evaluated" if others.empty else "no fact of the relation has a prompt"
        )
    _check_known(own)
    about = {"n": own["fact"].nunique(), "unit": "facts of this relation"}
    ids = [f"erase_{relation}_{when}" for when in ("before", "after", "others_before", "others_after")]
    paper = reported(lambda before, after, others, others_after: after / before / (others_after / others), *ids)
    ratio, ratio_of_others = relative_rise(own, others, seed), np.exp(log_rises(others, "attribution", seed))
    conditions = [
        Condition("its perplexity after / before, divided by that of all others", *ratio, **about, above=1, paper=paper),
        hardly("perplexity of all others, after / before", ratio_of_others, TIMES, n=_facts(others), role=CONTROL),
    ]
    for method, name in CONTROLS.items():
        text = f"its perplexity after / before, divided by that with {name} erased"
        if method not in set(own["method"]):
            conditions.append(untested(text, f"step 7's table has no rows of the method {method!r}"))
            continue
        against = np.exp(log_rises(own, "attribution", seed, minus=method))
        role = {"role": SHOWN} if method == "random" else {"role": CONTROL, "above": 1}
        conditions.append(Condition(text, *against, **about, **role))
    return conditions


def _check_known(own: pd.DataFrame) -> None:
    right = right_before(own)
    if right < KNOWN:
        raise NothingToShowError(
            f"the model did not know the relation before: it answered {right:.1f} % of the prompts right, fewer than {KNOWN} %"
        )


def _facts(table: pd.DataFrame) -> int:
    return len(table[["evaluated", "fact"]].drop_duplicates())


CLAIMS = tuple(
    Claim(
        "5.2",
        f"erasing {relation} raises its perplexity more than that of all others",
        ("erase_facts",),
        partial(erased, relation),
        relation,
        ROW,
    )
    for relation in ERASED_IN_THE_PAPER
)
