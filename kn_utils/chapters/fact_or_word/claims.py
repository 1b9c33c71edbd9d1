"""Claims of notebook 13, which are ours and not the paper's."""

import pandas as pd

from kn_utils.chapters.fact_or_word.numbers import HALF, MIRROR, NAMES, changes, fact_part, share
from kn_utils.chapters.fact_or_word.table import MATCHED, OTHER_OTHER, OTHER_SAME, SAME_OTHER, SAME_SAME, THIS_OBJECT
from kn_utils.stats.rule import CONTROL, SHOWN, Claim, Condition, Tables, counted, untested
from kn_utils.store.runs import NothingToShowError


def serve_a_word(tables: Tables, seed: int) -> list[Condition]:
    """Neurons of another relation's fact with the same object have over half of the effect, and more than those of another object."""
    wide = changes(tables["fact_or_word"])
    if not {SAME_OTHER, OTHER_SAME} <= set(wide):
        raise NothingToShowError(
            "no fact here has both a fact of another relation with its object and one of its relation with another"
        )
    limit = max(HALF, share(wide, OTHER_SAME, seed)[2])
    above = {"above": limit, "undecided": limit - HALF}  # a wide interval of the other share contradicts nothing
    found = [_share(wide, SAME_OTHER, seed, **above), _share(wide, OTHER_SAME, seed, role=SHOWN)]
    shown = MIRROR[THIS_OBJECT]
    return [*found, *([_share(wide, shown, seed, role=SHOWN)] if shown in wide else []), *_controls(wide, seed)]


def belong_to_a_fact(tables: Tables, seed: int) -> list[Condition]:
    """Over half of the effect is that of the fact's own neurons alone, not of another fact's with the same object and relation."""
    wide = changes(tables["fact_or_word"])
    if SAME_SAME not in wide:
        raise NothingToShowError("no fact here has another one with the same object")
    contrast = f"effect of the own neurons less that of another fact's ({NAMES[SAME_SAME]}), in % of the own"
    return [Condition(contrast, *fact_part(wide, seed), **_count(wide, SAME_SAME), above=HALF), *_controls(wide, seed)]


def _share(wide: pd.DataFrame, kind: str, seed: int, **more) -> Condition:
    contrast = f"effect of neurons, {NAMES[kind]}, in % of that of the fact's own"
    return Condition(contrast, *share(wide, kind, seed), **_count(wide, kind), **more)


def _count(wide: pd.DataFrame, kind: str) -> dict[str, object]:
    """Return `counted` of the facts that have neurons of a kind."""
    return counted("facts", wide[kind].dropna().index.get_level_values("relation"))


MISSING = {
    MATCHED: "no layer has enough neurons that attribution does not name",
    OTHER_OTHER: "no other relation has a known fact with another object",
}


def _controls(wide: pd.DataFrame, seed: int) -> list[Condition]:
    """Neurons that are not named, and those of an unrelated fact, have less than half of the effect."""
    return [
        _share(wide, kind, seed, below=HALF, role=CONTROL)
        if kind in wide
        else untested(f"effect of neurons, {NAMES[kind]}", reason)
        for kind, reason in MISSING.items()
    ]


_TABLES = ("fact_or_word",)
CLAIMS = (
    Claim("13, beyond the paper", "neurons serve the answer word, in whatever relation", _TABLES, serve_a_word),
    Claim("13, beyond the paper", "most of the effect belongs to the fact alone", _TABLES, belong_to_a_fact),
)
