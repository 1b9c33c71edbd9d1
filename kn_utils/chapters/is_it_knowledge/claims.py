"""The claim of notebook 12, which is ours and not the paper's."""

from itertools import product

from kn_utils.chapters.is_it_knowledge.numbers import HALF, NAMES, OTHER_CHANGES, QUARTER, known_and
from kn_utils.chapters.is_it_knowledge.table import GROUPS, LEFT_OUT, NEVER_RIGHT
from kn_utils.stats.means import share_of_effect
from kn_utils.stats.rule import CLAIM, CONTROL, SHOWN, Claim, Condition, Tables, counted, untested
from kn_utils.store.runs import NothingToShowError

UNKNOWN = (NEVER_RIGHT, LEFT_OUT)


def measures_knowledge(tables: Tables, seed: int) -> list[Condition]:
    """Suppression has less than a quarter of its effect where the model does not know the fact; more than half contradicts this.

    What is no fact is a control: invented subjects, wrong objects and grammar.
    """
    table, conditions = tables["is_it_knowledge"], []
    for group in GROUPS[1:]:
        contrast = f"change for {NAMES[group]}, in % of that for known facts"
        known, other = known_and(table, group)
        if len(other):
            role = CLAIM if group in UNKNOWN else CONTROL
            limits = {"below": QUARTER, "undecided": HALF - QUARTER}
            share = share_of_effect(known, other, seed)
            conditions.append(Condition(contrast, *share, **counted("items", other.index), role=role, **limits))
        elif group not in UNKNOWN:
            conditions.append(untested(contrast, "no relation has both such items and known facts"))
    if not any(condition.role == CLAIM for condition in conditions):
        raise NothingToShowError("no relation here has both known facts and facts that are never answered right")
    return [*conditions, *_by_other_changes(tables, seed)]


def _by_other_changes(tables: Tables, seed: int) -> list[Condition]:
    """The same for unknown facts, less the change by neurons of the same layers and activation, and for probabilities."""
    conditions = []
    for change, group in product(OTHER_CHANGES, UNKNOWN):
        known, other = known_and(tables["is_it_knowledge"], group, change)
        if len(other):
            contrast = f"for {NAMES[group]}, in % of that for known facts: {change}"
            conditions.append(Condition(contrast, *share_of_effect(known, other, seed), n=len(other), role=SHOWN))
    return conditions


CLAIMS = (
    Claim(
        "12, beyond the paper",
        "setting neurons to zero harms what the model knows, and not what it does not know",
        ("is_it_knowledge",),
        measures_knowledge,
    ),
)
