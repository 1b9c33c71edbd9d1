"""The rule that holds facts and web sentences out of the training of the bundled model `starter`.

The rule hashes normalised text, so it does not depend on the relation, on the order of a file, or on case, accents and punctuation.
`data/starter/train_model.py` uses it.
"""

import hashlib
import re
import unicodedata

import pandas as pd


def words(text: str) -> list[str]:
    """Return a text's words in lower case, without accents and punctuation."""
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    return re.findall(r"\w+", "".join(letter for letter in decomposed if not unicodedata.combining(letter)))


def is_held_out_fact(subject: str, object: str) -> bool:
    """Return whether a pair is held out, in either order; this is one pair in ten.

    No training sentence contains both texts of a held-out pair of ParaRel. For pairs of other data sets, only the pair's own sentences are
    removed.
    """
    first, second = sorted(" ".join(words(text)) for text in (subject, object))
    return _hash(f"{first}\t{second}") % 10 == 0


def held_out_facts(facts: pd.DataFrame) -> set[tuple[str, int]]:
    """Return (relation, fact) of the held-out facts of a table with the columns relation, fact, subject and object."""
    return {(row.relation, row.fact) for row in facts.itertuples() if is_held_out_fact(row.subject, row.object)}


def is_held_out_sentence(sentence: str) -> bool:
    """Return whether a web sentence is held out; this is one in five."""
    return _hash(" ".join(words(sentence))) % 5 == 0


def _hash(text: str) -> int:
    return int(hashlib.sha256(text.encode()).hexdigest(), 16)
