"""Claims on suppressing and amplifying knowledge neurons (section 4.3, and the first arXiv version).

Each function takes tables by name and a seed, and returns the conditions of a claim.
"""

from functools import partial

import pandas as pd

from kn_utils.chapters.modify_activation.numbers import own_changes, own_prompts, probability_ratios
from kn_utils.model.interventions import OPERATIONS
from kn_utils.stats.intervals import mean_of_relations
from kn_utils.stats.log_odds import fact_changes
from kn_utils.stats.means import mean_over_relations, share_of_effect
from kn_utils.stats.rule import CONTROL, SHOWN, Claim, Condition, Tables, counted, hardly, reported, untested
from kn_utils.store.runs import FACT_KEY, NothingToShowError

HALF = 50  # %; a control with at least half of the effect has too much of it
NEURONS = {
    "matched": "neurons of the same layers and activation",
    "same object": "another fact's neurons with the same object",
    "activation": "the baseline's",
    "random": "random neurons",
}


def changed_log_odds(operation: str, tables: Tables, seed: int) -> list[Condition]:
    """Suppressing lowers the log-odds of the right answer, amplifying raises them; more than with control neurons."""
    table = tables["modify_activation"]
    side = {"below": 0} if operation == "suppress" else {"above": 0}
    changes = own_changes(table, operation)
    conditions = [_mean("change of the object's log-odds", changes["attribution"], seed, **side)]
    for method, name in NEURONS.items():
        contrast = f"change minus that by {name}"
        role = SHOWN if method == "random" else CONTROL
        pairs = changes[["attribution", method]].dropna() if method in changes else changes.iloc[:0]
        if pairs.empty:
            conditions.append(untested(contrast, f"step 3's table has no rows of the method {method!r}", role))
        else:
            conditions.append(_mean(contrast, pairs["attribution"] - pairs[method], seed, role=role, **side))
    return [*conditions, _never_right(table, operation, changes["attribution"], seed), _of_the_paper(table, operation, seed)]


def _mean(contrast: str, values: pd.Series, seed: int, **more) -> Condition:
    """Return the condition on a mean over relations; `values` are of facts."""
    size = counted("facts", values.index.get_level_values("relation"))
    return Condition(contrast, *mean_over_relations(values, seed), **size, **more)


def _never_right(table: pd.DataFrame, operation: str, changes: pd.Series, seed: int) -> Condition:
    """Facts that the model never answers right change less than half as much as the others."""
    contrast = "change for facts that are never answered right, in % of that for the others"
    own = own_prompts(table, operation).query("method == 'attribution'")
    known = own.groupby(FACT_KEY)["correct_before"].any().reindex(changes.index)
    if known.all() or not known.any():
        return untested(contrast, f"all facts are {'answered right at least once' if known.all() else 'never answered right'}")
    share = share_of_effect(changes[known], changes[~known], seed)
    return Condition(contrast, *share, n=int((~known).sum()), below=HALF, role=CONTROL)


def _of_the_paper(table: pd.DataFrame, operation: str, seed: int) -> Condition:
    """The paper's measure, beside its value."""
    ratios, relations = probability_ratios(own_prompts(table, operation).query("method == 'attribution'"))
    found = mean_of_relations(ratios, relations, seed)
    paper = reported(float, f"{operation}_attribution")
    contrast = "the paper's measure: change of the object's probability (%), a ratio of means"
    return Condition(contrast, *found, **counted("facts", relations), role=SHOWN, paper=paper)


def held_out_templates(tables: Tables, seed: int) -> list[Condition]:
    """Neurons chosen on half of a fact's templates have most of their effect on the other half."""
    conditions = []
    for operation in OPERATIONS:
        changes = own_changes(tables["modify_activation"], operation)
        if "held-out templates" not in changes:
            raise NothingToShowError("step 3's table has no rows of the method 'held-out templates'")
        pairs = changes[["same templates", "held-out templates"]].dropna()
        share = share_of_effect(pairs["same templates"], pairs["held-out templates"], seed)
        contrast = f"{operation}: change on templates that did not choose the neurons, in % of that on those that did"
        conditions.append(Condition(contrast, *share, n=len(pairs), above=HALF))
    return conditions


def other_facts(tables: Tables, seed: int) -> list[Condition]:
    """Changing the neurons of a fact has little effect on prompts of other relations (first arXiv version).

    In the mean, rises and falls cancel; the control compares sizes of changes.
    """
    table = tables["modify_activation"].query("method == 'attribution'")
    if not (table["target"] == "other").any():
        raise NothingToShowError("the data set has no facts of other relations to ask")
    conditions = []
    for operation in OPERATIONS:
        changes = fact_changes(table[table["operation"] == operation], ["target"])
        paper = reported(
            lambda other, own: 100 * other / own,
            f"{operation}_other_first_version",
            f"{operation}_attribution_first_version",
        )
        pairs = changes[["own", "other"]].dropna()
        share = share_of_effect(pairs["own"], pairs["other"], seed)
        contrast = f"{operation}: change of log-odds for another fact, in % of that for the fact itself"
        sizes = share_of_effect(pairs["own"].abs(), pairs["other"].abs(), seed)
        conditions.append(hardly(contrast, share, n=len(pairs), paper=paper))
        conditions.append(
            hardly(
                f"{operation}: sizes of changes, without signs, for another fact, in % of those for the fact itself",
                sizes,
                n=len(pairs),
                role=CONTROL,
            )
        )
    return conditions


_TABLES = ("modify_activation",)
CLAIMS = (
    Claim("4.3", "suppressing them makes the right answer less probable", _TABLES, partial(changed_log_odds, "suppress")),
    Claim("4.3", "amplifying them makes the right answer more probable", _TABLES, partial(changed_log_odds, "amplify")),
    Claim("4.3, beyond the paper", "templates that did not choose them show the effect too", _TABLES, held_out_templates),
    Claim("4.3, arXiv v1", "facts of other relations hardly change", _TABLES, other_facts),
)
