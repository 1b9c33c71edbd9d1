"""The claim on localisation and editing, which is ours and not the paper's.

The function takes tables by name and a seed, and returns the conditions of the claim.
"""

from kn_utils.chapters.does_it_help_editing.numbers import AIMED, BEST, MEAN, NAMES, NET, gain
from kn_utils.stats.rule import CLAIM, CONTROL, SHOWN, Claim, Condition, Tables, unit_of, untested

MARGIN = 5  # points; localisation helps if it gains more


def own_neurons_help(tables: Tables, seed: int) -> list[Condition]:
    """Edits through a fact's own neurons are better than edits through matched neurons, by more than five points."""
    table = tables["does_it_help_editing"]

    def condition(other: str, above: float, role: str, **options) -> Condition:
        rule, outcome, at = (options.get(name, usual) for name, usual in (("rule", "scaled"), ("outcome", NET), ("at", BEST)))
        contrast = f"{outcome}, {NAMES['attribution']} minus {NAMES[other]}, {at}, {rule} rule"
        found = gain(table, other, seed, **options)
        if found is None:
            return untested(contrast, f"no edit has {NAMES[other]}", role)
        unit = unit_of("edits", found.relations)
        return Condition(contrast, *found.interval, n=len(found.relations), unit=unit, above=above, role=role)

    return [
        condition("matched", MARGIN, CLAIM),
        condition("matched", MARGIN, CONTROL, at=MEAN),
        condition("matched", MARGIN, CONTROL, rule="fixed"),
        condition("matched", 0, CONTROL, outcome=AIMED),
        condition("another fact", MARGIN, CONTROL),
        condition("random", MARGIN, SHOWN),
        condition("exact", MARGIN, SHOWN),
    ]


CLAIMS = (
    Claim(
        "16, beyond the paper",
        "localisation helps editing: edits through a fact's own neurons are better aimed than through matched neurons",
        ("does_it_help_editing",),
        own_neurons_help,
    ),
)
