"""Statistics of the table of notebook 16."""

from itertools import product

import numpy as np
import pandas as pd

from kn_utils.chapters.does_it_help_editing.choice import METHODS
from kn_utils.chapters.does_it_help_editing.plans import Edit, plan_edits
from kn_utils.model.contexts import parse_neurons
from kn_utils.model.interventions import RULES
from kn_utils.model.models import LanguageModel
from kn_utils.model.neurons import Neuron
from kn_utils.stats.intervals import (
    INTERVAL,
    interval_texts,
    mean_of_relations,
    number,
    side_by_side,
    with_interval,
)
from kn_utils.stats.means import Counted, mean_over_relations, relation_means
from kn_utils.store.runs import FACT_KEY, NothingToShowError, Run

NAMES = {
    "attribution": "the fact's own neurons",
    "matched": "matched neurons",
    "another fact": "another fact's neurons",
    "random": "random neurons",
    "exact": "the best by exact effect",
}
RULE_NAMES = {"scaled": "the paper's rule", "fixed": "the toolkits' rule"}
SUCCESS, BLEED, NET, CHANGED = "success (%)", "bleed (%)", "success minus bleed (points)", "other answers changed (%)"
AIMED = "aimed log-odds"
LIMITS = {SUCCESS: (0, 100), BLEED: (0, 100), NET: (-100, 100), CHANGED: (0, 100), AIMED: (-np.inf, np.inf)}
OUTCOMES = tuple(LIMITS)
BEST, MEAN, EQUAL = "each at its best strength", "mean over strengths", "both at strength 1"


