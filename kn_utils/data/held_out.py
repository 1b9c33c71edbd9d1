"""What the bundled model `starter` was not taught: facts and web sentences left out of its training by a fixed rule.

The rule hashes normalised texts, so that it depends neither on the relation nor on the order of a file, and spellings that differ
only in case, accents or punctuation share one fate. `data/starter/train_model.py` keeps to it.
"""

import hashlib
import re
import unicodedata

FACTS_PER_HELD_OUT = 10
SENTENCES_PER_HELD_OUT = 5


def words(text: str) -> list[str]:
    """Return a text's words in lower case, without accents and punctuation."""
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    return re.findall(r"\w+", "".join(letter for letter in decomposed if not unicodedata.combining(letter)))


def is_held_out_fact(subject: str, object: str) -> bool:
    """Say whether the rule leaves this pair out, whichever is the subject: true of one pair in ten.

    No training sentence holds both texts of a left-out pair of ParaRel; of other pairs only their own sentences are left out.
    """
    first, second = sorted(" ".join(words(text)) for text in (subject, object))
    return _hash(f"{first}\t{second}") % FACTS_PER_HELD_OUT == 0


def is_held_out_sentence(sentence: str) -> bool:
    """Say whether a web sentence was kept out of training: true of one sentence in five."""
    return _hash(" ".join(words(sentence))) % SENTENCES_PER_HELD_OUT == 0


def _hash(text: str) -> int:
    return int(hashlib.sha256(text.encode()).hexdigest(), 16)
