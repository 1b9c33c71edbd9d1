"""What is claimed of edits of facts (section 5.1).

Each function takes tables by name and a seed, and returns the claim's conditions, the claim itself first.
"""

import numpy as np
import pandas as pd

from kn_utils.stats.rule import NEGLIGIBLE, Condition, NoDataError, Tables, half_the_paper, intervals, reported
from kn_utils.store.runs import FACT_KEY


def edits(table: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return the edits by the paper's rule, with our neurons and with random ones, row by row the same facts."""
    scaled = table[table["rule"] == "scaled"].set_index(FACT_KEY)
    if scaled.empty:
        raise NoDataError("no fact was edited")
    random = scaled["control"].to_numpy(bool)
    return {"ours": scaled[~random], "random": scaled[random].reindex(scaled[~random].index)}


def counted(edited: pd.DataFrame) -> tuple[int, str]:
    """Return how many edits there are, and what they are, with the number of relations."""
    relations = edited.index.get_level_values("relation").nunique()
    return len(edited), f"edits in {relations} relation{'s' * (relations > 1)}"


def edit_rate(outcome: str, tables: Tables, seed: int) -> list[Condition]:
    """Edits change the answer, or make it the new object (`outcome` "changed" or "success"), unlike those of random neurons (5.1)."""
    own, random = edits(tables["edit_facts"]).values()
    drawn = 100.0 * (own[outcome].to_numpy(float) - random[outcome].to_numpy(float))
    templates = 100.0 * ((own[f"templates_{outcome}"] - random[f"templates_{outcome}"]) / own["templates"]).to_numpy(float)
    found = intervals(lambda rows: [drawn[rows].mean(), templates[rows].mean()], own.index.get_level_values("relation"), seed)
    name = {"changed": "edit_change_rate", "success": "edit_success_rate"}[outcome]
    claim = Condition(
        "% of edits, ours minus random neurons'",
        *found[0],
        *counted(own),
        above=0,
        paper=reported(np.subtract, name, f"{name}_random"),
    )
    return [
        claim,
        Condition("the same over all templates of the fact", *found[1], *counted(own), above=0),
        half_the_paper(claim),
    ]


def side_effects(tables: Tables, seed: int) -> list[Condition]:
    """Edits hardly harm other facts, of the same relation and of others, and no more than those of random neurons (section 5.1)."""
    own, random = edits(tables["edit_facts"]).values()
    logs = np.stack([np.log(own[f"perplexity_{kind}_after"] / own[f"perplexity_{kind}_before"]) for kind in ("same", "other")])
    rises = _rise(own) - _rise(random)

    def statistic(rows: np.ndarray) -> list[float]:
        return [*(100 * np.expm1(np.nanmean(logs[:, rows], axis=1))), np.nanmean(rises[rows])]

    same, other, against_random = intervals(statistic, own.index.get_level_values("relation"), seed)
    about = (len(own), "edits")
    paper = reported(np.subtract, "edit_perplexity_same_relation", "edit_perplexity_same_relation_random")
    return [
        Condition("% by which perplexity on other facts of the relation rises", *same, *about, below=NEGLIGIBLE),
        Condition("% by which perplexity on facts of other relations rises", *other, *about, below=NEGLIGIBLE),
        Condition("rise of perplexity in the relation minus random neurons'", *against_random, *about, below=0, paper=paper),
    ]


def _rise(edits: pd.DataFrame) -> np.ndarray:
    """Of perplexity on other facts of the relation, by every edit."""
    return (edits["perplexity_same_after"] - edits["perplexity_same_before"]).to_numpy()
