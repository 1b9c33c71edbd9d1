"""Claims on edits of facts (section 5.1).

Each function takes tables by name and a seed, and returns the conditions of a claim.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
import pandas as pd

from kn_utils.chapters.edit_facts.numbers import (
    CHANGED,
    OTHER,
    PAPER,
    SAME,
    SUCCESS,
    by_method,
    clean_rate,
    log_ratio,
    lowest_log_ratio,
    other_templates_rate,
    rate,
    rise,
)
from kn_utils.stats.intervals import PERCENT
from kn_utils.stats.means import over_facts
from kn_utils.stats.rule import CLAIM, CONTROL, SHOWN, TIMES, Claim, Condition, Tables, hardly, reported, untested
from kn_utils.store.runs import NothingToShowError

HALF = 50  # %; most of the successes
POINTS = (-100, 100)  # limits of a difference of shares
MATCHED = "with the fact's neurons minus with neurons of the same layers and activation"
RANDOM = "with the fact's neurons minus with random neurons"


def edit_rate(outcome: str, tables: Tables, seed: int) -> list[Condition]:
    """Edits lead to `outcome` (`CHANGED` or `SUCCESS`) on templates that did not choose them, more often than edits of other neurons."""
    edits = _edits(tables)
    ours, other_templates = edits["attribution"], partial(other_templates_rate, outcome=outcome)
    text = f"% of other templates where {outcome}"
    conditions = [
        _difference(f"{text}, {RANDOM}", ours, edits["random"], other_templates, seed, limits=POINTS),
        _matched(f"{text}, {MATCHED}", edits, other_templates, seed),
    ]
    if outcome == SUCCESS:
        conditions.append(_clean(ours, seed))
    paper = reported(np.subtract, PAPER[outcome], f"{PAPER[outcome]}_random")
    text = f"% of edits where {outcome}, in the prompt that chose the edit, {RANDOM}"
    chosen = _difference(
        text, ours, edits["random"], partial(rate, outcome=outcome), seed, role=SHOWN, paper=paper, limits=POINTS
    )
    return [*conditions, chosen]


def side_effects(tables: Tables, seed: int) -> list[Condition]:
    """Edits have little effect on other facts."""
    edits = _edits(tables)
    ours = edits["attribution"]
    conditions = []
    for where, text in {SAME: "other facts of the relation", OTHER: "facts of other relations"}.items():
        logs = log_ratio(ours, where).dropna()
        if logs.empty:
            conditions.append(untested(f"perplexity on {text}, after / before", "there are no such facts"))
            continue
        lowest = lowest_log_ratio(ours, where)[logs.index].mean()
        ratio = np.exp(over_facts(logs, seed, limits=(lowest, np.inf)))
        conditions.append(hardly(f"perplexity on {text}, after / before", ratio, TIMES, n=len(logs), unit="edits"))
    if "matched" in edits:
        beside = (log_ratio(ours, SAME) - log_ratio(edits["matched"], SAME)).dropna()
        text = "perplexity on other facts of the relation, after / before, divided by that of edits of matched neurons"
        conditions.append(Condition(text, *np.exp(over_facts(beside, seed)), n=len(beside), unit="edits", role=SHOWN))
    paper = reported(np.subtract, PAPER[SAME], f"{PAPER[SAME]}_random")
    text = f"mean rise of perplexity on other facts of the relation, {RANDOM}"
    return [*conditions, _difference(text, ours, edits["random"], partial(rise, where=SAME), seed, role=SHOWN, paper=paper)]


def _edits(tables: Tables) -> dict[str, pd.DataFrame]:
    edits = by_method(tables["edit_facts"])
    if "attribution" not in edits:
        raise NothingToShowError("no fact was edited")
    return edits


def _matched(text: str, edits: dict[str, pd.DataFrame], values: Callable, seed: int) -> Condition:
    if "matched" not in edits:
        return untested(text, "step 6's table has no rows of the method 'matched'")
    return _difference(text, edits["attribution"], edits["matched"], values, seed, role=CONTROL, limits=POINTS)


def _difference(text: str, ours: pd.DataFrame, control: pd.DataFrame, values: Callable, seed: int, **more) -> Condition:
    """Return the condition that `values` of our edits are on average above those of the control's edits of the same facts."""
    role, limits = more.get("role", CLAIM), more.pop("limits", (-np.inf, np.inf))
    difference = (values(ours) - values(control)).dropna()
    if difference.empty:
        return untested(text, "no edited fact has another template", role)
    bounds = {} if role == SHOWN else {"above": 0}
    relations = difference.index.get_level_values("relation").nunique()
    unit = f"edits in {relations} relation{'s' * (relations > 1)}"
    return Condition(text, *over_facts(difference, seed, limits=limits), n=len(difference), unit=unit, **bounds, **more)


def _clean(ours: pd.DataFrame, seed: int) -> Condition:
    """Most edits that succeed keep both perplexities within 1.1 times."""
    text = "% of successful edits that keep both perplexities on other facts within 1.1 times"
    succeeded = ours[ours["success"]]
    if succeeded.empty:
        return untested(text, "no edit succeeds")
    share = over_facts(clean_rate(succeeded), seed, limits=PERCENT)
    return Condition(text, *share, n=len(succeeded), unit="successful edits", above=HALF, role=CONTROL)


_TABLES = ("edit_facts",)
CLAIMS = (
    Claim("5.1", "edits of them change the answer", _TABLES, partial(edit_rate, CHANGED)),
    Claim("5.1", "edits of them make the new object the answer", _TABLES, partial(edit_rate, SUCCESS)),
    Claim("5.1", "edits hardly harm other facts", _TABLES, side_effects),
)
