"""Statistics of the table of notebook 13."""

import pandas as pd

from kn_utils.chapters.fact_or_word.table import (
    ITSELF,
    MATCHED,
    NOT_OWN,
    OTHER_OTHER,
    OTHER_SAME,
    OWN,
    SAME_OTHER,
    SAME_SAME,
    THEIR_OBJECT,
    THIS_OBJECT,
)
from kn_utils.stats.intervals import interval_texts, with_interval
from kn_utils.stats.means import mean_over_relations, share_of_effect
from kn_utils.store.runs import FACT_KEY, NothingToShowError

HALF = 50  # %, the limit of both rules
MIRROR = {THIS_OBJECT: "own, another subject asked for its object", THEIR_OBJECT: "own, another fact asked"}
NAMES = {
    SAME_SAME: "same object, same relation",
    NOT_OWN: "the same, none of the fact's own",
    SAME_OTHER: "same object, other relation",
    OTHER_SAME: "other object, same relation",
    OTHER_OTHER: "other object, other relation",
    MATCHED: "same layers and activation",
    MIRROR[THIS_OBJECT]: "own, on its object of another subject",
    MIRROR[THEIR_OBJECT]: "own, on another fact",
}


def changes(table: pd.DataFrame) -> pd.DataFrame:
    """Return the change of log-odds of each fact (rows) by each set of neurons (columns: `OWN` and the keys of `NAMES`).

    Raises NothingToShowError if there is no fact, or if the own neurons do not lower the log-odds, so that a share of it says nothing.
    """
    if table.empty:
        raise NothingToShowError("no two known facts of a relation here have the same object")
    kind = table["neurons"].where(table["asked"] == ITSELF, table["asked"].map(MIRROR))
    change = (table["log_odds_after"] - table["log_odds_before"]).astype(float)
    wide = table.assign(kind=kind, change=change).pivot(index=FACT_KEY, columns="kind", values="change")
    if wide[OWN].groupby(level="relation").mean().mean() >= 0:
        raise NothingToShowError("suppressing a fact's own neurons does not lower the log-odds of its object in these relations")
    return wide


def share(wide: pd.DataFrame, kind: str, seed: int) -> tuple[float, float, float]:
    """Return the effect of a set in % of that of the own neurons, on the facts that have both: (estimate, low, high)."""
    pairs = wide[[OWN, kind]].dropna()
    return share_of_effect(pairs[OWN], pairs[kind], seed)


def shares(wide: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Return the share of each set that some fact has: columns kind, value, low, high, facts; `wide` is of `changes`."""
    rows = [(kind, *share(wide, kind, seed), int(wide[kind].notna().sum())) for kind in NAMES if kind in wide]
    return pd.DataFrame(rows, columns=["kind", "value", "low", "high", "facts"])


def fact_part(wide: pd.DataFrame, seed: int) -> tuple[float, float, float]:
    """Return the part (%) of the effect that the neurons of another fact with the same object and relation do not have."""
    value, low, high = share(wide, SAME_SAME, seed)
    return 100 - value, 100 - high, 100 - low


def own_change(wide: pd.DataFrame, seed: int) -> str:
    """Return the mean change by the own neurons with its intervals, as text."""
    return with_interval(*mean_over_relations(wide[OWN].dropna(), seed))


def named_shares(shares: pd.DataFrame) -> pd.DataFrame:
    """Return the table of `shares` for display."""
    columns = {"neurons": shares["kind"].map(NAMES), "share of the own effect (%)": interval_texts(shares)}
    return pd.DataFrame(columns | {"facts": shares["facts"]})


def exclusive(neurons: pd.DataFrame, facts: pd.DataFrame) -> pd.DataFrame:
    """Return the share (%) of pairs of fact and knowledge neuron in which no other fact, or none with another object, has the neuron.

    `neurons` and `facts` are the tables `knowledge_neurons` and `facts`. Facts of all their relations count.
    """
    own = neurons[neurons["method"] == "attribution"].merge(facts[[*FACT_KEY, "object"]], on=FACT_KEY)
    if own.empty:
        raise NothingToShowError("no fact of these relations has knowledge neurons")
    of_neuron = own.groupby(["layer", "neuron"])
    alone = of_neuron["fact"].transform("size") == 1
    one_object = of_neuron["object"].transform("nunique") == 1
    with_alone = alone.groupby([own[name] for name in FACT_KEY]).any()
    rows = {
        "pairs in which no other fact has the neuron": (alone.mean(), len(own)),
        "pairs in which no fact with another object has it": (one_object.mean(), len(own)),
        "facts with a neuron that no other fact has": (with_alone.mean(), len(with_alone)),
    }
    return pd.DataFrame(
        [(name, 100 * value, count) for name, (value, count) in rows.items()], columns=["what", "share (%)", "of"]
    )


def finding(wide: pd.DataFrame, seed: int) -> str:
    """Return two sentences on the shares of other facts' neurons."""
    kinds = [kind for kind in (SAME_SAME, SAME_OTHER, OTHER_SAME, OTHER_OTHER) if kind in wide]
    text = [f"{NAMES[kind]} {with_interval(*share(wide, kind, seed), unit=' %')}" for kind in kinds]
    return (
        f"Suppressing a fact's own four neurons changes the log-odds of its object by {own_change(wide, seed)}. "
        f"Four neurons of another fact have this share of the effect: {'; '.join(text)}."
    )