def outcomes(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with a column for each of `OUTCOMES`.

    Success and bleed are shares of the prompts that are newly answered with the new object: of the fact, and of other facts. Aimed log-odds
    are the change of the new object's log-odds for the fact, minus that for other facts.
    Raises NothingToShowError if there is no edit.
    """
    if table.empty:
        raise NothingToShowError("no fact of these relations can be edited: the model knows none that has prompts in both halves")
    success, bleed = (100 * table[f"{of}_success"] / table[of] for of in ("templates", "others"))
    shares = {SUCCESS: success, BLEED: bleed, NET: success - bleed, CHANGED: 100 * table["others_changed"] / table["others"]}
    return table.assign(**shares, **{AIMED: table["log_odds_change"] - table["others_log_odds_change"]})


def curves(table: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Return the mean over relations of every outcome: columns rule, method, strength, outcome and `INTERVAL`."""
    rows = []
    limits = tuple(np.transpose(list(LIMITS.values())))
    for key, group in outcomes(table).groupby(["rule", "method", "strength"]):
        means = mean_over_relations(group.set_index("relation")[list(OUTCOMES)], seed, limits)
        rows += [(*key, *row) for row in zip(OUTCOMES, *means, strict=True)]
    return pd.DataFrame(rows, columns=["rule", "method", "strength", "outcome", *INTERVAL])


def gain(table: pd.DataFrame, other: str, seed: int, rule: str = "scaled", outcome: str = NET, at: str = BEST) -> Counted | None:
    """Return an outcome with the fact's own neurons minus that with the neurons of the method `other`; None if no edit has both.

    `at` is `BEST`, `MEAN` or `EQUAL`. The best strength of a method for a relation is that with the largest mean over the other relations,
    so no relation is judged by a strength that it chose; in a single relation, facts take the place of relations. Resamples choose anew.
    """
    rows = outcomes(table)
    wide = rows[rows["rule"] == rule].pivot(index=FACT_KEY, columns=["method", "strength"], values=outcome)
    if not {"attribution", other} <= set(wide.columns.get_level_values("method")):
        return None
    pairs = wide[["attribution", other]].dropna()
    relations = pairs.index.get_level_values("relation")
    own, others = (pairs[method] for method in ("attribution", other))
    low, high = LIMITS[outcome]
    limits = (low - high, high - low)
    if at != BEST:
        difference = own - others
        chosen = difference[1] if at == EQUAL else difference.mean(axis=1)
        return Counted(mean_over_relations(chosen, seed, limits), relations)
    both = relation_means(np.stack([own, others], axis=1))  # [method, strength, relation]
    if relations.nunique() > 1:
        return Counted(mean_of_relations(both, relations, seed, limits, among=_at_best), relations)
    interval = mean_of_relations(both, range(len(pairs)), seed, limits, among=_at_best)[:3]
    return Counted((*interval, np.nan, np.nan), relations)


def _at_best(means: np.ndarray) -> np.ndarray:
    """Return the difference of two methods, each at the strength that has the largest mean over the other relations.

    `means` [methods, strengths, ..., relations] gives [..., relations]. A relation that is alone chooses for itself.
    """
    others = means.sum(axis=-1, keepdims=True) - means if means.shape[-1] > 1 else means
    best = others.argmax(axis=1, keepdims=True)
    own, other = np.take_along_axis(means, best, axis=1)[:, 0]
    return own - other


def gains(table: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Return the gains in success minus bleed over all other methods: columns rule, at, method and `INTERVAL`."""
    found = [
        (rule, at, method, *pair.interval)
        for rule in RULES
        for at in (BEST, MEAN, EQUAL)
        for method in METHODS[1:]
        if (pair := gain(table, method, seed, rule, at=at))
    ]
    return pd.DataFrame(found, columns=["rule", "at", "method", *INTERVAL])


def named_gains(gains: pd.DataFrame) -> pd.DataFrame:
    """Return the table of `gains` for display: "value [low, high]" for each other method, in the order of the figure."""
    wide = side_by_side(gains, ["rule", "at"], ["method"], INTERVAL)
    rows = [row for row in product(RULE_NAMES, (BEST, MEAN, EQUAL)) if row in wide.index]
    ordered = wide.loc[rows, [method for method in METHODS if method in wide]].rename(index=RULE_NAMES, level="rule")
    return ordered.rename(columns=lambda method: f"minus {NAMES[method]} (points)").rename_axis(columns=None).reset_index()


def named_curves(curves: pd.DataFrame, rule: str) -> pd.DataFrame:
    """Return the table of `curves` of a rule for display: a row for each method and strength, a column for each outcome."""
    wide = side_by_side(curves[curves["rule"] == rule], ["method", "strength"], ["outcome"])[list(OUTCOMES)]
    wide = wide.reindex([method for method in METHODS if method in wide.index], level="method")
    return wide.rename(index=NAMES, level="method").rename_axis(columns=None).reset_index()


def injections(table: pd.DataFrame) -> pd.DataFrame:
    """Return for each rule and method how equal the injection was: columns rule, method, factor (median at strength 1), injected (%).

    `injected (%)` is the median injected norm in the prompts that judge, in per cent of that of the fact's own neurons in the same edit.
    """
    full = table[table["strength"] == 1].set_index([*FACT_KEY, "rule"])
    own = full.loc[full["method"] == "attribution", "injected"]
    full = full.assign(injected=100 * full["injected"] / own.reindex(full.index))
    found = full.reset_index().groupby(["rule", "method"])[["factor", "injected"]].median()
    rows = [(rule, method) for rule in RULES for method in METHODS if (rule, method) in found.index]
    shown = found.loc[rows].reset_index().rename(columns={"injected": "injected (%)"})
    return shown.assign(rule=shown["rule"].map(RULE_NAMES), method=shown["method"].map(NAMES))


def finding(gains: pd.DataFrame, curves: pd.DataFrame) -> str:
    """Return two sentences: what edits do at the best strength of the fact's own neurons, and what localisation adds."""
    rows = curves[(curves["rule"] == "scaled") & (curves["method"] == "attribution")]
    nets = rows[rows["outcome"] == NET].set_index("strength")["value"]
    best = nets.idxmax()
    at_best = rows[rows["strength"] == best].set_index("outcome")["value"]
    shown = gains[(gains["rule"] == "scaled") & (gains["at"] == BEST)].set_index("method")
    parts = [f"{with_interval(*shown.loc[method, INTERVAL[:3]])} points over {NAMES[method]}" for method in shown.index]
    equal = gains[(gains["rule"] == "scaled") & (gains["at"] == EQUAL) & (gains["method"] == "matched")]
    beside = f" Both at strength 1, it is {interval_texts(equal)[0]} points over {NAMES['matched']}." if len(equal) else ""
    return (
        f"Edited through its own neurons by the paper's rule, at its best strength ({best:g}), a fact gets the new object in "
        f"{number(at_best[SUCCESS])} % of the templates that did not choose the neurons. So do {number(at_best[BLEED])} % of the prompts "
        f"of other facts. "
        f"Each at its best strength, the gain in success minus bleed is {', '.join(parts)}.{beside}"
    )


def example(lm: LanguageModel, run: Run, table: pd.DataFrame, n_edits: int) -> tuple[Edit, pd.Series]:
    """Return an edit, and its row for neurons that are not the fact's own, by the paper's rule at strength 1: the first in the table."""
    row = table.query("method != 'attribution' and rule == 'scaled' and strength == 1").iloc[0]
    edits = plan_edits(lm, run, row["relation"], n_edits)
    return next(edit for edit in edits if edit.fact.index == row["fact"]), row


def neurons_of(table: pd.DataFrame, edit: Edit, method: str) -> list[Neuron]:
    """Return the neurons of a method, from the table."""
    rows = table[(table["relation"] == edit.fact.relation) & (table["fact"] == edit.fact.index) & (table["method"] == method)]
    return parse_neurons(rows["neuron_names"].iloc[0].split())
