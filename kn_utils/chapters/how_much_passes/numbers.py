"""Statistics of the table of notebook 15."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from kn_utils.chapters.how_much_passes.table import (
    ALL_ATTENTION,
    ALL_NEURONS,
    AT_SUBJECT,
    MATCHED,
    NOTHING,
    ONE_ATTENTION,
    OTHERS,
    OWN,
    STRONGEST,
)
from kn_utils.model.models import LanguageModel
from kn_utils.model.prompts import Prompt, usable_prompts
from kn_utils.stats.intervals import INTERVAL, interval_texts, mean_of_relations, number
from kn_utils.stats.means import group_sums, share_of_effect
from kn_utils.store.runs import NothingToShowError, Run

ANSWERS = {"source": "answer: the source's (%)", "fact": "answer: its own (%)", "other": "answer: another (%)"}
SITE, PAIR = ["states", "layer"], ["relation", "pair"]
THERE, ELSEWHERE = 50, 20  # %; limits of the rule
NAMES = {
    OWN: "knowledge neurons of both facts",
    MATCHED: "neurons that change as much",
    OTHERS: "knowledge neurons of two other facts",
    **{name: f"{size} strongest neurons of either fact" for size, name in STRONGEST.items()},
    ALL_NEURONS: "all neurons at the prediction position",
    AT_SUBJECT: "all neurons at the subject",
    ALL_ATTENTION: "attention outputs, all layers",
    ONE_ATTENTION: "attention outputs, last layer",
    NOTHING: "nothing",
}


class Shares:
    """The share (%) of the difference between two facts' prompts that passes through each kind of states: [sites, relations].

    The difference is in ln(P(one object) / P(the other object)). The share of a relation is the sum of what passes over its pairs and
    both orders, divided by the sum of the differences. `sites` are pairs of states and first layer. A pair in which some states are not
    defined does not count for them. Raises NothingToShowError if there is no pair.
    """

    def __init__(self, table: pd.DataFrame):
        if table.empty:
            raise NothingToShowError("no two known facts of these relations have prompts of equal length by the same template")
        odds = table[["log_odds_before", "log_odds_after", "log_odds_source"]].astype(float)
        passes = odds["log_odds_after"] - odds["log_odds_before"]
        keys = [table[name] for name in (*PAIR, *SITE)]
        sums = pd.DataFrame({"passes": passes, "all": odds["log_odds_source"] - odds["log_odds_before"]}).groupby(keys).sum()
        wide = sums.unstack(SITE)
        self.relations = wide.index.get_level_values("relation")
        self.sites = list(wide["passes"].columns)
        self.passes, self.all = wide["passes"].to_numpy(), wide["all"].to_numpy()

    def __call__(self, rows: np.ndarray, groups: np.ndarray) -> np.ndarray:
        """Return the shares; NaN for a relation without a pair that has these states."""
        passes, every = (group_sums(np.nan_to_num(values[rows]), groups) for values in (self.passes, self.all))
        return (100 * passes / np.where(every > 0, every, np.nan)).T


def shares(table: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Return the mean share of each kind of states over relations.

    Columns: states, layer, `INTERVAL`; the mean number of `neurons`; `pairs`; and the share (%) of each of the `ANSWERS`.
    """
    share = Shares(table)
    index = pd.MultiIndex.from_tuples(share.sites, names=SITE)
    found = pd.DataFrame(dict(zip(INTERVAL, mean_of_relations(share, share.relations, seed), strict=True)), index=index)
    by_site = table.groupby(SITE)
    found["neurons"], found["pairs"] = by_site["neurons"].mean(), by_site.size() // 2
    answers = pd.crosstab([table[name] for name in SITE], table["answer"], normalize="index")
    return found.join(100 * answers.reindex(columns=list(ANSWERS), fill_value=0.0)).reset_index()


