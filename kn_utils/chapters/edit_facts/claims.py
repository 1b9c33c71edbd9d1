"""Claims on edits of facts (section 5.1).

Each function takes tables by name and a seed, and returns the conditions of a claim; the first is the claim itself.
"""

from functools import partial

import numpy as np

from kn_utils.chapters.edit_facts.numbers import (
    CHANGED,
    OTHER,
    PAPER,
    RATES,
    SAME,
    SUCCESS,
    TEMPLATE_RATES,
    log_ratio,
    paired_edits,
    rate,
    rise,
    template_rate,
)
from kn_utils.stats.rule import NEGLIGIBLE, Claim, Condition, Tables, half_the_paper, intervals, reported
from kn_utils.store.runs import NothingToShowError


def edit_rate(outcome: str, tables: Tables, seed: int) -> list[Condition]:
    """Edits lead to `outcome` (`CHANGED` or `SUCCESS`) more often than edits of random neurons."""
    ours, control = paired_edits(tables["edit_facts"])
    if ours.empty:
        raise NothingToShowError("no fact was edited")
    relations = ours.index.get_level_values("relation")
    columns = [RATES[outcome], TEMPLATE_RATES[outcome]]
    difference = ours.assign(**(ours[columns].astype(float) - control[columns].astype(float)))
    values = [kind(difference, outcome).to_numpy() for kind in (rate, template_rate)]
    drawn, templates = intervals(lambda rows: [each[rows].mean() for each in values], relations, seed)
    about = (len(ours), f"edits in {relations.nunique()} relation{'s' * (relations.nunique() > 1)}")
    paper = reported(np.subtract, PAPER[outcome], f"{PAPER[outcome]}_random")
    claim = Condition("% of edits, ours minus random neurons'", *drawn, *about, above=0, paper=paper)
    return [claim, Condition("the same over all templates of the fact", *templates, *about, above=0), half_the_paper(claim)]


def side_effects(tables: Tables, seed: int) -> list[Condition]:
    """Edits have little effect on other facts, and no more than edits of random neurons."""
    ours, control = paired_edits(tables["edit_facts"])
    if ours.empty:
        raise NothingToShowError("no fact was edited")
    logs = np.stack([log_ratio(ours, where) for where in (SAME, OTHER)])
    rises = (rise(ours, SAME) - rise(control, SAME)).to_numpy()

    def statistic(rows: np.ndarray) -> list[float]:
        return [*(100 * np.expm1(np.nanmean(logs[:, rows], axis=1))), np.nanmean(rises[rows])]

    same, other, against_random = intervals(statistic, ours.index.get_level_values("relation"), seed)
    about = (len(ours), "edits")
    paper = reported(np.subtract, PAPER[SAME], f"{PAPER[SAME]}_random")
    return [
        Condition("rise of perplexity on other facts of the relation (%)", *same, *about, below=NEGLIGIBLE),
        Condition("rise of perplexity on facts of other relations (%)", *other, *about, below=NEGLIGIBLE),
        Condition("rise of perplexity in the relation minus random neurons'", *against_random, *about, below=0, paper=paper),
    ]


_TABLES = ("edit_facts",)
CLAIMS = (
    Claim("5.1", "edits of them change the answer", _TABLES, partial(edit_rate, CHANGED)),
    Claim("5.1", "edits of them make the new object the answer", _TABLES, partial(edit_rate, SUCCESS)),
    Claim("5.1", "edits hardly harm other facts", _TABLES, side_effects),
)