def difference(table: pd.DataFrame, states: str, other: str, seed: int) -> tuple[float, ...]:
    """Return the share of some states minus that of others (points, from the first layer up), on pairs that have both: `INTERVAL`."""
    wanted = table[table["states"].isin([states, other]) & (table["layer"] == 0)]
    kinds = wanted.groupby(PAIR)["states"].transform("nunique")
    share = Shares(wanted[kinds == 2])

    def points(rows: np.ndarray, groups: np.ndarray) -> np.ndarray:
        of_site = dict(zip(share.sites, share(rows, groups), strict=True))
        return of_site[states, 0] - of_site[other, 0]

    return mean_of_relations(points, share.relations, seed)


def of_all_neurons(table: pd.DataFrame, seed: int) -> tuple[float, float, float]:
    """Return the share through knowledge neurons in % of that through all neurons of the position: (estimate, low, high)."""
    share = Shares(table[table["states"].isin([OWN, ALL_NEURONS]) & (table["layer"] == 0)])
    groups, relations = pd.factorize(share.relations)
    by_relation = pd.DataFrame(
        share(np.arange(len(groups)), groups).T,
        columns=[states for states, _ in share.sites],
        index=pd.Index(relations, name="relation"),
    )
    return share_of_effect(by_relation[ALL_NEURONS].dropna(), by_relation[OWN].dropna(), seed)


def whole(found: pd.DataFrame) -> pd.DataFrame:
    """Return one row of `shares` for each kind of states, in the order of `NAMES`, with the index `states`.

    It is that of all layers, and of the attention of one layer that of the last.
    """
    last = found["layer"] == found["layer"].max()
    rows = found[np.where(found["states"] == ONE_ATTENTION, last, found["layer"] == 0)].set_index("states")
    return rows.loc[[name for name in NAMES if name in rows.index]]


def by_layer(found: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of `shares` for the states that have a row for each layer; `layer` counts from 1."""
    several = found.groupby("states")["layer"].transform("nunique") > 1
    return found[several].assign(layer=lambda rows: rows["layer"] + 1)


def named_table(found: pd.DataFrame) -> pd.DataFrame:
    """Return `shares` for display: a row for each kind of states, the share with both intervals, and the answers (%)."""
    rows = whole(found)
    shown = rows[["neurons", *ANSWERS, "pairs"]].rename(columns=ANSWERS)
    shown["neurons"] = [number(int(mean) if mean.is_integer() else mean) for mean in rows["neurons"]]
    shown.insert(0, "share (%)", interval_texts(rows, INTERVAL))
    return shown.set_axis([NAMES[name] for name in rows.index]).rename_axis("states taken over")


def finding(found: pd.DataFrame) -> str:
    """Return two sentences: how much passes through knowledge neurons, and through what else, from the table of `shares`."""
    rows = whole(found)
    text = dict(zip(rows.index, interval_texts(rows, unit=" %"), strict=True))
    return (
        f"Of what distinguishes two facts of a relation, {text[OWN]} passes through their knowledge neurons at the prediction position, "
        f"and {text[ALL_NEURONS]} through all neurons there. Through all neurons at the subject passes {text[AT_SUBJECT]}, and through "
        f"the attention outputs of the last layer {text[ONE_ATTENTION]}: these alone make the other fact's object the answer in "
        f"{rows.loc[ONE_ATTENTION, 'source']:.0f} % of {2 * rows.loc[ONE_ATTENTION, 'pairs']:,.0f} cases."
    )


def without_pairs(table: pd.DataFrame, relations: Sequence[str]) -> str:
    """Return a sentence on the relations that have no pair, after a space; "" if all have one."""
    missing = len(set(relations) - set(table["relation"]))
    reason = "no two of their known facts have different objects and, by one template, right answers in prompts of equal length"
    return f" Without a pair: {missing} of {len(relations)} relations, since {reason}." if missing else ""


def first_pair(lm: LanguageModel, run: Run, table: pd.DataFrame) -> tuple[Prompt, Prompt]:
    """Return the prompt and the source's prompt of the table's first row."""
    row = table.iloc[0]
    facts = [run.dataset.facts[row["relation"]][index] for index in (row["fact"], row["source"])]
    one, two = (
        next(prompt for prompt in usable_prompts(lm, run.dataset, fact) if prompt.index == row["prompt"]) for fact in facts
    )
    return one, two
